//! Health, readiness, metrics, and lists of sites and running requests, on a listener of their own that visitors never reach.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::exchange::body::Body;
use crate::exchange::status::{method_not_allowed, status_only};
use crate::http::listener::Listener;
use crate::state::Server;

/// Answers until the process ends: who watches a server wants to see it drain.
pub(crate) async fn serve(server: Arc<Server>, listener: Listener) {
    loop {
        let Ok(connection) = listener.accept(Duration::from_secs(10)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&server, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            // What goes wrong here is the client's.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(connection.stream), service)
                .await;
        });
    }
}

fn answer(server: &Server, request: &Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return method_not_allowed("GET, HEAD");
    }
    match request.uri().path() {
        "/-/healthy" => text(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/-/ready" if server.is_ready() => text(StatusCode::OK, "text/plain", "ready\n".to_owned()),
        "/-/ready" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain",
            "not ready\n".to_owned(),
        ),
        "/-/sites" => text(StatusCode::OK, "application/json", sites(server)),
        "/-/instances" => {
            let list = format!("{}\n", server.instances.json());
            text(StatusCode::OK, "application/json", list)
        }
        "/metrics" => {
            let metrics = server.metrics.text(server.buffers.held(), &server.now());
            text(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                metrics,
            )
        }
        _ => status_only(StatusCode::NOT_FOUND),
    }
}

fn sites(server: &Server) -> String {
    let row = |(name, now): (String, crate::ops::metrics::Now)| {
        serde_json::json!({
            "name": name, "queued": now.queued, "worker_up": now.worker_up, "restarts": now.restarts, "swaps": now.swaps,
        })
    };
    let rows: Vec<_> = server.now().into_iter().map(row).collect();
    format!("{}\n", serde_json::Value::from(rows))
}

fn text(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::bytes(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
