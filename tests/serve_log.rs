//! What is said of each request: its line in the access log, its counters, and the page of an error.
//!
//! Operators' scripts and dashboards read these, so they are kept whatever becomes of the code that answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::serve::{Server, packed};
use crate::serve_guest;
use crate::support::{Scratch, skip, wait_for};

/// A request, and what is to be said of it: status, handler, site, and whether its page names the request.
struct Case {
    request: &'static str,
    status: u16,
    handler: &'static str,
    has_site: bool,
    has_page: bool,
}

const fn case(request: &'static str, status: u16, handler: &'static str) -> Case {
    Case {
        request,
        status,
        handler,
        has_site: true,
        has_page: status >= 400,
    }
}

/// Sends each request with an id and compares what is said of it.
fn check(server: &Server, log: &Path, site: &str, cases: &[Case]) {
    let mut rows = BTreeMap::new();
    let mut sent = BTreeMap::<&str, u64>::new();
    for (number, case) in cases.iter().enumerate() {
        let id = format!("pin-{number}");
        let what = case.request;
        let (line, headers) = what
            .split_once('|')
            .unwrap_or((what, "Host: Example.org:80"));
        let request = format!(
            "{line} HTTP/1.1\r\n{headers}\r\nX-Request-Id: {id}\r\nReferer: /r\r\nUser-Agent: u\r\nConnection: close\r\n\r\n"
        );
        let answer = server.raw(request.as_bytes());
        let reply = crate::serve::Reply::parse(&answer);
        assert_eq!(reply.status, case.status, "{what}: {answer}");
        assert_eq!(reply.header("x-request-id"), Some(id.as_str()), "{what}");
        let page = format!("\n<p>Request {id}</p>\n");
        assert_eq!(
            reply.body.ends_with(&page),
            case.has_page,
            "{what}: {answer}"
        );
        wait_for("its line", || {
            fs::read_to_string(log).unwrap().contains(&id)
        });
        let lines = fs::read_to_string(log).unwrap();
        let said: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        let site = if case.has_site { site } else { "-" };
        let (method, target) = line.split_once(' ').unwrap();
        let host = if headers.starts_with("Host: Ex") {
            "example.org:80"
        } else {
            ""
        };
        for (name, value) in [
            ("remote", Value::from("127.0.0.1")),
            ("host", host.into()),
            ("site", site.into()),
            ("method", method.into()),
            ("target", target.into()),
            ("protocol", "HTTP/1.1".into()),
            ("status", case.status.into()),
            ("bytes", reply.body.len().into()),
            ("referer", "/r".into()),
            ("user_agent", "u".into()),
            ("handler", case.handler.into()),
            ("request_id", id.as_str().into()),
        ] {
            assert_eq!(said[name], value, "{name} of {what}: {said}");
        }
        assert!(said["duration_us"].as_u64().unwrap() > 0, "{what}: {said}");
        assert_eq!(said["cost"].is_object(), is_run(case), "{what}: {said}");
        *rows.entry((site, case.handler, case.status)).or_insert(0) += 1;
        *sent.entry(site).or_default() += reply.body.len() as u64;
    }
    let metrics = server.metrics();
    for ((site, handler, status), count) in rows {
        let row = format!(
            "zapp_responses_total{{site=\"{site}\",handler=\"{handler}\",status=\"{status}\"}} {count}\n"
        );
        assert!(metrics.contains(&row), "{row}{metrics}");
    }
    for (site, bytes) in sent {
        let row = format!("zapp_response_bytes_total{{site=\"{site}\"}} {bytes}\n");
        assert!(metrics.contains(&row), "{row}{metrics}");
    }
}

/// Whether a guest ran for a request, so that it has a cost.
fn is_run(case: &Case) -> bool {
    case.handler == "guest" && ![413, 503].contains(&case.status)
}

/// A server that writes its access log as JSON.
fn logging(image: &Path, log: &Path) -> Server {
    let file = log.to_str().unwrap();
    Server::start(
        image,
        &["--access-log", file, "--access-log-format", "json"],
    )
}

#[test]
fn each_request_for_a_file_is_said_in_one_way() {
    let scratch = Scratch::new();
    let own = "schema = 1\n[site]\nindex = [\"index.html\"]\nhosts = [\"example.org\"]\n[site.errors]\n404 = \"/gone.html\"\n";
    let image = packed(
        &scratch,
        &[
            ("index.html", "front"),
            ("a/b.txt", "0123456789"),
            ("dir/index.html", "inside"),
            ("gone.html", "<p>gone"),
            ("secret.sqlite", "x"),
            ("zapp.toml", own),
        ],
    );
    let log = scratch.path("access.log");
    let server = logging(&image, &log);
    let nobody = |request, status| Case {
        has_site: false,
        ..case(request, status, "refused")
    };
    let cases = [
        case("GET /", 200, "static"),
        case("GET /a/b.txt?q=1", 200, "static"),
        Case {
            has_page: false,
            ..case("HEAD /a/b.txt", 200, "static")
        },
        case(
            "GET /a/b.txt|Host: Example.org:80\r\nRange: bytes=2-4",
            206,
            "static",
        ),
        Case {
            has_page: true,
            ..case(
                "GET /a/b.txt|Host: Example.org:80\r\nRange: bytes=99-",
                416,
                "static",
            )
        },
        case(
            "GET /a/b.txt|Host: Example.org:80\r\nIf-None-Match: *",
            304,
            "static",
        ),
        case(
            "GET /a/b.txt|Host: Example.org:80\r\nIf-Match: \"x\"",
            412,
            "static",
        ),
        case("POST /a/b.txt", 405, "static"),
        case("GET /dir?q=1", 301, "refused"),
        Case {
            has_page: false,
            ..case("GET /no.html", 404, "refused")
        },
        Case {
            has_page: false,
            ..case("HEAD /no.html", 404, "refused")
        },
        case("GET /secret.sqlite", 403, "refused"),
        case("GET /a%2fb.txt", 400, "refused"),
        case("TRACE /", 405, "refused"),
        Case {
            has_site: false,
            ..nobody("GET /|Host: a b", 400)
        },
    ];
    check(&server, &log, "site", &cases);
    let reply = server.raw(b"GET /no.html HTTP/1.0\r\nHost: example.org\r\n\r\n");
    assert!(reply.ends_with("<p>gone"), "the site's own page: {reply}");
    let reply = server.raw(b"GET / HTTP/1.0\r\nHost: other\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.0 421 "), "{reply}");
    let line = fs::read_to_string(&log).unwrap();
    let line: Value = serde_json::from_str(line.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&line["site"], &line["host"], &line["protocol"]),
        (&"-".into(), &"other".into(), &"HTTP/1.0".into())
    );
}

#[test]
fn each_request_for_a_program_is_said_in_one_way() {
    let image = match serve_guest::image() {
        Ok(image) => image,
        Err(reason) => skip!("no guest compiler: {reason}"),
    };
    let scratch = Scratch::new();
    let log = scratch.path("access.log");
    let server = logging(&image, &log);
    let cases = [
        case("GET /x?y=1", 200, "guest"),
        Case {
            has_page: false,
            ..case("HEAD /x", 200, "guest")
        },
        Case {
            has_page: false,
            ..case("GET /error", 500, "guest")
        },
        case("GET /silent", 502, "guest"),
        case("GET /fault", 500, "guest"),
        case("GET /loop", 504, "guest"),
        case(
            "POST /body|Host: Example.org:80\r\nContent-Length: 99999999\r\nExpect: 100-continue",
            413,
            "guest",
        ),
        case("GET /hello.txt", 200, "static"),
    ];
    check(&server, &log, "guest", &cases);
    let metrics = server.metrics();
    // On a busy machine two seconds pass before one second of processor time.
    let limit = ["cpu_limit", "wall_limit"]
        .into_iter()
        .find(|limit| metrics.contains(&format!("ending=\"{limit}\"")))
        .expect("the loop reached a limit");
    for (ending, count) in [("answered", 3), ("no_answer", 1), ("fault", 1), (limit, 1)] {
        let row =
            format!("zapp_guest_endings_total{{site=\"guest\",ending=\"{ending}\"}} {count}\n");
        assert!(metrics.contains(&row), "{row}{metrics}");
    }
    let events = server.says("request_id=pin-5");
    for line in [
        "warn [guest] the guest complains request_id=pin-2 from=guest",
        "error [guest] no_answer request_id=pin-3 status=502",
        "error [guest] fault request_id=pin-4 status=500",
        &format!("error [guest] {limit} request_id=pin-5 status=504"),
    ] {
        assert!(events.contains(line), "{line} in\n{events}");
    }
}
