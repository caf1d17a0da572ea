//! One request: from its head to its response. The protocol says who asks; everything else is the same for all.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::exchange::account::Account;
use crate::exchange::body::Body;
use crate::exchange::page;
use crate::exchange::peers::Peers;
use crate::exchange::reply::{Reply, Run};
use crate::exchange::routing;
use crate::exchange::visit::Visit;
use crate::hosting::Hosted;
use crate::site::path::{Host, Refusal};
use crate::state::Server;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers a request; never fails, every problem has a status.
pub(crate) async fn answer<B>(
    server: Arc<Server>,
    peers: Peers,
    request: Request<B>,
) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let request_id = request_id(request.headers(), &server);
    let account = Account::open(&server, &peers.client, &request_id, &request);
    let is_head = request.method() == Method::HEAD;
    let host = host(&request);
    let (hosted, mut reply) = respond(&server, &peers, &request_id, host.as_ref(), request).await;
    if is_head {
        drop_body(&mut reply.response);
    } else {
        reply = page::complete(reply, hosted.as_deref(), &request_id, &server.buffers).await;
    }
    let headers = reply.response.headers_mut();
    let id = HeaderValue::from_str(&request_id).expect("checked characters");
    headers.insert(REQUEST_ID, id);
    if let Some(run) = &reply.run
        && server.http.server_timing
    {
        server_timing(headers, run);
    }
    let host = host.ok().flatten();
    account.close(reply, host.as_ref(), hosted)
}

/// Finds the site that is asked, and lets it answer.
async fn respond<B>(
    server: &Arc<Server>,
    peers: &Peers,
    request_id: &str,
    host: Result<&Option<Host>, &Refusal>,
    request: Request<B>,
) -> (Option<Arc<Hosted>>, Reply)
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let Ok(host) = host.map(Option::as_ref) else {
        return (None, Reply::refused(StatusCode::BAD_REQUEST));
    };
    let Some(hosted) = server.hosted(host) else {
        return (None, Reply::refused(StatusCode::MISDIRECTED_REQUEST));
    };
    let visit = Visit {
        server,
        hosted: &hosted,
        peers,
        host,
        request_id,
    };
    let reply = routing::reply(&visit, request).await;
    (Some(hosted), reply)
}

/// The host that a request names, if it names one in one way.
fn host<B>(request: &Request<B>) -> Result<Option<Host>, Refusal> {
    let named = request.headers().get_all(header::HOST).iter();
    let authority = request.uri().authority().map(|a| a.as_str());
    Host::of_request(
        authority,
        named.map(HeaderValue::as_bytes),
        request.version(),
    )
}

/// Taken over when it is harmless, made otherwise.
fn request_id(headers: &HeaderMap, server: &Server) -> String {
    let theirs = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    theirs
        .filter(harmless)
        .map_or_else(|| server.new_request_id(), str::to_owned)
}

/// HTTP/1.1 leaves the body out by itself, HTTP/2 does not.
fn drop_body(response: &mut Response<Body>) {
    let len = response.body().len();
    if len != Some(0) {
        *response.body_mut() = Body::empty();
    }
    if let Some(len @ 1..) = len {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
}

fn server_timing(headers: &mut HeaderMap, run: &Run) {
    let ms = |ns: u64| format!("{}.{:03}", ns / 1_000_000, ns / 1000 % 1000);
    let queued = ms(u64::try_from(run.queued.as_nanos()).unwrap_or(u64::MAX));
    let timing = format!(
        "queue;dur={queued}, guest;dur={}, cpu;dur={}",
        ms(run.cost.wall_ns),
        ms(run.cost.cpu_ns)
    );
    let report = serde_json::to_string(&run.cost).unwrap_or_default();
    for (name, value) in [("server-timing", timing), ("x-zapp-report", report)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
