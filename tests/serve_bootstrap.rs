//! `zapp serve` with `snapshot = "after-bootstrap"`: who goes on from there, and what keeps a site from being used so.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::serve::{Reply, Server};
use crate::serve_php::pack_with_php;
use crate::support::Scratch;

const SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sites/bootstrap");

/// A server of the site with code of the test's before the freeze and behind it.
fn server(load: &str, show: &str) -> Server {
    let scratch = Scratch::new();
    let site = scratch.dir("site");
    let page = fs::read_to_string(Path::new(SITE).join("index.php")).unwrap();
    let page = page.replace("/*LOAD*/", load).replace("/*SHOW*/", show);
    fs::write(site.join("index.php"), page).unwrap();
    fs::write(site.join("other.php"), "<?php echo 'other';").unwrap();
    fs::copy(Path::new(SITE).join("zapp.toml"), site.join("zapp.toml")).unwrap();
    let image = scratch.path("bootstrap.zapp");
    pack_with_php(&site, &image);
    Server::start(&image, &["--server-timing", "-n", "4"])
}

/// What Contact Form 7 does: the address of the first form is that of all.
const URI: &str = "function uri() { static $uri; return $uri ??= $_SERVER['REQUEST_URI']; } uri();";

fn went_on(reply: &Reply) -> bool {
    let report = reply.header("x-zapp-report").expect("costs are reported");
    report.contains("\"after_bootstrap\":1")
}

/// Asks until the snapshot for this host is there.
fn wait(server: &Server, host: &str) -> Reply {
    let since = Instant::now();
    loop {
        let reply = ask(server, host, "/");
        if went_on(&reply) {
            return reply;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{}",
            server.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ask(server: &Server, host: &str, path: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    Reply::parse(&server.raw(request.as_bytes()))
}

#[test]
fn each_host_has_a_snapshot_of_its_own() {
    let server = server("", "");
    for host in ["one.example", "two.example:81", "one.example"] {
        let reply = wait(&server, host);
        assert_eq!(reply.body, format!("{host} asks {host}/ 00 good"));
    }
    let reply = ask(&server, "one.example", "/post?a=1&b=2");
    assert!(went_on(&reply));
    assert_eq!(
        reply.body,
        "one.example asks one.example/post?a=1&b=2 20 good"
    );
    assert!(
        server
            .metrics()
            .contains("zapp_guest_after_bootstrap_total{site=\"bootstrap\"}")
    );
}

#[test]
fn requests_that_may_not_go_on_start_from_the_default_snapshot() {
    let server = server("", "");
    wait(&server, "test");
    for (method, path, headers, goes_on) in [
        ("GET", "/", "", true),
        ("HEAD", "/", "", true),
        ("GET", "/", "Cookie: theme=dark\r\n", true),
        ("GET", "/", "Cookie: wordpress_logged_in_x=1\r\n", false),
        ("GET", "/?wp_customize=on", "", false),
        ("GET", "/", "Authorization: Basic eDp5\r\n", false),
        ("POST", "/", "Content-Length: 0\r\n", false),
        ("GET", "/other.php", "", false),
    ] {
        let reply = server.request(method, path, headers, "");
        assert_eq!(reply.status, 200, "{method} {path} {headers}");
        assert_eq!(went_on(&reply), goes_on, "{method} {path} {headers}");
    }
}

#[test]
fn instances_that_go_on_leave_no_trace_and_draw_numbers_of_their_own() {
    let server = server(
        "$GLOBALS['seen'] = 0; mt_rand();",
        "++$GLOBALS['seen'], ' ', $_SERVER['REQUEST_TIME'] > 1.7e9,",
    );
    wait(&server, "test");
    let replies: Vec<Reply> = (0..20).map(|_| server.get("/")).collect();
    assert!(
        replies
            .iter()
            .all(|reply| went_on(reply) && reply.body.ends_with("1 1good")),
        "{replies:?}"
    );
    drop(server);
    // Numbers differ from one answer to the next, also from the default snapshot: such a page cannot be compared.
    let server = self::server(
        "mt_rand(); lcg_value(); openssl_random_pseudo_bytes(8);",
        "bin2hex(openssl_random_pseudo_bytes(8)), ' ', mt_rand(), ' ', lcg_value(), ' ', bin2hex(random_bytes(8)), ' ',",
    );
    wait(&server, "test");
    let bodies: Vec<String> = (0..20).map(|_| server.get("/").body).collect();
    let drawn = |body: &String| {
        body.split(' ')
            .skip(4)
            .take(4)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut drawn: Vec<String> = bodies.iter().flat_map(drawn).collect();
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 20 * 4, "{bodies:?}");
}

#[test]
fn sites_that_keep_what_belongs_to_a_visitor_are_not_used_so() {
    for (load, show, reason) in [
        ("session_start();", "", "a session is open"),
        ("setcookie('visitor', '1');", "", "a cookie has been set"),
        // More than PHP keeps back.
        (
            "echo str_repeat('early ', 1000);",
            "",
            "output has been sent",
        ),
        (
            "$agent = $_SERVER['HTTP_USER_AGENT'] ?? '';",
            "$agent,",
            "shows the request that was frozen",
        ),
        ("$from = $_SERVER['REMOTE_ADDR'];", "$from,", "at byte"),
        // case site-freeze-static
        (URI, "uri(),", "shows the request that was frozen"),
        (
            "$theme = $_COOKIE ? 'dark' : 'light';",
            "$theme,",
            "at byte",
        ),
        (
            "if (isset($_SERVER['ZAPP_BOOTSTRAP'])) exit('early');",
            "",
            "did not call zapp_freeze()",
        ),
    ] {
        let server = server(load, show);
        let since = Instant::now();
        while !server
            .log()
            .contains("no snapshot after bootstrap for test")
        {
            assert!(!went_on(&server.get("/")), "{load}");
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "{load}: {}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = server.log();
        assert!(log.contains(reason), "{load}: {reason:?} is not in {log}");
        let reply = server.get("/");
        assert!(reply.status == 200 && !went_on(&reply), "{load}");
    }
}

// case site-freeze-static
#[test]
fn a_page_that_nobody_has_compared_is_right_all_the_same() {
    let form = "$_SERVER['REQUEST_URI'] === '/form/' ? 'to ' . uri() : '',";
    let server = server(URI, form);
    wait(&server, "test");
    for _ in 0..2 {
        let reply = ask(&server, "test", "/form/");
        assert!(reply.body.ends_with("to /form/good"), "{reply:?}");
    }
    assert!(server.log().contains("showed the request that was frozen"));
}

// case site-freeze-query
#[test]
fn what_a_site_decides_by_a_parameter_is_decided_for_each_request() {
    let load = "$no_index = isset($_GET['replytocom']);";
    let server = server(load, "$no_index ? 'noindex ' : 'index ',");
    wait(&server, "test");
    for (path, robots, goes_on) in [
        ("/", "index", true),
        ("/?replytocom=1", "noindex", false),
        ("/?x=1&replytocom", "noindex", false),
        ("/?x=1", "index", true),
    ] {
        for _ in 0..2 {
            let reply = ask(&server, "test", path);
            assert!(
                reply.body.ends_with(&format!(" {robots} good")),
                "{reply:?}"
            );
            assert_eq!(went_on(&reply), goes_on, "{path}");
        }
    }
}
