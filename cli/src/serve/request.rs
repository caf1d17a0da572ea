//! One request: from its head to its response.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::body::Body;
use super::cgi::{self, Facts};
use super::files::{FileRequest, status_only};
use super::guest_answer;
use super::link::NoAnswer;
use super::log::{Access, Level};
use super::path::{Host, SitePath};
use super::route::{Route, Script};
use super::server::Server;
use super::site::Site;
use super::wire::{Answer, Cost, Ending};

/// Who is at the two ends of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) remote: (String, u16),
    pub(crate) local: (String, u16),
}

/// A response on its way, with what the logs want to know.
struct Done {
    response: Response<Body>,
    handler: &'static str,
    site: Option<Arc<Site>>,
    host: String,
    cost: Option<Cost>,
    queued: Duration,
}

/// How much of a body that is too large is read, and how long, so that the client sees the answer.
const DISCARD_MAX: usize = 4 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(2);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers a request; never fails, every problem has a status.
pub(crate) async fn answer(
    server: Arc<Server>,
    peers: Arc<Peers>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (start, time) = (Instant::now(), SystemTime::now());
    let in_flight = server.enter();
    let request_id = request_id(request.headers(), &server);
    let mut access = access(&request, &peers, &request_id, time);
    let mut done = respond(&server, &peers, request, &request_id).await;
    let status = done.response.status();
    if status.as_u16() >= 400 && done.response.body().len() == 0 && access.method != "HEAD" {
        error_page(&mut done, &request_id).await;
    }
    let headers = done.response.headers_mut();
    headers.insert(
        REQUEST_ID,
        HeaderValue::from_str(&request_id).expect("checked characters"),
    );
    if server.http.server_timing
        && let Some(cost) = &done.cost
    {
        server_timing(headers, cost, done.queued);
    }
    access.status = status.as_u16();
    access.host = done.host;
    access.handler = done.handler;
    access.cost = done.cost;
    access.site = done
        .site
        .as_ref()
        .map_or_else(|| "-".to_owned(), |site| site.name.clone());
    // The site is kept until the last byte is sent, so that an image in use is not let go in the middle.
    let site = done.site;
    let on_end = Box::new(move |bytes| {
        access.bytes = bytes;
        let took = start.elapsed();
        access.duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        server
            .metrics
            .response(&access.site, access.handler, access.status, bytes, took);
        server.log.access(&access);
        drop((site, in_flight));
    });
    done.response.map(|body| body.on_end(on_end))
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

fn access(
    request: &Request<Incoming>,
    peers: &Peers,
    request_id: &str,
    time: SystemTime,
) -> Access {
    let header = |name| {
        let value: &[u8] = request
            .headers()
            .get(name)
            .map_or(b"", |v: &HeaderValue| v.as_bytes());
        String::from_utf8_lossy(value).into_owned()
    };
    Access {
        time,
        remote: peers.remote.0.clone(),
        host: String::new(),
        site: String::new(),
        method: request.method().to_string(),
        target: request.uri().to_string(),
        protocol: protocol(request.version()),
        status: 0,
        bytes: 0,
        referer: header(header::REFERER),
        user_agent: header(header::USER_AGENT),
        handler: "",
        request_id: request_id.to_owned(),
        duration_us: 0,
        cost: None,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

async fn respond(
    server: &Server,
    peers: &Peers,
    request: Request<Incoming>,
    request_id: &str,
) -> Done {
    let mut done = Done {
        response: status_only(StatusCode::BAD_REQUEST),
        handler: "refused",
        site: None,
        host: String::new(),
        cost: None,
        queued: Duration::ZERO,
    };
    let hosts = request
        .headers()
        .get_all(header::HOST)
        .iter()
        .map(HeaderValue::as_bytes);
    let authority = request.uri().authority().map(|a| a.as_str());
    let Ok(host) = Host::of_request(authority, hosts, request.version() == Version::HTTP_10) else {
        return done;
    };
    done.host = host.as_ref().map_or_else(String::new, Host::to_string);
    let Some(site) = server.site(host.as_ref()) else {
        done.response = status_only(StatusCode::MISDIRECTED_REQUEST);
        return done;
    };
    done.site = Some(Arc::clone(&site));
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        done.response = status_only(StatusCode::METHOD_NOT_ALLOWED);
        return done;
    }
    let Ok(path) = SitePath::parse(request.uri().path()) else {
        return done;
    };
    match site.router.route(&path) {
        Route::Denied => done.response = status_only(StatusCode::FORBIDDEN),
        Route::Missing => done.response = status_only(StatusCode::NOT_FOUND),
        Route::Redirect(location) => done.response = redirect(location, request.uri().query()),
        Route::Static(file) => {
            done.handler = "static";
            let wanted = FileRequest {
                method: request.method(),
                headers: request.headers(),
            };
            done.response = site
                .files
                .respond(wanted, &file)
                .await
                .unwrap_or_else(|error| {
                    server.log.event(
                        Level::Error,
                        &site.name,
                        &error.to_string(),
                        &[("request_id", request_id.to_owned())],
                    );
                    status_only(StatusCode::INTERNAL_SERVER_ERROR)
                });
        }
        Route::Script(script) => {
            done.handler = "guest";
            let call = Call {
                server,
                peers,
                site: &site,
                script,
                host: host.as_ref(),
                request_id,
            };
            call.run(request, &mut done).await;
        }
    }
    done
}

fn redirect(mut location: String, query: Option<&str>) -> Response<Body> {
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let mut response = status_only(StatusCode::MOVED_PERMANENTLY);
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// A request for a script.
struct Call<'a> {
    server: &'a Server,
    peers: &'a Peers,
    site: &'a Site,
    script: Script,
    host: Option<&'a Host>,
    request_id: &'a str,
}

impl Call<'_> {
    async fn run(&self, request: Request<Incoming>, done: &mut Done) {
        let Some(link) = &self.site.link else {
            done.response = status_only(StatusCode::NOT_IMPLEMENTED);
            return;
        };
        let (parts, body) = request.into_parts();
        // The whole body is here before an instance is taken: no guest ever waits for a client.
        let body = match self.body(body, &parts.headers).await {
            Ok(body) => body,
            Err(status) => {
                done.response = status_only(status);
                return;
            }
        };
        let has_body = !body.is_empty() || parts.headers.contains_key(header::CONTENT_LENGTH);
        let host = done.host.clone();
        let facts = Facts {
            method: parts.method.as_str(),
            uri: parts.uri.path_and_query().map_or("/", |uri| uri.as_str()),
            protocol: protocol(parts.version),
            headers: &parts.headers,
            body_len: has_body.then_some(body.len()),
            server_name: self.host.map_or("localhost", Host::name),
            host: &host,
            server: (&self.peers.local.0, self.peers.local.1),
            remote: (&self.peers.remote.0, self.peers.remote.1),
            root: &self.site.manifest.site.root,
            script: &self.script,
            request_id: self.request_id,
        };
        let Ok(variables) = cgi::variables(&facts) else {
            done.response = status_only(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            return;
        };
        let waiting = Instant::now();
        let Ok(_place) = self.site.gate.enter().await else {
            self.server.metrics.rejected(&self.site.name);
            done.response = unavailable();
            return;
        };
        done.queued = waiting.elapsed();
        let wall = Duration::from_millis(self.site.limits.wall_ms);
        let answered = link
            .ask(&variables, &body, wall, self.server.queue_timeout)
            .await;
        done.response = match answered {
            Ok(answer) => {
                done.cost = Some(answer.cost);
                self.answered(&parts.method, answer)
            }
            Err(NoAnswer::Died) => {
                self.failed(StatusCode::BAD_GATEWAY, "the worker died with this request")
            }
            Err(NoAnswer::Overdue) => {
                self.failed(StatusCode::GATEWAY_TIMEOUT, "the request did not end")
            }
            Err(NoAnswer::Down) => unavailable(),
        };
    }

    /// The request's body, within its limit and in time.
    async fn body(&self, mut body: Incoming, headers: &HeaderMap) -> Result<Bytes, StatusCode> {
        let max = self.site.limits.body_bytes;
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let too_large = body.size_hint().lower() > max;
        // A client that asks first has not sent anything yet, and need not.
        if too_large && headers.contains_key(header::EXPECT) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if !too_large {
            let limited = Limited::new(&mut body, usize::try_from(max).unwrap_or(usize::MAX));
            match tokio::time::timeout(self.server.http.body_timeout, limited.collect()).await {
                Ok(Ok(collected)) => return Ok(collected.to_bytes()),
                Ok(Err(error)) if error.is::<LengthLimitError>() => {}
                Ok(Err(_)) => return Err(StatusCode::BAD_REQUEST),
                Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
            }
        }
        discard(body).await;
        Err(StatusCode::PAYLOAD_TOO_LARGE)
    }

    fn answered(&self, method: &Method, answer: Answer) -> Response<Body> {
        self.say(&answer);
        let (ending, cost) = (answer.ending, answer.cost);
        let (response, dropped) = match ending {
            Ending::Answered => match guest_answer::response(method, answer) {
                Ok(good) => good,
                Err(bad) => (
                    self.failed(StatusCode::BAD_GATEWAY, &format!("bad answer: {bad}")),
                    0,
                ),
            },
            Ending::Busy => (unavailable(), 0),
            _ => (self.failed(status_of(ending), ending.name()), 0),
        };
        self.server
            .metrics
            .guest(&self.site.name, ending, &cost, dropped);
        response
    }

    /// Passes on what the guest said on its standard error, and that its writes are gone.
    fn say(&self, answer: &Answer) {
        let id = ("request_id", self.request_id.to_owned());
        for line in answer
            .stderr
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line = imagefs::printable(line);
            self.server.log.event(
                Level::Warn,
                &self.site.name,
                &line,
                &[id.clone(), ("from", "guest".to_owned())],
            );
        }
        if answer.cost.discarded_bytes > 0 {
            let bytes = ("bytes", answer.cost.discarded_bytes.to_string());
            self.server.log.event(
                Level::Info,
                &self.site.name,
                "writes discarded",
                &[id, bytes],
            );
        }
    }

    fn failed(&self, status: StatusCode, why: &str) -> Response<Body> {
        let id = ("request_id", self.request_id.to_owned());
        self.server.log.event(
            Level::Error,
            &self.site.name,
            why,
            &[id, ("status", status.as_str().to_owned())],
        );
        status_only(status)
    }
}

/// Reads on for a moment. Closing a connection while the client still sends would make its system throw our answer away.
async fn discard(mut body: Incoming) {
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

/// The status that stands for an ending without an answer.
fn status_of(ending: Ending) -> StatusCode {
    match ending {
        Ending::Wall | Ending::Cpu | Ending::Cancelled => StatusCode::GATEWAY_TIMEOUT,
        Ending::NoAnswer => StatusCode::BAD_GATEWAY,
        Ending::Scratch => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn unavailable() -> Response<Body> {
    let mut response = status_only(StatusCode::SERVICE_UNAVAILABLE);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn server_timing(headers: &mut HeaderMap, cost: &Cost, queued: Duration) {
    let ms = |ns: u64| format!("{}.{:03}", ns / 1_000_000, ns / 1000 % 1000);
    let queued = ms(u64::try_from(queued.as_nanos()).unwrap_or(u64::MAX));
    let timing = format!(
        "queue;dur={queued}, guest;dur={}, cpu;dur={}",
        ms(cost.wall_ns),
        ms(cost.cpu_ns)
    );
    let report = serde_json::to_string(cost).unwrap_or_default();
    for (name, value) in [("server-timing", timing), ("x-zapp-report", report)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// A page for an error: the site's own file, or one that says what happened and nothing about how.
async fn error_page(done: &mut Done, request_id: &str) {
    let status = done.response.status();
    if let Some(site) = &done.site
        && let Some(path) = site.manifest.site.errors.get(status.as_str())
        && let Some(file) = site.router.error_page(path)
    {
        let wanted = FileRequest {
            method: &Method::GET,
            headers: &HeaderMap::new(),
        };
        if let Ok(page) = site.files.respond(wanted, &file).await
            && page.status() == StatusCode::OK
        {
            let (mut parts, body) = page.into_parts();
            for name in [
                header::ETAG,
                header::LAST_MODIFIED,
                header::ACCEPT_RANGES,
                header::VARY,
            ] {
                parts.headers.remove(name);
            }
            done.response.headers_mut().extend(parts.headers);
            *done.response.body_mut() = body;
            return;
        }
    }
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let page = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{code} {reason}</title>\n<h1>{code} {reason}</h1>\n\
         <p>Request {request_id}</p>\n"
    );
    done.response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    *done.response.body_mut() = Body::bytes(page);
}
