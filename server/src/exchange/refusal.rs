//! The answer to a request that would change a site that cannot be changed, in the form its client reads.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::exchange::body::Body;
use crate::exchange::status::status_only;
use crate::site::read_only::Refused;

/// The answer to a refused request.
pub(crate) fn answer(refused: Refused, path: &[u8], headers: &HeaderMap) -> Response<Body> {
    let (media_type, text) = match Form::of(path, headers) {
        Form::Html => ("text/html; charset=utf-8", html(refused)),
        Form::Json => (
            "application/json",
            r#"{"code":"read_only","message":"This site is a read-only image: changes cannot be kept.","data":{"status":403}}"#
                .to_owned(),
        ),
        Form::XmlRpc => ("text/xml; charset=utf-8", XML_RPC_FAULT.to_owned()),
    };
    let mut response = status_only(StatusCode::FORBIDDEN);
    *response.body_mut() = Body::bytes(text);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    XmlRpc,
}

impl Form {
    fn of(path: &[u8], headers: &HeaderMap) -> Form {
        let accept = headers
            .get(header::ACCEPT)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let accepts = |kind: &[u8]| accept.windows(kind.len()).any(|part| part == kind);
        if path.ends_with(b"/xmlrpc.php") {
            Form::XmlRpc
        } else if path.starts_with(b"/wp-json/")
            || (accepts(b"application/json") && !accepts(b"text/html"))
        {
            Form::Json
        } else {
            Form::Html
        }
    }
}

fn html(refused: Refused) -> String {
    let what = match refused {
        Refused::Screen => "Signing in, editing and settings are",
        Refused::Form => "Comments and other entries are",
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>This site is read-only</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}</style>\n\
         <h1>This site is read-only</h1>\n\
         <p>{what} not possible here: the site is served from an image that cannot change, so nothing could be \
         kept. Nothing has been stored.</p>\n\
         <p><a href=\"/\">To the front page</a></p>\n"
    )
}

const XML_RPC_FAULT: &str = "<?xml version=\"1.0\"?>\n<methodResponse><fault><value><struct>\
    <member><name>faultCode</name><value><int>403</int></value></member>\
    <member><name>faultString</name><value><string>This site is a read-only image: changes cannot be kept.\
    </string></value></member></struct></value></fault></methodResponse>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_form_its_client_reads() {
        let none = HeaderMap::new();
        let json: HeaderMap = [(header::ACCEPT, HeaderValue::from_static("application/json"))]
            .into_iter()
            .collect();
        for (path, headers, form) in [
            ("/wp-login.php", &none, Form::Html),
            ("/wp-json/wp/v2/posts", &none, Form::Json),
            ("/xmlrpc.php", &none, Form::XmlRpc),
            ("/form.php", &json, Form::Json),
        ] {
            assert_eq!(Form::of(path.as_bytes(), headers), form, "{path}");
        }
    }
}
