//! What happens with many requests and may be said in the log only so often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a site's discarded writes are said in the log.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Counts what may be said in the log only so often.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    said: Option<Instant>,
    requests: u64,
    bytes: u64,
}

impl Seldom {
    /// Counts one request. When it is time to speak again: requests and bytes since the last time.
    pub(crate) fn count(&self, bytes: u64) -> Option<(u64, u64)> {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.requests += 1;
        tally.bytes += bytes;
        if tally.said.is_some_and(|said| said.elapsed() < SAID_EVERY) {
            return None;
        }
        let said = Some((tally.requests, tally.bytes));
        *tally = Tally {
            said: Some(Instant::now()),
            ..Tally::default()
        };
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_seldom_and_loses_no_count() {
        let seldom = Seldom::default();
        assert_eq!(seldom.count(5), Some((1, 5)));
        assert_eq!(seldom.count(6), None);
        assert_eq!(seldom.count(7), None);
        seldom.0.lock().unwrap().said = None;
        assert_eq!(seldom.count(8), Some((3, 21)));
    }
}
