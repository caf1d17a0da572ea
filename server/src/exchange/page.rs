//! Pages for errors: the site's own file, or one that says what happened and nothing about how.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};

use crate::exchange::body::Body;
use crate::exchange::buffers::Buffers;
use crate::exchange::files::FileRequest;
use crate::exchange::reply::Reply;
use crate::hosting::Hosted;

/// A page, with the headers it brings.
type Page = (HeaderMap, Body);

/// The same reply; an error without a body with its page, if it is to have one.
pub(crate) async fn complete(
    mut reply: Reply,
    hosted: Option<&Hosted>,
    request_id: &str,
    buffers: &Buffers,
) -> Reply {
    let status = reply.response.status();
    if status.as_u16() < 400 || reply.response.body().len() != Some(0) {
        return reply;
    }
    let own = match hosted {
        Some(hosted) => own(reply.page.take(), status, hosted, buffers).await,
        None => None,
    };
    // What the program itself said of a client's mistake, and said without a word, is what its author meant.
    let is_meant = reply.run.is_some() && status.is_client_error();
    let page = own.or_else(|| (!is_meant).then(|| plain(status, request_id)));
    if let Some((headers, body)) = page {
        reply.response.headers_mut().extend(headers);
        *reply.response.body_mut() = body;
    }
    reply
}

/// The site's own page: the one that is asked for, or that for a status.
async fn own(
    path: Option<String>,
    status: StatusCode,
    hosted: &Hosted,
    buffers: &Buffers,
) -> Option<Page> {
    let errors = &hosted.site.manifest.site.errors;
    let path = path.as_ref().or_else(|| errors.get(status.as_str()))?;
    let file = hosted.site.router.error_page(path)?;
    let wanted = FileRequest {
        method: &Method::GET,
        headers: &HeaderMap::new(),
        buffers,
    };
    let page = hosted.files.respond(wanted, &file).await.ok()?;
    if page.status() != StatusCode::OK {
        return None;
    }
    let (mut parts, body) = page.into_parts();
    // They would speak of the file, while this is an answer about something else.
    for name in [
        header::ETAG,
        header::LAST_MODIFIED,
        header::ACCEPT_RANGES,
        header::VARY,
    ] {
        parts.headers.remove(name);
    }
    Some((parts.headers, body))
}

/// The page that every site has.
fn plain(status: StatusCode, request_id: &str) -> Page {
    let reason = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let page = format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{code} {reason}</title>\n<h1>{code} {reason}</h1>\n\
         <p>Request {request_id}</p>\n"
    );
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let headers = [(header::CONTENT_TYPE, html)].into_iter().collect();
    (headers, Body::bytes(page))
}
