//! Reading and writing open files.

use super::Running;
use super::stream::is_stream;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer};
use crate::address::Claimed;
use crate::tree::{Device, Kind, Node};

/// Host memory a trap moves data through; also the longest stretch between two looks at `cancel`.
pub(crate) const UNIT: usize = 64 << 10;

/// Longest transfer of one call, as on Linux.
const TRANSFER_MAX: u64 = 0x7FFF_F000;

/// Most parts of a vectored call (review F13).
const PARTS_MAX: i32 = 1024;

/// A claimed stretch of guest memory.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    start: Claimed,
    len: u64,
}

/// Where in a file a transfer happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the file's offset, which moves.
    Offset,
    /// At this position; the offset stays.
    Position(u64),
}

impl Running<'_> {
    #[inline(never)]
    pub(super) fn read(&mut self, arguments: Arguments) -> Answer {
        let part = Stretch {
            start: pointer(arguments.b),
            len: arguments.c,
        };
        self.transfer(int(arguments.a), &[part], At::Offset, false)
    }

    #[inline(never)]
    pub(super) fn write(&mut self, arguments: Arguments) -> Answer {
        let part = Stretch {
            start: pointer(arguments.b),
            len: arguments.c,
        };
        self.transfer(int(arguments.a), &[part], At::Offset, true)
    }

    #[inline(never)]
    pub(super) fn pread(&mut self, arguments: Arguments) -> Answer {
        let part = Stretch {
            start: pointer(arguments.b),
            len: arguments.c,
        };
        self.transfer(int(arguments.a), &[part], position(arguments.d)?, false)
    }

    #[inline(never)]
    pub(super) fn pwrite(&mut self, arguments: Arguments) -> Answer {
        let part = Stretch {
            start: pointer(arguments.b),
            len: arguments.c,
        };
        self.transfer(int(arguments.a), &[part], position(arguments.d)?, true)
    }

    #[inline(never)]
    pub(super) fn readv(&mut self, arguments: Arguments) -> Answer {
        let parts = self.parts(arguments)?;
        self.transfer(int(arguments.a), &parts, At::Offset, false)
    }

    #[inline(never)]
    pub(super) fn writev(&mut self, arguments: Arguments) -> Answer {
        let parts = self.parts(arguments)?;
        self.transfer(int(arguments.a), &parts, At::Offset, true)
    }

    /// The parts of a vectored call, copied once.
    fn parts(&self, arguments: Arguments) -> Result<Vec<Stretch>, Stop> {
        let count = int(arguments.c);
        if !(0..=PARTS_MAX).contains(&count) {
            return Err(Errno(libc::EINVAL).into());
        }
        let mut bytes = vec![0; usize::try_from(count).expect("checked") * 16];
        self.region.copy_in(pointer(arguments.b), &mut bytes)?;
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let mut sum = 0_u64;
        let mut parts = Vec::with_capacity(bytes.len() / 16);
        for entry in bytes.chunks_exact(16) {
            let len = word(&entry[8..]);
            sum = sum
                .checked_add(len)
                .filter(|sum| *sum <= i64::MAX.cast_unsigned())
                .ok_or(Errno(libc::EINVAL))?;
            parts.push(Stretch {
                start: pointer(word(&entry[..8])),
                len,
            });
        }
        Ok(parts)
    }

    /// Moves bytes between guest memory and a file, in units, until a short step.
    fn transfer(&mut self, fd: i32, parts: &[Stretch], at: At, write: bool) -> Answer {
        let file = self.state.files.get(fd)?;
        if !(if write {
            file.can_write()
        } else {
            file.can_read()
        }) {
            return errno(libc::EBADF);
        }
        let node = file.node;
        let appends = write && file.flags & libc::O_APPEND != 0 && !matches!(node, Node::Device(_));
        if matches!(node, Node::Base(..) | Node::Scratch(_))
            && self.state.view.kind(self.trees, node) != Kind::Regular
        {
            return errno(libc::EISDIR);
        }
        let mut position = match at {
            At::Position(_) if is_stream(node) => return errno(libc::ESPIPE),
            At::Position(position) => position,
            At::Offset if appends => self.state.view.size(self.trees, node),
            At::Offset => file.offset,
        };
        let mut done = 0;
        let mut buffer = std::mem::take(self.buffer);
        let result = self.move_parts(node, parts, &mut position, write, &mut buffer, &mut done);
        *self.buffer = buffer;
        if at == At::Offset && !matches!(node, Node::Device(_)) {
            self.state.files.get_mut(fd)?.offset = position;
        }
        match result {
            // What was moved before an error counts; the guest sees the error at its next call.
            Err(Stop::Error(_)) if done > 0 => Ok(done),
            Err(stop) => Err(stop),
            Ok(()) => Ok(done),
        }
    }

    fn move_parts(
        &mut self,
        node: Node,
        parts: &[Stretch],
        position: &mut u64,
        write: bool,
        buffer: &mut [u8],
        done: &mut u64,
    ) -> Result<(), Stop> {
        for part in parts {
            let (mut moved, len) = (0, part.len.min(TRANSFER_MAX - *done));
            while moved < len {
                self.poll()?;
                let room = usize::try_from(len - moved)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                // A stretch that runs past the slot's end is found here, before anything is moved.
                let start = part.start.plus(moved).ok_or(Errno(libc::EFAULT))?;
                let unit = &mut buffer[..room];
                let count = if write {
                    self.region.copy_in(start, unit)?;
                    self.write_unit(node, *position, unit)?
                } else {
                    let count = self.read_unit(node, *position, unit)?;
                    self.region.copy_out(start, &unit[..count])?;
                    count
                };
                *position += count as u64;
                *done += count as u64;
                moved += count as u64;
                // A short step ends the call, as it does on Linux for files at their end and for
                // streams that have no more for now.
                if count < room || (is_stream(node) && !write) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn read_unit(&mut self, node: Node, position: u64, unit: &mut [u8]) -> Result<usize, Stop> {
        match node {
            Node::Device(Device::Null | Device::Stdout | Device::Stderr) => Ok(0),
            Node::Device(Device::Zero) => {
                unit.fill(0);
                Ok(unit.len())
            }
            Node::Device(Device::Random) => {
                self.state.has_read_random = true;
                self.outside.random(unit);
                Ok(unit.len())
            }
            Node::Device(Device::Stdin) => self.read_stream(unit),
            _ => Ok(self.state.view.read_at(self.trees, node, position, unit)?),
        }
    }

    fn write_unit(&mut self, node: Node, position: u64, unit: &[u8]) -> Result<usize, Stop> {
        match node {
            Node::Device(Device::Null | Device::Zero | Device::Random | Device::Stdin) => {
                Ok(unit.len())
            }
            Node::Device(Device::Stdout) => self.write_stream(false, unit),
            Node::Device(Device::Stderr) => self.write_stream(true, unit),
            _ => {
                let room = self.room();
                let view = &mut self.state.view;
                view.write_at(self.trees, node, position, unit, &room)?;
                if matches!(node, Node::Base(..)) {
                    self.usage.discarded_bytes += unit.len() as u64;
                }
                Ok(unit.len())
            }
        }
    }
}

fn position(value: u64) -> Result<At, Errno> {
    match i64::try_from(value) {
        Ok(_) => Ok(At::Position(value)),
        Err(_) => Err(Errno(libc::EINVAL)),
    }
}
