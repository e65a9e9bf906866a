//! One log line for a trouble that lasts.

/// The trouble that was logged last. It is logged when it begins and when it changes, not at each try.
#[derive(Clone, Debug)]
pub struct LogOnce<T>(Option<T>);

impl<T: PartialEq> LogOnce<T> {
    /// Whether this trouble is new, and so to be logged.
    pub fn is_new(&mut self, trouble: T) -> bool {
        let new = self.0.as_ref() != Some(&trouble);
        self.0 = Some(trouble);
        new
    }

    /// The trouble is over. Returns whether there was one.
    pub fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

impl<T> Default for LogOnce<T> {
    fn default() -> Self {
        Self(None)
    }
}

#[cfg(test)]
mod tests {
    use super::LogOnce;

    #[test]
    fn a_trouble_is_new_when_it_begins_and_when_it_changes() {
        let mut once = LogOnce::default();
        assert!(!once.is_over());
        assert!(once.is_new("refused") && !once.is_new("refused") && once.is_new("no answer"));
        assert!(once.is_over() && !once.is_over());
        assert!(once.is_new("no answer"));
    }
}
