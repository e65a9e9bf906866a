//! Metrics of the conservation proof. docs/metrics.md explains each.

use std::sync::Arc;

use crate::platform::database::PgPool;
use crate::platform::telemetry::instruments::{Gauge, Instruments};

/// The metrics of the operations. Clones share everything.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Proof>);

#[derive(Debug)]
struct Proof {
    violations: Gauge,
    age: Gauge,
}

impl Metrics {
    /// Makes the instruments.
    #[must_use]
    pub fn new(make: &Instruments) -> Self {
        let proof = Proof {
            violations: make.gauge("audit_violations", "What the last conservation proof found.", &[]),
            age: make.gauge("audit_age_seconds", "How long ago the last conservation proof was made; -1: never.", &[]),
        };
        Self(Arc::new(proof))
    }

    /// Looks at the last proof.
    pub async fn look(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let last: Option<(i64, f64)> = sqlx::query_as(include_str!("sql/last_proof.sql")).fetch_optional(pool).await?;
        let (violations, age) = last.unwrap_or((0, -1.0));
        self.proven(violations, age);
        Ok(())
    }

    /// The last proof found so many violations, so many seconds ago.
    pub fn proven(&self, violations: i64, age: f64) {
        self.0.violations.set_count(&[], violations);
        self.0.age.set(&[], age);
    }
}
