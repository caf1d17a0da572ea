//! `zapp serve` with PHP: every status with the case that alone triggers it beside its nearest accepted twin, and what
//! becomes of writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Client;
use crate::php;
use crate::serve::{Reply, Server, exchange, packed};
use crate::support::{Scratch, args, wait_for, zapp};

/// The site of these tests with PHP in it, packed once.
pub(crate) fn image() -> &'static Path {
    static IMAGE: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, image) = IMAGE.get_or_init(|| {
        let scratch = Scratch::new();
        let image = scratch.path("requests.zapp");
        let source = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/sites/requests"
        ));
        packed_with_php(&scratch, source, &image);
        (scratch, image)
    });
    image
}

/// Packs a copy of a site together with PHP.
pub(crate) fn packed_with_php(scratch: &Scratch, source: &Path, image: &Path) {
    let site = scratch.dir("with-php");
    copy(source, &site);
    pack_with_php(&site, image);
}

/// Packs a site together with PHP, which is put into it.
pub(crate) fn pack_with_php(site: &Path, image: &Path) {
    fs::create_dir_all(site.join(".zapp")).unwrap();
    fs::copy(php::guest(), site.join(".zapp/php")).unwrap();
    zapp(args!["pack", "--force", site, "-o", image]).ok();
}

/// Copies a tree of files and directories.
pub(crate) fn copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let target = target.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A server of the site with these options.
macro_rules! server {
    ($($option:expr),*) => {
        $crate::serve::Server::start($crate::serve_php::image(), &[$($option),*])
    };
}
pub(crate) use server;

fn is_page(reply: &Reply, status: u16, body: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.body.contains(body), "{body:?} is not in {reply:?}");
}

#[test]
fn limits_have_their_statuses_and_twins() {
    let server = server!("-n", "8", "--queue", "100");
    std::thread::scope(|scope| {
        for (path, status, body) in [
            // Time: the processor's and the clock's.
            ("/loop", 504, "504 Gateway Timeout"),
            ("/sleep", 504, "504 Gateway Timeout"),
            ("/regex", 504, "504 Gateway Timeout"),
            ("/nap", 200, "rested"),
            // Memory: the instance's, and PHP's own limit.
            ("/bomb", 500, "500 Internal Server Error"),
            ("/limited", 500, "500 Internal Server Error"),
            ("/much", 200, "25165824"),
            ("/deep", 500, "500 Internal Server Error"),
            ("/compare", 500, "500 Internal Server Error"),
            // The answer.
            ("/flood", 500, "500 Internal Server Error"),
            ("/large", 200, "xxxx"),
            ("/headers", 502, "502 Bad Gateway"),
            ("/long_header", 502, "502 Bad Gateway"),
            ("/some_headers", 200, "some headers"),
            ("/status", 502, "502 Bad Gateway"),
            ("/fatal", 500, "500 Internal Server Error"),
            ("/own_500", 500, "the site says it failed"),
            ("/exit", 200, ""),
            // Scratch space: a page that fails over it, one that copes, one that fits.
            ("/spill", 507, "507 Insufficient Storage"),
            ("/cope", 200, "room for 7"),
            ("/fits", 200, "6291456"),
        ] {
            let server = &server;
            scope.spawn(move || {
                let reply = server.get(path);
                assert_eq!(reply.status, status, "{path}: {reply:?}");
                is_page(&reply, status, body);
            });
        }
    });
    is_page(&server.get("/hello"), 200, "hello");
    let metrics = server.metrics();
    let ended = |ending: &str| {
        let name = format!("zapp_guest_endings_total{{site=\"requests\",ending=\"{ending}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    // On a busy machine the clock may be faster than a second of the processor.
    assert!(ended("wall_limit") >= 1, "{metrics}");
    assert_eq!(ended("wall_limit") + ended("cpu_limit"), 3, "{metrics}");
    assert_eq!((ended("output_limit"), ended("scratch_limit")), (1, 1));
    assert!(
        metrics.contains("zapp_worker_restarts_total{site=\"requests\"} 0"),
        "{metrics}"
    );
}

#[test]
fn bodies_and_heads_have_their_limits() {
    let server = server!("--header-size", "16K", "--body-timeout", "700ms");
    let post = |length: usize, sent: usize| {
        let headers = format!("Content-Length: {length}\r\n");
        server.request("POST", "/echo", &headers, &"x".repeat(sent))
    };
    let max = 256 << 10;
    is_page(&post(max, max), 200, &format!("{max} "));
    is_page(&post(max + 1, max + 1), 413, "413 Payload Too Large");
    is_page(&post(10, 9), 408, "408 Request Timeout");
    is_page(&post(10, 10), 200, "10 ");
    let header = |len: usize| server.with("/hello", &format!("X-Long: {}\r\n", "x".repeat(len)));
    is_page(&header(14 << 10), 200, "hello");
    // The connection may be closed before all of it is read.
    assert!([431, 0].contains(&header(17 << 10).status));
    let chunked =
        |body: &str| server.request("POST", "/echo", "Transfer-Encoding: chunked\r\n", body);
    is_page(&chunked("3\r\nabc\r\n0\r\n\r\n"), 200, "3 ");
    for bad in [
        "x\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n",
    ] {
        assert_eq!(chunked(bad).status, 400, "{bad:?}");
    }
}

#[test]
fn methods_and_places_have_their_statuses() {
    let server = server!();
    is_page(
        &server.request("DELETE", "/any/thing", "", ""),
        200,
        "page /any/thing DELETE",
    );
    is_page(
        &server.request("TRACE", "/any/thing", "", ""),
        405,
        "405 Method Not Allowed",
    );
    assert!(
        server
            .request("TRACE", "/", "", "")
            .header("allow")
            .is_some()
    );
    is_page(&server.get("/files/note.txt"), 200, "note");
    let post = server.request("POST", "/files/note.txt", "Content-Length: 0\r\n", "");
    assert_eq!(
        (post.status, post.header("allow")),
        (405, Some("GET, HEAD"))
    );
    is_page(&server.get("/secret.php"), 403, "403 Forbidden");
    is_page(&server.get("/data/notes.db"), 403, "403 Forbidden");
    is_page(&server.get("/info.php/a/b"), 200, "info /info.php /a/b");
    is_page(&server.get("/info.php"), 200, "info /info.php -");
}

#[test]
fn a_site_whose_program_is_missing_answers_501() {
    let scratch = Scratch::new();
    let site = packed(
        &scratch,
        &[("index.php", "<?php echo 1;"), ("a.txt", "text")],
    );
    let server = Server::start(&site, &[]);
    is_page(&server.get("/"), 501, "501 Not Implemented");
    is_page(&server.get("/a.txt"), 200, "text");
}

#[test]
fn guests_do_not_frame_their_answers() {
    let server = server!();
    let reply = server.get("/framing");
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "longer than three")
    );
    assert_eq!(reply.header("content-length"), Some("17"));
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_ne!(reply.header("x-request-id"), Some("forged"));
    let split = server.get("/split");
    assert_eq!(
        (split.status, split.header("set-cookie")),
        (200, None),
        "{split:?}"
    );
    assert!(
        server
            .metrics()
            .contains("zapp_dropped_headers_total{site=\"requests\"} 4")
    );
}

#[test]
fn nothing_outside_the_image_is_reached() {
    let server = server!();
    is_page(&server.get("/outside"), 200, "[]");
}

#[test]
fn errors_of_a_page_are_for_the_log_only() {
    let server = server!();
    let reply = server.with("/fatal", "X-Request-Id: find-me\r\n");
    is_page(&reply, 500, "Request find-me");
    assert!(!reply.body.contains("nowhere"), "{reply:?}");
    let words = "undefined function nowhere()";
    let log = server.says(words);
    let line = log.lines().find(|line| line.contains(words));
    assert!(
        line.is_some_and(|line| line.contains("request_id=find-me")),
        "{log}"
    );
}

#[test]
fn writes_are_discarded_and_said() {
    let server = server!("--server-timing");
    let first = server.get("/isolation?token=a");
    let report = first.header("x-zapp-report").expect("a report");
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    let discarded = report["discarded_bytes"].as_u64().unwrap();
    assert!(discarded > 4096, "{report}");
    for _ in 0..5 {
        assert_eq!(server.get("/isolation?token=b").status, 200);
    }
    assert_eq!(server.get("/hello").status, 200);
    let metrics = server.metrics();
    assert!(
        metrics.contains("zapp_discarded_writes_total{site=\"requests\"} 6"),
        "{metrics}"
    );
    let log = server.says("a session was started");
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("writes were discarded"))
        .collect();
    // Once, however many requests follow within a minute.
    assert_eq!(said.len(), 1, "{log}");
    assert!(
        said[0].contains("[requests]") && said[0].contains("last=/isolation?token=a"),
        "{log}"
    );
    assert_eq!(
        log.matches("a session was started").count(),
        1,
        "each loss is said once: {log}"
    );
    let boundary = "Content-Type: multipart/form-data; boundary=b\r\n";
    let body = "--b\r\nContent-Disposition: form-data; name=file; filename=up.txt\r\n\r\nuploaded\r\n--b--\r\n";
    let headers = format!("{boundary}Content-Length: {}\r\n", body.len());
    let upload = server.request("POST", "/upload", &headers, body);
    is_page(&upload, 200, r#"{"size":8,"error":0,"kept":true}"#);
    let report = upload.header("x-zapp-report").unwrap();
    assert!(report.contains("\"discarded_bytes\":8,"), "{report}");
    assert_eq!(
        server.get("/files/up.txt").body,
        "page /files/up.txt GET",
        "there is no such file afterwards"
    );
}

#[test]
fn what_cannot_be_kept_is_refused_with_an_explanation() {
    let server = server!();
    for (method, path, status, body) in [
        ("GET", "/admin/", 403, "This site is read-only"),
        ("GET", "/admin/anything", 403, "Signing in"),
        ("POST", "/login", 403, "Signing in"),
        ("POST", "/comment", 403, "Comments"),
        ("GET", "/comment", 200, "page /comment GET"),
        ("POST", "/admin/ajax", 200, "page /admin/ajax POST"),
        ("POST", "/elsewhere", 200, "page /elsewhere POST"),
    ] {
        let reply = server.request(method, path, "Content-Length: 3\r\n", "a=b");
        is_page(&reply, status, body);
        if status == 403 {
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
    }
    let json = "Accept: application/json\r\nContent-Length: 0\r\n";
    let reply = server.request("POST", "/comment", json, "");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let said: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(said["code"], "read_only");
    assert!(server.metrics().contains(
        "zapp_responses_total{site=\"requests\",handler=\"read-only\",status=\"403\"} 5"
    ));
}

#[test]
fn a_site_has_its_own_pages_for_errors() {
    let scratch = Scratch::new();
    let manifest = |missing: &str| {
        format!(
            "schema = 1\n[site]\nerrors = {{ 404 = \"{missing}\" }}\n\
             [read_only]\nscreens = [\"/login.php\"]\npage = \"/closed.html\"\n"
        )
    };
    let files = |manifest: &str| {
        let site = [
            ("login.php", "<?php"),
            ("closed.html", "closed for good"),
            ("missing.html", "not here"),
            ("zapp.toml", manifest),
        ];
        packed(&scratch, &site)
    };
    let server = Server::start(&files(&manifest("/missing.html")), &[]);
    is_page(&server.get("/login.php"), 403, "closed for good");
    let missing = server.get("/nowhere");
    is_page(&missing, 404, "not here");
    assert_eq!(missing.header("etag"), None, "an error is not a file");
    zapp(args!["serve", "--check", files(&manifest("/nowhere.html"))])
        .code(2)
        .says("site.errors.404 /nowhere.html");
}

#[test]
fn constants_come_from_the_manifest() {
    let server = server!();
    assert_eq!(server.get("/constants").body, r#"[true,"requests"]"#);
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let forwarded = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n";
    let seen = |server: &Server| {
        let said: serde_json::Value =
            serde_json::from_str(&server.with("/server", forwarded).body).unwrap();
        (
            said["REMOTE_ADDR"].as_str().unwrap().to_owned(),
            said["REQUEST_SCHEME"].as_str().unwrap().to_owned(),
            said.get("HTTPS").is_some(),
        )
    };
    let stranger = server!();
    assert_eq!(seen(&stranger), ("127.0.0.1".into(), "http".into(), false));
    let proxy = server!("--trusted-proxy", "127.0.0.0/8");
    assert_eq!(seen(&proxy), ("192.0.2.7".into(), "https".into(), true));
}

#[test]
fn port_is_the_one_that_the_client_sees() {
    let server = server!("--trusted-proxy", "127.0.0.0/8");
    let own = server.address.port().to_string();
    let https = "X-Forwarded-Proto: https\r\n";
    for (host, headers, port) in [
        ("a.example", "", "80"),
        ("a.example:8443", "", "8443"),
        ("a.example", https, "443"),
        ("a.example:8443", https, "8443"),
    ] {
        let request =
            format!("GET /server HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        let reply = Reply::parse(&server.raw(request.as_bytes()));
        let said: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(said["SERVER_PORT"], port, "{host} {headers}");
    }
    // HTTP/1.0 may leave the host out.
    let reply = Reply::parse(&server.raw(b"GET /server HTTP/1.0\r\n\r\n"));
    let said: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(said["SERVER_PORT"], own.as_str());
}

#[test]
fn running_requests_are_listed() {
    let server = server!();
    let list = || {
        let answer = exchange(server.admin, b"GET /-/instances HTTP/1.0\r\n\r\n");
        let list: serde_json::Value = serde_json::from_str(&Reply::parse(&answer).body).unwrap();
        list.as_array().unwrap().clone()
    };
    assert!(list().is_empty());
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| server.with("/sleep?x", "X-Request-Id: sleeper\r\n").status);
        wait_for("the request", || !list().is_empty());
        let row = &list()[0];
        assert_eq!(row["request_id"], "sleeper");
        assert_eq!(
            (&row["site"], &row["target"]),
            (&"requests".into(), &"/sleep?x".into())
        );
        assert_eq!(sleeping.join().unwrap(), 504);
    });
    assert!(list().is_empty());
}

#[test]
fn swapping_an_image_loses_no_request() {
    let scratch = Scratch::new();
    let live = scratch.path("live.zapp");
    fs::copy(image(), &live).unwrap();
    let server = Server::start(&live, &["--watch", "50ms", "-n", "4", "--queue", "100"]);
    let stop = AtomicBool::new(false);
    let swaps = |count: u32| format!("zapp_image_swaps_total{{site=\"live\"}} {count}\n");
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(server.address).unwrap();
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let answer = client.get("/hello").unwrap();
                        assert_eq!((answer.status, answer.text()), (200, "hello"));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for round in 1..=3 {
            let site = scratch.dir("next");
            let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sites/requests");
            copy(Path::new(sources), &site);
            fs::write(site.join("round.txt"), round.to_string()).unwrap();
            let next = scratch.path("next.zapp");
            pack_with_php(&site, &next);
            fs::rename(next, &live).unwrap();
            wait_for("the swap", || server.metrics().contains(&swaps(round)));
            assert_eq!(server.get("/round.txt").body, round.to_string());
        }
        stop.store(true, Ordering::Relaxed);
        let counts: Vec<u32> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    });
    // The workers of the images that went are gone as well.
    let children = || crate::soak::children(server.pid().as_raw_nonzero().get()).len();
    wait_for("one worker", || children() == 1);
}
