//! Standard input, output and error as files.
//!
//! `fsync` of standard output says that what was written is for whoever asked, now. It answers as for any stream, whether
//! or not somebody takes it, so that a guest learns nothing by it.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int};
use crate::channel::Step;
use crate::limits::LimitKind;
use crate::report::Outcome;
use crate::tree::{Device, Node};

/// What an answer that has begun to be taken may gather before it is offered without a flush.
const LIVE_BYTES: usize = 256 << 10;

impl Running<'_> {
    pub(super) fn read_stream(&mut self, unit: &mut [u8]) -> Result<usize, Stop> {
        let (stdin, control) = (&mut self.channels.stdin, self.control);
        self.outside.input(unit, |unit| {
            loop {
                match stdin.read(unit).map_err(|error| system(&error))? {
                    Step::Moved(count) => return Ok(count),
                    Step::NotYet if control.is_cancelled() => return Err(Stop::Cancelled),
                    Step::NotYet => {}
                }
            }
        })
    }

    pub(super) fn write_stream(&mut self, is_error: bool, unit: &[u8]) -> Result<usize, Stop> {
        if self.usage.output_bytes.saturating_add(unit.len() as u64) > self.limits.output_bytes {
            return Err(Stop::End(Outcome::Limit {
                limit: LimitKind::Output,
            }));
        }
        let channels = &mut *self.channels;
        let stream = if is_error {
            &mut channels.stderr
        } else {
            &mut channels.stdout
        };
        let control = self.control;
        let (written, end) = self.outside.output(unit.len(), |len| {
            let mut written = 0;
            while written < len {
                match stream.write(&unit[written..len]) {
                    Ok(Step::Moved(count)) => written += count,
                    Ok(Step::NotYet) if control.is_cancelled() => {
                        return (written, Err(Stop::Cancelled));
                    }
                    Ok(Step::NotYet) => {}
                    Err(error) => return (written, Err(system(&error).into())),
                }
            }
            (written, Ok(()))
        });
        self.usage.output_bytes += written as u64;
        let is_much = self.channels.stdout.len() >= LIVE_BYTES;
        if is_much && self.channels.tap.as_ref().is_some_and(|tap| tap.has_begun) {
            self.flush()?;
        }
        match end {
            // As on Linux: `prog | head` ends.
            Err(Stop::Error(Errno(libc::EPIPE))) if !self.state.survives_broken_pipes => {
                Err(Stop::End(Outcome::Raised {
                    signal: libc::SIGPIPE.unsigned_abs(),
                }))
            }
            end => end.map(|()| written),
        }
    }

    /// Nothing is ever on its way to a disk, and a stream has none.
    #[inline(never)]
    pub(super) fn fsync(&mut self, arguments: Arguments) -> Answer {
        let node = self.state.files.get(int(arguments.a))?.node;
        if node == Node::Device(Device::Stdout) {
            self.flush()?;
        }
        if is_stream(node) {
            return errno(libc::EINVAL);
        }
        Ok(0)
    }

    /// Hands over what was written to standard output, if there is a response before it and somebody who takes it.
    fn flush(&mut self) -> Result<(), Stop> {
        let (Some(tap), Some(response)) = (&mut self.channels.tap, &self.exchange.response) else {
            return Ok(());
        };
        tap.has_begun = true;
        let said = self.channels.stdout.take();
        let mut left = said.as_slice();
        loop {
            match tap.live.offer(response, left) {
                Some(taken) => left = &left[taken..],
                None if self.control.is_cancelled() => return Err(Stop::Cancelled),
                None => {}
            }
            if left.is_empty() {
                return Ok(());
            }
        }
    }
}

/// True for files without a position.
pub(super) fn is_stream(node: Node) -> bool {
    matches!(
        node,
        Node::Device(Device::Stdin | Device::Stdout | Device::Stderr)
    )
}

/// What the host was told by the kernel, for the guest.
fn system(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
