//! Bodies of responses: nothing, bytes, or a file of an image read piece by piece while the client takes it.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use imagefs::{Image, Ino};
use tokio::task::JoinHandle;
use worker::Cost;

use crate::exchange::buffers::Hold;

/// Bytes handed to the connection at once. More would hold memory for slow clients, less costs calls.
const PIECE: u64 = 128 * 1024;

/// What is known of a response when it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Bytes of the body that were sent.
    pub(crate) bytes: u64,
    /// What the guest took that ended meanwhile.
    pub(crate) cost: Option<Cost>,
}

/// Called once when the response is over.
pub(crate) type OnEnd = Box<dyn FnOnce(Sent) + Send>;

/// A response body.
pub(crate) struct Body {
    content: Content,
    sent: u64,
    on_end: Option<OnEnd>,
}

/// Bytes in memory, with their part of the budget.
struct Held {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is still being made.
pub(crate) trait Live: Send {
    /// The next piece, with its part of the budget.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>>;
    /// Whether nothing more will come.
    fn is_over(&self) -> bool;
    /// What the guest took, once it has ended.
    fn cost(&self) -> Option<Cost>;
}

enum Content {
    Bytes(Bytes),
    File(FileBody),
    Live(Box<dyn Live>),
}

/// What is left of a range of a file.
struct FileBody {
    image: Image,
    ino: Ino,
    stored: Stored,
    range: Range<u64>,
    at: u64,
    /// Of a file that is stored as it is.
    touched: Option<Touched>,
    /// A piece that is being read elsewhere.
    reading: Option<JoinHandle<std::io::Result<Bytes>>>,
}

/// Whether all bytes of a file have been hashed, so that reading them again is no more than a copy. Shared by all who send
/// the file.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub(crate) files: Arc<[AtomicU8]>,
    pub(crate) index: usize,
    pub(crate) bit: u8,
    /// Bytes of the whole file as they are sent.
    pub(crate) size: u64,
}

impl Touched {
    fn is_whole(&self) -> bool {
        self.files[self.index].load(Ordering::Relaxed) & self.bit != 0
    }

    /// Takes down what has been read.
    fn add(&self, range: Range<u64>) {
        if range == (0..self.size) {
            self.files[self.index].fetch_or(self.bit, Ordering::Relaxed);
        }
    }
}

/// Which bytes of a file are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// What the file holds.
    Plain,
    /// The zstd frame it is stored as.
    Frame,
}

impl Body {
    /// A body of bytes in memory.
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Body {
        Body {
            content: Content::Bytes(bytes.into()),
            sent: 0,
            on_end: None,
        }
    }

    /// No body.
    pub(crate) fn empty() -> Body {
        Body::bytes(Bytes::new())
    }

    /// A range of a file.
    pub(crate) fn file(
        image: Image,
        ino: Ino,
        stored: Stored,
        range: Range<u64>,
        touched: Option<Touched>,
    ) -> Body {
        let content = Content::File(FileBody {
            image,
            ino,
            stored,
            at: range.start,
            range,
            touched,
            reading: None,
        });
        Body {
            content,
            sent: 0,
            on_end: None,
        }
    }

    /// What a guest says while it runs.
    pub(crate) fn live(live: impl Live + 'static) -> Body {
        Body {
            content: Content::Live(Box::new(live)),
            sent: 0,
            on_end: None,
        }
    }

    /// The same body, with something to do when it is over.
    pub(crate) fn on_end(mut self, on_end: OnEnd) -> Body {
        self.on_end = Some(on_end);
        self
    }

    /// The same body, whose bytes in memory keep a part of the budget. The connection takes them long before the client does,
    /// and is done with the body then; so it is given back when nobody has a piece of them any more.
    pub(crate) fn holding(mut self, hold: Hold) -> Body {
        if let Content::Bytes(bytes) = &mut self.content {
            *bytes = held(std::mem::take(bytes), hold);
        }
        self
    }

    /// Bytes that are left, where that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes.len() as u64),
            Content::File(file) => Some(file.range.end - file.at),
            Content::Live(live) => live.is_over().then_some(0),
        }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        match &mut self.content {
            Content::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Bytes(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Content::File(file) => file.next(context),
            Content::Live(live) => live.next(context),
        }
    }
}

/// The same bytes, which keep a part of the budget until nobody has a piece of them any more.
pub(crate) fn held(bytes: Bytes, hold: Hold) -> Bytes {
    Bytes::from_owner(Held { bytes, _hold: hold })
}

impl FileBody {
    /// The next piece. What may have to be hashed or decoded is read on a thread for such things: other connections must not wait for it. There is one such piece at a time.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        if self.at == self.range.end {
            return Poll::Ready(None);
        }
        if self.reading.is_none() && !self.is_copy() {
            self.reading = Some(tokio::task::spawn_blocking(self.read()));
        }
        let piece = match &mut self.reading {
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                read.unwrap_or_else(|failed| Err(std::io::Error::other(failed)))
            }
            None => self.read()(),
        };
        match &piece {
            Ok(piece) => self.at += piece.len() as u64,
            Err(_) => self.at = self.range.end,
        }
        if let (Ok(_), Some(touched)) = (&piece, &self.touched) {
            touched.add(self.range.start..self.at);
        }
        Poll::Ready(Some(piece))
    }

    /// Whether the next piece costs no more than a copy. A frame is checked before anybody decides to send it.
    fn is_copy(&self) -> bool {
        self.stored == Stored::Frame || self.touched.as_ref().is_some_and(Touched::is_whole)
    }

    fn read(&self) -> impl FnOnce() -> std::io::Result<Bytes> + Send + 'static {
        let (image, ino, stored, at) = (self.image.clone(), self.ino, self.stored, self.at);
        let len = (self.range.end - at).min(PIECE);
        move || read(&image, ino, stored, at, len)
    }
}

fn read(image: &Image, ino: Ino, stored: Stored, at: u64, len: u64) -> std::io::Result<Bytes> {
    let size = usize::try_from(len).expect("at most PIECE");
    match stored {
        Stored::Plain => {
            let mut piece = vec![0; size];
            let count = image
                .read_at(ino, at, &mut piece)
                .map_err(std::io::Error::other)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            piece.truncate(count);
            Ok(piece.into())
        }
        Stored::Frame => {
            let frame = image
                .frame(ino)
                .map_err(std::io::Error::other)?
                .unwrap_or_default();
            let start = usize::try_from(at).unwrap_or(usize::MAX);
            let piece = frame.get(start..start.saturating_add(size));
            piece
                .map(Bytes::copy_from_slice)
                .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let next = ready!(self.next(context));
        if let Some(Ok(bytes)) = &next {
            self.sent += bytes.len() as u64;
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.len()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            let cost = match &self.content {
                Content::Live(live) => live.cost(),
                _ => None,
            };
            on_end(Sent {
                bytes: self.sent,
                cost,
            });
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({:?} bytes)", self.len())
    }
}
