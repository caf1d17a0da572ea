//! The worker's loop: requests in, answers out, as many at once as there are threads.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use crate::answer::{Answer, Ending};
use crate::backend::{Asked, Backend, Cancel};
use crate::line::{FrontRoom, Line, Writer};
use crate::wire::{self, HEAD, Head, Kind};

/// Guests run on the stacks of these threads while a trap is handled; the runtime wants at least 256 KiB.
const STACK_SIZE: usize = 1 << 20;

/// The largest request: the front has already held it against the body limit.
const REQUEST_MAX: usize = (4 << 30) - HEAD - 1;

/// What is known about a request until its answer has been sent.
enum Progress {
    /// It waits for a thread.
    Queued,
    /// The front lost interest before it began.
    CancelledEarly,
    Running(Cancel, Arc<FrontRoom>),
}

struct Loop<'a, B> {
    backend: &'a B,
    socket: &'a UnixStream,
    writer: Arc<Writer>,
    /// Held while an answer of several frames is sent.
    long: Mutex<()>,
    requests: Mutex<HashMap<u64, Progress>>,
}

/// Answers requests until the socket ends.
pub(crate) fn serve<B: Backend>(socket: &Arc<UnixStream>, backend: &B, concurrency: u32) {
    let state = Loop {
        backend,
        socket,
        writer: Arc::new(Writer::new(Arc::clone(socket))),
        long: Mutex::default(),
        requests: Mutex::default(),
    };
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for _ in 0..concurrency.max(1) {
            let thread = std::thread::Builder::new()
                .name("guest".to_owned())
                .stack_size(STACK_SIZE);
            let run = || state.run(&receiver);
            if let Err(error) = thread.spawn_scoped(scope, run) {
                eprintln!("worker: cannot start a thread: {error}");
                break;
            }
        }
        state.read(&sender);
        // Nobody is left to answer: what runs is cancelled, and the threads end with the channel.
        state.cancel_all();
        drop(sender);
    });
}

impl<B: Backend> Loop<'_, B> {
    /// Reads frames until the socket ends or says something else than a front would.
    fn read(&self, sender: &mpsc::Sender<(u64, Asked)>) {
        let mut socket = self.socket;
        loop {
            let mut head = [0; HEAD];
            if socket.read_exact(&mut head).is_err() {
                return;
            }
            let Ok(head) = Head::parse(head, REQUEST_MAX) else {
                return;
            };
            let mut payload = vec![0; head.len];
            if socket.read_exact(&mut payload).is_err() {
                return;
            }
            match head.kind {
                Kind::Ask => {
                    let Ok((variables, body)) = wire::parse_ask(&payload) else {
                        return;
                    };
                    lock(&self.requests).insert(head.id, Progress::Queued);
                    if sender.send((head.id, Asked { variables, body })).is_err() {
                        return;
                    }
                }
                Kind::Cancel => self.cancel(head.id),
                Kind::Taken => {
                    // Of an answer that has ended there is no more to come.
                    if let Some(Progress::Running(_, room)) = lock(&self.requests).get(&head.id) {
                        room.free();
                    }
                }
                _ => return,
            }
        }
    }

    fn cancel(&self, id: u64) {
        let mut requests = lock(&self.requests);
        match requests.get_mut(&id) {
            Some(Progress::Running(cancel, _)) => cancel(),
            Some(queued) => *queued = Progress::CancelledEarly,
            None => {}
        }
    }

    fn cancel_all(&self) {
        for progress in lock(&self.requests).values_mut() {
            match progress {
                Progress::Running(cancel, _) => cancel(),
                queued => *queued = Progress::CancelledEarly,
            }
        }
    }

    /// One thread: answers requests one after the other.
    fn run(&self, receiver: &Mutex<mpsc::Receiver<(u64, Asked)>>) {
        loop {
            let next = lock(receiver).recv();
            let Ok((id, asked)) = next else {
                return;
            };
            let answer = if matches!(
                lock(&self.requests).get(&id),
                Some(Progress::CancelledEarly)
            ) {
                Answer::ended(Ending::Cancelled)
            } else {
                self.answer(id, asked)
            };
            lock(&self.requests).remove(&id);
            if self.send(&wire::answer(id, &answer)).is_err() {
                return;
            }
        }
    }

    /// Sends an answer. Short ones go between the pieces of a long one, but no other long one does: the front puts one
    /// together at a time.
    fn send(&self, frames: &[Vec<u8>]) -> std::io::Result<()> {
        let _long = (frames.len() > 1).then(|| lock(&self.long));
        frames.iter().try_for_each(|frame| self.writer.send(frame))
    }

    fn answer(&self, id: u64, asked: Asked) -> Answer {
        let room = Arc::new(FrontRoom::new());
        let line = Line::new(Arc::clone(&self.writer), Arc::clone(&room), id);
        let started = |cancel: Cancel| {
            let mut requests = lock(&self.requests);
            if let Some(progress) = requests.get_mut(&id) {
                if matches!(progress, Progress::CancelledEarly) {
                    cancel();
                }
                *progress = Progress::Running(cancel, Arc::clone(&room));
            }
        };
        // A bug in one request must not take the thread away from the others.
        std::panic::catch_unwind(AssertUnwindSafe(|| {
            self.backend.answer(asked, &started, line)
        }))
        .unwrap_or_else(|_| Answer::ended(Ending::HostBug))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
