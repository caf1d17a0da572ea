//! `ExpiresActive`, `ExpiresDefault` and `ExpiresByType`.

use super::flag;
use crate::table::Table;
use crate::text::{Words, number, show};
use crate::variable::Clock;

/// When something is stale: seconds after it was asked for, or after it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Age {
    seconds: i64,
    since_change: bool,
}

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expires {
    active: Option<bool>,
    default: Option<Age>,
    by_type: Vec<(Vec<u8>, Age)>,
    wildcards: bool,
}

impl Expires {
    /// `ExpiresActive on|off`.
    pub(crate) fn set_active(&mut self, word: &[u8]) -> Result<(), String> {
        self.active = Some(flag(word)?);
        Ok(())
    }

    /// `ExpiresDefault age`.
    pub(crate) fn set_default(&mut self, age: &[u8]) -> Result<(), String> {
        self.default = Some(Age::parse(age)?);
        Ok(())
    }

    /// `ExpiresByType type age`.
    pub(crate) fn set_type(&mut self, media_type: &[u8], age: &[u8]) -> Result<(), String> {
        if !media_type.contains(&b'/') {
            return Err(format!("{} is no type", show(media_type)));
        }
        let age = Age::parse(age)?;
        self.wildcards |= media_type.ends_with(b"/*");
        self.by_type
            .retain(|(known, _)| !known.eq_ignore_ascii_case(media_type));
        self.by_type.push((media_type.to_vec(), age));
        Ok(())
    }

    pub(crate) fn merged(&self, over: &Expires) -> Expires {
        let mut by_type = over.by_type.clone();
        by_type.extend_from_slice(&self.by_type);
        Expires {
            active: over.active.or(self.active),
            default: over.default.or(self.default),
            by_type,
            // As Apache: a deeper section without wildcards switches those above off.
            wildcards: over.wildcards,
        }
    }

    /// Adds `Expires` and `Cache-Control: max-age` to an answer of some type.
    pub(crate) fn apply(
        &self,
        headers: &mut Table,
        media_type: &[u8],
        now: i64,
        modified: Option<i64>,
    ) {
        if self.active != Some(true) || headers.contains(b"expires") {
            return;
        }
        let bare = media_type.split(|&b| b == b';').next().unwrap_or_default();
        let bare = crate::text::trim(bare);
        let find = |wanted: &[u8]| {
            let mut all = self.by_type.iter();
            all.find(|(known, _)| known.eq_ignore_ascii_case(wanted))
                .map(|(_, age)| *age)
        };
        let by_wildcard = || {
            let slash = bare.iter().position(|&b| b == b'/')?;
            self.wildcards
                .then(|| find(&[&bare[..=slash], b"*"].concat()))?
        };
        let Some(age) = find(bare).or_else(by_wildcard).or(self.default) else {
            return;
        };
        let base = match (age.since_change, modified) {
            (false, _) => now,
            (true, Some(modified)) => modified,
            (true, None) => return,
        };
        let expires = base.saturating_add(age.seconds).max(now);
        let max_age = format!("max-age={}", expires - now);
        headers.merge(b"Cache-Control", max_age.as_bytes());
        headers.set(b"Expires", Clock::at(expires).http().as_bytes());
    }
}

impl Age {
    /// `A3600`, `M3600`, `access plus 1 month 2 days`, `modification 1 week`.
    fn parse(text: &[u8]) -> Result<Age, String> {
        const SECONDS_MAX: i64 = i32::MAX as i64;
        let bounded = |seconds: i64| seconds.clamp(-SECONDS_MAX, SECONDS_MAX);
        if let Some((base @ (b'A' | b'M'), digits)) = text.split_first()
            && digits
                .first()
                .is_some_and(|b| b.is_ascii_digit() || *b == b'-')
        {
            return Ok(Age {
                seconds: bounded(number(digits)),
                since_change: *base == b'M',
            });
        }
        let mut words = Words::new(text).peekable();
        let base = words.next().unwrap_or_default().to_ascii_lowercase();
        let since_change = match base.as_slice() {
            b"now" | b"access" => false,
            b"modification" => true,
            _ => return Err(format!("bad start of an age: {}", show(text))),
        };
        words.next_if(|word| word.eq_ignore_ascii_case(b"plus"));
        let mut seconds: i64 = 0;
        while let Some(count) = words.next() {
            if !count.first().is_some_and(u8::is_ascii_digit) {
                return Err(format!("a number was expected: {}", show(&count)));
            }
            let unit = words
                .next()
                .ok_or("a unit is missing")?
                .to_ascii_lowercase();
            let factor = match unit.as_slice() {
                [b'y', ..] => 365 * 86_400,
                [b'm', b'o', ..] => 30 * 86_400,
                [b'w', ..] => 7 * 86_400,
                [b'd', ..] => 86_400,
                [b'h', ..] => 3600,
                [b'm', b'i', ..] => 60,
                [b's', ..] => 1,
                _ => return Err(format!("unknown unit {}", show(&unit))),
            };
            seconds = seconds.saturating_add(number(&count).saturating_mul(factor));
        }
        Ok(Age {
            seconds: bounded(seconds),
            since_change,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read() {
        for (text, seconds, since_change) in [
            ("access plus 1 month", 30 * 86_400, false),
            ("access 1 year", 365 * 86_400, false),
            ("now plus 2 hours 3 minutes", 7380, false),
            ("modification plus 1 week", 7 * 86_400, true),
            ("A3600", 3600, false),
            ("M60", 60, true),
            ("access", 0, false),
        ] {
            let age = Age::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (age.seconds, age.since_change),
                (seconds, since_change),
                "{text}"
            );
        }
        for text in [
            "",
            "soon",
            "access plus month",
            "access 1",
            "access 1 parsec",
        ] {
            assert!(Age::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Age::parse(b"access plus 99999999999999999 years").is_ok());
    }
}
