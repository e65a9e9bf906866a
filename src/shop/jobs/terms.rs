//! The settings by which the jobs act.

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::engine::terms;
use crate::shop::settings::Business;

/// After how long what is given up, and what has to be known before: a worker registers it at its start ([`crate::engine::terms`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub(super) session_minutes: u32,
    pub(super) cart_minutes: u32,
    pub(super) order_minutes: u32,
    pub(super) reservation_minutes: u32,
    pub(super) cod_too: bool,
    /// The streams that are reconciled, for which what gives orders up waits.
    streams: Option<Vec<String>>,
    /// From one look at them to the next.
    #[serde(default)]
    look_every: Duration,
}

impl terms::Terms for Terms {
    const KIND: &'static str = "jobs";
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session_minutes, cart_minutes, order_minutes, reservation_minutes, cod_too, streams, .. } = self;
        write!(
            f,
            "unpaid orders are cancelled after {order_minutes} min{}, reservations released after {reservation_minutes} min, carts deleted \
             after {cart_minutes} min, sessions after {session_minutes} min, {}",
            if *cod_too { ", COD orders too" } else { "" },
            if streams.is_some() { "only where reconciliation has looked" } else { "without reconciliation" },
        )
    }
}

impl Terms {
    /// As the shop's rules say. `streams` are those that are looked at every `look_every`; none: that is switched off.
    #[must_use]
    pub fn new(business: &Business, streams: Option<Vec<String>>, look_every: Duration) -> Self {
        Self {
            session_minutes: business.session.timeout_minutes,
            cart_minutes: business.cart.timeout_minutes,
            order_minutes: business.order.auto_cancel_minutes,
            reservation_minutes: business.inventory.reservation_timeout_minutes,
            cod_too: business.order.auto_cancel_cod,
            streams,
            look_every,
        }
    }

    /// The streams that are looked at; none: that is switched off.
    #[must_use]
    pub fn streams(&self) -> Option<&[String]> {
        self.streams.as_deref()
    }

    /// How long a run waits for a look that began after its tick.
    #[must_use]
    pub fn patience(&self) -> TimeDelta {
        TimeDelta::from_std(self.look_every * 3).unwrap_or(TimeDelta::days(3)) + TimeDelta::seconds(2)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_of_another_version_are_read() {
        let terms = Terms {
            session_minutes: 1,
            cart_minutes: 2,
            order_minutes: 4_320,
            reservation_minutes: 3,
            cod_too: true,
            streams: Some(["a", "b", "c"].map(str::to_owned).to_vec()),
            look_every: Duration::from_secs(10),
        };
        let mut written = json!(terms);
        written["of"] = json!("a later version");
        assert_eq!(serde_json::from_value::<Terms>(written).unwrap(), terms);
    }
}
