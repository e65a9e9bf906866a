//! The status machine of an order.
//!
//! ```text
//!              +-------------------------------------------------+
//!              |                                                 v
//! pending -----+--> payment_confirmed ------> confirmed --> shipped --> delivered
//!    |  |              ^        |              ^   |
//!    |  +--> payment_failed     |  (COD)       |   |
//!    |  |         |             |              |   |
//!    |  +---------|-------------|--------------+   |
//!    v            v             v                  v
//!    +----------> cancelled <---+------------------+
//! ```
//!
//! pending -> payment_confirmed | payment_failed | confirmed | cancelled; payment_failed -> payment_confirmed | cancelled;
//! payment_confirmed -> confirmed | cancelled; confirmed -> shipped | cancelled; shipped -> delivered.

use std::fmt;
use std::str::FromStr;

/// The status of an order, as it stands in `orders.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Placed, not paid.
    Pending,
    /// The money came.
    PaymentConfirmed,
    /// A payment failed; another may still come.
    PaymentFailed,
    /// Accepted for fulfillment.
    Confirmed,
    /// Left the warehouse.
    Shipped,
    /// Reached the customer.
    Delivered,
    /// Ended without delivery.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::PaymentConfirmed,
        Self::PaymentFailed,
        Self::Confirmed,
        Self::Shipped,
        Self::Delivered,
        Self::Cancelled,
    ];

    /// The name in the database and in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::PaymentConfirmed => "payment_confirmed",
            Self::PaymentFailed => "payment_failed",
            Self::Confirmed => "confirmed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the machine has a move from this status to `next`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        use Status::{Cancelled, Confirmed, Delivered, PaymentConfirmed, PaymentFailed, Pending, Shipped};
        matches!(
            (self, next),
            (Pending, PaymentConfirmed | PaymentFailed | Confirmed | Cancelled)
                | (PaymentFailed, PaymentConfirmed | Cancelled)
                | (PaymentConfirmed, Confirmed | Cancelled)
                | (Confirmed, Shipped | Cancelled)
                | (Shipped, Delivered)
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status that the machine does not know: it came with an adopted table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown order status `{0}`")]
pub struct UnknownStatus(pub String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(name: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == name).ok_or_else(|| UnknownStatus(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert_eq!("refunded".parse::<Status>(), Err(UnknownStatus("refunded".into())));
    }

    #[test]
    fn the_machine_has_eleven_moves_and_none_to_itself() {
        let moves = Status::ALL.iter().flat_map(|a| Status::ALL.iter().filter(|b| a.can_become(**b))).count();
        assert_eq!(moves, 11);
        assert!(Status::ALL.iter().all(|status| !status.can_become(*status)));
    }

    #[test]
    fn the_sql_machine_has_the_same_moves() {
        let sql = include_str!("../../../migrations/0003_shop.sql");
        for from in Status::ALL {
            for to in Status::ALL {
                let row = format!("('{from}', '{to}')");
                assert_eq!(sql.contains(&row), from.can_become(to), "{row}");
            }
        }
    }
}
