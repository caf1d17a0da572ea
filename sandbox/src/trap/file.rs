//! Reading and writing.

use super::{Answer, Arguments, Errno, Running, Stop, int, pointer};
use crate::channel::Step;
use crate::limits::LimitKind;
use crate::report::Outcome;

/// Host memory a trap moves data through; also the longest stretch between two looks at `cancel`.
const UNIT: usize = 64 << 10;

impl Running<'_> {
    pub(super) fn write(&mut self, arguments: Arguments) -> Answer {
        let mut done = 0;
        self.write_channel(
            int(arguments.a),
            pointer(arguments.b),
            arguments.c,
            &mut done,
        )
    }

    pub(super) fn writev(&mut self, arguments: Arguments) -> Answer {
        let mut done = 0;
        let count = int(arguments.c);
        if !(0..=1024).contains(&count) {
            return Err(Errno(libc::EINVAL).into());
        }
        let mut bytes = vec![0; usize::try_from(count).expect("checked") * 16];
        self.region.copy_in(pointer(arguments.b), &mut bytes)?;
        for entry in bytes.chunks_exact(16) {
            let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight"));
            self.write_channel(int(arguments.a), pointer(word(0)), word(8), &mut done)?;
        }
        Ok(done)
    }

    fn write_channel(&mut self, fd: i32, start: u32, len: u64, done: &mut u64) -> Answer {
        let mut buffer = vec![0; UNIT.min(usize::try_from(len).unwrap_or(UNIT))];
        let mut at = u64::from(start);
        let end = at + len.min(0x7FFF_F000);
        while at < end {
            self.poll()?;
            let room = usize::try_from(end - at).expect("fits").min(UNIT);
            let part = &mut buffer[..room];
            self.region.copy_in(pointer(at), part)?;
            if self.usage.output_bytes + part.len() as u64 > self.limits.output_bytes {
                return Err(Stop::End(Outcome::Limit {
                    limit: LimitKind::Output,
                }));
            }
            let writer = match fd {
                1 => &mut self.channels.stdout,
                2 => &mut self.channels.stderr,
                _ => return Err(Errno(libc::EBADF).into()),
            };
            match writer
                .write(part)
                .map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?
            {
                Step::Moved(count) => {
                    self.usage.output_bytes += count as u64;
                    *done += count as u64;
                    at += count as u64;
                }
                Step::NotYet => {}
            }
        }
        Ok(*done)
    }
}
