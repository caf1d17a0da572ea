//! The front's end of a worker: starts it, asks it, and starts it again when it dies.
//!
//! A request that was in the worker when it died is answered 502 and nothing else happens to it: it is never asked
//! twice, because nobody knows what it was doing. Requests that come while there is no worker wait for the next one.

use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use imagefs::Image;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use crate::memory;
use crate::owed::{Abandoned, Answers, First, Owed};
use crate::said;
use crate::setup::{Pairs, Setup};
use crate::spawn::spawn;
use crate::stream::{Beginning, Reply};
use crate::wire::{self, HEAD, Head, Kind, WORKER_PAYLOAD_MAX};

/// Verification and warm-up of a large program take seconds; more than this means that something hangs.
const START_MAX: Duration = Duration::from_secs(120);
/// A worker that lived this long starts again at once, one that keeps dying ever later.
const STABLE: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// After its wall limit a request has this long to end in the worker; then the worker is taken to be broken, and ended with
/// all it is doing. On a machine with a load of ten for each core, two seconds were too few.
const OVERDUE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// What there is to tell about a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// It takes requests.
    Ready {
        /// Its process.
        pid: Option<u32>,
        /// Where its snapshot is from.
        snapshot: &'a str,
    },
    /// It is gone, and another will be started.
    Ended {
        /// Why.
        why: &'a str,
        /// Requests that went with it.
        lost: usize,
    },
    /// A line of its standard error.
    Said(&'a str),
}

/// Told the news by several threads.
type Tell = Box<dyn Fn(News<'_>) + Send + Sync>;

/// Makes workers.
pub(crate) trait Start: Send + Sync + 'static {
    /// Starts one and returns the socket to it.
    fn start(&self) -> std::io::Result<Started>;
}

/// A worker that has been started.
pub(crate) struct Started {
    pub(crate) socket: UnixStream,
    /// Missing when the worker is a thread, in tests.
    pub(crate) child: Option<Child>,
}

/// Starts this binary as the worker of an image.
struct Process {
    image: Image,
    setup: Setup,
}

impl Start for Process {
    fn start(&self) -> std::io::Result<Started> {
        let (socket, child) = spawn(&self.image, &self.setup, None, Stdio::piped())?;
        Ok(Started {
            socket,
            child: Some(child),
        })
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The worker died while it had the request.
    #[error("the worker died")]
    Died,
    /// There is no worker, and none came in time.
    #[error("no worker is running")]
    Down,
    /// The worker did not end the request after its limit.
    #[error("the request did not end")]
    Overdue,
}

#[derive(Clone)]
enum State {
    Starting,
    Up(Up),
    /// The last start failed, with this reason.
    Failed(Arc<str>),
}

/// A worker that takes requests.
#[derive(Clone)]
struct Up {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    /// Told when the worker is stuck.
    condemned: Arc<tokio::sync::Notify>,
}

/// A worker, or the next one.
pub struct Link {
    shared: Arc<Shared>,
    supervisor: tokio::task::JoinHandle<()>,
}

struct Shared {
    tell: Tell,
    output_max: u64,
    memory_max: u64,
    state: watch::Sender<State>,
    owed: Owed,
    next: AtomicU64,
    restarts: AtomicU64,
}

impl Link {
    /// Starts a worker for an image and keeps one running until the link is dropped. Must be called within a tokio runtime.
    /// A worker that has more than `memory_max` bytes in memory is ended; `None` stands for what its limits and the image
    /// come to. `tell` gets the news of it.
    pub fn start(
        image: Image,
        setup: Setup,
        memory_max: Option<u64>,
        tell: impl Fn(News<'_>) + Send + Sync + 'static,
    ) -> Link {
        let output_max = setup.limits.output_bytes;
        // A file that cannot be asked was opened and mapped all the same; its size is then not allowed for.
        let image_bytes = image.file().metadata().map_or(0, |meta| meta.len());
        let memory_max = memory_max.unwrap_or_else(|| memory::bound(&setup, image_bytes));
        let process = Process { image, setup };
        Link::new(process, output_max, memory_max, tell)
    }

    pub(crate) fn new(
        start: impl Start,
        output_max: u64,
        memory_max: u64,
        tell: impl Fn(News<'_>) + Send + Sync + 'static,
    ) -> Link {
        let shared = Arc::new(Shared {
            tell: Box::new(tell),
            output_max,
            memory_max,
            state: watch::Sender::new(State::Starting),
            owed: Owed::default(),
            next: AtomicU64::new(1),
            restarts: AtomicU64::new(0),
        });
        let supervisor = tokio::spawn(supervise(Arc::clone(&shared), Arc::new(start)));
        Link { shared, supervisor }
    }

    /// Waits for the first start to end.
    ///
    /// # Errors
    /// With the reason when it failed. Another start is tried all the same.
    pub async fn started(&self) -> Result<(), Arc<str>> {
        let mut state = self.shared.state.subscribe();
        let state = state.wait_for(|s| !matches!(s, State::Starting)).await;
        match state.as_deref() {
            Ok(State::Failed(why)) => Err(Arc::clone(why)),
            _ => Ok(()),
        }
    }

    /// Whether a worker is there.
    pub fn is_up(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Up(_))
    }

    /// How often a worker had to be started again.
    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Ordering::Relaxed)
    }

    /// Asks for an answer, and waits `wait` for a worker and little more than `wall` for the answer. When the future is
    /// dropped, the request is cancelled.
    ///
    /// # Errors
    /// When there is no answer. The request is not tried again.
    pub async fn ask(
        &self,
        variables: &Pairs,
        body: &[u8],
        wall: Duration,
        wait: Duration,
    ) -> Result<Reply, NoAnswer> {
        let deadline = tokio::time::Instant::now() + wait + wall + OVERDUE;
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let mut frame = wire::ask(id, variables, body);
        let (answer, worker) = loop {
            let worker = self.up(wait).await?;
            let answer = self.shared.owed.ask(id);
            match worker.frames.send(frame) {
                Ok(()) => break (answer, worker),
                // This worker died before it was given the request, so the next one may have it.
                Err(unsent) => frame = unsent.0,
            }
            self.shared.owed.unask(id);
            tokio::task::yield_now().await;
        };
        let asked = Asked {
            shared: Arc::clone(&self.shared),
            worker,
            id,
        };
        match tokio::time::timeout(wall + OVERDUE, answer).await {
            Ok(Ok(First::Whole(answer))) => Ok(Reply::Whole(answer)),
            Ok(Ok(First::Begun(begun))) => Ok(Reply::Begun(Beginning::new(begun, asked, deadline))),
            Ok(Err(_)) => Err(NoAnswer::Died),
            Err(_) => {
                asked.is_overdue();
                Err(NoAnswer::Overdue)
            }
        }
    }

    async fn up(&self, wait: Duration) -> Result<Up, NoAnswer> {
        let mut state = self.shared.state.subscribe();
        let up = tokio::time::timeout(wait, state.wait_for(|s| matches!(s, State::Up(_)))).await;
        match up.map_err(|_| NoAnswer::Down)?.as_deref() {
            Ok(State::Up(up)) => Ok(up.clone()),
            _ => Err(NoAnswer::Down),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Dropping the supervisor's future drops the socket, and with it the worker.
        self.supervisor.abort();
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link(up: {})", self.is_up())
    }
}

/// A request the worker has; dropped without an answer, it is cancelled.
pub(crate) struct Asked {
    shared: Arc<Shared>,
    worker: Up,
    id: u64,
}

impl Asked {
    /// Tells the worker that a piece of the answer was taken, and that there is room for another.
    pub(crate) fn has_taken(&self) {
        if self.shared.owed.taken(self.id) {
            // A worker that is gone has no other.
            let _ = self
                .worker
                .frames
                .send(wire::frame(Kind::Taken, self.id, &[]));
        }
    }

    /// Ends the worker: it has not ended this request in time.
    pub(crate) fn is_overdue(&self) {
        self.shared.state.send_replace(State::Starting);
        self.worker.condemned.notify_one();
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let abandoned = self.shared.owed.abandon(self.id);
        if abandoned != Abandoned::Settled {
            let cancel = wire::frame(Kind::Cancel, self.id, &[]);
            // A worker that is gone has no request to cancel.
            let _ = self.worker.frames.send(cancel);
        }
        if abandoned == Abandoned::TooMany {
            self.worker.condemned.notify_one();
        }
    }
}

/// Ends a child for good, whatever happens to the future that owns it.
struct Reaped(Option<Child>);

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It has seen the end of its socket; killing it is for the one that does not look.
            let _ = child.kill();
            std::thread::spawn(move || child.wait());
        }
    }
}

async fn supervise(shared: Arc<Shared>, start: Arc<dyn Start>) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let since = Instant::now();
        let why = live(&shared, &start).await;
        // First nobody gets the dead worker any more, then those who had it are answered, by dropping their senders.
        shared
            .state
            .send_replace(State::Failed(Arc::from(why.as_str())));
        let lost = shared.owed.write_off();
        shared.restarts.fetch_add(1, Ordering::Relaxed);
        (shared.tell)(News::Ended { why: &why, lost });
        backoff = if since.elapsed() > STABLE {
            BACKOFF_MIN
        } else {
            (backoff * 2).min(BACKOFF_MAX)
        };
        tokio::time::sleep(backoff).await;
    }
}

/// One worker's life. Returns why it ended.
async fn live(shared: &Arc<Shared>, start: &Arc<dyn Start>) -> String {
    let starting = Arc::clone(start);
    let started = tokio::task::spawn_blocking(move || starting.start()).await;
    let Started { socket, mut child } = match started {
        Ok(Ok(started)) => started,
        Ok(Err(error)) => return format!("cannot start: {error}"),
        Err(error) => return format!("cannot start: {error}"),
    };
    let pid = child.as_ref().map(Child::id);
    if let Some(stderr) = child.as_mut().and_then(|child| child.stderr.take()) {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            said::pass_on(stderr, &|line| (shared.tell)(News::Said(line)));
        });
    }
    let _reaped = Reaped(child);
    tokio::select! {
        why = converse(shared, socket, pid) => why,
        why = memory::outgrown(pid, shared.memory_max) => why,
    }
}

/// What is said between the two, from the first word on. Returns why it ended.
async fn converse(shared: &Arc<Shared>, socket: UnixStream, pid: Option<u32>) -> String {
    let socket = socket
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(socket));
    let (mut reader, writer) = match socket {
        Ok(socket) => socket.into_split(),
        Err(error) => return format!("socket: {error}"),
    };
    let snapshot = match tokio::time::timeout(START_MAX, first_word(&mut reader)).await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(why)) => return why,
        Err(_) => return "did not start in time".to_owned(),
    };
    let (sender, frames) = mpsc::unbounded_channel();
    let condemned = Arc::new(tokio::sync::Notify::new());
    shared.state.send_replace(State::Up(Up {
        frames: sender,
        condemned: Arc::clone(&condemned),
    }));
    (shared.tell)(News::Ready {
        pid,
        snapshot: &snapshot,
    });
    tokio::select! {
        why = read_answers(shared, &mut reader) => why,
        why = write_frames(writer, frames) => why,
        () = condemned.notified() => "a request did not end after its limit".to_owned(),
    }
}

/// Waits for the worker to be ready, and says where its snapshot is from.
async fn first_word(reader: &mut OwnedReadHalf) -> Result<String, String> {
    let (head, payload) = read_frame(reader)
        .await
        .map_err(|e| format!("ended while starting ({e})"))?;
    match head.kind {
        Kind::Ready => Ok(imagefs::printable(&payload)),
        Kind::Failed => Err(imagefs::printable(&payload)),
        _ => Err("spoke out of turn".to_owned()),
    }
}

async fn read_frame(reader: &mut OwnedReadHalf) -> std::io::Result<(Head, Bytes)> {
    let mut head = [0; HEAD];
    reader.read_exact(&mut head).await?;
    let head = Head::parse(head, WORKER_PAYLOAD_MAX).map_err(std::io::Error::other)?;
    let mut payload = BytesMut::zeroed(head.len);
    reader.read_exact(&mut payload).await?;
    Ok((head, payload.freeze()))
}

async fn write_frames(
    mut writer: OwnedWriteHalf,
    mut frames: mpsc::UnboundedReceiver<Vec<u8>>,
) -> String {
    while let Some(frame) = frames.recv().await {
        if let Err(error) = writer.write_all(&frame).await {
            return format!("cannot write to it: {error}");
        }
    }
    "nobody asks any more".to_owned()
}

/// Reads answers until the socket ends or says something that does not fit.
async fn read_answers(shared: &Shared, reader: &mut OwnedReadHalf) -> String {
    let mut answers = Answers::new(&shared.owed, shared.output_max);
    loop {
        let (head, payload) = match read_frame(reader).await {
            Ok(frame) => frame,
            Err(error) => return format!("socket: {error}"),
        };
        if let Err(misbehaved) = answers.take(head, &payload) {
            return misbehaved.to_string();
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
