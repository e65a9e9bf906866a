//! Whether a payment's money is its order's.

use std::cmp::Ordering;

use iso_currency::Currency;
use rust_decimal::{Decimal, RoundingStrategy};

use super::{Order, Payment};

/// The difference between a payment and its order's total, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paid {
    /// Less, by more than is tolerated.
    Less,
    /// More, by more than is tolerated.
    More,
    /// In another currency, which is not converted here.
    AnotherCurrency,
}

/// What a payment pays of its order; none: what the order costs. Both amounts are taken in minor units of the currency, so that
/// a price with more places than money has is paid by what a payment provider makes of it.
pub(super) fn paid(payment: &Payment, order: &Order, tolerance: Decimal) -> Option<Paid> {
    if !payment.currency.eq_ignore_ascii_case(order.currency.trim()) {
        return Some(Paid::AnotherCurrency);
    }
    let (came, due) = (rounded(payment.amount, &payment.currency), rounded(order.total, &payment.currency));
    // An amount so large that the difference has no room is not one that is tolerated.
    if came.checked_sub(due).is_some_and(|difference| difference.abs() <= tolerance) {
        return None;
    }
    Some(if came.cmp(&due) == Ordering::Less { Paid::Less } else { Paid::More })
}

/// Whether two amounts with their currencies are the same money.
pub(super) fn same_money(one: (Decimal, &str), other: (Decimal, &str)) -> bool {
    one.1.eq_ignore_ascii_case(other.1) && rounded(one.0, one.1) == rounded(other.0, one.1)
}

/// An amount in whole minor units, half of one away from zero, as payment providers round. A code without minor units (gold), or
/// one that ISO 4217 does not have, is compared as it is.
fn rounded(amount: Decimal, currency: &str) -> Decimal {
    let exponent = Currency::from_code(&currency.to_ascii_uppercase()).and_then(Currency::exponent);
    exponent.map_or(amount, |places| {
        amount.round_dp_with_strategy(u32::from(places), RoundingStrategy::MidpointAwayFromZero)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(amount: &str, currency: &str) -> String {
        rounded(amount.parse().unwrap(), currency).normalize().to_string()
    }

    #[test]
    fn money_is_rounded_to_minor_units_half_away_from_zero() {
        for (amount, currency, rounded) in [
            ("12.345", "USD", "12.35"),
            ("12.335", "usd", "12.34"),
            ("12.3449", "EUR", "12.34"),
            ("100.4", "JPY", "100"),
            ("100.5", "JPY", "101"),
            ("101.5", "KRW", "102"),
            ("1.0005", "KWD", "1.001"),
            ("1.00005", "CLF", "1.0001"),
            // Codes of the last years, and one that has gone.
            ("1.005", "ZWG", "1.01"),
            ("1.005", "XCG", "1.01"),
            ("1.005", "SLE", "1.01"),
            ("1.005", "BGN", "1.01"),
            ("0.5", "ISK", "1"),
            ("0.5", "UGX", "1"),
            // No minor units, no such code.
            ("1.0000001", "XAU", "1.0000001"),
            ("1.0000001", "ZZZ", "1.0000001"),
        ] {
            assert_eq!(round(amount, currency), rounded, "{amount} {currency}");
        }
    }
}
