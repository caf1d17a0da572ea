//! What warming up leads to, here or when the image was packed.

use sandbox::Snapshot;

use crate::setup::Pairs;

/// A program that has been warmed up.
#[derive(Debug)]
pub(crate) struct Warmed {
    pub(crate) snapshot: Snapshot,
    /// What it has answered.
    pub(crate) requests: Vec<Pairs>,
}
