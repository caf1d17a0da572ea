//! Open files: reading, writing, descriptors.

use super::Running;
use super::stream::is_stream;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer};
use crate::address::Claimed;
use crate::files::OpenFile;
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

    #[inline(never)]
    pub(super) fn open(&mut self, arguments: Arguments) -> Answer {
        self.open_path(libc::AT_FDCWD, arguments.a, int(arguments.b), arguments.c)
    }

    #[inline(never)]
    pub(super) fn openat(&mut self, arguments: Arguments) -> Answer {
        self.open_path(int(arguments.a), arguments.b, int(arguments.c), arguments.d)
    }

    #[inline(never)]
    pub(super) fn creat(&mut self, arguments: Arguments) -> Answer {
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        self.open_path(libc::AT_FDCWD, arguments.a, flags, arguments.b)
    }

    fn open_path(&mut self, directory: i32, path: u64, flags: i32, mode: u64) -> Answer {
        let creates = flags & libc::O_CREAT != 0;
        let exclusive = creates && flags & libc::O_EXCL != 0;
        let follow = flags & libc::O_NOFOLLOW == 0 && !exclusive;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY && flags & libc::O_PATH == 0;
        let max = self.limits.files;
        if !self.state.files.has_room(max) {
            return errno(libc::EMFILE);
        }
        let (node, created) = self.with_path(directory, path, follow, |running, walked| {
            match walked.node {
                Some(_) if exclusive => Err(Errno(libc::EEXIST)),
                Some(node) => Ok((node, false)),
                None if !creates => Err(Errno(libc::ENOENT)),
                None if walked.slash => Err(Errno(libc::EISDIR)),
                None => {
                    running.check_alive(walked.directory)?;
                    let mode = u32::try_from(mode & 0o777).expect("masked");
                    let mode = mode & !running.state.process.umask();
                    let room = running.room();
                    let view = &mut running.state.view;
                    Ok((
                        view.create(walked.directory, walked.name(), mode, &room)?,
                        true,
                    ))
                }
            }
        })?;
        match self.state.view.kind(self.trees, node) {
            Kind::Symlink if flags & libc::O_PATH == 0 => return errno(libc::ELOOP),
            Kind::Directory if writes || (creates && !created) => return errno(libc::EISDIR),
            Kind::Regular | Kind::Device if flags & libc::O_DIRECTORY != 0 => {
                return errno(libc::ENOTDIR);
            }
            // A file that is mapped stays as it is (review F17).
            Kind::Regular if writes && self.is_windowed(node) => return errno(libc::ETXTBSY),
            _ => {}
        }
        let cloexec = flags & libc::O_CLOEXEC != 0;
        let kept = flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_CLOEXEC);
        let fd = self
            .state
            .files
            .add(OpenFile::new(node, kept), 0, cloexec, max)?;
        self.state.view.opened(node);
        self.usage.files_opened += 1;
        if flags & libc::O_TRUNC != 0
            && writes
            && !created
            && self.state.view.kind(self.trees, node) == Kind::Regular
        {
            let room = self.room();
            self.state.view.truncate(self.trees, node, 0, &room)?;
        }
        Ok(u64::from(fd.cast_unsigned()))
    }

    #[inline(never)]
    pub(super) fn close(&mut self, arguments: Arguments) -> Answer {
        if let Some(file) = self.state.files.close(int(arguments.a))? {
            self.state.view.closed(file.node);
        }
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn lseek(&mut self, arguments: Arguments) -> Answer {
        let file = self.state.files.get(int(arguments.a))?;
        if is_stream(file.node) {
            return errno(libc::ESPIPE);
        }
        let shift = arguments.b.cast_signed();
        let from = match int(arguments.c) {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => file.offset,
            libc::SEEK_END => self.state.view.size(self.trees, file.node),
            _ => return errno(libc::EINVAL),
        };
        let to = i64::try_from(from)
            .ok()
            .and_then(|from| from.checked_add(shift));
        let to = to
            .and_then(|to| u64::try_from(to).ok())
            .ok_or(Errno(libc::EINVAL))?;
        let file = self.state.files.get_mut(int(arguments.a))?;
        file.offset = to;
        if to == 0 {
            file.reading = None;
        }
        Ok(to)
    }

    #[inline(never)]
    pub(super) fn ftruncate(&mut self, arguments: Arguments) -> Answer {
        let file = self.state.files.get(int(arguments.a))?;
        let (node, writes) = (file.node, file.can_write());
        let size = u64::try_from(arguments.b.cast_signed()).map_err(|_| Errno(libc::EINVAL))?;
        if !writes || self.state.view.kind(self.trees, node) != Kind::Regular {
            return errno(libc::EINVAL);
        }
        let room = self.room();
        self.state.view.truncate(self.trees, node, size, &room)?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn truncate(&mut self, arguments: Arguments) -> Answer {
        let size = u64::try_from(arguments.b.cast_signed()).map_err(|_| Errno(libc::EINVAL))?;
        let node = self.with_path(libc::AT_FDCWD, arguments.a, true, |_, walked| {
            walked.found()
        })?;
        match self.state.view.kind(self.trees, node) {
            Kind::Regular if self.is_windowed(node) => return errno(libc::ETXTBSY),
            Kind::Regular => {}
            Kind::Directory => return errno(libc::EISDIR),
            _ => return errno(libc::EINVAL),
        }
        let room = self.room();
        self.state.view.truncate(self.trees, node, size, &room)?;
        Ok(0)
    }

    /// Locks and advice concern nobody else.
    #[inline(never)]
    pub(super) fn flock(&mut self, arguments: Arguments) -> Answer {
        self.state.files.get(int(arguments.a))?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn dup(&mut self, arguments: Arguments) -> Answer {
        let fd = self
            .state
            .files
            .duplicate(int(arguments.a), 0, false, self.limits.files)?;
        Ok(u64::from(fd.cast_unsigned()))
    }

    #[inline(never)]
    pub(super) fn dup2(&mut self, arguments: Arguments) -> Answer {
        let (old, new) = (int(arguments.a), int(arguments.b));
        if old == new {
            self.state.files.get(old)?;
            return Ok(u64::from(new.cast_unsigned()));
        }
        self.dup3(Arguments { c: 0, ..arguments })
    }

    #[inline(never)]
    pub(super) fn dup3(&mut self, arguments: Arguments) -> Answer {
        let (old, new, flags) = (int(arguments.a), int(arguments.b), int(arguments.c));
        if old == new || flags & !libc::O_CLOEXEC != 0 {
            return errno(libc::EINVAL);
        }
        let cloexec = flags & libc::O_CLOEXEC != 0;
        let closed = self
            .state
            .files
            .replace(old, new, cloexec, self.limits.files)?;
        if let Some(file) = closed {
            self.state.view.closed(file.node);
        }
        Ok(u64::from(new.cast_unsigned()))
    }

    #[inline(never)]
    pub(super) fn fcntl(&mut self, arguments: Arguments) -> Answer {
        const SETTABLE: i32 = libc::O_APPEND | libc::O_NONBLOCK | libc::O_NOATIME | libc::O_DIRECT;
        let fd = int(arguments.a);
        let max = self.limits.files;
        let files = &mut self.state.files;
        let status = files.get(fd)?.flags;
        match int(arguments.b) {
            command @ (libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => {
                let cloexec = command == libc::F_DUPFD_CLOEXEC;
                let new = files.duplicate(fd, int(arguments.c), cloexec, max)?;
                Ok(u64::from(new.cast_unsigned()))
            }
            libc::F_GETFD => Ok(u64::from(files.close_on_exec(fd)?)),
            libc::F_SETFD => {
                files.set_close_on_exec(fd, arguments.c & 1 != 0)?;
                Ok(0)
            }
            libc::F_GETFL => Ok(u64::from(status.cast_unsigned())),
            libc::F_SETFL => {
                let flags = (status & !SETTABLE) | (int(arguments.c) & SETTABLE);
                files.get_mut(fd)?.flags = flags;
                Ok(0)
            }
            // Locks are the instance's own: nobody else can hold one.
            libc::F_GETLK | libc::F_OFD_GETLK => {
                let unlocked = i16::try_from(libc::F_UNLCK).expect("small constant");
                self.region
                    .copy_out(pointer(arguments.c), &unlocked.to_le_bytes())?;
                Ok(0)
            }
            libc::F_SETLK | libc::F_SETLKW | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => {
                let mut kind = [0; 2];
                self.region.copy_in(pointer(arguments.c), &mut kind)?;
                Ok(0)
            }
            _ => errno(libc::EINVAL),
        }
    }

    /// No descriptor is a terminal.
    #[inline(never)]
    pub(super) fn ioctl(&mut self, arguments: Arguments) -> Answer {
        self.state.files.get(int(arguments.a))?;
        errno(libc::ENOTTY)
    }
}

fn position(value: u64) -> Result<At, Errno> {
    match i64::try_from(value) {
        Ok(_) => Ok(At::Position(value)),
        Err(_) => Err(Errno(libc::EINVAL)),
    }
}
