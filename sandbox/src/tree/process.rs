//! What belongs to the process rather than to its files: the current directory and the umask.

use super::trees::Trees;
use super::view::View;
use super::{Kind, Node};
use crate::abi::Errno;
use crate::error::Error;

/// Where an instance is, and which permissions it withholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    cwd: Node,
    /// Its path, unless it has been removed.
    path: Option<Vec<u8>>,
    umask: u32,
}

impl Process {
    /// A process in the root directory, or in the one where programs start.
    pub(crate) fn new(
        view: &mut View,
        trees: &Trees,
        path: Option<&[u8]>,
    ) -> Result<Process, Error> {
        let mut process = Process {
            cwd: view.root(),
            path: Some(b"/".to_vec()),
            umask: 0o022,
        };
        view.opened(process.cwd);
        if let Some(path) = path {
            process.start_in(view, trees, path)?;
        }
        Ok(process)
    }

    /// A process that has gone to a directory.
    pub(crate) fn resumed(
        view: &mut View,
        trees: &Trees,
        path: &[u8],
        umask: u32,
    ) -> Result<Process, Error> {
        let mut process = Process::new(view, trees, Some(path))?;
        process.set_umask(umask);
        Ok(process)
    }

    /// The current directory.
    pub(crate) fn cwd(&self) -> Node {
        self.cwd
    }

    /// Its path, unless it has been removed.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    pub(crate) fn umask(&self) -> u32 {
        self.umask
    }

    /// Sets the umask; answers what it was.
    pub(crate) fn set_umask(&mut self, umask: u32) -> u32 {
        std::mem::replace(&mut self.umask, umask & 0o777)
    }

    /// Makes a directory the current one. It stays so even when its name is removed.
    pub(crate) fn change_directory(
        &mut self,
        view: &mut View,
        trees: &Trees,
        node: Node,
    ) -> Result<(), Errno> {
        if view.kind(trees, node) != Kind::Directory {
            return Err(Errno(libc::ENOTDIR));
        }
        let path = view.path_of(trees, node)?;
        view.opened(node);
        view.closed(self.cwd);
        self.cwd = node;
        self.path = Some(path);
        Ok(())
    }

    /// Takes notice that a directory has another name now, or none.
    pub(crate) fn renamed(&mut self, view: &View, trees: &Trees, directory: Node) {
        if view.is_below(trees, self.cwd, directory) {
            self.path = view.path_of(trees, self.cwd).ok();
        }
    }

    /// Makes a directory the current one before the program starts.
    pub(crate) fn start_in(
        &mut self,
        view: &mut View,
        trees: &Trees,
        path: &[u8],
    ) -> Result<(), Error> {
        let bad = |reason| Error::GuestPath {
            path: path.escape_ascii().to_string(),
            reason,
        };
        let found = view.walk(trees, view.root(), path, true);
        let directory = found.ok().and_then(|walked| walked.node);
        let directory = directory.ok_or_else(|| bad("there is no such directory"))?;
        self.change_directory(view, trees, directory)
            .map_err(|_| bad("it is no directory"))
    }
}
