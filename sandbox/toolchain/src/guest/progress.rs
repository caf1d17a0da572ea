//! How far a build is, on stderr: at a terminal one line that is drawn again, in a pipe one line for each step, if the command asked
//! for that ([`tell_pipes`]). The compiler does not: what it says in a pipe is read by configure scripts.

use std::io::{IsTerminal, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::{Printed, Stream, read, succeeded};

/// Whether a pipe hears of steps. The streams are the process's own, so this is, too.
static PIPES: AtomicBool = AtomicBool::new(false);

/// From now on builds say on stderr which step begins, even when nobody looks at a terminal.
pub fn tell_pipes() {
    PIPES.store(true, Ordering::Relaxed);
}

/// The line about one piece of work.
pub(crate) struct Progress {
    terminal: bool,
    what: String,
    step: String,
    detail: String,
    since: Instant,
    drawn: Option<Instant>,
    ended: bool,
}

impl Progress {
    /// Says what begins.
    pub(crate) fn new(what: &str) -> Progress {
        let mut progress = Progress {
            terminal: std::io::stderr().is_terminal(),
            what: what.to_owned(),
            step: String::new(),
            detail: String::new(),
            since: Instant::now(),
            drawn: None,
            ended: false,
        };
        progress.tell(what);
        progress.tick();
        progress
    }

    /// A part of the work begins, or something else that a pipe hears of as well.
    pub(crate) fn step(&mut self, step: String) {
        self.tell(&format!("{}: {step}", self.what));
        self.step = step;
        self.detail.clear();
        self.drawn = None;
        self.tick();
    }

    fn tell(&self, line: &str) {
        if !self.terminal && PIPES.load(Ordering::Relaxed) {
            eprintln!("zapp: {line}");
        }
    }

    /// Changes how far the step is.
    pub(crate) fn detail(&mut self, detail: String) {
        self.detail = detail;
        self.tick();
    }

    /// Draws the line when it has not been drawn for a moment.
    pub(crate) fn tick(&mut self) {
        let due = self
            .drawn
            .is_none_or(|drawn| drawn.elapsed() > Duration::from_millis(200));
        if self.terminal && due {
            self.drawn = Some(Instant::now());
            let mut line = String::new();
            for part in [&self.step, &self.detail] {
                if !part.is_empty() {
                    line.push_str(part);
                    line.push_str(", ");
                }
            }
            self.draw(&format!("{line}{}", elapsed(self.since)));
        }
    }

    /// Runs a program that is expected to print about `total` lines that `counts`, one for a file.
    pub(crate) fn run(
        &mut self,
        command: &mut Command,
        total: usize,
        counts: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let mut done = 0;
        let printed = read(command, |line| match line {
            Some((Stream::Out, line)) if counts(&String::from_utf8_lossy(line)) => {
                done += 1;
                self.detail(format!("{done} of {} files", total.max(done)));
            }
            _ => self.tick(),
        });
        self.judge(command, printed).map(drop)
    }

    /// Shows what a program said on stderr when it failed.
    pub(crate) fn judge(
        &mut self,
        command: &Command,
        printed: Result<Printed, Error>,
    ) -> Result<Printed, Error> {
        let printed = printed?;
        if !printed.status.success() {
            self.end(false);
            let _unheard = std::io::stderr().write_all(&printed.err);
        }
        succeeded(command, printed.status).map(|()| printed)
    }

    /// The last word, and a line end; the first one stands.
    pub(crate) fn end(&mut self, good: bool) {
        if self.terminal && !self.ended {
            let word = if good { "done" } else { "failed" };
            self.draw(&format!("{word}, {}", elapsed(self.since)));
            eprintln!();
        }
        self.ended = true;
    }

    /// Back to the start of the line, the text, and the rest of the line cleared.
    fn draw(&self, tail: &str) {
        eprint!("\rzapp: {}: {tail}\x1b[K", self.what);
    }
}

fn elapsed(since: Instant) -> String {
    let seconds = since.elapsed().as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
