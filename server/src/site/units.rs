//! Sizes and times as people write them: `64M`, `1G`, `500ms`, `30s`.

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
