//! Warming up: the requests that are answered before the snapshot, so that its caches are full.
//!
//! The manifest names them, and some lead to more: a redirect to where it leads, and a feed to its first item. That is how a page
//! is warmed whose address nobody knows in general, such as a WordPress post.

use anyhow::anyhow;
use sandbox::{Instance, Request, Response, Snapshot, Waiting};

use crate::load::describe;
use crate::setup::{Pairs, Setup};
use crate::variables::{last, uri, value, with};
use crate::warmed::Warmed;

/// Requests that are found on the way, at most.
const FOUND_MAX: usize = 8;
/// A longer address is not followed.
const ADDRESS_MAX: usize = 2048;
/// As much is passed on of what the program says about compiling, and of its last error.
const SAID_MAX: usize = 256;

/// Warms up on a thread of its own: the runtime blocks signals there.
pub(crate) fn up(cold: &Snapshot, setup: &Setup) -> anyhow::Result<Warmed> {
    std::thread::scope(|scope| {
        let warming = std::thread::Builder::new()
            .name("warm-up".to_owned())
            .stack_size(1 << 20);
        let running = warming.spawn_scoped(scope, || warm(cold, setup))?;
        running.join().map_err(|_| anyhow!("warming up panicked"))?
    })
}

/// Runs the program to `accept`, answers the requests one after the other, and freezes. Whatever they did to files is
/// taken back: a request finds those of the image.
fn warm(cold: &Snapshot, setup: &Setup) -> anyhow::Result<Warmed> {
    let mut requests = setup.warmup.clone();
    let mut compile = setup.compile.as_ref();
    let waiting = loop {
        match answer_all(cold, setup, &mut requests, compile)? {
            Ok(waiting) => break waiting,
            // Its end was the instance's, too: from the start, without it.
            Err(Ended::Page(index)) => drop(requests.remove(index)),
            Err(Ended::Compile) => compile = None,
        }
    };
    let snapshot = waiting.freeze(true)?;
    drop(waiting.finish());
    // Once more, to learn which pages a request writes; they are nobody's in particular.
    let mut written = Vec::new();
    for variables in &requests {
        let request = Request {
            variables: last(variables.clone()),
        };
        let instance = Instance::builder(&snapshot).request(request).build()?;
        written.push(instance.run_warming().1);
    }
    snapshot.keep_hot(&written);
    Ok(Warmed { snapshot, requests })
}

/// Which request ended the program.
enum Ended {
    /// The one of this index.
    Page(usize),
    /// The one that compiles.
    Compile,
}

/// Answers the requests and those they lead to, which are added, and the one that compiles.
fn answer_all(
    cold: &Snapshot,
    setup: &Setup,
    requests: &mut Vec<Pairs>,
    compile: Option<&Pairs>,
) -> anyhow::Result<Result<Waiting, Ended>> {
    let mut waiting = run_to_accept(cold, setup)?;
    let files = waiting.file_changes();
    let most = setup.warmup.len() + FOUND_MAX;
    let mut index = 0;
    while let Some(variables) = requests.get(index) {
        let request = Request {
            variables: variables.clone(),
        };
        waiting = match waiting.serve_next(&request) {
            Ok(next) => next,
            Err(ended) => {
                let (uri, end) = (uri(variables), describe(&ended));
                eprintln!("warm-up request {uri} failed: {end}");
                return Ok(Err(Ended::Page(index)));
            }
        };
        let (response, [body, stderr]) = waiting.take_answer();
        if let Some(response) = response.as_ref().filter(|it| it.status >= 400) {
            let (uri, status) = (uri(variables), response.status);
            let why = last_line(&stderr);
            let colon = if why.is_empty() { "" } else { ": " };
            eprintln!("warm-up request {uri} was answered {status}{colon}{why}");
        }
        let found = response.and_then(|response| leads_to(variables, &response, &body));
        if let Some(found) = found.filter(|found| {
            let address = value(found, b"REQUEST_URI");
            let is_known = |other: &Pairs| value(other, b"REQUEST_URI") == address;
            requests.len() < most && !requests.iter().any(is_known)
        }) {
            requests.insert(index + 1, found);
        }
        index += 1;
    }
    if let Some(variables) = compile {
        let request = Request {
            variables: variables.clone(),
        };
        waiting = match waiting.serve_next(&request) {
            Ok(next) => next,
            Err(ended) => {
                let end = describe(&ended);
                eprintln!("what warm-up has not loaded is not compiled: {end}");
                return Ok(Err(Ended::Compile));
            }
        };
        let (_, [said, _]) = waiting.take_answer();
        if !said.is_empty() {
            let said = String::from_utf8_lossy(&said[..said.len().min(SAID_MAX)]);
            eprintln!("behind warm-up: {}", said.escape_debug());
        }
    }
    if !waiting.take_back_files(&files) {
        eprintln!("the program holds files of its own open; every request will find them");
    }
    Ok(Ok(waiting))
}

/// The last line that a program has said on standard error, for people.
fn last_line(stderr: &[u8]) -> String {
    let line = stderr.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    imagefs::printable(&line[..line.len().min(SAID_MAX)])
}

/// A new instance of the program, waiting for its first request.
fn run_to_accept(cold: &Snapshot, setup: &Setup) -> anyhow::Result<Waiting> {
    let builder = Instance::builder(cold).args(setup.arguments.iter().map(String::as_str));
    let builder = setup
        .environment
        .iter()
        .fold(builder, |b, variable| b.env(variable.as_str()));
    builder.build()?.run_to_accept().map_err(|ended| {
        anyhow!(
            "the program ended before it accepted a request: {}",
            describe(&ended)
        )
    })
}

/// The request that an answer leads to, of the same script.
fn leads_to(variables: &Pairs, response: &Response, body: &[u8]) -> Option<Pairs> {
    let header = |wanted: &str| {
        let found = response
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_slice())
    };
    let address = match response.status {
        301 | 302 | 303 | 307 | 308 => header("Location")?,
        200 if memchr::memmem::find(header("Content-Type")?, b"xml").is_some() => first_item(body)?,
        _ => return None,
    };
    let own = [b"http://", value(variables, b"HTTP_HOST")].concat();
    let path = address.strip_prefix(&own[..]).unwrap_or(address);
    // Scripts of their own and files are for the manifest to name.
    let is_plain = path.starts_with(b"/")
        && !path.starts_with(b"//")
        && path.len() <= ADDRESS_MAX
        && path.iter().all(u8::is_ascii_graphic)
        && !path.iter().any(|byte| b"#<>\"\\".contains(byte))
        && memchr::memmem::find(path, b"/.").is_none()
        && memchr::memmem::find(path, b".php").is_none();
    if !is_plain {
        return None;
    }
    let query = path.iter().position(|byte| *byte == b'?');
    let query = query.map_or(&b""[..], |at| &path[at + 1..]);
    Some(with(
        variables,
        &[("REQUEST_URI", path), ("QUERY_STRING", query)],
    ))
}

/// The address of the first item of an RSS feed.
fn first_item(feed: &[u8]) -> Option<&[u8]> {
    let item = &feed[memchr::memmem::find(feed, b"<item>")?..];
    let start = memchr::memmem::find(item, b"<link>")? + b"<link>".len();
    let len = memchr::memmem::find(&item[start..], b"</link>")?;
    Some(item[start..start + len].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_told_on_one_line() {
        for (stderr, line) in [
            ("", ""),
            ("one\n", "one"),
            ("one\ntwo\n\n", "two"),
            ("one\ntwo\x1b", "two\\u{1b}"),
        ] {
            assert_eq!(last_line(stderr.as_bytes()), line, "{stderr:?}");
        }
        assert_eq!(last_line(&[b'x'; 1000]).len(), SAID_MAX);
    }

    fn found(status: u16, headers: &[(&str, &str)], body: &str) -> Option<(String, String)> {
        let pair = |(name, value): (&str, &str)| (name.into(), value.into());
        let asked = [
            ("HTTP_HOST", "localhost"),
            ("REQUEST_URI", "/?p=1"),
            ("QUERY_STRING", "p=1"),
            ("SCRIPT_NAME", "/index.php"),
        ];
        let asked: Pairs = asked.into_iter().map(pair).collect();
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        let response = Response {
            status,
            headers: headers.collect(),
            dropped: 0,
        };
        let found = leads_to(&asked, &response, body.as_bytes())?;
        assert_eq!(value(&found, b"SCRIPT_NAME"), b"/index.php");
        let text = |name: &[u8]| String::from_utf8(value(&found, name).to_vec()).unwrap();
        Some((text(b"REQUEST_URI"), text(b"QUERY_STRING")))
    }

    #[test]
    fn redirects_within_the_site_are_followed() {
        let to = |address| found(301, &[("location", address)], "");
        let plain = |path: &str, query: &str| Some((path.to_owned(), query.to_owned()));
        assert_eq!(to("http://localhost/2024/a/"), plain("/2024/a/", ""));
        assert_eq!(to("/a?b=c&d"), plain("/a?b=c&d", "b=c&d"));
        let long = format!("/{}", "a".repeat(ADDRESS_MAX));
        for address in [
            "https://localhost/a",
            "http://elsewhere/a",
            "http://localhost.elsewhere/a",
            "//elsewhere/a",
            "a",
            "/a b",
            "/a#b",
            "/../a",
            "/wp-login.php?x",
            &long,
        ] {
            assert_eq!(to(address), None, "{address}");
        }
        assert_eq!(to(&long[1..]), None);
        assert_eq!(to(&long[..ADDRESS_MAX]), plain(&long[..ADDRESS_MAX], ""));
        assert_eq!(found(200, &[("Location", "/a")], ""), None);
    }

    #[test]
    fn feeds_lead_to_their_first_item() {
        let item = "<item><title>T</title> <link> http://localhost/new/ </link></item>";
        let feed =
            format!("<channel><link>http://localhost/</link>{item}<item><link>/old/</link></item>");
        let rss = [("Content-Type", "application/rss+xml; charset=UTF-8")];
        assert_eq!(
            found(200, &rss, &feed),
            Some(("/new/".into(), String::new()))
        );
        assert_eq!(found(200, &[("Content-Type", "text/html")], &feed), None);
        assert_eq!(found(404, &rss, &feed), None);
        for cut in [10, 40, feed.len() - 60] {
            assert_eq!(found(200, &rss, &feed[..cut]), None, "{cut}");
        }
    }
}
