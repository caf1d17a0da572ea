//! Bodies of responses: nothing, bytes, or a file of an image read piece by piece while the client takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use imagefs::{Image, Ino};

use crate::exchange::buffers::Hold;

/// Bytes handed to the connection at once. More would hold memory for slow clients, less costs calls.
const PIECE: u64 = 128 * 1024;

/// Called once with the number of body bytes that were sent, when the response is over.
pub(crate) type OnEnd = Box<dyn FnOnce(u64) + Send>;

/// A response body.
pub(crate) struct Body {
    content: Content,
    sent: u64,
    on_end: Option<OnEnd>,
    /// The budget for the bytes in memory.
    hold: Option<Hold>,
}

enum Content {
    Bytes(Bytes),
    File {
        image: Image,
        ino: Ino,
        stored: Stored,
        at: u64,
        end: u64,
    },
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
            hold: None,
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
        range: std::ops::Range<u64>,
    ) -> Body {
        let content = Content::File {
            image,
            ino,
            stored,
            at: range.start,
            end: range.end,
        };
        Body {
            content,
            sent: 0,
            on_end: None,
            hold: None,
        }
    }

    /// The same body, with something to do when it is over.
    pub(crate) fn on_end(mut self, on_end: OnEnd) -> Body {
        self.on_end = Some(on_end);
        self
    }

    /// The same body, which gives back a part of the budget when it is over.
    pub(crate) fn holding(mut self, hold: Hold) -> Body {
        self.hold = Some(hold);
        self
    }

    /// Bytes that are left.
    pub(crate) fn len(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { at, end, .. } => end - at,
        }
    }

    fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        match &mut self.content {
            Content::Bytes(bytes) if bytes.is_empty() => None,
            Content::Bytes(bytes) => Some(Ok(std::mem::take(bytes))),
            Content::File { at, end, .. } if at == end => None,
            Content::File {
                image,
                ino,
                stored,
                at,
                end,
            } => {
                let piece = read(image, *ino, *stored, *at, (*end - *at).min(PIECE));
                match &piece {
                    Ok(piece) => *at += piece.len() as u64,
                    Err(_) => *at = *end,
                }
                Some(piece)
            }
        }
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
        _: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let next = self.next();
        if let Some(Ok(bytes)) = &next {
            self.sent += bytes.len() as u64;
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(on_end) = self.on_end.take() {
            on_end(self.sent);
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}
