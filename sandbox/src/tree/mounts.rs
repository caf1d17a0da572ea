//! Which trees a guest sees, and where.

use super::Tree;
use crate::error::Error;
use std::sync::Arc;

/// The most trees there can be: a node names its tree in a byte.
const TREES_MAX: usize = 1 << 8;

/// The trees a guest sees, and where.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    trees: Vec<(Vec<u8>, Arc<dyn Tree>)>,
    working_directory: Option<Vec<u8>>,
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
    pub fn mount(mut self, path: impl Into<Vec<u8>>, tree: Arc<dyn Tree>) -> Mounts {
        self.trees.push((path.into(), tree));
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

    /// The tree with this index.
    pub(crate) fn tree(&self, index: u8) -> &dyn Tree {
        &*self.trees[usize::from(index)].1
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = (u8, &[u8])> {
        (0_u8..=u8::MAX).zip(self.trees.iter().map(|(path, _)| path.as_slice()))
    }

    /// How many trees there are, when they can be told apart.
    pub(crate) fn count(&self) -> Result<usize, Error> {
        match self.trees.len() {
            count @ 0..=TREES_MAX => Ok(count),
            _ => Err(Error::TooManyTrees { max: TREES_MAX }),
        }
    }
}
