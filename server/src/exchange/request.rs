//! One request: from its head to its response.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use worker::{Answer, Cost, Ending, NoAnswer};

use crate::exchange::body::Body;
use crate::exchange::buffers::{Buffers, Exhausted, Hold};
use crate::exchange::files::{FileRequest, status_only, unavailable};
use crate::exchange::guest_answer;
use crate::exchange::instances::Underway;
use crate::exchange::peers::Peers;
use crate::exchange::proxy::Client;
use crate::exchange::refusal;
use crate::hosting::Hosted;
use crate::ops::log::{Access, Level};
use crate::site::cgi::{self, Facts};
use crate::site::path::{Host, Refusal, SitePath};
use crate::site::read_only::{Refused, Writes};
use crate::site::route::{Route, Script};
use crate::state::Server;

/// A response on its way, with what the logs want to know.
struct Done {
    response: Response<Body>,
    handler: &'static str,
    hosted: Option<Arc<Hosted>>,
    host: String,
    cost: Option<Cost>,
    queued: Duration,
    /// A file of the site to show when there is no body.
    page: Option<String>,
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
    let client = Client::of(
        peers.remote,
        peers.remote_port,
        request.headers(),
        &server.http.trusted,
    );
    let mut access = access(&request, &client, &request_id, time);
    let asker = Asker {
        client: &client,
        local: &peers.local,
        request_id: &request_id,
    };
    let mut done = respond(&server, &asker, request).await;
    let status = done.response.status();
    if status.as_u16() >= 400 && done.response.body().len() == 0 && access.method != "HEAD" {
        error_page(&mut done, &request_id, &server.buffers).await;
    }
    let len = done.response.body().len();
    if access.method == "HEAD" && len > 0 {
        // HTTP/1.1 leaves the body out by itself, HTTP/2 does not.
        *done.response.body_mut() = Body::empty();
        let headers = done.response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
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
        .hosted
        .as_ref()
        .map_or_else(|| "-".to_owned(), |hosted| hosted.name.clone());
    // The site is kept until the last byte is sent, so that an image in use is not let go in the middle.
    let hosted = done.hosted;
    let on_end = Box::new(move |bytes| {
        access.bytes = bytes;
        let took = start.elapsed();
        access.duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        server
            .metrics
            .response(&access.site, access.handler, access.status, bytes, took);
        server.log.access(&access);
        drop((hosted, in_flight));
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
    client: &Client,
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
        remote: client.address.clone(),
        host: String::new(),
        site: String::new(),
        method: request.method().to_string(),
        target: match request.uri().path_and_query() {
            Some(target) if request.version() == Version::HTTP_2 => target.to_string(),
            _ => request.uri().to_string(),
        },
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
        // As nginx writes it.
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
struct Asker<'a> {
    client: &'a Client,
    local: &'a (String, u16),
    request_id: &'a str,
}

async fn respond(server: &Server, asker: &Asker<'_>, request: Request<Incoming>) -> Done {
    let mut done = Done {
        response: status_only(StatusCode::BAD_REQUEST),
        handler: "refused",
        hosted: None,
        host: String::new(),
        cost: None,
        queued: Duration::ZERO,
        page: None,
    };
    let hosts = request
        .headers()
        .get_all(header::HOST)
        .iter()
        .map(HeaderValue::as_bytes);
    let authority = request.uri().authority().map(|a| a.as_str());
    let Ok(host) = Host::of_request(authority, hosts, request.version()) else {
        return done;
    };
    done.host = host.as_ref().map_or_else(String::new, Host::to_string);
    let Some(hosted) = server.hosted(host.as_ref()) else {
        done.response = status_only(StatusCode::MISDIRECTED_REQUEST);
        return done;
    };
    done.hosted = Some(Arc::clone(&hosted));
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        done.response = method_not_allowed(hosted.link.is_some());
        return done;
    }
    let path = match SitePath::parse(request.uri().path()) {
        Ok(path) => path,
        Err(Refusal::TooLong) => {
            done.response = status_only(StatusCode::URI_TOO_LONG);
            return done;
        }
        Err(_) => return done,
    };
    match hosted.site.router.route(&path) {
        Route::Denied => done.response = status_only(StatusCode::FORBIDDEN),
        Route::Missing => done.response = status_only(StatusCode::NOT_FOUND),
        Route::Redirect(location) => done.response = redirect(location, request.uri().query()),
        Route::Static(file) => {
            done.handler = "static";
            let wanted = FileRequest {
                method: request.method(),
                headers: request.headers(),
                buffers: &server.buffers,
            };
            done.response = hosted
                .files
                .respond(wanted, &file)
                .await
                .unwrap_or_else(|error| {
                    server.log.event(
                        Level::Error,
                        &hosted.name,
                        &error.to_string(),
                        &[("request_id", asker.request_id.to_owned())],
                    );
                    status_only(StatusCode::INTERNAL_SERVER_ERROR)
                });
            if done.response.status() == StatusCode::SERVICE_UNAVAILABLE {
                server.metrics.rejected(&hosted.name);
            }
        }
        Route::Script(script) => {
            let names = [path.as_bytes(), &script.name];
            let query = request.uri().query();
            let rules = &hosted.site.manifest.read_only;
            if let Some(refused) = rules.refuses(request.method(), &names, query) {
                done.handler = "read-only";
                refuse(refused, &path, &hosted, request, &mut done).await;
                return done;
            }
            done.handler = "guest";
            let call = Call {
                server,
                asker,
                hosted: &hosted,
                script,
                host: host.as_ref(),
            };
            call.run(request, &mut done).await;
        }
    }
    done
}

/// Says that the site cannot be changed.
async fn refuse(
    refused: Refused,
    path: &SitePath,
    hosted: &Hosted,
    request: Request<Incoming>,
    done: &mut Done,
) {
    done.response = refusal::answer(refused, path.as_bytes(), request.headers());
    done.page = hosted.site.manifest.read_only.page.clone();
    if done.page.is_some() {
        *done.response.body_mut() = Body::empty();
    }
    // A client that asks first has not sent its body, and need not.
    if !request.body().is_end_stream() && !request.headers().contains_key(header::EXPECT) {
        discard(request.into_body()).await;
    }
}

fn method_not_allowed(has_guest: bool) -> Response<Body> {
    let allow = if has_guest {
        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    } else {
        "GET, HEAD"
    };
    let mut response = status_only(StatusCode::METHOD_NOT_ALLOWED);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    response
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
    asker: &'a Asker<'a>,
    hosted: &'a Hosted,
    script: Script,
    host: Option<&'a Host>,
}

impl Call<'_> {
    async fn run(&self, request: Request<Incoming>, done: &mut Done) {
        let Some(link) = &self.hosted.link else {
            done.response = status_only(StatusCode::NOT_IMPLEMENTED);
            return;
        };
        let (parts, body) = request.into_parts();
        // The whole body is here before an instance is taken: no guest ever waits for a client.
        let body = match self.body(body, &parts.headers).await {
            Ok(body) => body,
            Err(StatusCode::SERVICE_UNAVAILABLE) => {
                self.server.metrics.rejected(&self.hosted.name);
                done.response = unavailable();
                return;
            }
            Err(status) => {
                done.response = status_only(status);
                return;
            }
        };
        let (body, _held) = body;
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
            server: (&self.asker.local.0, self.server_port()),
            remote: (&self.asker.client.address, self.asker.client.port),
            https: self.asker.client.https,
            root: &self.hosted.site.manifest.site.root,
            script: &self.script,
            request_id: self.asker.request_id,
        };
        let Ok(variables) = cgi::variables(&facts) else {
            done.response = status_only(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            return;
        };
        let target = facts.uri.to_owned();
        let waiting = Instant::now();
        let Ok(_place) = self.hosted.gate.enter().await else {
            self.server.metrics.rejected(&self.hosted.name);
            done.response = unavailable();
            return;
        };
        done.queued = waiting.elapsed();
        let _listed = self.server.instances.list(Underway {
            site: self.hosted.name.clone(),
            method: parts.method.to_string(),
            target: target.clone(),
            remote: self.asker.client.address.clone(),
            request_id: self.asker.request_id.to_owned(),
            since: Instant::now(),
        });
        let wall = Duration::from_millis(self.hosted.site.limits.wall_ms);
        let answered = link
            .ask(&variables, &body, wall, self.server.hosting.queue_timeout)
            .await;
        done.response = match answered {
            Ok(answer) => {
                done.cost = Some(answer.cost);
                self.answered(&parts.method, &target, answer)
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

    /// The request's body, within its limit and in time, with what it takes of the budget.
    async fn body(
        &self,
        mut body: Incoming,
        headers: &HeaderMap,
    ) -> Result<(Bytes, Hold), StatusCode> {
        let max = self.hosted.site.limits.body_bytes;
        let too_large = body.size_hint().lower() > max;
        // A client that asks first has not sent anything yet, and need not.
        if too_large && headers.contains_key(header::EXPECT) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if !too_large {
            let reading = self.read(&mut body, max);
            match tokio::time::timeout(self.server.http.body_timeout, reading).await {
                Ok(Err(StatusCode::PAYLOAD_TOO_LARGE)) => {}
                Ok(read) => return read,
                Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
            }
        }
        discard(body).await;
        Err(StatusCode::PAYLOAD_TOO_LARGE)
    }

    async fn read(&self, body: &mut Incoming, max: u64) -> Result<(Bytes, Hold), StatusCode> {
        let mut hold = self.server.buffers.hold();
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else {
                // Trailers are for nobody.
                continue;
            };
            hold.grow(piece.len())
                .map_err(|Exhausted| StatusCode::SERVICE_UNAVAILABLE)?;
            if (first.len() + all.len() + piece.len()) as u64 > max {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
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

    /// The port that a client sees, as Apache has it: behind a proxy it is not ours.
    fn server_port(&self) -> u16 {
        let usual = if self.asker.client.https { 443 } else { 80 };
        self.host
            .map_or(self.asker.local.1, |host| host.port().unwrap_or(usual))
    }

    fn answered(&self, method: &Method, target: &str, answer: Answer) -> Response<Body> {
        self.say(target, &answer);
        let (ending, cost) = (answer.ending, answer.cost);
        let (response, dropped) = match ending {
            Ending::Answered => match guest_answer::response(method, answer) {
                Ok((response, dropped)) => (self.buffered(response), dropped),
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
            .guest(&self.hosted.name, ending, &cost, dropped);
        response
    }

    /// An answer that lies in memory until the client has taken it.
    fn buffered(&self, response: Response<Body>) -> Response<Body> {
        let mut hold = self.server.buffers.hold();
        let len = usize::try_from(response.body().len()).unwrap_or(usize::MAX);
        match hold.grow(len) {
            Ok(()) => response.map(|body| body.holding(hold)),
            Err(Exhausted) => {
                self.server.metrics.rejected(&self.hosted.name);
                unavailable()
            }
        }
    }

    /// Passes on what the guest said on its standard error, and that what it meant to keep is gone.
    fn say(&self, target: &str, answer: &Answer) {
        let id = ("request_id", self.asker.request_id.to_owned());
        for line in answer
            .stderr
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
        {
            let line = imagefs::printable(line);
            self.server.log.event(
                Level::Warn,
                &self.hosted.name,
                &line,
                &[id.clone(), ("from", "guest".to_owned())],
            );
        }
        let discarded = answer.cost.discarded_bytes;
        if discarded > 0
            && let Some((requests, bytes)) = self.hosted.discards.count(discarded)
        {
            let fields = [
                ("requests", requests.to_string()),
                ("bytes", bytes.to_string()),
                ("last", target.to_owned()),
                id.clone(),
            ];
            let message = "writes were discarded: the site is a read-only image";
            self.server
                .log
                .event(self.level_of_loss(), &self.hosted.name, message, &fields);
        }
        if starts_session(answer)
            && let Some((requests, _)) = self.hosted.sessions.count(0)
        {
            let fields = [
                ("requests", requests.to_string()),
                ("last", target.to_owned()),
                id,
            ];
            let message = "a session was started and ends with its request: nothing is kept";
            self.server
                .log
                .event(self.level_of_loss(), &self.hosted.name, message, &fields);
        }
    }

    /// A loss that the manifest asks for is no reason to warn.
    fn level_of_loss(&self) -> Level {
        let manifest = &self.hosted.site.manifest;
        if manifest.database.is_some() || manifest.read_only.writes == Writes::Discard {
            Level::Info
        } else {
            Level::Warn
        }
    }

    fn failed(&self, status: StatusCode, why: &str) -> Response<Body> {
        let id = ("request_id", self.asker.request_id.to_owned());
        self.server.log.event(
            Level::Error,
            &self.hosted.name,
            why,
            &[id, ("status", status.as_str().to_owned())],
        );
        status_only(status)
    }
}

/// Whether an answer sets PHP's session cookie.
fn starts_session(answer: &Answer) -> bool {
    let mut headers = answer.headers.iter();
    headers.any(|(name, value)| {
        name.eq_ignore_ascii_case(b"set-cookie") && value.starts_with(b"PHPSESSID=")
    })
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
async fn error_page(done: &mut Done, request_id: &str, buffers: &Buffers) {
    let status = done.response.status();
    if let Some(hosted) = &done.hosted
        && let Some(path) =
            (done.page.as_ref()).or(hosted.site.manifest.site.errors.get(status.as_str()))
        && let Some(file) = hosted.site.router.error_page(path)
    {
        let wanted = FileRequest {
            method: &Method::GET,
            headers: &HeaderMap::new(),
            buffers,
        };
        if let Ok(page) = hosted.files.respond(wanted, &file).await
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
    // What the program itself said of a client's mistake, and said without a word, is what its author meant.
    if done.cost.is_some() && status.is_client_error() {
        return;
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
