//! The users of the console, their passwords and their roles.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, password_hash};

use crate::platform::settings::rule::Malformed;

/// The rights of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and change.
    Operator,
}

impl Role {
    /// The role of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "viewer" => Some(Self::Viewer),
            "operator" => Some(Self::Operator),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        })
    }
}

/// The users of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Users(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    name: String,
    role: Role,
    hash: String,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role)
    }
}

impl Users {
    /// The allowed form.
    pub const ALLOWED: &str = "name:role:hash for each user, separated by spaces; role viewer or operator; hash by `order-worker console hash-password`";

    /// Reads them.
    ///
    /// # Errors
    ///
    /// [`Malformed`] with the user's name and what is wrong, never with the hash.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut users: Vec<Entry> = Vec::new();
        for (n, entry) in text.split_whitespace().enumerate() {
            let number = n + 1;
            let mut parts = entry.splitn(3, ':');
            let (Some(name), Some(role), Some(hash)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(Malformed(format!("user {number} is not name:role:hash")));
            };
            if name.is_empty() || name.len() > 64 || users.iter().any(|user| user.name == name) {
                return Err(Malformed(format!("user {number} has no name, a long one, or one that another has")));
            }
            let role = Role::named(role)
                .ok_or_else(|| Malformed(format!("the role of {name} is neither viewer nor operator")))?;
            if !is_complete(hash) {
                return Err(Malformed(format!("the hash of {name} is no argon2 hash")));
            }
            users.push(Entry { name: name.to_owned(), role, hash: hash.to_owned() });
        }
        if users.is_empty() {
            return Err(Malformed("there is nobody in it".into()));
        }
        Ok(Self(users))
    }

    /// Whether there is a user of this name in this role.
    #[must_use]
    pub fn has(&self, name: &str, role: Role) -> bool {
        self.0.iter().any(|user| user.name == name && user.role == role)
    }

    /// The role of the user with this password. An unknown name takes as long.
    #[must_use]
    pub fn login(&self, name: &str, password: &str) -> Option<Role> {
        let entry = self.0.iter().find(|entry| entry.name == name);
        let hash = entry.or(self.0.first()).and_then(|entry| PasswordHash::new(&entry.hash).ok())?;
        let right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        entry.filter(|_| right).map(|entry| entry.role)
    }
}

/// Whether passwords can be checked against it: another algorithm's hash, or one that was cut off, would let nobody in.
fn is_complete(hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Algorithm::try_from(hash.algorithm.as_str()).is_ok()
            && Params::try_from(&hash).is_ok()
            && hash.salt.is_some()
            && hash.hash.is_some()
    })
}

/// The hash of a password, as the configuration takes it.
///
/// # Errors
///
/// When the system gives no randomness.
pub fn hash(password: &str) -> Result<String, password_hash::Error> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_and_password() {
        let text = format!("ada:operator:{} bob:viewer:{}", hash("secret").unwrap(), hash("other").unwrap());
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.login("ada", "secret"), Some(Role::Operator));
        assert_eq!(users.login("bob", "other"), Some(Role::Viewer));
        for (name, password) in [("ada", "other"), ("bob", "secret"), ("eve", "secret"), ("", "")] {
            assert_eq!(users.login(name, password), None, "{name}");
        }
        assert!(!format!("{users:?}").contains("argon2"));
    }

    #[test]
    fn what_is_no_user_is_refused_without_its_hash() {
        let hash = hash("secret").unwrap();
        for (text, words) in [
            ("ada", "user 1 is not name:role:hash"),
            ("ada:operator:secret", "the hash of ada is no argon2 hash"),
            (&format!("ada:admin:{hash}"), "the role of ada"),
            (&format!("ada:viewer:{hash} ada:viewer:{hash}"), "one that another has"),
            (
                "ada:viewer:$pbkdf2-sha256$i=600000$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
                "the hash of ada is no argon2 hash",
            ),
            (&format!("ada:viewer:{}", hash.rsplit_once('$').unwrap().0), "the hash of ada is no argon2 hash"),
            (" \n ", "there is nobody in it"),
        ] {
            let refused = Users::parse(text).unwrap_err().to_string();
            assert!(refused.contains(words) && !refused.contains("argon2id"), "{refused}");
        }
    }
}
