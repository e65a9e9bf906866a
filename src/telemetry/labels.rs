//! The values that labels may take: small, fixed sets, so that no event from outside can make a
//! series, and every series can be there from the start with zero.

use opentelemetry::KeyValue;

pub use crate::cron::{Job, Reason};
pub use crate::orders::IncidentKind;
pub use crate::queue::Queue;

/// Every combination of values that an instrument's labels can take.
pub(super) trait LabelSet: Copy {
    /// How many there are.
    const COUNT: usize;
    /// All of them, each at its [`index`](LabelSet::index).
    fn all() -> Vec<Self>;
    /// The place among all.
    fn index(self) -> usize;
    /// As OpenTelemetry takes them.
    fn attributes(self) -> Vec<KeyValue>;
}

impl LabelSet for () {
    const COUNT: usize = 1;

    fn all() -> Vec<Self> {
        vec![()]
    }

    fn index(self) -> usize {
        0
    }

    fn attributes(self) -> Vec<KeyValue> {
        Vec::new()
    }
}

impl<A: LabelSet, B: LabelSet> LabelSet for (A, B) {
    const COUNT: usize = A::COUNT * B::COUNT;

    fn all() -> Vec<Self> {
        A::all().into_iter().flat_map(|a| B::all().into_iter().map(move |b| (a, b))).collect()
    }

    fn index(self) -> usize {
        self.0.index() * B::COUNT + self.1.index()
    }

    fn attributes(self) -> Vec<KeyValue> {
        let mut attributes = self.0.attributes();
        attributes.extend(self.1.attributes());
        attributes
    }
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $label:literal: $($(#[$value_doc:meta])* $value:ident = $text:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$value_doc])* $value),+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The value as the label shows it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl LabelSet for $name {
            const COUNT: usize = Self::ALL.len();

            fn all() -> Vec<Self> {
                Self::ALL.to_vec()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn attributes(self) -> Vec<KeyValue> {
                vec![KeyValue::new($label, self.as_str())]
            }
        }
    };
}

/// A type of another module that is a label here.
macro_rules! labelled {
    ($name:ident, $label:literal) => {
        impl LabelSet for $name {
            const COUNT: usize = Self::ALL.len();

            fn all() -> Vec<Self> {
                Self::ALL.to_vec()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn attributes(self) -> Vec<KeyValue> {
                vec![KeyValue::new($label, self.as_str())]
            }
        }
    };
}

labelled!(Queue, "queue");
labelled!(IncidentKind, "kind");
labelled!(Job, "job");
labelled!(Reason, "reason");

label! {
    /// Where an event came from.
    Topic, "topic":
    /// A payment was confirmed.
    PaymentConfirmed = "payment.confirmed",
    /// A payment failed.
    PaymentFailed = "payment.failed",
    /// The dead-letter topic of either.
    DeadLetter = "order-worker.dead-letter",
    /// Any other: topics come from outside and are not taken for labels.
    Other = "other",
}

impl Topic {
    /// The label of a topic's name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::ALL.iter().copied().find(|topic| topic.as_str() == name).unwrap_or(Self::Other)
    }
}

label! {
    /// Why an event could not be handled.
    FailReason, "reason":
    /// Its body is no event of its topic.
    Undecodable = "undecodable",
    /// Its id is known with another body.
    Quarantined = "quarantined",
    /// Nobody handles its topic.
    UnknownTopic = "unknown_topic",
    /// Applying it failed; it is kept and tried again, or dead.
    ApplyFailed = "apply_failed",
}

label! {
    /// How an event of the inbox ended, or where it waits.
    Outcome, "outcome":
    /// Changed its order.
    Applied = "applied",
    /// Was there before.
    Duplicate = "duplicate",
    /// Another event of the same fact came first.
    Superseded = "superseded",
    /// Asks for a move that is not legal.
    Rejected = "rejected",
    /// Waits for an operator.
    Held = "held",
    /// Cannot be handled.
    Dead = "dead",
    /// Same id, other body.
    Quarantined = "quarantined",
}

label! {
    /// What is asked of the warehouse.
    WarehouseMethod, "method":
    /// Keep what was reserved: it is paid.
    Confirm = "confirm",
    /// Give back what was reserved.
    Release = "release",
}

impl WarehouseMethod {
    /// The method's name in `warehouse.v1.WarehouseService`.
    #[must_use]
    pub const fn rpc(self) -> &'static str {
        match self {
            Self::Confirm => "ConfirmReservation",
            Self::Release => "ReleaseReservation",
        }
    }
}

label! {
    /// How a call of the warehouse ended.
    WarehouseResult, "result":
    /// Done.
    Success = "success",
    /// The warehouse said no: an answer, not a failure.
    Refused = "refused",
    /// No answer, or an error; tried again.
    Failed = "failed",
}

label! {
    /// How a run of a job ended.
    RunOutcome, "outcome":
    /// Done.
    Succeeded = "succeeded",
    /// Given up after its attempts; the next tick begins anew.
    Failed = "failed",
}

label! {
    /// What goes to a collector.
    Signal, "signal":
    /// Spans.
    Traces = "traces",
    /// Metrics.
    Metrics = "metrics",
}

label! {
    /// What a connection of the pool is doing.
    ConnectionState, "state":
    /// Waiting for work.
    Idle = "idle",
    /// In use.
    Used = "used",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_labels_stands_at_its_index() {
        fn check<L: LabelSet>() {
            assert_eq!(L::all().len(), L::COUNT);
            for (index, labels) in L::all().into_iter().enumerate() {
                assert_eq!(labels.index(), index);
            }
        }
        check::<()>();
        check::<Topic>();
        check::<(Topic, FailReason)>();
        check::<(WarehouseMethod, WarehouseResult)>();
    }

    #[test]
    fn a_topic_from_outside_makes_no_label() {
        assert_eq!(Topic::of("payment.failed"), Topic::PaymentFailed);
        assert_eq!(Topic::of("payment.failed\n"), Topic::Other);
    }
}
