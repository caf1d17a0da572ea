//! Sizes and times as people write them: `64M`, `1G`, `500ms`, `30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A number of bytes; the suffixes are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl Span {
    /// In whole milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The suffixes of a size, the largest first, with their shifts.
const SIZES: [(&str, u32); 3] = [("G", 30), ("M", 20), ("K", 10)];
/// The suffixes of a time, the largest first, with their milliseconds.
const SPANS: [(&str, u64); 3] = [("h", 3_600_000), ("m", 60_000), ("s", 1000)];

impl fmt::Display for Size {
    /// As it can be read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: u32| self.0 > 0 && self.0.trailing_zeros() >= shift;
        match SIZES.iter().find(|(_, shift)| whole(*shift)) {
            Some((suffix, shift)) => write!(f, "{}{suffix}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Span {
    /// As it can be read back, in whole milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.as_millis();
        match SPANS
            .iter()
            .find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit))
        {
            Some((suffix, unit)) => write!(f, "{}{suffix}", ms / unit),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let bad = || format!("`{text}` is no size: write 512, 64K, 8M or 1G");
        let (number, suffix) = split(text).ok_or_else(bad)?;
        let shift = match suffix {
            "" | "B" => 0,
            "K" | "k" | "KiB" => 10,
            "M" | "m" | "MiB" => 20,
            "G" | "g" | "GiB" => 30,
            _ => return Err(bad()),
        };
        number.checked_mul(1 << shift).map(Size).ok_or_else(bad)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let bad = || format!("`{text}` is no time: write 500ms, 30s, 5m or 1h");
        let (number, suffix) = split(text).ok_or_else(bad)?;
        let millis = match suffix {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad()),
        };
        // A day is more than any limit here needs, and sums of such times cannot overflow a clock.
        number
            .checked_mul(millis)
            .filter(|&ms| ms <= 86_400_000)
            .map(|ms| Span(Duration::from_millis(ms)))
            .ok_or_else(bad)
    }
}

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Size, String> {
        text.parse()
    }
}

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Span, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read() {
        for text in ["0", "512", "1K", "64M", "3G", "1500M", "1025"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["0ms", "1ms", "1500ms", "30s", "2m", "24h"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("64M".parse(), Ok(Size(64 << 20)));
        assert_eq!("512".parse(), Ok(Size(512)));
        assert_eq!("500ms".parse(), Ok(Span(Duration::from_millis(500))));
        assert_eq!("2m".parse(), Ok(Span(Duration::from_secs(120))));
        for bad in ["", "M", "-1", "1T", "99999999999G", "1.5M"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        for bad in ["", "5", "1d", "25h", "s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
