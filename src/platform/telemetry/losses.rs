//! Counters of what telemetry failed to deliver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strum::VariantArray;

/// A signal that goes to a collector.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "lowercase")]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Counts that are there before the metrics that show them: those are made last, and one of these is of their own way out. Clones
/// share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    exports: [AtomicU64; Signal::VARIANTS.len()],
    log_lines: AtomicU64,
}

impl Losses {
    /// The collector did not take what was sent.
    pub(super) fn export(&self, signal: Signal) {
        self.0.exports[signal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn exports(&self, signal: Signal) -> u64 {
        self.0.exports[signal as usize].load(Ordering::Relaxed)
    }

    /// A log line was left out of a flood.
    pub(super) fn log_line(&self) {
        self.0.log_lines.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn log_lines(&self) -> u64 {
        self.0.log_lines.load(Ordering::Relaxed)
    }
}
