//! The rules of values: one for each key, checked before anything is built from the value, so
//! that every refusal can say what is allowed. The rules stand beside the structs they guard.

use std::time::Duration;

use humantime_serde::re::humantime;
use rust_decimal::Decimal;
use serde_json::Value;

use super::secret::MASK;

/// Why a text is not the thing it should be. `Display` is one clause, without the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// The rule of one key's value.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// A whole number, both ends allowed.
    Integer {
        /// The least value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// A decimal number from 0 on, kept as it is written.
    Decimal {
        /// The largest value.
        max: u64,
    },
    /// A time with its unit, both ends allowed.
    Time {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// true or false.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that `check` accepts.
    Text {
        /// The allowed form, for the refusal.
        allowed: &'static str,
        /// Refuses what is not that.
        check: fn(&str) -> Result<(), Malformed>,
        /// Whether the empty text is allowed too.
        optional: bool,
    },
    /// A text that is never shown; the empty one means that there is none.
    Secret {
        /// The allowed form, for the refusal.
        allowed: &'static str,
        /// Refuses what is not that; its answer must not contain the text.
        check: fn(&str) -> Result<(), Malformed>,
        /// The form that may be shown.
        mask: fn(&str) -> String,
    },
}

/// A refusal: the value as it may be shown, and why where there is more to say than what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub given: String,
    pub reason: Option<String>,
}

impl Rule {
    /// The limit of one call of another service.
    pub const CALL_TIMEOUT: Self = Self::time(Duration::from_millis(100), Duration::from_secs(60));

    /// A whole number from `min` to `max`.
    #[must_use]
    pub const fn integer(min: u64, max: u64) -> Self {
        Self::Integer { min, max }
    }

    /// A time from `min` to `max`.
    #[must_use]
    pub const fn time(min: Duration, max: Duration) -> Self {
        Self::Time { min, max }
    }

    /// A text of which a `T` can be made; `allowed` says what that is.
    #[must_use]
    pub const fn text<T: TryFrom<String, Error = Malformed>>(allowed: &'static str) -> Self {
        Self::Text { allowed, check: parses::<T>, optional: false }
    }

    /// As [`Rule::text`], or empty.
    #[must_use]
    pub const fn optional_text<T: TryFrom<String, Error = Malformed>>(allowed: &'static str) -> Self {
        Self::Text { allowed, check: parses::<T>, optional: true }
    }

    /// A name of Dapr's or telemetry's: no white space, not empty.
    #[must_use]
    pub const fn name() -> Self {
        Self::Text { allowed: "a name without spaces", check: name, optional: false }
    }

    /// The path of a file, or empty. Whether it can be read shows when it is.
    #[must_use]
    pub const fn path() -> Self {
        Self::Text { allowed: "the path of a file", check: path, optional: true }
    }

    /// A token that travels in a header: visible ASCII, or empty.
    #[must_use]
    pub const fn token() -> Self {
        Self::secret("visible ASCII characters", token)
    }

    /// A password: any text, or empty.
    #[must_use]
    pub const fn password() -> Self {
        Self::secret("any text", any)
    }

    /// A text that `check` accepts and that is never shown, or empty.
    #[must_use]
    pub const fn secret(allowed: &'static str, check: fn(&str) -> Result<(), Malformed>) -> Self {
        Self::Secret { allowed, check, mask: masked }
    }

    /// Any text, or empty.
    #[must_use]
    pub const fn any_text() -> Self {
        Self::Text { allowed: "any text", check: any, optional: true }
    }

    /// Whether its value is never shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }

    /// The allowed values, in words that follow "allowed: ".
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Integer { min, max } => format!("a whole number, {min} to {max}"),
            Self::Decimal { max } => format!("a decimal number, 0 to {max}"),
            Self::Time { min, max } => {
                format!("a time with its unit, {} to {}", short(*min), short(*max))
            }
            Self::Boolean => "true or false".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text { allowed, optional: true, .. } => format!("{allowed}, or empty"),
            Self::Text { allowed, .. } | Self::Secret { allowed, .. } => (*allowed).to_owned(),
        }
    }

    /// Reads a value of the environment, which is always text.
    pub(crate) fn read_text(&self, text: &str) -> Result<Value, Refusal> {
        match self {
            Self::Integer { .. } => match text.trim().parse::<i128>() {
                Ok(number) => self.read_integer(number),
                Err(_) => Err(self.refuse(text, None)),
            },
            Self::Boolean => match text.trim() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(self.refuse(text, None)),
            },
            _ => self.read_string(text),
        }
    }

    /// Reads a scalar of the file.
    pub(crate) fn read_scalar(&self, value: &Value) -> Result<Value, Refusal> {
        match (self, value) {
            (Self::Integer { .. }, Value::Number(number)) => match number.to_string().parse() {
                Ok(number) => self.read_integer(number),
                Err(_) => Err(self.refuse(&number.to_string(), None)),
            },
            (Self::Integer { .. }, Value::String(text)) => Err(self.refuse(text, Some("this is text".to_owned()))),
            (Self::Decimal { .. }, Value::Number(number)) => self.read_string(&number.to_string()),
            (Self::Boolean, Value::Bool(_)) => Ok(value.clone()),
            (Self::Time { .. }, Value::Number(number)) => {
                Err(self.refuse(&number.to_string(), Some("it has no unit".to_owned())))
            }
            (_, Value::String(text)) => self.read_string(text),
            (_, Value::Null) => Err(Refusal {
                given: "nothing".to_owned(),
                reason: Some("write \"\" for an empty text, or leave the key out".to_owned()),
            }),
            (rule, other) => Err(Refusal {
                given: match rule {
                    Self::Secret { .. } => MASK.to_owned(),
                    _ => other.to_string(),
                },
                reason: match rule {
                    Self::Boolean => None,
                    _ => Some("YAML takes this for a number or a yes or no: put it in quotes".to_owned()),
                },
            }),
        }
    }

    /// The value as it may be shown; secrets are masked.
    pub(crate) fn shown(&self, value: &Value) -> Value {
        match (self, value) {
            (Self::Secret { mask, .. }, Value::String(text)) if !text.is_empty() => Value::String(mask(text)),
            (_, value) => value.clone(),
        }
    }

    fn read_integer(&self, number: i128) -> Result<Value, Refusal> {
        let Self::Integer { min, max } = *self else {
            return Err(self.refuse(&number.to_string(), None));
        };
        match u64::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::from(number)),
            _ => Err(self.refuse(&number.to_string(), None)),
        }
    }

    fn read_string(&self, text: &str) -> Result<Value, Refusal> {
        match self {
            Self::Integer { .. } | Self::Boolean => return Err(self.refuse(text, None)),
            Self::Time { min, max } => match humantime::parse_duration(text) {
                Ok(time) if (*min..=*max).contains(&time) => {}
                Ok(_) => return Err(self.refuse(text, None)),
                Err(error) => return Err(self.refuse(text, Some(error.to_string()))),
            },
            Self::Decimal { max } => match text.trim().parse::<Decimal>() {
                Ok(number) if !number.is_sign_negative() && number <= Decimal::from(*max) => {
                    return Ok(Value::String(number.to_string()));
                }
                _ => return Err(self.refuse(text, None)),
            },
            Self::Choice(words) if words.contains(&text) => {}
            Self::Choice(_) => return Err(self.refuse(text, None)),
            Self::Text { optional: true, .. } | Self::Secret { .. } if text.is_empty() => {}
            Self::Text { check, .. } | Self::Secret { check, .. } => {
                check(text).map_err(|why| self.refuse(text, Some(why.to_string())))?;
            }
        }
        Ok(Value::String(text.to_owned()))
    }

    fn refuse(&self, given: &str, reason: Option<String>) -> Refusal {
        // A text that was refused cannot be masked in part: nobody knows where its secret stands.
        let given = match self {
            Self::Secret { .. } => MASK.to_owned(),
            Self::Integer { .. } | Self::Decimal { .. } | Self::Time { .. } => clipped(given),
            _ => format!("\"{}\"", clipped(given)),
        };
        Refusal { given, reason }
    }
}

/// The first 80 characters, on one line.
fn clipped(text: &str) -> String {
    let line: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 { format!("{line}…") } else { line }
}

/// A time in its largest whole unit, as the file writes it. (humantime counts in months and years,
/// where 365d becomes a row of odd parts.)
fn short(time: Duration) -> String {
    let millis = time.as_millis();
    [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
        .map_or_else(
            || {
                if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
            },
            |(unit, letter)| format!("{}{letter}", millis / unit),
        )
}

fn parses<T: TryFrom<String, Error = Malformed>>(text: &str) -> Result<(), Malformed> {
    T::try_from(text.to_owned()).map(drop)
}

fn name(text: &str) -> Result<(), Malformed> {
    if text.is_empty() {
        return Err(Malformed("it is empty".to_owned()));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Malformed("it contains white space".to_owned()));
    }
    Ok(())
}

fn path(text: &str) -> Result<(), Malformed> {
    if text.chars().any(char::is_control) {
        return Err(Malformed("it contains control characters".to_owned()));
    }
    Ok(())
}

fn token(text: &str) -> Result<(), Malformed> {
    if text.ends_with(['\n', '\r']) {
        return Err(Malformed("it ends in a line break (echo writes one; echo -n does not)".into()));
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Malformed("it contains white space or characters beyond ASCII".to_owned()));
    }
    Ok(())
}

fn any(_: &str) -> Result<(), Malformed> {
    Ok(())
}

fn masked(_: &str) -> String {
    MASK.to_owned()
}

/// Deserializes an optional text: the empty one is `None`.
///
/// # Errors
/// When the text is not empty and no `T` can be made of it.
pub fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: TryFrom<String>,
    T::Error: std::fmt::Display,
{
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    T::try_from(text).map(Some).map_err(serde::de::Error::custom)
}

/// Deserializes a decimal number from its text.
///
/// # Errors
/// When the text is no decimal number.
pub fn decimal<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
