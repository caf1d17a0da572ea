//! Requests that would change the site, on a site that cannot be changed.
//!
//! Every instance may write: to its scratch files, and to private copies of the image's files. All of that vanishes with
//! the request. For a page that counts its readers this is right; a sign-in, an editor or a comment form must not pretend
//! to work. The screens and forms named here are answered with a page that says so, before a guest is asked; writes of
//! all other requests are counted, and said in the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::exchange::body::Body;
use crate::exchange::files::status_only;
use crate::site::pattern::Pattern;

/// How often a site's discarded writes are said in the log.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// `[read_only]`: what is answered with an explanation instead of being run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReadOnly {
    pub(crate) writes: Writes,
    /// Scripts and paths that only make sense where changes are kept.
    pub(crate) screens: Option<Vec<Pattern>>,
    /// Scripts and paths that are refused when something is sent to them.
    pub(crate) forms: Option<Vec<Pattern>>,
    /// What is run all the same.
    pub(crate) except: Option<Vec<Exception>>,
    /// A file of the site that is shown instead of the built-in page.
    pub(crate) page: Option<String>,
}

/// What becomes of a request that would change the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Writes {
    /// The listed screens and forms are answered 403.
    #[default]
    Refuse,
    /// Everything runs, and what it writes vanishes.
    Discard,
}

/// A pattern, perhaps with one parameter of the query: `/wp-login.php?action=postpass`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Exception {
    path: Pattern,
    parameter: Option<String>,
}

impl TryFrom<String> for Exception {
    type Error = String;

    fn try_from(text: String) -> Result<Exception, String> {
        let (path, parameter) = match text.split_once('?') {
            Some((path, parameter)) => (path.to_owned(), Some(parameter.to_owned())),
            None => (text, None),
        };
        Ok(Exception {
            path: path.try_into()?,
            parameter,
        })
    }
}

/// What a refused request had in mind, as far as its answer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Screen,
    Form,
}

impl ReadOnly {
    /// Fills in what the manifest leaves open.
    pub(crate) fn or(&mut self, other: ReadOnly) {
        self.screens = self.screens.take().or(other.screens);
        self.forms = self.forms.take().or(other.forms);
        self.except = self.except.take().or(other.except);
    }

    /// Whether a request for a script is refused. `paths` are all the names by which it could be meant.
    pub(crate) fn refuses(
        &self,
        method: &Method,
        paths: &[&[u8]],
        query: Option<&str>,
    ) -> Option<Refused> {
        let any = |pattern: &Pattern| {
            paths
                .iter()
                .any(|path| pattern.matches(path.strip_suffix(b"/").unwrap_or(path)))
        };
        let listed = |list: &Option<Vec<Pattern>>| list.iter().flatten().any(any);
        let has = |parameter: &String| {
            query.is_some_and(|query| query.split('&').any(|pair| pair == parameter))
        };
        let is_excepted = || {
            let mut list = self.except.iter().flatten();
            list.any(|e| any(&e.path) && e.parameter.as_ref().is_none_or(has))
        };
        let sends = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let refused = match self.writes {
            Writes::Discard => None,
            Writes::Refuse if listed(&self.screens) => Some(Refused::Screen),
            Writes::Refuse if sends && listed(&self.forms) => Some(Refused::Form),
            Writes::Refuse => None,
        };
        refused.filter(|_| !is_excepted())
    }
}

/// The answer to a refused request, in the form its client reads.
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

/// Counts what may be said in the log only so often.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    said: Option<Instant>,
    requests: u64,
    bytes: u64,
}

impl Seldom {
    /// Counts one request. When it is time to speak again: requests and bytes since the last time.
    pub(crate) fn count(&self, bytes: u64) -> Option<(u64, u64)> {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.requests += 1;
        tally.bytes += bytes;
        if tally.said.is_some_and(|said| said.elapsed() < SAID_EVERY) {
            return None;
        }
        let said = Some((tally.requests, tally.bytes));
        *tally = Tally {
            said: Some(Instant::now()),
            ..Tally::default()
        };
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> ReadOnly {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn screens_forms_and_exceptions() {
        let mut rules = rules(
            "screens = ['/login.php', '/admin/**']\nforms = ['/comment.php', '/api/**']\n\
             except = ['/admin/ajax.php', '/login.php?action=pass']\n",
        );
        for (method, path, query, refused) in [
            (Method::GET, "/", None, None),
            (Method::POST, "/", None, None),
            (Method::GET, "/login.php", None, Some(Refused::Screen)),
            (Method::POST, "/login.php", None, Some(Refused::Screen)),
            (Method::POST, "/login.php", Some("action=pass"), None),
            (Method::POST, "/login.php", Some("x=1&action=pass"), None),
            (
                Method::POST,
                "/login.php",
                Some("action=passes"),
                Some(Refused::Screen),
            ),
            (
                Method::POST,
                "/admin/x.php",
                Some("action=pass"),
                Some(Refused::Screen),
            ),
            (Method::GET, "/admin/", None, Some(Refused::Screen)),
            (Method::POST, "/admin/ajax.php", None, None),
            (Method::GET, "/comment.php", None, None),
            (Method::POST, "/comment.php", None, Some(Refused::Form)),
            (Method::DELETE, "/api/1", None, Some(Refused::Form)),
            (Method::OPTIONS, "/api/1", None, None),
        ] {
            assert_eq!(
                rules.refuses(&method, &[path.as_bytes()], query),
                refused,
                "{method} {path} {query:?}"
            );
        }
        let names: [&[u8]; 2] = [b"/other", b"/login.php"];
        assert_eq!(
            rules.refuses(&Method::GET, &names, None),
            Some(Refused::Screen),
            "any of its names"
        );
        rules.writes = Writes::Discard;
        assert_eq!(rules.refuses(&Method::POST, &[b"/login.php"], None), None);
    }

    #[test]
    fn the_manifest_wins_over_what_is_filled_in() {
        let mut own = rules("screens = []\n");
        own.or(rules("screens = ['/a']\nforms = ['/b']\n"));
        assert_eq!(own.refuses(&Method::GET, &[b"/a"], None), None);
        assert_eq!(
            own.refuses(&Method::POST, &[b"/b"], None),
            Some(Refused::Form)
        );
    }

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

    #[test]
    fn a_message_comes_seldom_and_loses_no_count() {
        let seldom = Seldom::default();
        assert_eq!(seldom.count(5), Some((1, 5)));
        assert_eq!(seldom.count(6), None);
        assert_eq!(seldom.count(7), None);
        seldom.0.lock().unwrap().said = None;
        assert_eq!(seldom.count(8), Some((3, 21)));
    }
}
