//! An instance at rest.

use super::Instance;
use super::finished::Finished;
use crate::error::Error;
use crate::freeze;
use crate::report::Usage;
use crate::request::{Request, Response};
#[cfg(test)]
use crate::slot::Slot;
use crate::snapshot::Snapshot;
use crate::state::FileChanges;
use crate::trap::HandlerLeft;
use crate::tree::delta::Delta;
use crate::tree::difference::Difference;
use crate::tree::reads::ReadSet;

/// An instance that waits in `accept`, at rest: it can be moved to another thread, frozen, or given
/// its request.
#[derive(Debug)]
pub struct Waiting {
    instance: Instance,
}

impl Waiting {
    /// Takes a snapshot: every instance of it starts where this one waits, with fresh random bytes
    /// in its request. `reseeds` is the caller's word that the guest renews after `accept` whatever
    /// it has derived from random bytes before.
    ///
    /// # Errors
    /// [`Error::CannotFreeze`] when the guest holds what a snapshot cannot carry; [`Error::BoundInUse`] when it holds on to a
    /// tree that was bound for it alone.
    pub fn freeze(&self, reseeds: bool) -> Result<Snapshot, Error> {
        let Instance {
            snapshot,
            slot,
            registers,
            state,
            ..
        } = &self.instance;
        let slot = slot
            .as_ref()
            .expect("an instance has its slot until it is finished");
        freeze::freeze(snapshot, slot, registers, state, reseeds)
    }

    /// What the instance has read of its trees, if [`Builder::record_reads`] asked for it: also what a snapshot of it
    /// depends on, together with what the snapshot it came from does.
    #[must_use]
    pub fn reads(&self) -> Option<ReadSet> {
        self.instance.trees.reads(self.instance.snapshot.mounts())
    }

    /// What the instance has changed of the files it sees, against its snapshot.
    #[must_use]
    pub fn delta(&self) -> Delta {
        let Instance {
            snapshot,
            state,
            trees,
            ..
        } = &self.instance;
        Difference::new(
            &snapshot.state().view,
            &state.view,
            snapshot.mounts(),
            trees,
        )
        .delta()
    }

    /// What the guest has made of its files up to now.
    #[must_use]
    pub fn file_changes(&self) -> FileChanges {
        self.instance.state.file_changes()
    }

    /// Takes back everything that the guest has done to files since `earlier`, which is of this instance. False, and
    /// nothing happens, when it has a file of its own open or stands in a directory of its own.
    pub fn take_back_files(&mut self, earlier: &FileChanges) -> bool {
        self.instance.state.take_back_files(earlier)
    }

    /// Takes what the guest has answered to the request before the one it waits for: the response, and what it wrote to
    /// standard output and standard error, where they are buffered.
    pub fn take_answer(&mut self) -> (Option<Response>, [Vec<u8>; 2]) {
        let output = self.instance.channels.take_output();
        (self.instance.exchange.response.take(), output)
    }

    /// Gives the guest its request and runs it until it waits again. Its limits and what it uses count from here.
    ///
    /// # Errors
    /// What is left of it when it ended before that.
    pub fn serve_next(mut self, request: &Request) -> Result<Waiting, Box<Finished>> {
        self.instance.exchange.response = None;
        self.instance.usage = Usage::default();
        self.instance.outside.go_on_from(self.instance.state.clocks);
        self.instance.deliver(request);
        self.instance.run_to_accept()
    }

    /// Whether the guest has answered the request before the one it waits for.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.instance.exchange.response.is_some()
    }

    /// Gives the guest its request and runs it to its end.
    #[must_use]
    pub fn serve(mut self, request: &Request) -> Finished {
        self.instance.deliver(request);
        self.instance.run()
    }

    /// Ends it without a request.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.instance.run()
    }
}

impl Instance {
    /// Runs the guest until it waits in `accept`.
    ///
    /// # Errors
    /// What is left of it when it ended before that.
    pub fn run_to_accept(mut self) -> Result<Waiting, Box<Finished>> {
        match self.resume() {
            HandlerLeft::Accept => Ok(Waiting { instance: self }),
            HandlerLeft::Ended(outcome) => Err(Box::new(self.finish(outcome))),
        }
    }
}

#[cfg(test)]
impl Waiting {
    /// The slot it waits in.
    pub(crate) fn slot(&self) -> &Slot {
        self.instance.slot()
    }
}
