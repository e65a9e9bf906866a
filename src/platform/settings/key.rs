//! A key of the configuration file.

use super::rule::Rule;

/// A key of the file, and what stands under it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, without the path to it.
    pub name: &'static str,
    /// A section or a value.
    pub kind: Kind,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// More keys.
    Section(&'static [Key]),
    /// A value.
    Value(Rule),
}

impl Key {
    /// A key with more keys under it.
    #[must_use]
    pub const fn section(name: &'static str, keys: &'static [Key]) -> Self {
        Self { name, kind: Kind::Section(keys) }
    }

    /// A key with a value.
    #[must_use]
    pub const fn value(name: &'static str, rule: Rule) -> Self {
        Self { name, kind: Kind::Value(rule) }
    }
}

/// The keys of two lists, one after the other: a section whose parts have several owners.
#[must_use]
pub const fn joined<const N: usize>(first: &[Key], second: &[Key]) -> [Key; N] {
    assert!(first.len() + second.len() == N, "N is the number of all keys");
    let mut keys = [first[0]; N];
    let mut n = 0;
    while n < N {
        keys[n] = if n < first.len() { first[n] } else { second[n - first.len()] };
        n += 1;
    }
    keys
}
