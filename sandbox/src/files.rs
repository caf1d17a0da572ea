//! Descriptors and open files of one instance, as plain data.

use crate::abi::Errno;
use crate::sys::speculation::{barrier, clamp};
use crate::tree::listing::Reading;
use crate::tree::{Device, Node};

/// An open file: what several descriptors share after `dup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenFile {
    pub(crate) node: Node,
    /// Access mode and status flags of `open`.
    pub(crate) flags: i32,
    pub(crate) offset: u64,
    /// How far a directory has been read.
    pub(crate) reading: Option<Reading>,
    descriptors: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descriptor {
    file: usize,
    close_on_exec: bool,
}

/// The descriptor table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    descriptors: Vec<Option<Descriptor>>,
    open: Vec<Option<OpenFile>>,
}

impl OpenFile {
    pub(crate) fn new(node: Node, flags: i32) -> OpenFile {
        OpenFile {
            node,
            flags,
            offset: 0,
            reading: None,
            descriptors: 0,
        }
    }

    /// True when the descriptor was opened so that it can be read.
    pub(crate) fn can_read(&self) -> bool {
        self.flags & libc::O_PATH == 0 && self.flags & libc::O_ACCMODE != libc::O_WRONLY
    }

    /// True when the descriptor was opened so that it can be written.
    pub(crate) fn can_write(&self) -> bool {
        self.flags & libc::O_PATH == 0 && self.flags & libc::O_ACCMODE != libc::O_RDONLY
    }
}

impl Default for Files {
    /// Standard input, output and error.
    fn default() -> Files {
        let mut files = Files {
            descriptors: Vec::new(),
            open: Vec::new(),
        };
        let streams = [
            (Device::Stdin, libc::O_RDONLY),
            (Device::Stdout, libc::O_WRONLY),
            (Device::Stderr, libc::O_WRONLY),
        ];
        for (device, flags) in streams {
            files
                .add(OpenFile::new(Node::Device(device), flags), 0, false, 3)
                .expect("three descriptors are allowed");
        }
        files
    }
}

impl Files {
    /// The open file behind `fd`.
    pub(crate) fn get(&self, fd: i32) -> Result<&OpenFile, Errno> {
        let file = self.descriptor(fd)?.file;
        Ok(self.open[file]
            .as_ref()
            .expect("a descriptor leads to an open file"))
    }

    pub(crate) fn get_mut(&mut self, fd: i32) -> Result<&mut OpenFile, Errno> {
        let file = self.descriptor(fd)?.file;
        Ok(self.opened(file))
    }

    /// True when another descriptor can be had.
    pub(crate) fn has_room(&self, max: u32) -> bool {
        self.free_descriptor(0, max).is_ok()
    }

    /// Gives `file` the lowest free descriptor that is at least `lowest`.
    pub(crate) fn add(
        &mut self,
        file: OpenFile,
        lowest: i32,
        close_on_exec: bool,
        max: u32,
    ) -> Result<i32, Errno> {
        let fd = self.free_descriptor(lowest, max)?;
        let index = self
            .open
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.open.len());
        if index == self.open.len() {
            self.open.push(None);
        }
        self.open[index] = Some(OpenFile {
            descriptors: 1,
            ..file
        });
        self.set(
            fd,
            Descriptor {
                file: index,
                close_on_exec,
            },
        );
        Ok(number(fd))
    }

    /// Another descriptor for the same open file.
    pub(crate) fn duplicate(
        &mut self,
        fd: i32,
        lowest: i32,
        close_on_exec: bool,
        max: u32,
    ) -> Result<i32, Errno> {
        let file = self.descriptor(fd)?.file;
        let new = self.free_descriptor(lowest, max)?;
        self.share(file);
        self.set(
            new,
            Descriptor {
                file,
                close_on_exec,
            },
        );
        Ok(number(new))
    }

    /// Makes `new` another descriptor for the file of `fd`; answers what `new` was, if that closed it.
    pub(crate) fn replace(
        &mut self,
        fd: i32,
        new: i32,
        close_on_exec: bool,
        max: u32,
    ) -> Result<Option<OpenFile>, Errno> {
        let file = self.descriptor(fd)?.file;
        let slot = usize::try_from(new).map_err(|_| Errno(libc::EBADF))?;
        if u32::try_from(slot).map_or(true, |slot| slot >= max) {
            return Err(Errno(libc::EBADF));
        }
        self.share(file);
        let closed = self.close(new).unwrap_or(None);
        self.set(
            slot,
            Descriptor {
                file,
                close_on_exec,
            },
        );
        Ok(closed)
    }

    /// Closes `fd`; answers the open file when that was its last descriptor.
    pub(crate) fn close(&mut self, fd: i32) -> Result<Option<OpenFile>, Errno> {
        let file = self.descriptor(fd)?.file;
        self.descriptors[usize::try_from(fd).expect("checked by descriptor")] = None;
        let open = self.opened(file);
        open.descriptors -= 1;
        if open.descriptors > 0 {
            return Ok(None);
        }
        Ok(self.open[file].take())
    }

    pub(crate) fn close_on_exec(&self, fd: i32) -> Result<bool, Errno> {
        Ok(self.descriptor(fd)?.close_on_exec)
    }

    pub(crate) fn set_close_on_exec(&mut self, fd: i32, value: bool) -> Result<(), Errno> {
        let mut descriptor = self.descriptor(fd)?;
        descriptor.close_on_exec = value;
        self.set(
            usize::try_from(fd).expect("checked by descriptor"),
            descriptor,
        );
        Ok(())
    }

    /// True when nothing is open but standard input, output and error, as at the start.
    pub(crate) fn are_default(&self) -> bool {
        let fresh = Files::default();
        let (streams, more) = self.descriptors.split_at(self.descriptors.len().min(3));
        let (open, closed) = self.open.split_at(self.open.len().min(3));
        streams == fresh.descriptors
            && open == fresh.open
            && more.iter().all(Option::is_none)
            && closed.iter().all(Option::is_none)
    }

    /// What the open files are.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> {
        self.open.iter().flatten().map(|file| file.node)
    }

    /// True when some descriptor may write to `node`.
    pub(crate) fn is_open_for_writing(&self, node: Node) -> bool {
        self.open
            .iter()
            .flatten()
            .any(|file| file.node == node && file.can_write())
    }

    fn descriptor(&self, fd: i32) -> Result<Descriptor, Errno> {
        let fd = usize::try_from(fd).map_err(|_| Errno(libc::EBADF))?;
        if fd >= self.descriptors.len() {
            return Err(Errno(libc::EBADF));
        }
        barrier();
        self.descriptors[clamp(fd, self.descriptors.len())].ok_or(Errno(libc::EBADF))
    }

    fn free_descriptor(&self, lowest: i32, max: u32) -> Result<usize, Errno> {
        let lowest = usize::try_from(lowest).map_err(|_| Errno(libc::EINVAL))?;
        let max = usize::try_from(max).expect("u32 fits usize");
        if lowest >= max {
            return Err(Errno(libc::EINVAL));
        }
        let taken = |fd: &usize| self.descriptors.get(*fd).is_some_and(Option::is_some);
        (lowest..max)
            .find(|fd| !taken(fd))
            .ok_or(Errno(libc::EMFILE))
    }

    fn set(&mut self, fd: usize, descriptor: Descriptor) {
        if fd >= self.descriptors.len() {
            self.descriptors.resize(fd + 1, None);
        }
        self.descriptors[fd] = Some(descriptor);
    }

    fn share(&mut self, file: usize) {
        self.opened(file).descriptors += 1;
    }

    fn opened(&mut self, file: usize) -> &mut OpenFile {
        self.open[file]
            .as_mut()
            .expect("a descriptor leads to an open file")
    }
}

fn number(fd: usize) -> i32 {
    i32::try_from(fd).expect("descriptors are bounded by a u32 limit below 2^31")
}
