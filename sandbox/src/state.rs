//! The host's side of an instance, as plain data: cloned with a snapshot, compared after a reset.

use crate::error::{Error, Hold};
use crate::files::Files;
use crate::jumps::Jumps;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::outside::Clocks;
use crate::tree::process::Process;
use crate::tree::trees::Trees;
use crate::tree::view::View;
use crate::tree::{Mounts, Node};

/// Everything the host remembers for one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) files: Files,
    pub(crate) view: View,
    pub(crate) process: Process,
    pub(crate) memory: Memory,
    pub(crate) jumps: Jumps,
    /// True once the guest has read random bytes: what it derived from them would be shared by all
    /// clones of a snapshot (review F16).
    pub(crate) has_read_random: bool,
    pub(crate) clocks: Clocks,
    /// True once the guest has said that `SIGPIPE` is not to end it.
    pub(crate) survives_broken_pipes: bool,
}

impl State {
    /// The state at the start of a program.
    pub(crate) fn new(
        layout: &Layout,
        mounts: &Mounts,
        trees: &Trees,
        path: Option<&[u8]>,
    ) -> Result<State, Error> {
        let mut view = View::new(mounts, trees)?;
        let process = Process::new(&mut view, trees, path)?;
        Ok(State {
            files: Files::default(),
            view,
            process,
            memory: Memory::new(layout),
            jumps: Jumps::default(),
            has_read_random: false,
            clocks: Clocks::default(),
            survives_broken_pipes: false,
        })
    }

    /// True when a program that has changed no file and gone to the same directory is in the same state.
    pub(crate) fn has_no_files(&self, mounts: &Mounts, trees: &Trees) -> bool {
        let (Some(path), Ok(mut view)) = (self.process.path(), View::new(mounts, trees)) else {
            return false;
        };
        let process = Process::resumed(&mut view, trees, path, self.process.umask());
        let is_released = view.release(mounts).is_ok();
        is_released && process.is_ok_and(|process| process == self.process) && view == self.view
    }

    /// Makes a snapshot's state that of an instance with trees of its own; goes to `path` as programs do at
    /// their start.
    pub(crate) fn bind(
        &mut self,
        mounts: &Mounts,
        trees: &Trees,
        path: Option<&[u8]>,
    ) -> Result<(), Error> {
        self.view.attach(mounts, trees)?;
        match path {
            Some(path) => self.process.start_in(&mut self.view, trees, path),
            None => Ok(()),
        }
    }

    /// Lets go of the trees that were bound for one instance, when nothing holds on to them. What is left is
    /// a snapshot's: with other trees it shows those and nothing of these.
    pub(crate) fn release(&mut self, mounts: &Mounts) -> Result<(), Error> {
        let late = |node: Node| match node {
            Node::Base(tree, _) if mounts.is_late(tree) => Some(tree),
            _ => None,
        };
        let windows = &mut self.memory.windows.iter();
        let held = if let Some(tree) = self.files.nodes().find_map(late) {
            Err((tree, Hold::OpenFile))
        } else if let Some(tree) = windows.find_map(|window| late(window.node)) {
            Err((tree, Hold::Mapping))
        } else if let Some(tree) = late(self.process.cwd()) {
            Err((tree, Hold::WorkingDirectory))
        } else {
            (self.view.release(mounts)).map_err(|tree| (tree, Hold::Change))
        };
        held.map_err(|(tree, by)| Error::BoundInUse {
            path: mounts.path(tree).escape_ascii().to_string(),
            by,
        })
    }

    /// Goes back to an earlier state of the files, but stays in the present directory. False, and nothing
    /// happens, when a file of the instance's own is open, or it stands in a directory of its own.
    pub(crate) fn take_back_files(&mut self, earlier: &FileChanges) -> bool {
        let is_own = |node: Node| matches!(node, Node::Scratch(_));
        let cwd = self.process.cwd();
        if self.files.nodes().any(is_own) || (is_own(cwd) && cwd != earlier.cwd) {
            return false;
        }
        let now = std::mem::replace(&mut self.view, earlier.view.clone());
        self.view.ledger_mut().keep_held_of(now.ledger());
        self.view.opened(cwd);
        self.view.closed(earlier.cwd);
        true
    }

    /// What the instance has made of its files up to now.
    pub(crate) fn file_changes(&self) -> FileChanges {
        FileChanges {
            view: self.view.clone(),
            cwd: self.process.cwd(),
        }
    }
}

/// What an instance has made of the files it sees, at one moment.
#[derive(Debug)]
pub struct FileChanges {
    view: View,
    cwd: Node,
}
