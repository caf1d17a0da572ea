//! The body of an answer whose guest still runs: what it flushes goes to the client, piece by piece.
//!
//! There is one piece of it here at most, and a share of the budget of all bodies for it. The guest is asked for the next
//! one when the connection takes this one, so one that says more than its client reads waits (and its limit of
//! elapsed time goes on). A client that goes away takes the guest along. When the guest fails, the status is long gone: the
//! connection (of HTTP/2 the stream) is broken off, so that no client takes what it has for the whole.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use worker::{Answer, Cost, Ending, Piece, Stream};

use crate::exchange::body::{Live, held};
use crate::exchange::buffers::{Exhausted, Hold};
use crate::exchange::instances::Listed;
use crate::exchange::peers::Peers;
use crate::exchange::said;
use crate::exchange::visit::Visit;
use crate::hosting::Hosted;
use crate::ops::log::Level;
use crate::state::Server;

/// What a request has while its instance runs.
#[derive(Debug)]
pub(crate) struct Stay {
    pub(crate) _place: OwnedSemaphorePermit,
    pub(crate) _listed: Listed,
    pub(crate) _upload: Hold,
}

/// A request whose response has begun.
#[derive(Debug)]
pub(crate) struct Caller {
    server: Arc<Server>,
    hosted: Arc<Hosted>,
    peers: Peers,
    request_id: String,
    target: String,
}

impl Caller {
    pub(crate) fn new(visit: &Visit<'_>, target: &str) -> Caller {
        Caller {
            server: Arc::clone(visit.server),
            hosted: Arc::clone(visit.hosted),
            peers: visit.peers.clone(),
            request_id: visit.request_id.to_owned(),
            target: target.to_owned(),
        }
    }

    fn visit(&self) -> Visit<'_> {
        Visit {
            server: &self.server,
            hosted: &self.hosted,
            peers: &self.peers,
            host: None,
            request_id: &self.request_id,
        }
    }

    /// Writes down how a guest has ended.
    fn account(&self, answer: &Answer, dropped: u32) {
        let metrics = &self.server.metrics;
        metrics.guest(&self.hosted.name, answer.ending, &answer.cost, dropped);
        said::by(answer, &self.visit(), &self.target);
    }

    /// Writes down that a response was broken off.
    fn broken(&self, why: &str) -> std::io::Error {
        let fields = [("response", "broken off".to_owned())];
        self.visit().event(Level::Error, why, &fields);
        std::io::Error::other(why.to_owned())
    }
}

/// What is still to come of an answer.
pub(crate) struct LiveBody {
    stream: Stream,
    caller: Caller,
    /// Headers that were dropped.
    dropped: u32,
    /// Given back when the guest has ended.
    stay: Option<Stay>,
    is_over: bool,
    cost: Option<Cost>,
}

impl LiveBody {
    pub(crate) fn new(stream: Stream, caller: Caller, dropped: u32, stay: Stay) -> LiveBody {
        LiveBody {
            stream,
            caller,
            dropped,
            stay: Some(stay),
            is_over: false,
            cost: None,
        }
    }

    /// Waits for the guest to end; nobody is sent what it says.
    pub(crate) async fn drain(mut self) {
        while let Some(Ok(_)) = std::future::poll_fn(|context| self.next(context)).await {}
    }

    fn held(&mut self, piece: Bytes) -> std::io::Result<Bytes> {
        let mut hold = self.caller.server.buffers.hold();
        match hold.grow(piece.len()) {
            Ok(()) => Ok(held(piece, hold)),
            Err(Exhausted) => {
                self.is_over = true;
                self.caller.visit().rejected();
                Err(self.caller.broken("no room for more of it"))
            }
        }
    }
}

impl Live for LiveBody {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        while !self.is_over {
            let piece = match ready!(self.stream.poll_next(context)) {
                Ok(Piece::Part(part)) => part,
                Ok(Piece::End(answer)) => {
                    self.is_over = true;
                    self.stay = None;
                    self.cost = Some(answer.cost);
                    self.caller.account(&answer, self.dropped);
                    if answer.ending != Ending::Answered {
                        let broken = self.caller.broken(answer.ending.name());
                        return Poll::Ready(Some(Err(broken)));
                    }
                    answer.body
                }
                Err(none) => {
                    self.is_over = true;
                    let broken = self.caller.broken(&none.to_string());
                    return Poll::Ready(Some(Err(broken)));
                }
            };
            // Headers may have come alone.
            if !piece.is_empty() {
                return Poll::Ready(Some(self.held(piece)));
            }
        }
        Poll::Ready(None)
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn cost(&self) -> Option<Cost> {
        self.cost
    }
}
