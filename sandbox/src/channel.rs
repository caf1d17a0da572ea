//! The byte streams between a guest and whoever runs it: `/dev/stdin`, `/dev/stdout`, `/dev/stderr`.
//!
//! For a server nothing ever waits: input is complete before the instance starts, output goes to a
//! bounded buffer. A command-line run may connect host descriptors; then a trap waits in short steps
//! and looks at the cancel word between them. A server may also ask for an answer while it is made ([`Live`]): what a guest
//! flushes waits in the same way until it is taken.

use crate::request::Response;
use crate::sys::linux;
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Where a guest's input comes from.
#[derive(Debug, Default)]
pub enum Input {
    /// End of file at once.
    #[default]
    Empty,
    /// These bytes, then end of file.
    Bytes(Vec<u8>),
    /// A descriptor of the host's, such as the terminal.
    Host(OwnedFd),
}

/// Where a guest's output goes.
#[derive(Debug, Default)]
pub enum Output {
    /// Nowhere.
    Discard,
    /// Into memory, returned with the report.
    #[default]
    Buffer,
    /// A descriptor of the host's.
    Host(OwnedFd),
}

/// Takes the answer of a guest that flushes its output while it runs.
pub trait Live: Debug + Send {
    /// Offers what standard output has since the last time, behind the response that the guest has given. Says how many
    /// bytes were taken, or nothing when there was no room within a few milliseconds.
    fn offer(&mut self, response: &Response, piece: &[u8]) -> Option<usize>;
}

/// What a step on a channel came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes were moved.
    Moved(usize),
    /// Nothing yet: look at the cancel word and try again.
    NotYet,
}

/// Bytes written to a file in one step.
const UNIT_MAX: usize = 1 << 20;

/// Bytes that a pipe found ready takes without waiting (POSIX's PIPE_BUF on Linux).
const PIPE_UNIT: usize = 4096;

/// How long a step may wait for a host descriptor.
const STEP_MS: i32 = 10;

/// An open input.
#[derive(Debug)]
pub(crate) struct Reader {
    input: Input,
    position: usize,
}

impl Reader {
    pub(crate) fn new(input: Input) -> Reader {
        Reader { input, position: 0 }
    }

    /// Reads what is there, at most `buffer`; `Moved(0)` is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        match &self.input {
            Input::Empty => Ok(Step::Moved(0)),
            Input::Bytes(bytes) => {
                let rest = &bytes[self.position..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.position += count;
                Ok(Step::Moved(count))
            }
            Input::Host(fd) => {
                if !linux::wait_ready(fd.as_fd(), false, STEP_MS)? {
                    return Ok(Step::NotYet);
                }
                linux::read(fd.as_fd(), buffer).map(Step::Moved)
            }
        }
    }
}

/// An open output.
#[derive(Debug)]
pub(crate) struct Writer {
    output: Output,
    /// A regular file of the host's, which never makes a writer wait for a reader.
    is_file: bool,
    buffer: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(output: Output) -> Writer {
        let is_file = match &output {
            Output::Host(fd) => linux::is_regular_file(fd.as_fd()),
            _ => false,
        };
        Writer {
            output,
            is_file,
            buffer: Vec::new(),
        }
    }

    /// Writes some of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<Step> {
        match &self.output {
            Output::Discard => Ok(Step::Moved(bytes.len())),
            Output::Buffer => {
                let full = |_| io::Error::from_raw_os_error(libc::ENOSPC);
                self.buffer.try_reserve(bytes.len()).map_err(full)?;
                self.buffer.extend_from_slice(bytes);
                Ok(Step::Moved(bytes.len()))
            }
            Output::Host(fd) => {
                if !linux::wait_ready(fd.as_fd(), true, STEP_MS)? {
                    return Ok(Step::NotYet);
                }
                let unit = bytes
                    .len()
                    .min(if self.is_file { UNIT_MAX } else { PIPE_UNIT });
                linux::write(fd.as_fd(), &bytes[..unit]).map(Step::Moved)
            }
        }
    }

    /// Bytes that were written to memory.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// What was written to memory.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

/// Whoever takes standard output while the guest runs, and whether that has begun.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) live: Box<dyn Live>,
    pub(crate) has_begun: bool,
}

/// The three standard streams of one instance.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) tap: Option<Tap>,
    pub(crate) stdin: Reader,
    pub(crate) stdout: Writer,
    pub(crate) stderr: Writer,
}

impl Channels {
    /// What was written to memory, stdout first.
    pub(crate) fn take_output(&mut self) -> [Vec<u8>; 2] {
        [self.stdout.take(), self.stderr.take()]
    }
}
