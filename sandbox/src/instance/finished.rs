//! What is left of an instance.

use crate::error::Error;
use crate::outside::Recording;
use crate::report::Report;
use crate::request::Response;
use crate::snapshot::Snapshot;
use crate::tree::delta::Delta;
use crate::tree::difference::Difference;
use crate::tree::reads::ReadSet;
use crate::tree::trees::Trees;
use crate::tree::view::View;

/// What is left of an instance.
#[derive(Debug)]
pub struct Finished {
    /// How it ended and what it consumed.
    pub report: Report,
    /// What it handed to `respond`.
    pub response: Option<Response>,
    /// What it wrote to stdout, when that was buffered.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, when that was buffered.
    pub stderr: Vec<u8>,
    pub(super) files: FilesLeft,
    /// What it was told from outside, when that was to be recorded and was not too much.
    pub recording: Option<Recording>,
    /// Why its slot could not be brought back to the snapshot's state and was given up, if so.
    pub poisoned: Option<Error>,
}

/// The files of an instance at its end, and what it began with.
#[derive(Debug)]
pub(super) struct FilesLeft {
    pub(super) snapshot: Snapshot,
    pub(super) trees: Trees,
    pub(super) view: View,
}

impl Finished {
    /// What the instance read of its trees, if [`Builder::record_reads`] asked for it.
    #[must_use]
    pub fn reads(&self) -> Option<ReadSet> {
        self.files.trees.reads(self.files.snapshot.mounts())
    }

    /// What the instance changed of the files it saw, against its snapshot.
    #[must_use]
    pub fn delta(&self) -> Delta {
        let FilesLeft {
            snapshot,
            trees,
            view,
        } = &self.files;
        Difference::new(&snapshot.state().view, view, snapshot.mounts(), trees).delta()
    }
}
