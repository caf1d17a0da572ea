//! Facts about files that a guest may change, for itself: permissions, owner, modification time.

use super::Running;
use crate::abi::{Answer, Arguments, errno, int, pointer};
use crate::address::low;

impl Running<'_> {
    #[inline(never)]
    pub(super) fn chmod(&mut self, arguments: Arguments) -> Answer {
        self.chmod_path(libc::AT_FDCWD, arguments.a, arguments.b)
    }

    #[inline(never)]
    pub(super) fn fchmodat(&mut self, arguments: Arguments) -> Answer {
        self.chmod_path(int(arguments.a), arguments.b, arguments.c)
    }

    fn chmod_path(&mut self, directory: i32, path: u64, mode: u64) -> Answer {
        let node = self.with_path(directory, path, true, |_, walked| walked.found())?;
        let room = self.room();
        self.state.view.set_mode(node, low(mode), &room)?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn fchmod(&mut self, arguments: Arguments) -> Answer {
        let node = self.state.files.get(int(arguments.a))?.node;
        let room = self.room();
        self.state.view.set_mode(node, low(arguments.b), &room)?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn utimensat(&mut self, arguments: Arguments) -> Answer {
        let node = if pointer(arguments.b).is_null() {
            self.state.files.get(int(arguments.a))?.node
        } else {
            let follow = int(arguments.d) & libc::AT_SYMLINK_NOFOLLOW == 0;
            self.with_path(int(arguments.a), arguments.b, follow, |_, walked| {
                walked.found()
            })?
        };
        let mut modified = self.now_ns();
        let times = pointer(arguments.c);
        if !times.is_null() {
            // The second timespec is the modification time.
            let mut bytes = [[0; 8]; 4];
            self.region.copy_in(times, bytes.as_flattened_mut())?;
            let [_, _, seconds, nanos] = bytes.map(i64::from_le_bytes);
            match nanos {
                libc::UTIME_NOW => {}
                libc::UTIME_OMIT => return Ok(0),
                nanos @ 0..1_000_000_000 => {
                    modified = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
                }
                _ => return errno(libc::EINVAL),
            }
        }
        let room = self.room();
        self.state.view.set_modified(node, modified, &room)?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn chown(&mut self, arguments: Arguments) -> Answer {
        self.chown_path(libc::AT_FDCWD, arguments.a, true, arguments.b, arguments.c)
    }

    #[inline(never)]
    pub(super) fn lchown(&mut self, arguments: Arguments) -> Answer {
        self.chown_path(libc::AT_FDCWD, arguments.a, false, arguments.b, arguments.c)
    }

    #[inline(never)]
    pub(super) fn fchownat(&mut self, arguments: Arguments) -> Answer {
        let follow = int(arguments.e) & libc::AT_SYMLINK_NOFOLLOW == 0;
        let directory = int(arguments.a);
        self.chown_path(directory, arguments.b, follow, arguments.c, arguments.d)
    }

    fn chown_path(
        &mut self,
        directory: i32,
        path: u64,
        follow: bool,
        user: u64,
        group: u64,
    ) -> Answer {
        self.with_path(directory, path, follow, |_, walked| walked.found())?;
        only_root(user, group)
    }

    #[inline(never)]
    pub(super) fn fchown(&mut self, arguments: Arguments) -> Answer {
        self.state.files.get(int(arguments.a))?;
        only_root(arguments.b, arguments.c)
    }
}

/// There is one user and one group, and all files are theirs.
fn only_root(user: u64, group: u64) -> Answer {
    let is_known = |id: u64| matches!(low(id), 0 | u32::MAX);
    if is_known(user) && is_known(group) {
        Ok(0)
    } else {
        errno(libc::EPERM)
    }
}
