//! What a worker owes: one answer to each request it was given, and nothing else.
//!
//! The worker is not trusted with the memory of the front. So a frame is looked at only when its request is on this list,
//! whether or not somebody still waits for the answer; and since a worker sends its long answers one after the other,
//! at most one of them is held here before it is whole.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use crate::answer::Answer;
use crate::wire::{self, Head, Kind, Malformed};

/// Requests that were cancelled and of whose end the worker has not told yet. It answers those too, as soon as it comes
/// to them; one that lets so many lie has stopped to read.
const ABANDONED_MAX: usize = 16_384;

/// The requests a worker has been given and has not answered.
#[derive(Default)]
pub(crate) struct Owed(Mutex<Requests>);

#[derive(Default)]
struct Requests {
    /// Nothing for those that nobody waits for any more.
    open: HashMap<u64, Option<Waiting>>,
    abandoned: usize,
}

/// Somebody who waits for an answer.
enum Waiting {
    /// For anything at all.
    First(oneshot::Sender<First>),
    /// For more of an answer that has begun.
    More(Tap),
}

/// Where the pieces of an answer go that has begun.
struct Tap {
    events: mpsc::UnboundedSender<Event>,
    /// Whether the last piece was taken; until then there may be no other.
    is_free: bool,
    /// Bytes that may still come.
    left: u64,
}

/// What comes first for a request.
#[derive(Debug)]
pub(crate) enum First {
    Whole(Answer),
    Begun(Begun),
}

/// An answer that has begun, and where the rest will come.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) head: wire::Begun,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
}

/// What comes of an answer that has begun.
#[derive(Debug)]
pub(crate) enum Event {
    Part(Bytes),
    End(Answer),
}

/// What became of a request that nobody waits for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandoned {
    /// It had been answered, or had never been given to the worker.
    Settled,
    /// The worker is to be told.
    Open,
    /// The worker is to be told, and has not cared to end far too many others.
    TooMany,
}

impl Owed {
    /// Notes that the worker is given a request, and returns where its answer will come.
    pub(crate) fn ask(&self, id: u64) -> oneshot::Receiver<First> {
        let (sender, receiver) = oneshot::channel();
        self.lock().open.insert(id, Some(Waiting::First(sender)));
        receiver
    }

    /// Notes that the last piece of an answer was taken. False when there is nothing more to come.
    pub(crate) fn taken(&self, id: u64) -> bool {
        match self.lock().open.get_mut(&id) {
            Some(Some(Waiting::More(tap))) => {
                tap.is_free = true;
                true
            }
            _ => false,
        }
    }

    /// Takes the beginning of an answer whose whole body may have `bytes_max`.
    fn begin(&self, id: u64, head: wire::Begun, bytes_max: u64) -> Result<(), Misbehaved> {
        let mut requests = self.lock();
        let waiting = requests.open.get_mut(&id).ok_or(Misbehaved::Unasked)?;
        let first = match waiting.take() {
            Some(Waiting::First(first)) => first,
            Some(more) => {
                *waiting = Some(more);
                return Err(Misbehaved::Unasked);
            }
            None => return Ok(()),
        };
        let left = bytes_max.checked_sub(head.piece.len() as u64);
        let (events, receiver) = mpsc::unbounded_channel();
        *waiting = Some(Waiting::More(Tap {
            events,
            is_free: false,
            left: left.ok_or(Misbehaved::TooLong)?,
        }));
        // Whoever asked may have gone away in this moment, and will say so.
        let _ = first.send(First::Begun(Begun {
            head,
            events: receiver,
        }));
        Ok(())
    }

    /// Takes the next piece of an answer.
    fn part(&self, id: u64, piece: &Bytes) -> Result<(), Misbehaved> {
        let mut requests = self.lock();
        let waiting = requests.open.get_mut(&id).ok_or(Misbehaved::Unasked)?;
        let tap = match waiting {
            Some(Waiting::More(tap)) => tap,
            Some(Waiting::First(_)) => return Err(Misbehaved::Unasked),
            None => return Ok(()),
        };
        if !std::mem::take(&mut tap.is_free) || piece.is_empty() {
            return Err(Misbehaved::OutOfTurn);
        }
        let left = tap.left.checked_sub(piece.len() as u64);
        tap.left = left
            .filter(|_| piece.len() <= wire::PIECE)
            .ok_or(Misbehaved::TooLong)?;
        let _ = tap.events.send(Event::Part(piece.clone()));
        Ok(())
    }

    /// Takes a request back that did not reach the worker.
    pub(crate) fn unask(&self, id: u64) {
        self.lock().open.remove(&id);
    }

    /// Notes that nobody waits for an answer any more. The worker still owes it.
    pub(crate) fn abandon(&self, id: u64) -> Abandoned {
        let mut requests = self.lock();
        let waiting = requests.open.get_mut(&id).and_then(Option::take);
        if waiting.is_none() {
            return Abandoned::Settled;
        }
        requests.abandoned += 1;
        if requests.abandoned > ABANDONED_MAX {
            Abandoned::TooMany
        } else {
            Abandoned::Open
        }
    }

    /// Forgets all requests because the worker is gone, which those who wait are told by it. Says how many they were.
    pub(crate) fn write_off(&self) -> usize {
        let Requests { open, abandoned } = std::mem::take(&mut *self.lock());
        open.len() - abandoned
    }

    fn is_open(&self, id: u64) -> bool {
        self.lock().open.contains_key(&id)
    }

    fn settle(&self, id: u64, answer: Answer) {
        let waiting = {
            let mut requests = self.lock();
            let waiting = requests.open.remove(&id);
            if matches!(waiting, Some(None)) {
                requests.abandoned -= 1;
            }
            waiting
        };
        // Whoever asked may have gone away in this moment.
        match waiting.flatten() {
            Some(Waiting::First(first)) => drop(first.send(First::Whole(answer))),
            Some(Waiting::More(tap)) => drop(tap.events.send(Event::End(answer))),
            None => {}
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a worker is ended for what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misbehaved {
    #[error("it sent a malformed frame")]
    Malformed(#[from] Malformed),
    #[error("it answered what it was not asked")]
    Unasked,
    #[error("it began an answer before the one before was whole")]
    Interleaved,
    #[error("it sent more than an answer may have")]
    TooLong,
    #[error("it spoke out of turn")]
    OutOfTurn,
}

/// Puts the answers of one worker together.
pub(crate) struct Answers<'a> {
    owed: &'a Owed,
    output_max: u64,
    /// The one that is not whole yet.
    partial: Option<(u64, Partial)>,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(owed: &'a Owed, output_max: u64) -> Self {
        Answers {
            owed,
            output_max,
            partial: None,
        }
    }

    /// Takes one frame of the worker.
    pub(crate) fn take(&mut self, head: Head, payload: &Bytes) -> Result<(), Misbehaved> {
        let partial = match head.kind {
            Kind::Answer if self.owed.is_open(head.id) => Partial::first(payload, self.output_max)?,
            Kind::More => match self.partial.take() {
                Some((id, partial)) if id == head.id => partial.add(payload)?,
                _ => return Err(Misbehaved::Unasked),
            },
            Kind::Answer => return Err(Misbehaved::Unasked),
            Kind::Begun => {
                let begun = wire::parse_begun(payload)?;
                return self.owed.begin(head.id, begun, self.output_max);
            }
            Kind::Part => return self.owed.part(head.id, payload),
            _ => return Err(Misbehaved::OutOfTurn),
        };
        if partial.is_whole() {
            self.owed.settle(head.id, partial.answer());
        } else if self.partial.is_none() {
            self.partial = Some((head.id, partial));
        } else {
            return Err(Misbehaved::Interleaved);
        }
        Ok(())
    }
}

/// An answer whose body is not complete yet.
struct Partial {
    answer: Answer,
    body: BytesMut,
    total: u64,
}

impl Partial {
    fn first(payload: &Bytes, output_max: u64) -> Result<Partial, Misbehaved> {
        let (mut answer, total) = wire::parse_answer(payload)?;
        if total > output_max {
            return Err(Misbehaved::TooLong);
        }
        // The usual answer is whole at once, and its bytes are used where they lie.
        let body = if answer.body.len() as u64 == total {
            BytesMut::new()
        } else {
            BytesMut::from(std::mem::take(&mut answer.body))
        };
        Ok(Partial {
            answer,
            body,
            total,
        })
    }

    fn add(mut self, payload: &Bytes) -> Result<Partial, Misbehaved> {
        if payload.is_empty() {
            return Err(Malformed.into());
        }
        if (self.body.len() + payload.len()) as u64 > self.total {
            return Err(Misbehaved::TooLong);
        }
        self.body.extend_from_slice(payload);
        Ok(self)
    }

    fn is_whole(&self) -> bool {
        (self.body.len() + self.answer.body.len()) as u64 == self.total
    }

    fn answer(mut self) -> Answer {
        if self.answer.body.is_empty() {
            self.answer.body = self.body.freeze();
        }
        self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Ending;
    use crate::wire::HEAD;

    /// The frames of an answer, as they are read.
    fn frames(id: u64, len: usize) -> Vec<(Head, Bytes)> {
        let answer = Answer {
            body: vec![b'x'; len].into(),
            ..Answer::ended(Ending::Answered)
        };
        let frames = wire::answer(id, &answer).into_iter();
        frames
            .map(|frame| {
                let head = frame[..HEAD].try_into().unwrap();
                let head = Head::parse(head, wire::WORKER_PAYLOAD_MAX).unwrap();
                (head, Bytes::from(frame).slice(HEAD..))
            })
            .collect()
    }

    fn take_all(answers: &mut Answers<'_>, frames: Vec<(Head, Bytes)>) -> Result<(), Misbehaved> {
        frames
            .into_iter()
            .try_for_each(|(head, payload)| answers.take(head, &payload))
    }

    #[test]
    fn answer_goes_to_whoever_asked_and_only_once() {
        let owed = Owed::default();
        let mut answers = Answers::new(&owed, 1 << 20);
        let mut asked = owed.ask(3);
        take_all(&mut answers, frames(3, wire::PIECE + 1)).unwrap();
        let Ok(First::Whole(answer)) = asked.try_recv() else {
            panic!("no answer")
        };
        assert_eq!(answer.body.len(), wire::PIECE + 1);
        assert_eq!(
            take_all(&mut answers, frames(3, 1)),
            Err(Misbehaved::Unasked)
        );
    }

    #[test]
    fn what_was_cancelled_is_still_owed_once() {
        let owed = Owed::default();
        let mut answers = Answers::new(&owed, 1 << 20);
        let _asked = owed.ask(3);
        assert_eq!(owed.abandon(3), Abandoned::Open);
        assert_eq!(owed.abandon(3), Abandoned::Settled);
        assert_eq!(take_all(&mut answers, frames(3, wire::PIECE * 2)), Ok(()));
        assert_eq!(owed.len(), 0);
        assert_eq!(
            take_all(&mut answers, frames(3, 1)),
            Err(Misbehaved::Unasked)
        );
    }

    #[test]
    fn pieces_come_one_by_one_and_behind_a_beginning() {
        let owed = Owed::default();
        let mut answers = Answers::new(&owed, 10);
        let mut take = |frame: Vec<u8>| {
            let head = Head::parse(frame[..HEAD].try_into().unwrap(), wire::PIECE).unwrap();
            answers.take(head, &Bytes::from(frame).slice(HEAD..))
        };
        let response = sandbox::Response {
            status: 200,
            headers: Vec::new(),
            dropped: 0,
        };
        let mut asked = owed.ask(3);
        assert_eq!(take(wire::part(3, b"a")), Err(Misbehaved::Unasked));
        assert_eq!(
            take(wire::begun(4, &response, b"")),
            Err(Misbehaved::Unasked)
        );
        assert_eq!(take(wire::begun(3, &response, b"abc")), Ok(()));
        assert!(matches!(asked.try_recv(), Ok(First::Begun(_))));
        assert_eq!(
            take(wire::begun(3, &response, b"")),
            Err(Misbehaved::Unasked)
        );
        assert_eq!(take(wire::part(3, b"d")), Err(Misbehaved::OutOfTurn));
        assert!(owed.taken(3));
        assert_eq!(take(wire::part(3, b"")), Err(Misbehaved::OutOfTurn));
        assert!(owed.taken(3));
        assert_eq!(take(wire::part(3, b"12345678")), Err(Misbehaved::TooLong));
        assert!(owed.taken(3));
        assert_eq!(take(wire::part(3, b"1234567")), Ok(()));
        // Nobody waits any more; the worker may not know yet.
        assert_eq!(owed.abandon(3), Abandoned::Open);
        assert_eq!(take(wire::part(3, b"d")), Ok(()));
        assert!(!owed.taken(3));
    }

    #[test]
    fn one_answer_at_a_time_is_put_together() {
        let owed = Owed::default();
        let mut answers = Answers::new(&owed, 1 << 20);
        let _asked: Vec<_> = (1..=3).map(|id| owed.ask(id)).collect();
        let first = frames(1, wire::PIECE + 1).remove(0);
        take_all(&mut answers, vec![first]).unwrap();
        // A short one may come in between.
        take_all(&mut answers, frames(2, 1)).unwrap();
        assert_eq!(
            take_all(&mut answers, frames(3, wire::PIECE + 1)),
            Err(Misbehaved::Interleaved)
        );
    }

    #[test]
    fn frames_that_do_not_fit_are_told_apart() {
        let owed = Owed::default();
        let _asked = owed.ask(1);
        let mut answers = Answers::new(&owed, 10);
        assert_eq!(
            take_all(&mut answers, frames(1, 11)),
            Err(Misbehaved::TooLong)
        );
        let (mut head, payload) = frames(1, 1).remove(0);
        head.kind = Kind::More;
        let more = answers.take(head, &payload);
        assert_eq!(more, Err(Misbehaved::Unasked));
        head.kind = Kind::Ask;
        let ask = answers.take(head, &payload);
        assert_eq!(ask, Err(Misbehaved::OutOfTurn));
    }

    #[test]
    fn a_worker_that_never_ends_what_was_cancelled_is_noticed() {
        let owed = Owed::default();
        for id in 0..ABANDONED_MAX as u64 {
            let _asked = owed.ask(id);
            assert_eq!(owed.abandon(id), Abandoned::Open);
        }
        let _asked = owed.ask(u64::MAX);
        assert_eq!(owed.abandon(u64::MAX), Abandoned::TooMany);
        assert_eq!(owed.write_off(), 0);
    }
}
