//! An error with its causes, on one line.

use std::error::Error;
use std::fmt;

/// Displays an error and its sources: `outer: cause: root cause`.
///
/// For the field `error` of a log line: the errors of this crate leave their sources to the chain.
/// A source whose text is already there (many libraries repeat it) is left out.
#[must_use]
pub fn chain(error: &dyn Error) -> Chain<'_> {
    Chain(error)
}

/// See [`chain`].
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
            source = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        Layer { text, source: (!rest.is_empty()).then(|| Box::new(layers(rest))) }
    }

    #[test]
    fn names_every_cause_once() {
        let error = layers(&["transport error", "tcp connect error", "connection refused"]);
        assert_eq!(chain(&error).to_string(), "transport error: tcp connect error: connection refused");
        let error = layers(&["query failed: pool timed out", "pool timed out"]);
        assert_eq!(chain(&error).to_string(), "query failed: pool timed out");
    }
}
