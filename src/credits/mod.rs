//! `Credits`: the upstream's unit of account, as an exact number; beside it what is counted in it, budgets and their
//! periods.

pub mod period;
pub mod budget;
pub mod millionths;

use std::fmt;
use std::ops::{Add, AddAssign};

/// An amount of Mavera credits, held as an integer of millionths.
///
/// Every documented example of `usage.credits_used` is an integer, but the type is not promised
/// (source: `create-a-response` and `chat-about-video-analysis` in Mavera's API reference), so a
/// fraction is kept exactly down to the sixth place and rounded up beyond it: a bill is never
/// understated by rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credits(u64);

const MILLION: u64 = 1_000_000;

impl Credits {
    /// No credits.
    pub const ZERO: Self = Self(0);

    /// More than anybody has.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The largest figure that is believed, far above any plan: sums of figures must fit a ledger.
    const PLAUSIBLE: Self = Self::whole(1_000_000_000);

    /// So many millionths of a credit.
    #[must_use]
    pub const fn from_millionths(millionths: u64) -> Self {
        Self(millionths)
    }

    /// The difference, or nothing where it would be negative.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }

    /// What is left when `other` is taken away, and nothing if that is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// A whole number of credits. Saturates far above any plan that is sold.
    #[must_use]
    pub const fn whole(credits: u64) -> Self {
        Self(credits.saturating_mul(MILLION))
    }

    /// The amount in millionths of a credit.
    #[must_use]
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Reads the text of a JSON number (RFC 8259 §6), exactly and without a float in between.
    ///
    /// Returns `None` for a negative amount, for what is not a JSON number, and for an amount that
    /// no ledger could hold: such a figure is not one to book.
    #[must_use]
    pub fn from_json_number(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || mantissa.ends_with('.') {
            return None;
        }
        // The value is DIGITS × 10^shift millionths.
        let shift = exponent.checked_add(6)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let mut amount: u128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            amount = amount.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
        }
        if shift >= 0 {
            if amount != 0 {
                amount = amount.checked_mul(10u128.checked_pow(shift.unsigned_abs())?)?;
            }
        } else {
            let divisor = 10u128.checked_pow(shift.unsigned_abs());
            amount = divisor.map_or(u128::from(amount != 0), |d| amount.div_ceil(d));
        }
        u64::try_from(amount).ok().map(Self).filter(|amount| *amount <= Self::PLAUSIBLE)
    }

    /// The amount as a float, for Prometheus, whose samples are floats.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine billion credits")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / MILLION as f64
    }

    /// The amount that a sample of Prometheus is, to the millionth.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "exact up to nine billion credits; less than nothing is nothing"
    )]
    pub fn from_f64(amount: f64) -> Self {
        Self((amount * MILLION as f64).round() as u64)
    }
}

impl Add for Credits {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Credits {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / MILLION, self.0 % MILLION);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl serde::Serialize for Credits {
    /// A JSON number: an integer where the amount is whole.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(MILLION) {
            serializer.serialize_u64(self.0 / MILLION)
        } else {
            serializer.serialize_f64(self.as_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_json_numbers_exactly() {
        for (text, millionths) in [
            ("3", 3_000_000),
            ("0", 0),
            ("0.1", 100_000),
            ("2.5", 2_500_000),
            ("1e2", 100_000_000),
            ("12E-1", 1_200_000),
            ("0.000001", 1),
            ("0e400", 0),
        ] {
            assert_eq!(Credits::from_json_number(text), Some(Credits(millionths)), "{text}");
        }
    }

    #[test]
    fn rounds_up_below_a_millionth() {
        assert_eq!(Credits::from_json_number("0.0000001"), Some(Credits(1)));
        assert_eq!(Credits::from_json_number("1e-300"), Some(Credits(1)));
    }

    #[test]
    fn refuses_what_cannot_be_booked() {
        for text in
            ["-1", "", ".", "1.", ".5", "null", "\"3\"", "1e400", "99999999999999999999", "1000000001", "NaN"]
        {
            assert_eq!(Credits::from_json_number(text), None, "{text}");
        }
    }

    #[test]
    fn prints_without_padding() {
        assert_eq!(Credits(2_500_000).to_string(), "2.5");
        assert_eq!(Credits::whole(7).to_string(), "7");
    }
}
