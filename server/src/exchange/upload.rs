//! The body of a request: read as a whole before an instance is taken, so that no guest ever waits for a client.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Body;

use crate::exchange::buffers::{Buffers, Exhausted, Hold};

/// How much of a body that nobody wants is read, and how long, so that the client sees the answer.
const DISCARD_MAX: usize = 4 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// What a body may be at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    pub(crate) bytes_max: u64,
    pub(crate) time_max: Duration,
    pub(crate) buffers: &'a Buffers,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is larger than the site takes.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// Its framing is broken, or the client went away.
    Broken,
    /// The budget of all bodies is used up.
    NoRoom,
}

impl Unread {
    /// What the client is told.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Unread::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Unread::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Unread::Broken => StatusCode::BAD_REQUEST,
            Unread::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The whole body, with what it takes of the budget. A client that `asks_first` has sent nothing yet.
pub(crate) async fn read<B>(
    mut body: B,
    asks_first: bool,
    bounds: Bounds<'_>,
) -> Result<(Bytes, Hold), Unread>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_large = body.size_hint().lower() > bounds.bytes_max;
    if too_large && asks_first {
        return Err(Unread::TooLarge);
    }
    if !too_large {
        let reading = collect(&mut body, bounds);
        match tokio::time::timeout(bounds.time_max, reading).await {
            Ok(Err(Unread::TooLarge)) => {}
            Ok(read) => return read,
            Err(_) => return Err(Unread::TooSlow),
        }
    }
    discard(body).await;
    Err(Unread::TooLarge)
}

async fn collect<B>(body: &mut B, bounds: Bounds<'_>) -> Result<(Bytes, Hold), Unread>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut hold = bounds.buffers.hold();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            // Trailers are for nobody.
            continue;
        };
        hold.grow(piece.len()).map_err(|Exhausted| Unread::NoRoom)?;
        if (first.len() + all.len() + piece.len()) as u64 > bounds.bytes_max {
            return Err(Unread::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&piece);
    }
    // The usual body is one piece, and its bytes are used where they lie.
    let whole = if all.is_empty() { first } else { all.freeze() };
    Ok((whole, hold))
}

/// Reads on for a moment. Closing a connection while the client still sends would make its system throw our answer away.
pub(crate) async fn discard<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut left = DISCARD_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let read = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    // Whoever sends more or slower than this has to make do with a closed connection.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::body::Frame;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// A body of which nothing ever comes.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_of_any_protocol_is_read_within_its_bounds() {
        let buffers = Buffers::new(8);
        let bounds = Bounds {
            bytes_max: 6,
            time_max: Duration::from_millis(50),
            buffers: &buffers,
        };
        let read_text = async |text: &'static str| {
            let read = read(Full::new(Bytes::from(text)), false, bounds).await;
            read.map(|(bytes, hold)| (bytes, hold, buffers.held()))
        };
        let (bytes, hold, held) = read_text("123456").await.unwrap();
        assert_eq!((&bytes[..], held), (&b"123456"[..], 6));
        assert_eq!(read_text("1234").await.unwrap_err(), Unread::NoRoom);
        drop(hold);
        assert_eq!(read_text("1234567").await.unwrap_err(), Unread::TooLarge);
        assert_eq!(
            read(Never, false, bounds).await.unwrap_err(),
            Unread::TooSlow
        );
        assert_eq!(buffers.held(), 0);
    }
}
