//! Lengths of time as people write them: `30s`, `10m`, `24h`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// A length of time, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct Period(pub Duration);

/// A text that is not a length of time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a length of time: write a whole number with s, m, h or d, like 30s or 24h")]
pub struct PeriodError(String);

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || PeriodError(text.chars().take(40).collect::<String>().escape_debug().to_string());
        let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(fail)?;
        let number = text.strip_suffix(unit).unwrap_or(text).trim_end();
        let number: u32 = number.parse().map_err(|_| fail())?;
        Ok(Self(Duration::from_secs(u64::from(number) * factor)))
    }
}

impl fmt::Display for Period {
    /// In hours at most: `24h` reads better than `1d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let exact = UNITS[1..].iter().find(|(_, factor)| seconds >= *factor && seconds.is_multiple_of(*factor));
        let (unit, factor) = exact.unwrap_or(&("s", 1));
        write!(f, "{}{unit}", seconds / factor)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds, shown) in [
            ("30s", 30, "30s"),
            ("0s", 0, "0s"),
            ("90 m", 5400, "90m"),
            ("24h", 86_400, "24h"),
            ("7d", 604_800, "168h"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.0.as_secs(), period.to_string().as_str()), (seconds, shown), "{text}");
        }
        for text in ["", "s", "30", "-1s", "1.5h", "1 week", "99999999999s"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
