//! The front's end of an answer that comes while its guest still runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::answer::Answer;
use crate::link::{Asked, NoAnswer};
use crate::owed::{Begun, Event};
use crate::setup::Pairs;

/// What comes first for a request.
#[derive(Debug)]
pub enum Reply {
    /// The guest has ended, and this is its answer.
    Whole(Answer),
    /// The guest goes on.
    Begun(Beginning),
}

/// The beginning of an answer whose guest goes on.
#[derive(Debug)]
pub struct Beginning {
    /// HTTP status.
    pub status: u16,
    /// Headers the runtime dropped because they frame the message.
    pub dropped: u32,
    /// Headers of the guest.
    pub headers: Pairs,
    /// The body.
    pub stream: Stream,
}

/// What comes next of an answer.
#[derive(Debug)]
pub enum Piece {
    /// Some of its body. The worker is told that there is room for more.
    Part(Bytes),
    /// The guest has ended: how, with what is left of the body in it.
    End(Answer),
}

/// The body of an answer that is being made. Dropped before its end, the request is cancelled.
pub struct Stream {
    first: Option<Bytes>,
    events: mpsc::UnboundedReceiver<Event>,
    asked: Asked,
    deadline: Pin<Box<Sleep>>,
}

impl Beginning {
    pub(crate) fn new(begun: Begun, asked: Asked, deadline: Instant) -> Beginning {
        let Begun { head, events } = begun;
        Beginning {
            status: head.status,
            dropped: head.dropped,
            headers: head.headers,
            stream: Stream {
                first: Some(head.piece),
                events,
                asked,
                deadline: Box::pin(tokio::time::sleep_until(deadline)),
            },
        }
    }
}

impl Stream {
    /// The next piece, once somebody is ready to take it. After [`Piece::End`] or an error there is none.
    ///
    /// # Errors
    /// When the answer has no end: the worker died, or did not end the request in time.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, NoAnswer>> {
        let part = match self.first.take() {
            Some(first) => first,
            None => match self.events.poll_recv(context) {
                Poll::Ready(Some(Event::Part(part))) => part,
                Poll::Ready(Some(Event::End(answer))) => {
                    return Poll::Ready(Ok(Piece::End(answer)));
                }
                Poll::Ready(None) => return Poll::Ready(Err(NoAnswer::Died)),
                Poll::Pending if self.deadline.as_mut().poll(context).is_ready() => {
                    self.asked.is_overdue();
                    return Poll::Ready(Err(NoAnswer::Overdue));
                }
                Poll::Pending => return Poll::Pending,
            },
        };
        self.asked.has_taken();
        Poll::Ready(Ok(Piece::Part(part)))
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}
