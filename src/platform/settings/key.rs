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

/// The kind of a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// More keys.
    Section(&'static [Key]),
    /// A value.
    Value(Rule),
}

/// A section of the file: the struct that serde fills, and its `KEYS` with their rules. A field with a rule is a value, one without is a
/// section of its own. Default and meaning of each stand in `configs/config.yaml` alone; a test holds that file against the keys.
macro_rules! section {
    (@kind $type:ty) => { $crate::platform::settings::Kind::Section(<$type>::KEYS) };
    (@kind $type:ty, $rule:expr) => { $crate::platform::settings::Kind::Value($rule) };
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$of_field:meta])* $field:ident: $type:ty $(= $rule:expr)?,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Deserialize)]
        #[allow(missing_docs, reason = "configs/config.yaml explains every key")]
        pub struct $name {
            $($(#[$of_field])* pub $field: $type,)*
        }

        impl $name {
            /// The keys of this section.
            pub const KEYS: &[$crate::platform::settings::Key] = &[$($crate::platform::settings::Key {
                name: stringify!($field),
                kind: $crate::platform::settings::key::section!(@kind $type $(, $rule)?),
            },)*];
        }
    };
}

pub(crate) use section;

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
