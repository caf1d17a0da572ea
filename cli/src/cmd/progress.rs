//! A progress bar on stderr, only where a person sees it.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two drawings.
const PAUSE: Duration = Duration::from_millis(200);

/// Columns of the bar itself.
const COLUMNS: u64 = 30;

/// A line that counts bytes and is drawn again and again, by whichever thread moves it.
#[derive(Debug)]
pub(crate) struct Bar {
    shown: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    what: &'static str,
    total: u64,
    done: u64,
    remark: String,
    since: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    /// Invisible when stderr is no terminal or `quiet` is set.
    pub(crate) fn new(total: u64, what: &'static str, quiet: bool) -> Bar {
        let bar = Bar {
            shown: !quiet && std::io::stderr().is_terminal(),
            state: Mutex::new(State::new(total, what)),
        };
        bar.change(|_| ());
        bar
    }

    pub(crate) fn is_hidden(&self) -> bool {
        !self.shown
    }

    /// Counts further bytes.
    pub(crate) fn add(&self, bytes: u64) {
        self.change(|state| state.done = state.done.saturating_add(bytes));
    }

    /// Says how far it is.
    pub(crate) fn set(&self, done: u64, total: u64, remark: String) {
        self.change(|state| {
            state.done = done;
            state.total = total;
            state.remark = remark;
        });
    }

    /// Starts from the beginning with something else.
    pub(crate) fn start(&self, what: &'static str) {
        self.change(|state| *state = State::new(0, what));
    }

    /// Takes the line away; the next change draws it again.
    pub(crate) fn clear(&self) {
        if self.shown {
            let mut state = self.lock();
            if state.drawn.take().is_some() {
                eprint!("\r\x1b[K");
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if !self.shown {
            return;
        }
        let mut state = self.lock();
        change(&mut state);
        if state.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            state.drawn = Some(Instant::now());
            eprint!("\r{}\x1b[K", state.line(state.since.elapsed()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it drew left numbers that are as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(total: u64, what: &'static str) -> State {
        State {
            what,
            total,
            done: 0,
            remark: String::new(),
            since: Instant::now(),
            drawn: None,
        }
    }

    /// What is drawn after some time: below 80 columns, so that it stays one line.
    fn line(&self, elapsed: Duration) -> String {
        let done = self.done.min(self.total);
        let part = |of: u64| {
            let part = u128::from(done) * u128::from(of) / u128::from(self.total.max(1));
            u64::try_from(part).unwrap_or(of)
        };
        let mut line = format!("{:>10} ", self.what);
        for column in 0..COLUMNS {
            line.push(if column < part(COLUMNS) { '#' } else { '-' });
        }
        let size = size(self.total);
        write!(line, " {:>3} % of {size}", part(100)).expect("a String takes any text");
        if done > 0 && elapsed >= Duration::from_secs(1) {
            let left = elapsed.as_secs_f64() * (self.total - done) as f64 / done as f64;
            let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
            let (minutes, seconds) = (left.as_secs() / 60, left.as_secs() % 60);
            write!(line, ", {minutes}:{seconds:02} left").expect("a String takes any text");
        }
        if !self.remark.is_empty() {
            line.push_str(", ");
            line.push_str(&self.remark);
        }
        line
    }
}

/// Bytes in the unit that a person would choose.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_it_is_and_how_long_it_takes() {
        let mut state = State::new(56_700_000, "packing");
        let bar = "-".repeat(30);
        assert_eq!(
            state.line(Duration::ZERO),
            format!("   packing {bar}   0 % of 56 MB")
        );
        state.done = 56_700_000 / 3;
        state.remark = "ratio 25 %".to_owned();
        let bar = format!("{}{}", "#".repeat(10), "-".repeat(20));
        assert_eq!(
            state.line(Duration::from_secs(60)),
            format!("   packing {bar}  33 % of 56 MB, 2:00 left, ratio 25 %")
        );
    }

    #[test]
    fn odd_numbers_make_a_line_as_well() {
        for (done, total) in [(5, 0), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            let mut state = State::new(total, "verifying");
            state.done = done;
            let line = state.line(Duration::from_secs(u64::from(u32::MAX)));
            assert!(line.contains(" % of "), "{line}");
        }
    }
}
