//! One connection, request after request: HTTP/1.1, or HTTP/2 for a client that begins with its preface.
//!
//! HTTP/2 lets one connection ask for much at once, take nothing of it, and change its mind for free. So beside the limits
//! that HTTP/1.1 has, a connection is ended when it rests too long, when all that it is sent stands still, and when it
//! drops more requests than it waits for ("rapid reset", CVE-2023-44487).

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::exchange::request::{self, Peers};
use crate::http::listener::{Connection, Patient};
use crate::server::Server;

/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 100;

/// So many requests may be dropped by a client that waits for fewer.
const DROPPED_MAX: u64 = 100;

/// Resets before a request is looked at that the library takes before it says `ENHANCE_YOUR_CALM`.
const RESETS_MAX: usize = 20;

/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Response bytes that are kept for one stream while the client does not take them.
const SEND_BUFFER: usize = 128 * 1024;

/// Serves a connection to its end.
pub(crate) async fn converse(server: Arc<Server>, mut connection: Connection) {
    server.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let peers = Arc::new(connection.peers);
    let begun = connection.stream.begins_with_http2();
    match tokio::time::timeout(server.http.header_timeout, begun).await {
        Ok(Ok(true)) => http_2(&server, peers, connection.stream).await,
        Ok(Ok(false)) => http_1(&server, peers, connection.stream).await,
        // It went away, or said nothing for too long.
        Ok(Err(_)) | Err(_) => {}
    }
    server.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}

async fn http_1(server: &Arc<Server>, peers: Arc<Peers>, stream: Patient) {
    let service = {
        let server = Arc::clone(server);
        service_fn(move |request| {
            let (server, peers) = (Arc::clone(&server), Arc::clone(&peers));
            async move { Ok::<_, Infallible>(request::answer(server, peers, request).await) }
        })
    };
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(server.http.header_timeout)
        .max_headers(128)
        .max_header_size(server.http.header_bytes)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(conversation);
    // Errors here are the client's: it went away, was too slow, or spoke something else than HTTP.
    tokio::select! {
        _ = conversation.as_mut() => {}
        () = server.drained() => {
            conversation.as_mut().graceful_shutdown();
            let _ = conversation.await;
        }
    }
}

async fn http_2(server: &Arc<Server>, peers: Arc<Peers>, stream: Patient) {
    let activity = Arc::new(Activity::default());
    let service = {
        let (server, activity) = (Arc::clone(server), Arc::clone(&activity));
        service_fn(move |request| {
            let (server, peers) = (Arc::clone(&server), Arc::clone(&peers));
            let asking = Asking::new(&activity);
            async move {
                let response = if server.is_crowded() {
                    request::unavailable()
                } else {
                    request::answer(server, peers, request).await
                };
                let activity = asking.answered();
                Ok::<_, Infallible>(response.map(|body| body.watched(activity)))
            }
        })
    };
    let http = &server.http;
    let conversation = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(http.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(conversation);
    // When this function ends, the connection is dropped with all its streams.
    tokio::select! {
        _ = conversation.as_mut() => return,
        () = server.drained() => {}
        why = activity.is_over(http.header_timeout, http.write_timeout) => if why == Over::Abuse {
            return;
        }
    }
    conversation.as_mut().graceful_shutdown();
    // The client is told that no more is taken, and has a moment to agree when nothing is under way.
    activity.state().busy = Instant::now();
    tokio::select! {
        _ = conversation => {}
        _ = activity.is_over(GOODBYE, http.write_timeout) => {}
    }
}

/// What a connection of HTTP/2 is doing.
#[derive(Debug, Default)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Requests that have no response yet, and responses that are not sent yet.
    asking: usize,
    sending: usize,
    answered: u64,
    dropped: u64,
    /// When the last request came or the last response ended, and when bytes of a response were last taken.
    busy: Instant,
    taken: Instant,
}

impl Default for State {
    fn default() -> State {
        State {
            asking: 0,
            sending: 0,
            answered: 0,
            dropped: 0,
            busy: Instant::now(),
            taken: Instant::now(),
        }
    }
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// Nothing has been asked for long.
    Idle,
    /// Nothing is taken, or too much is dropped.
    Abuse,
}

impl Activity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response begins.
    pub(crate) fn begin(&self) {
        let mut state = self.state();
        if state.sending == 0 {
            state.taken = Instant::now();
        }
        state.sending += 1;
    }

    /// The connection took a piece of a response.
    pub(crate) fn take(&self) {
        self.state().taken = Instant::now();
    }

    /// A response is over.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.sending -= 1;
        state.busy = Instant::now();
    }

    fn over(&self, idle_max: Duration, stall_max: Duration) -> Option<Over> {
        let state = self.state();
        let is_stalled = state.sending > 0 && state.taken.elapsed() > stall_max;
        if is_stalled || (state.dropped > DROPPED_MAX && state.dropped > state.answered) {
            return Some(Over::Abuse);
        }
        let is_idle = state.asking + state.sending == 0 && state.busy.elapsed() > idle_max;
        is_idle.then_some(Over::Idle)
    }

    /// Waits until the connection has to end.
    async fn is_over(&self, idle_max: Duration, stall_max: Duration) -> Over {
        let every = (idle_max.min(stall_max) / 4)
            .clamp(Duration::from_millis(20), Duration::from_millis(250));
        loop {
            if let Some(over) = self.over(idle_max, stall_max) {
                return over;
            }
            tokio::time::sleep(every).await;
        }
    }
}

/// A request without response; dropped so, its client has dropped it.
struct Asking(Option<Arc<Activity>>);

impl Asking {
    fn new(activity: &Arc<Activity>) -> Asking {
        let mut state = activity.state();
        state.asking += 1;
        state.busy = Instant::now();
        drop(state);
        Asking(Some(Arc::clone(activity)))
    }

    fn answered(mut self) -> Arc<Activity> {
        let activity = self.0.take().expect("taken only here");
        let mut state = activity.state();
        state.asking -= 1;
        state.answered += 1;
        drop(state);
        activity
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            let mut state = activity.state();
            state.asking -= 1;
            state.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn idle_stalled_and_fickle_connections_end() {
        let activity = Arc::new(Activity::default());
        assert_eq!(activity.over(SHORT, LONG), None);
        std::thread::sleep(SHORT * 2);
        assert_eq!(activity.over(SHORT, LONG), Some(Over::Idle));
        let asking = Asking::new(&activity);
        std::thread::sleep(SHORT * 2);
        assert_eq!(activity.over(SHORT, SHORT), None, "a request runs");
        asking.answered().begin();
        assert_eq!(activity.over(SHORT, SHORT), None, "its response begins");
        std::thread::sleep(SHORT * 2);
        assert_eq!(activity.over(LONG, SHORT), Some(Over::Abuse), "stalled");
        activity.take();
        assert_eq!(activity.over(LONG, SHORT), None, "it goes on");
        activity.end();
        for _ in 0..=DROPPED_MAX {
            assert_eq!(activity.over(LONG, LONG), None);
            drop(Asking::new(&activity));
        }
        assert_eq!(activity.over(LONG, LONG), Some(Over::Abuse), "fickle");
        for _ in 0..=DROPPED_MAX {
            Asking::new(&activity).answered();
        }
        assert_eq!(activity.over(LONG, LONG), None, "it waits for most");
    }
}
