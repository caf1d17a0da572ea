//! Facts about files, in the layouts of Linux x86-64.

use super::Running;
use super::stream::is_stream;
use crate::abi::{Answer, Arguments, Stop, int, pointer};
use crate::tree::{Kind, Metadata, Node};

/// The inode number shown for a node; unique on its device.
pub(super) fn number(node: Node) -> u64 {
    match node {
        Node::Base(_, number) => u64::from(number) + 1,
        Node::Scratch(number) => u64::from(number) + 1,
        Node::Device(device) => device.number(),
    }
}

/// The device number shown for a node.
fn device(node: Node) -> u64 {
    match node {
        Node::Base(tree, _) => u64::from(tree) + 0x10,
        Node::Scratch(_) => 2,
        Node::Device(_) => 3,
    }
}

fn mode(node: Node, facts: &Metadata) -> u32 {
    let kind = match facts.kind {
        Kind::Directory => libc::S_IFDIR,
        Kind::Regular => libc::S_IFREG,
        Kind::Symlink => libc::S_IFLNK,
        // Streams look like pipes, so that stdio buffers them fully.
        Kind::Device if is_stream(node) => libc::S_IFIFO,
        Kind::Device => libc::S_IFCHR,
    };
    kind | facts.mode
}

impl Running<'_> {
    #[inline(never)]
    pub(super) fn stat(&mut self, arguments: Arguments) -> Answer {
        self.stat_path(libc::AT_FDCWD, arguments.a, arguments.b, 0)
    }

    #[inline(never)]
    pub(super) fn lstat(&mut self, arguments: Arguments) -> Answer {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        self.stat_path(libc::AT_FDCWD, arguments.a, arguments.b, flags)
    }

    #[inline(never)]
    pub(super) fn fstat(&mut self, arguments: Arguments) -> Answer {
        let node = self.state.files.get(int(arguments.a))?.node;
        self.stat_out(node, arguments.b)
    }

    #[inline(never)]
    pub(super) fn newfstatat(&mut self, arguments: Arguments) -> Answer {
        self.stat_path(int(arguments.a), arguments.b, arguments.c, int(arguments.d))
    }

    fn stat_path(&mut self, directory: i32, path: u64, target: u64, flags: i32) -> Answer {
        let node = self.node_at(directory, path, flags)?;
        self.stat_out(node, target)
    }

    /// The node a path and `AT_` flags name, or the descriptor's own for an empty path.
    fn node_at(&mut self, directory: i32, path: u64, flags: i32) -> Result<Node, Stop> {
        if flags & libc::AT_EMPTY_PATH != 0 {
            let mut first = [0];
            self.region.copy_in(pointer(path), &mut first)?;
            if first == [0] {
                if directory == libc::AT_FDCWD {
                    return Ok(self.state.process.cwd());
                }
                return Ok(self.state.files.get(directory)?.node);
            }
        }
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        self.with_path(directory, path, follow, |_, walked| walked.found())
    }

    /// `struct stat`.
    fn stat_out(&mut self, node: Node, target: u64) -> Answer {
        let facts = self.state.view.metadata(self.trees, node);
        let seconds = facts.modified_ns.div_euclid(1_000_000_000).cast_unsigned();
        let nanos = facts.modified_ns.rem_euclid(1_000_000_000).cast_unsigned();
        let mode_uid = u64::from(mode(node, &facts)) | u64::from(facts.uid) << 32;
        let words = [
            device(node),
            number(node),
            facts.links.into(),
            mode_uid,
            facts.gid.into(),
            0,
            facts.size,
            4096,
            facts.size.div_ceil(512),
            seconds,
            nanos,
            seconds,
            nanos,
            seconds,
            nanos,
            0,
            0,
            0,
        ];
        self.words_out(pointer(target), words)?;
        Ok(0)
    }

    /// `struct statx`; every basic field is always filled.
    #[inline(never)]
    pub(super) fn statx(&mut self, arguments: Arguments) -> Answer {
        let node = self.node_at(int(arguments.a), arguments.b, int(arguments.c))?;
        let facts = self.state.view.metadata(self.trees, node);
        let seconds = facts.modified_ns.div_euclid(1_000_000_000).cast_unsigned();
        let nanos = facts.modified_ns.rem_euclid(1_000_000_000).cast_unsigned();
        let mut words = [0; 32];
        words[0] = u64::from(libc::STATX_BASIC_STATS) | 4096 << 32;
        words[2] = u64::from(facts.links) | u64::from(facts.uid) << 32;
        words[3] = u64::from(facts.gid) | u64::from(mode(node, &facts)) << 32;
        words[4] = number(node);
        words[5] = facts.size;
        words[6] = facts.size.div_ceil(512);
        // Access, birth, change and modification time: seconds, then nanoseconds.
        for time in [8, 12, 14] {
            words[time] = seconds;
            words[time + 1] = nanos;
        }
        words[17] = device(node) << 32;
        self.words_out(pointer(arguments.e), words)?;
        Ok(0)
    }

    /// `struct statfs`: the scratch limit as a small file system.
    pub(super) fn statfs(&mut self, arguments: Arguments, call: i64) -> Answer {
        if call == libc::SYS_fstatfs {
            self.state.files.get(int(arguments.a))?;
        } else {
            self.node_at(libc::AT_FDCWD, arguments.a, 0)?;
        }
        let blocks = self.limits.scratch_bytes / 4096;
        let free = blocks.saturating_sub(self.state.view.ledger().bytes().div_ceil(4096));
        let files = u64::from(self.limits.files);
        let mut words = [0; 15];
        words[0] = libc::TMPFS_MAGIC.cast_unsigned();
        words[1] = 4096;
        words[2] = blocks;
        words[3] = free;
        words[4] = free;
        words[5] = files;
        words[6] = files;
        words[8] = 255;
        words[9] = 4096;
        self.words_out(pointer(arguments.b), words)?;
        Ok(0)
    }
}
