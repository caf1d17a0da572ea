//! One connection, request after request: HTTP/1.1, or HTTP/2 for a client that begins with its preface.
//!
//! HTTP/2 lets one connection ask for much at once, take nothing of it, and change its mind for free. So beside the limits
//! that HTTP/1.1 has, a connection is ended when it rests too long, when all that it is sent stands still, and when it
//! drops more requests than it waits for ("rapid reset", CVE-2023-44487).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::exchange::request;
use crate::exchange::status::unavailable;
use crate::http::activity::{Activity, Asking, Over};
use crate::http::listener::{Connection, Patient};
use crate::http::proxy::Ends;
use crate::state::Server;

/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 100;

/// Resets before a request is looked at that the library takes before it says `ENHANCE_YOUR_CALM`.
const RESETS_MAX: usize = 20;

/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Response bytes that are kept for one stream while the client does not take them.
const SEND_BUFFER: usize = 128 * 1024;

/// Serves a connection to its end.
pub(crate) async fn converse(server: Arc<Server>, mut connection: Connection) {
    server.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let ends = Arc::new(connection.ends);
    let begun = connection.stream.begins_with_http2();
    match tokio::time::timeout(server.http.header_timeout, begun).await {
        Ok(Ok(true)) => http_2(&server, ends, connection.stream).await,
        Ok(Ok(false)) => http_1(&server, ends, connection.stream).await,
        // It went away, or said nothing for too long.
        Ok(Err(_)) | Err(_) => {}
    }
    server.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}

async fn http_1(server: &Arc<Server>, ends: Arc<Ends>, stream: Patient) {
    let service = {
        let server = Arc::clone(server);
        service_fn(move |request: Request<Incoming>| {
            let server = Arc::clone(&server);
            let peers = ends.peers(request.headers(), &server.http.trusted);
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

async fn http_2(server: &Arc<Server>, ends: Arc<Ends>, stream: Patient) {
    let activity = Arc::new(Activity::default());
    let service = {
        let (server, activity) = (Arc::clone(server), Arc::clone(&activity));
        service_fn(move |request: Request<Incoming>| {
            let server = Arc::clone(&server);
            let peers = ends.peers(request.headers(), &server.http.trusted);
            let asking = Asking::new(&activity);
            async move {
                let response = if server.is_crowded() {
                    unavailable()
                } else {
                    request::answer(server, peers, request).await
                };
                Ok::<_, Infallible>(response.map(|body| asking.answered(body)))
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
    activity.rest();
    tokio::select! {
        _ = conversation => {}
        _ = activity.is_over(GOODBYE, http.write_timeout) => {}
    }
}
