//! What a caller may set, by environment: `make demo ORDERS=500 KILLS=5`.

/// The settings.
#[derive(Debug)]
pub struct Settings {
    /// ORDERS: how many orders are placed and paid.
    pub orders: usize,
    /// SEED: draws the plan of payments; the same seed makes the same plan.
    pub seed: u64,
    /// KILLS: how many times the worker is killed.
    pub kills: usize,
    /// KEEP=1: everything is left running at the end.
    pub keep: bool,
}

impl Settings {
    /// Read from the environment; an error says what is wrong.
    pub fn from_environment() -> Result<Settings, String> {
        Ok(Settings {
            orders: whole("ORDERS", 2000, 1..=1_000_000)?,
            seed: whole("SEED", 1, 0..=u64::MAX)?,
            kills: whole("KILLS", 3, 0..=100)?,
            keep: whole("KEEP", 0, 0..=1)? == 1,
        })
    }
}

// An empty one is an unset one: `make demo KEEP=`.
fn whole<T>(name: &str, unless_set: T, within: std::ops::RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let Some(text) = std::env::var(name).ok().filter(|text| !text.is_empty()) else { return Ok(unless_set) };
    let value = text.parse().ok().filter(|value| within.contains(value));
    value.ok_or_else(|| format!("{name}={text}: a whole number from {} to {} is wanted", within.start(), within.end()))
}
