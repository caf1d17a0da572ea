//! The rules of a site's `.htaccess` files, where a request and its reply pass them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use htaccess::{Answer, Table};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};

use crate::exchange::account::protocol;
use crate::exchange::body::Body;
use crate::exchange::reply::{Handler, Reply};
use crate::exchange::status::status_only;
use crate::exchange::visit::Visit;
use crate::ops::log::Level;
use crate::site::path::{Host, SitePath};
use crate::site::rules::{Asked, Ruling, SiteRules};

/// Headers that say how a message is framed: no rule touches those.
const FRAMING: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::HOST,
];

/// A request as rules see it.
pub(crate) fn asked<B>(visit: &Visit<'_>, request: &Request<B>, path: SitePath) -> Asked {
    let client = &visit.peers.client;
    let usual = if client.https { 443 } else { 80 };
    // Whoever comes through a Unix socket has no address, and none that a rule could name.
    let address = |text: &str| text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let port = visit.host.map(|host| host.port().unwrap_or(usual));
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut headers = table(request.headers());
    if let Some(host) = visit.host {
        headers.set(b"Host", host.to_string().as_bytes());
    }
    let target = request.uri().path_and_query();
    Asked {
        method: request.method().to_string(),
        target: target.map_or("/", |target| target.as_str()).to_owned(),
        path,
        protocol: protocol(request.version()),
        https: client.https,
        host: visit.host.map_or("localhost", Host::name).to_owned(),
        port: port.unwrap_or(visit.peers.local.1),
        headers,
        remote: (address(&client.address), client.port),
        server: address(&visit.peers.local.0),
        time: since.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        }),
    }
}

/// What rules make of a request. What takes longer, a password as a rule, is decided where nobody else waits.
pub(crate) async fn rule(rules: &Arc<SiteRules>, asked: &Asked) -> Ruling {
    if let Some(ruling) = rules.rule_soon(asked) {
        return ruling;
    }
    let (rules, asked) = (Arc::clone(rules), asked.clone());
    let ruling = tokio::task::spawn_blocking(move || rules.rule(&asked)).await;
    ruling.expect("rules do not panic, and the runtime outlives its requests")
}

/// Changes a request to what rules have made of it.
pub(crate) fn apply<B>(ruling: &Ruling, request: &mut Request<B>) {
    if let Some(changed) = ruling.request_headers() {
        replace(request.headers_mut(), changed);
    }
    if ruling.is_get() && *request.method() != Method::HEAD {
        *request.method_mut() = Method::GET;
    }
    if ruling.error().is_some() {
        // The page of an error is sent whole, whatever the client has of it.
        let headers = request.headers_mut();
        for name in [
            header::RANGE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_UNMODIFIED_SINCE,
        ] {
            headers.remove(name);
        }
    }
}

/// What rules answer themselves: a refusal, a redirect.
pub(crate) fn answer(visit: &Visit<'_>, answer: &Answer) -> Reply {
    if let Some(why) = answer.exhausted {
        visit.event(Level::Error, &format!(".htaccess: {why}"), &[]);
    }
    let status = StatusCode::from_u16(answer.status);
    let mut response = status_only(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    let location = answer.location.as_deref().map(HeaderValue::from_bytes);
    match location {
        Some(Ok(location)) => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Some(Err(_)) => *response.status_mut() = StatusCode::BAD_REQUEST,
        None => {}
    }
    if let Some(text) = &answer.text {
        *response.body_mut() = Body::bytes(text.clone());
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, html);
    }
    Reply::new(Handler::Refused, response)
}

/// Changes a reply to what rules say of its headers.
pub(crate) fn finish(
    visit: &Visit<'_>,
    rules: &SiteRules,
    asked: &Asked,
    ruling: &Ruling,
    mut reply: Reply,
) -> Reply {
    let error = ruling
        .error()
        .and_then(|status| StatusCode::from_u16(status).ok());
    if let Some(status) = error
        && reply.response.status() == StatusCode::OK
    {
        *reply.response.status_mut() = status;
    }
    let (encoding, language) = ruling.content();
    for (name, value) in [
        (header::CONTENT_ENCODING, encoding),
        (header::CONTENT_LANGUAGE, language),
    ] {
        if let Some(Ok(value)) = value.map(|value| HeaderValue::from_bytes(&value)) {
            reply.response.headers_mut().entry(name).or_insert(value);
        }
    }
    let modified = reply.response.headers().get(header::LAST_MODIFIED);
    let modified = modified.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let since = modified.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
    let mut response = htaccess::Response {
        status: reply.response.status().as_u16(),
        headers: table(reply.response.headers()),
        modified: since.and_then(|since| i64::try_from(since.as_secs()).ok()),
        own_page: reply.handler == Handler::Refused,
    };
    match rules.finish(asked, ruling, &mut response) {
        Ok(()) => {
            replace(reply.response.headers_mut(), &response.headers);
            reply
        }
        Err(why) => {
            visit.event(Level::Error, &format!(".htaccess: {why}"), &[]);
            Reply::refused(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn table(headers: &HeaderMap) -> Table {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

/// Makes headers what a table says, but for those that frame the message.
fn replace(headers: &mut HeaderMap, table: &Table) {
    let old = std::mem::take(headers);
    for name in FRAMING {
        for value in old.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    for (name, value) in table.iter() {
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value))
            && !FRAMING.contains(&name)
        {
            headers.append(name, value);
        }
    }
}
