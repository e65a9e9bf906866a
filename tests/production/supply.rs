//! What the worker is made of: allowed, and told with the image.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use rig::run_dir::checkout;
use serde_json::Value;

use crate::image::{image, lines, ran, tools};

#[test]
fn every_dependency_has_an_allowed_license_and_comes_from_the_registry() {
    // Known weaknesses are looked up in a database on the net: cargo deny check advisories.
    ran(Command::new(tools().join("cargo-deny")).current_dir(checkout()).args([
        "--all-features",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]));
}

#[test]
fn the_image_names_each_crate_that_is_linked_with_version_and_checksum() {
    let bill: Value = serde_json::from_slice(&fs::read(image().join("app/sbom.cdx.json")).unwrap()).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = bill["components"].as_array().unwrap();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let told: BTreeSet<String> =
        components.iter().map(|one| format!("{} v{}", text(one, "name"), text(one, "version"))).collect();
    let mut tree = Command::new("cargo");
    tree.current_dir(checkout()).args(["tree", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}"]);
    let linked: BTreeSet<String> = lines(&ran(&mut tree))
        .iter()
        .filter(|line| !line.is_empty() && !line.starts_with("order-worker "))
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(linked.len() > 200, "{}", linked.len());
    let untold: Vec<_> = linked.difference(&told).collect();
    assert!(untold.is_empty(), "{untold:?}");
    assert!(components.iter().all(|one| one["hashes"][0]["content"].is_string()), "each has its checksum");
    let whole = bill.to_string();
    assert!(!whole.contains(checkout().canonicalize().unwrap().to_str().unwrap()), "no path of this machine");
}
