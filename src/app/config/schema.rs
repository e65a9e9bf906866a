//! The keys there are: the tree that every layer is checked against, put together from the parts
//! that the modules own.

use super::Config;
use crate::platform::settings::{Key, Kind, Rule};

/// The whole file.
pub(super) const KEYS: &[Key] = Config::KEYS;

/// Every value of the file, in the file's order: its path with dots, and its rule.
pub(super) fn values() -> Vec<(String, Rule)> {
    let mut found = Vec::new();
    walk("", KEYS, &mut |path, key| {
        if let Kind::Value(rule) = key.kind {
            found.push((path.to_owned(), rule));
        }
    });
    found
}

/// Every section of the file, by its path.
pub(super) fn sections() -> Vec<String> {
    let mut found = Vec::new();
    walk("", KEYS, &mut |path, key| {
        if matches!(key.kind, Kind::Section(_)) {
            found.push(path.to_owned());
        }
    });
    found
}

fn walk(prefix: &str, keys: &[Key], visit: &mut impl FnMut(&str, &Key)) {
    for key in keys {
        let path = join(prefix, key.name);
        visit(&path, key);
        if let Kind::Section(below) = key.kind {
            walk(&path, below, visit);
        }
    }
}

/// The path of `name` under `prefix`, which is empty at the root.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// The known key that an unknown one most likely means: a neighbour that is spelled alike, else the
/// same name elsewhere, else a path that is spelled alike.
pub(super) fn nearest(prefix: &str, name: &str, neighbours: &[Key]) -> Option<String> {
    let neighbour = most_alike_of(name, neighbours.iter().map(|key| key.name.to_owned()), 0.5);
    if let Some(neighbour) = neighbour {
        return Some(join(prefix, &neighbour));
    }
    let path = join(prefix, name);
    let all = || values().into_iter().map(|(path, _)| path).chain(sections());
    let same_name = all().filter(|known| known.rsplit('.').next() == Some(name));
    most_alike_of(&path, same_name, 0.0).or_else(|| most_alike(&path, all()))
}

/// The candidate spelled most like `name`, if it is near enough to be meant.
pub(super) fn most_alike(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    most_alike_of(name, candidates, 0.6)
}

fn most_alike_of(name: &str, candidates: impl Iterator<Item = String>, at_least: f64) -> Option<String> {
    candidates
        .map(|known| (strsim::normalized_damerau_levenshtein(name, &known), known))
        .filter(|(likeness, _)| *likeness >= at_least)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(path: &str) -> Option<String> {
        let (prefix, name) = path.rsplit_once('.').unwrap_or(("", path));
        let keys = prefix.split('.').filter(|part| !part.is_empty()).fold(KEYS, |keys, part| {
            match keys.iter().find(|key| key.name == part).unwrap().kind {
                Kind::Section(below) => below,
                Kind::Value(_) => &[],
            }
        });
        nearest(prefix, name, keys)
    }

    #[test]
    fn a_misspelled_key_is_recognised() {
        let cases = [
            ("wroker", "worker"),
            ("worker.eventbus.address", "worker.eventbus.addr"),
            ("worker.queue.inbox.bacth", "worker.queue.inbox.batch"),
            ("worker.lease", "worker.queue.lease"),
            ("worker.dead_letter_topic", "worker.eventbus.dead_letter_topic"),
            ("redis", "data.redis"),
            ("external_services.warehouse", "external_services.warehouse_service"),
        ];
        for (given, known) in cases {
            assert_eq!(meant(given).as_deref(), Some(known), "{given}");
        }
        assert_eq!(meant("zzz"), None);
    }
}
