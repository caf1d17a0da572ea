//! What the worker's loop needs of whatever answers requests. A fake stands in for guests in tests of the loop.

use crate::answer::Answer;
use crate::line::Line;
use crate::setup::Pairs;

/// A request as it came over the socket.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) variables: Pairs,
    pub(crate) body: Vec<u8>,
}

/// Ends one running request from another thread.
pub(crate) type Cancel = Box<dyn Fn() + Send>;

/// Answers requests, several at once on different threads.
pub(crate) trait Backend: Sync {
    /// Answers one. `started` is given a way to cancel it, before it runs; `line` takes what is to be sent before the end, and
    /// the answer then has what is left.
    fn answer(&self, asked: Asked, started: &dyn Fn(Cancel), line: Line) -> Answer;
}
