//! The file layer: YAML to checked values, each with the line it stands on.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::error::ConfigError;
use super::origin::Origin;
use super::schema;
use crate::platform::settings::{Key, Kind};

/// A value of one layer: its path, the value, and where it stands.
pub(super) type Found = (String, Value, Origin);

/// A YAML document, with the line of each key.
#[derive(Debug)]
enum Node {
    Scalar(Value),
    List,
    Map(Vec<(String, u64, Node)>),
}

/// Reads and checks the file at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<Found>, ConfigError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|error| ConfigError::Unreadable { file: name.clone(), reason: error.to_string() })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| ConfigError::Unreadable { file: name.clone(), reason: "it is not UTF-8 text".to_owned() })?;
    values(&text, |line| Origin::File { file: name.clone(), line })
}

/// Checks a text of YAML; `place` makes the origin of what stands on a line (counted from 1).
pub(super) fn values(text: &str, place: impl Fn(u64) -> Origin) -> Result<Vec<Found>, ConfigError> {
    let root: Node = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let reason = match error.without_snippet() {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key {key} stands here a second time")
            }
            serde_saphyr::Error::MultipleDocuments { .. } => {
                "a second document begins here; there may be one".to_owned()
            }
            // Without the snippet, which would show the lines around, secrets included.
            other => one_line(&other.to_string()),
        };
        ConfigError::NotYaml { place: place(line), reason }
    })?;
    let mut found = Vec::new();
    match root {
        Node::Map(entries) => section("", schema::KEYS, entries, &place, &mut found)?,
        // An empty file, or one of comments only, changes nothing.
        Node::Scalar(Value::Null) => {}
        _ => {
            return Err(ConfigError::NotYaml { place: place(1), reason: "the file holds no keys".to_owned() });
        }
    }
    Ok(found)
}

fn section(
    prefix: &str,
    keys: &[Key],
    entries: Vec<(String, u64, Node)>,
    place: &impl Fn(u64) -> Origin,
    found: &mut Vec<Found>,
) -> Result<(), ConfigError> {
    for (name, line, node) in entries {
        let path = schema::join(prefix, &name);
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            return Err(ConfigError::UnknownKey {
                nearest: schema::nearest(prefix, &name, keys),
                known: keys.iter().map(|key| key.name).collect(),
                key: path,
                place: place(line),
            });
        };
        match (key.kind, node) {
            (Kind::Section(below), Node::Map(entries)) => {
                section(&path, below, entries, place, found)?;
            }
            // All keys of a section commented out.
            (Kind::Section(_), Node::Scalar(Value::Null)) => {}
            (Kind::Section(below), _) => {
                return Err(ConfigError::NotASection {
                    known: below.iter().map(|key| key.name).collect(),
                    key: path,
                    place: place(line),
                });
            }
            (Kind::Value(rule), Node::Scalar(value)) => {
                let place = place(line);
                let value =
                    rule.read_scalar(&value).map_err(|refusal| ConfigError::value(&path, &place, refusal, &rule))?;
                found.push((path, value, place));
            }
            (Kind::Value(rule), _) => {
                return Err(ConfigError::NotAValue { key: path, place: place(line), allowed: rule.allowed() });
            }
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or keys")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Scalar(Value::String(value.to_string())))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Scalar(Value::String(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push((key.value, key.referenced.line(), map.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<Found>, ConfigError> {
        values(text, |line| Origin::File { file: "c.yaml".to_owned(), line })
    }

    fn refusal(text: &str) -> String {
        check(text).unwrap_err().to_string()
    }

    #[test]
    fn each_value_knows_its_line() {
        let found = check("# a comment\nserver:\n  http:\n    addr: :80\n\n  grpc: {addr: ':81'}\n");
        let lines: Vec<_> =
            found.unwrap().into_iter().map(|(path, value, origin)| format!("{path}={value} {origin}")).collect();
        assert_eq!(lines, ["server.http.addr=\":80\" file c.yaml:4", "server.grpc.addr=\":81\" file c.yaml:6",]);
    }

    #[test]
    fn a_file_that_changes_nothing_is_fine() {
        for text in ["", "# nothing\n", "---\n", "worker:\n", "worker: {}\n", "worker:\n  queue:\n"] {
            assert!(check(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_their_line() {
        assert_eq!(
            refusal("worker:\n  queue:\n    lease: 10s\n    pol_interval: 1s\n"),
            "worker.queue.pol_interval is no key (file c.yaml:4)"
        );
    }

    #[test]
    fn a_duplicate_key_is_refused() {
        let refusal = refusal("worker:\n  admin:\n    addr: ':1'\n    addr: ':2'\n");
        assert!(refusal.contains("c.yaml:4") && refusal.contains("second time"), "{refusal}");
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let cases = [
            ("worker: 5\n", "worker is a section"),
            ("worker: [a]\n", "worker is a section"),
            ("worker:\n  admin:\n    addr:\n      port: 5\n", "worker.admin.addr is one value"),
            ("worker:\n  admin:\n    addr: [':1']\n", "worker.admin.addr is one value"),
            ("worker:\n  admin:\n    addr:\n", "worker.admin.addr: nothing is not allowed"),
            ("just text\n", "the file holds no keys"),
            ("- a\n- b\n", "the file holds no keys"),
        ];
        for (text, expected) in cases {
            let refusal = refusal(text);
            assert!(refusal.contains(expected), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_refused_without_showing_the_text_around() {
        let text = "data:\n  redis:\n    password: hunter2\n  database: {driver: postgres\nx: ]\n";
        let refusal = refusal(text);
        assert!(refusal.contains("c.yaml:") && !refusal.contains("hunter2"), "{refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let missing = read(Path::new("/nowhere/c.yaml")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/c.yaml") && missing.contains("No such file"), "{missing}");
        let directory = read(Path::new("/")).unwrap_err().to_string();
        assert!(directory.contains("directory"), "{directory}");
    }
}
