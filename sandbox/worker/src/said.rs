//! What a worker says on its standard error, passed on line by line.
//!
//! A worker has little to say: that a thread could not be started, or what a bug of ours left. So lines are bounded in
//! length and in number, and when there are more, the pipe is read slowly: whoever fills it waits, and neither the log
//! nor the processor time of the front is theirs.

use std::io::Read;
use std::time::{Duration, Instant};

/// Bytes of a line; the rest of it is the next one.
const LINE_MAX: usize = 8192;
/// Lines passed on in one [`PERIOD`].
const LINES: usize = 20;
/// Bytes read in one [`PERIOD`].
const BYTES: usize = 64 * 1024;
/// How long what was said counts.
const PERIOD: Duration = Duration::from_secs(1);

/// Passes on what is said until there is no more.
pub(crate) fn pass_on(mut said: impl Read, tell: &dyn Fn(&str)) {
    let mut allowance = Allowance::new();
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = said.read(&mut piece) {
        for &byte in &piece[..count] {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' || line.len() == LINE_MAX {
                allowance.line(&line, tell);
                line.clear();
            }
        }
        allowance.bytes(count, tell);
    }
    if !line.is_empty() {
        allowance.line(&line, tell);
    }
    allowance.renew(tell);
}

/// What may still be said in this period.
struct Allowance {
    since: Instant,
    lines: usize,
    bytes: usize,
    /// Lines that were not passed on.
    dropped: u64,
}

impl Allowance {
    fn new() -> Self {
        Allowance {
            since: Instant::now(),
            lines: LINES,
            bytes: BYTES,
            dropped: 0,
        }
    }

    fn line(&mut self, line: &[u8], tell: &dyn Fn(&str)) {
        if self.since.elapsed() > PERIOD {
            self.renew(tell);
        }
        match self.lines.checked_sub(1) {
            Some(left) => {
                self.lines = left;
                tell(&imagefs::printable(line));
            }
            None => self.dropped += 1,
        }
    }

    /// Counts what was read, and waits for the next period when it was too much for this one.
    fn bytes(&mut self, count: usize, tell: &dyn Fn(&str)) {
        match self.bytes.checked_sub(count) {
            Some(left) => self.bytes = left,
            None => {
                std::thread::sleep(PERIOD.saturating_sub(self.since.elapsed()));
                self.renew(tell);
            }
        }
    }

    /// Begins a period.
    fn renew(&mut self, tell: &dyn Fn(&str)) {
        if self.dropped > 0 {
            tell(&format!("({} more lines were not passed on)", self.dropped));
        }
        *self = Allowance::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn told(said: impl Read) -> Vec<String> {
        let lines = RefCell::new(Vec::new());
        pass_on(said, &|line| lines.borrow_mut().push(line.to_owned()));
        lines.into_inner()
    }

    #[test]
    fn lines_are_passed_on_whole_the_last_one_too() {
        assert_eq!(told(&b"one\n\ntwo\x1b\nthree"[..]).len(), 4);
        let long = [vec![b'a'; LINE_MAX], vec![b'b'; 3]].concat();
        let lines = told(&long[..]);
        assert_eq!(lines[0].len(), LINE_MAX);
        assert_eq!(lines[1], "bbb");
    }

    #[test]
    fn too_many_lines_are_counted_and_not_passed_on() {
        let lines = told(&b"x\n".repeat(1000)[..]);
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[LINES], "(980 more lines were not passed on)");
    }

    #[test]
    fn a_flood_is_read_slowly() {
        let since = Instant::now();
        told(std::io::repeat(b'x').take(3 * BYTES as u64));
        assert!(since.elapsed() > PERIOD * 2, "{:?}", since.elapsed());
    }
}
