//! What a person at a terminal sees of a build: one line that is drawn again. A pipe sees nothing but failures.

use std::io::{IsTerminal, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::process::{Printed, Stream, read, succeeded};

/// A line on stderr that is drawn again and again.
pub(crate) struct Progress {
    terminal: bool,
    what: String,
    detail: String,
    since: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(what: &str) -> Progress {
        let mut progress = Progress {
            terminal: std::io::stderr().is_terminal(),
            what: what.to_owned(),
            detail: String::new(),
            since: Instant::now(),
            drawn: None,
        };
        progress.tick();
        progress
    }

    /// Changes what stands behind the name of the work.
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
            self.draw(&format!("{} {}", self.detail, elapsed(self.since)));
        }
    }

    /// The last word, and a line end.
    pub(crate) fn end(&mut self, good: bool) {
        if self.terminal {
            let word = if good { "done" } else { "failed" };
            self.draw(&format!("{word} {}", elapsed(self.since)));
            eprintln!();
        }
    }

    /// Back to the start of the line, the text, and the rest of the line cleared.
    fn draw(&self, tail: &str) {
        eprint!("\rzapp: {} {tail}\x1b[K", self.what);
    }
}

fn elapsed(since: Instant) -> String {
    let seconds = since.elapsed().as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Runs a build step that is expected to print about `total` lines that `counts`. What it said is shown when it fails.
pub(crate) fn run_with_progress(
    command: &mut Command,
    what: &str,
    total: usize,
    counts: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let mut progress = Progress::new(what);
    let mut done = 0;
    let printed = read(command, |line| match line {
        Some((Stream::Out, line)) if counts(&String::from_utf8_lossy(line)) => {
            done += 1;
            progress.detail(format!("{} %", (done * 100 / total.max(1)).min(99)));
        }
        _ => progress.tick(),
    });
    finish(command, &mut progress, printed).map(drop)
}

/// Ends the line, and shows what the program said on stderr when it failed.
pub(crate) fn finish(
    command: &Command,
    progress: &mut Progress,
    printed: Result<Printed, Error>,
) -> Result<Printed, Error> {
    progress.end(
        printed
            .as_ref()
            .is_ok_and(|printed| printed.status.success()),
    );
    let printed = printed?;
    if !printed.status.success() {
        let _unheard = std::io::stderr().write_all(&printed.err);
    }
    succeeded(command, printed.status).map(|()| printed)
}
