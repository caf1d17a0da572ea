//! Responses that are a status and little else; the caller gives them a page.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use crate::exchange::body::Body;

/// A response of a status without more.
pub(crate) fn status_only(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Not now, but soon.
pub(crate) fn unavailable() -> Response<Body> {
    let mut response = status_only(StatusCode::SERVICE_UNAVAILABLE);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A method that is not answered where these are.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = status_only(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The same query elsewhere.
pub(crate) fn redirect(mut location: String, query: Option<&str>) -> Response<Body> {
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
