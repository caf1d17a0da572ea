//! The worker's end of an answer that is sent while its guest still runs.
//!
//! Until a guest flushes what it has written, nothing is sent and nothing is different. Then the front is given
//! status, headers and what there is of the body, and more with each flush. There is one piece on its way: the next one
//! waits until the front has passed it on, and the guest with it, whose limit of elapsed time goes on. So a client
//! that does not read costs the front no more than one piece, and the worker what a guest may keep anyway.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandbox::{Live, Response};

use crate::wire::{self, PIECE};

/// How long a guest waits before its limits are looked at again.
const STEP: Duration = Duration::from_millis(10);

/// The socket, written by one thread at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    socket: Arc<UnixStream>,
    turn: Mutex<()>,
}

impl Writer {
    pub(crate) fn new(socket: Arc<UnixStream>) -> Writer {
        Writer {
            socket,
            turn: Mutex::default(),
        }
    }

    /// Sends one frame.
    pub(crate) fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        std::io::Write::write_all(&mut &*self.socket, frame)
    }
}

/// Whether the front has room for a piece of one answer.
#[derive(Debug)]
pub(crate) struct FrontRoom {
    is_free: Mutex<bool>,
    freed: Condvar,
}

impl FrontRoom {
    pub(crate) fn new() -> FrontRoom {
        FrontRoom {
            is_free: Mutex::new(true),
            freed: Condvar::new(),
        }
    }

    /// The front has passed the last piece on.
    pub(crate) fn free(&self) {
        *self.lock() = true;
        self.freed.notify_one();
    }

    /// Takes the room, if there is some within a moment.
    fn take(&self) -> bool {
        let waited = self
            .freed
            .wait_timeout_while(self.lock(), STEP, |is_free| !*is_free);
        let (mut is_free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut is_free)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one answer piece by piece.
#[derive(Debug)]
pub(crate) struct Line {
    writer: Arc<Writer>,
    room: Arc<FrontRoom>,
    id: u64,
    has_begun: bool,
}

impl Line {
    pub(crate) fn new(writer: Arc<Writer>, room: Arc<FrontRoom>, id: u64) -> Line {
        Line {
            writer,
            room,
            id,
            has_begun: false,
        }
    }
}

impl Live for Line {
    fn offer(&mut self, response: &Response, piece: &[u8]) -> Option<usize> {
        if self.has_begun && piece.is_empty() {
            return Some(0);
        }
        if !self.room.take() {
            return None;
        }
        let piece = &piece[..piece.len().min(PIECE)];
        let frame = if self.has_begun {
            wire::part(self.id, piece)
        } else {
            wire::begun(self.id, response, piece)
        };
        self.has_begun = true;
        // A front that is gone cancels all that runs.
        let _ = self.writer.send(&frame);
        Some(piece.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HEAD, Head, Kind, WORKER_PAYLOAD_MAX};
    use std::io::Read;

    fn response() -> Response {
        Response {
            status: 200,
            headers: vec![("x".to_owned(), b"y".to_vec())],
            dropped: 1,
        }
    }

    #[test]
    fn one_piece_is_on_its_way_at_a_time() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let room = Arc::new(FrontRoom::new());
        let mut line = Line::new(Arc::new(Writer::new(Arc::new(ours))), Arc::clone(&room), 7);
        let mut kinds = Vec::new();
        let mut read = |kinds: &mut Vec<Kind>| {
            let mut head = [0; HEAD];
            theirs.read_exact(&mut head).unwrap();
            let head = Head::parse(head, WORKER_PAYLOAD_MAX).unwrap();
            assert_eq!(head.id, 7);
            let mut payload = vec![0; head.len];
            theirs.read_exact(&mut payload).unwrap();
            kinds.push(head.kind);
            payload
        };
        // The first one goes even when it is empty: there are headers.
        assert_eq!(line.offer(&response(), b""), Some(0));
        let begun = wire::parse_begun(&read(&mut kinds).into()).unwrap();
        assert_eq!(
            (begun.status, begun.dropped, begun.piece.len()),
            (200, 1, 0)
        );
        assert_eq!(begun.headers, [(b"x".to_vec(), b"y".to_vec())]);
        assert_eq!(line.offer(&response(), b""), Some(0));
        assert_eq!(line.offer(&response(), b"a"), None);
        room.free();
        assert_eq!(line.offer(&response(), b"a"), Some(1));
        assert_eq!(read(&mut kinds), b"a");
        room.free();
        let long = vec![0; PIECE + 1];
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(line.offer(&response(), &long), Some(PIECE)));
            assert_eq!(read(&mut kinds).len(), PIECE);
        });
        assert_eq!(kinds, [Kind::Begun, Kind::Part, Kind::Part]);
    }
}
