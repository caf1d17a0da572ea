//! Standard output: buffered, and aware of whether a person or a program reads it.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value;

use crate::name;

/// Buffered stdout.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    terminal: bool,
}

impl Output {
    pub(crate) fn new() -> Output {
        let stdout = io::stdout();
        Output {
            terminal: stdout.is_terminal(),
            out: BufWriter::with_capacity(64 << 10, stdout.lock()),
        }
    }

    /// Writes a name, escaped on a terminal.
    pub(crate) fn name(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(&name::shown(bytes, self.terminal))
    }

    /// Writes a JSON document on a line of its own.
    pub(crate) fn json(&mut self, value: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
