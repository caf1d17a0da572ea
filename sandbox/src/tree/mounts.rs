//! The shape of what a guest sees: which trees, and where. A tree may be left open, for each instance to
//! bring its own: one object of many, a folder at one of its versions.

use super::Tree;
use super::trees::Trees;
use crate::error::Error;
use std::sync::Arc;

/// The most trees there can be: a node names its tree in a byte.
const TREES_MAX: usize = 1 << 8;

/// The trees a guest sees, and where.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    list: Vec<Mount>,
    working_directory: Option<Vec<u8>>,
}

/// A place, and the tree there, unless each instance brings it along.
#[derive(Debug, Clone)]
struct Mount {
    path: Vec<u8>,
    tree: Option<Arc<dyn Tree>>,
}

impl Mounts {
    /// No trees: the guest sees only `/dev` and `/tmp`.
    #[must_use]
    pub fn new() -> Mounts {
        Mounts::default()
    }

    /// Shows `tree` at `path`; `/` is the root. A later tree hides what lies below its path. There can be 256
    /// trees; starting a program with more is an error.
    #[must_use]
    pub fn mount(self, path: impl Into<Vec<u8>>, tree: Arc<dyn Tree>) -> Mounts {
        self.with(path.into(), Some(tree))
    }

    /// Leaves `path`, which is not the root, to a tree that each instance is built with
    /// ([`Builder::bind`](crate::Builder::bind)). An instance built without one sees an empty directory. A
    /// mount further down appears only when the tree that is bound above it has the directory to hold it.
    #[must_use]
    pub fn late_bound(self, path: impl Into<Vec<u8>>) -> Mounts {
        self.with(path.into(), None)
    }

    fn with(mut self, path: Vec<u8>, tree: Option<Arc<dyn Tree>>) -> Mounts {
        self.list.push(Mount { path, tree });
        self
    }

    /// Where programs start; `/` when not set.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<Vec<u8>>) -> Mounts {
        self.working_directory = Some(path.into());
        self
    }

    /// Where programs start, if that was set.
    pub(crate) fn start_path(&self) -> Option<&[u8]> {
        self.working_directory.as_deref()
    }

    /// Every tree's number and path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (u8, &[u8])> {
        (0_u8..=u8::MAX).zip(self.list.iter().map(|mount| mount.path.as_slice()))
    }

    /// The path of the tree with this number.
    pub(crate) fn path(&self, tree: u8) -> &[u8] {
        &self.list[usize::from(tree)].path
    }

    /// Whether each instance brings its own tree with this number.
    pub(crate) fn is_late(&self, tree: u8) -> bool {
        self.list[usize::from(tree)].tree.is_none()
    }

    /// Whether there is any such tree.
    pub(crate) fn has_late(&self) -> bool {
        self.list.iter().any(|mount| mount.tree.is_none())
    }

    /// The trees that every instance sees; those left open are empty.
    pub(crate) fn trees(&self) -> Result<Trees, Error> {
        if self.list.len() > TREES_MAX {
            return Err(Error::TooManyTrees { max: TREES_MAX });
        }
        let late_root =
            |mount: &&Mount| mount.tree.is_none() && names(&mount.path).next().is_none();
        if let Some(mount) = self.list.iter().find(late_root) {
            return Err(bad(&mount.path, "the root cannot be bound late"));
        }
        Ok(Trees::new(self.list.iter().map(|mount| mount.tree.clone())))
    }

    /// The trees that an instance sees which brings these along.
    pub(crate) fn bind(
        &self,
        trees: &Trees,
        bound: Vec<(Vec<u8>, Arc<dyn Tree>)>,
    ) -> Result<Trees, Error> {
        if bound.is_empty() {
            return Ok(trees.clone());
        }
        let mut all: Vec<_> = self.list.iter().map(|mount| mount.tree.clone()).collect();
        for (path, tree) in bound {
            let is_here = |mount: &Mount| names(&mount.path).eq(names(&path));
            let index = self.list.iter().rposition(is_here);
            let index = index.filter(|index| self.list[*index].tree.is_none());
            let index = index.ok_or_else(|| bad(&path, "no tree is bound late here"))?;
            if all[index].replace(tree).is_some() {
                return Err(bad(&path, "a tree is bound here already"));
            }
        }
        Ok(Trees::new(all))
    }
}

/// The names in a path.
pub(super) fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
}

/// What is wrong with a path that an embedder gave.
pub(super) fn bad(path: &[u8], reason: &'static str) -> Error {
    Error::GuestPath {
        path: path.escape_ascii().to_string(),
        reason,
    }
}
