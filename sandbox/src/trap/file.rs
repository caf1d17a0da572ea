//! Open files: descriptors and what they refer to.

use super::Running;
use super::stream::is_stream;
use crate::abi::{Answer, Arguments, Errno, errno, int, pointer, rights};
use crate::files::OpenFile;
use crate::tree::Kind;

impl Running<'_> {
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
                    let mode = rights(mode);
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
