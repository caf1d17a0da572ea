//! Host names and the images that answer for them, also when an image is replaced.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::serve::{Reply, Server, exchange, packed};
use crate::support::{Scratch, args, zapp};

#[test]
fn hosts_choose_the_image() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.path("one.zapp"), scratch.path("two.zapp"));
    fs::rename(packed(&scratch, &[("index.html", "one")]), &one).unwrap();
    let hosts = "schema = 1\n[site]\nhosts = [\"two.example\"]\nindex = [\"index.html\"]\n";
    fs::rename(
        packed(&scratch, &[("index.html", "two"), ("zapp.toml", hosts)]),
        &two,
    )
    .unwrap();
    let named = format!("one.example={}", one.display());
    let server = Server::start(&two, &["--host", &named]);
    for (host, status, body) in [
        ("one.example", 200, "one"),
        ("ONE.example.:80", 200, "one"),
        ("two.example", 200, "two"),
        ("three.example", 421, ""),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let reply = Reply::parse(&server.raw(request.as_bytes()));
        assert_eq!(reply.status, status, "{host}");
        assert!(
            body.is_empty() || reply.body == body,
            "{host}: {}",
            reply.body
        );
    }
}

// case limits-10-host-takeover
#[test]
fn no_image_takes_a_host_that_another_has() {
    let scratch = Scratch::new();
    let make = |text: &str, hosts: &str, path: &Path| {
        let manifest = format!("schema = 1\n[site]\nhosts = [{hosts}]\n");
        let files = [("index.html", text), ("zapp.toml", manifest.as_str())];
        fs::rename(packed(&scratch, &files), path).unwrap();
    };
    let (evil, bank) = (scratch.path("evil.zapp"), scratch.path("bank.zapp"));
    make("bank", "\"bank.example\"", &bank);
    make("evil", "\"evil.example\", \"bank.example\"", &evil);
    let both = zapp(args!["serve", evil, bank, "--listen", "127.0.0.1:0"]);
    both.code(2)
        .says("two images ask for the host bank.example");
    make("evil", "\"evil.example\"", &evil);
    let server = Server::start(&evil, &[bank.to_str().unwrap(), "--watch", "50ms"]);
    let ask = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Reply::parse(&server.raw(request.as_bytes())).body
    };
    assert_eq!(ask("bank.example"), "bank");
    make("newer", "\"evil.example\", \"bank.example\"", &evil);
    let said = server.says("error [evil] new image not used, the old one stays");
    assert!(
        said.contains("two images ask for the host bank.example"),
        "{said}"
    );
    assert_eq!(
        (ask("bank.example"), ask("evil.example")),
        ("bank".into(), "evil".into())
    );
    make("newest", "\"evil.example\"", &evil);
    server.says("info [evil] image swapped");
    assert_eq!(ask("evil.example"), "newest");
}

#[test]
fn an_image_is_swapped_by_a_rename() {
    let scratch = Scratch::new();
    let image = scratch.path("live.zapp");
    fs::rename(packed(&scratch, &[("index.html", "old")]), &image).unwrap();
    let server = Server::start(&image, &["--watch", "50ms"]);
    assert_eq!(server.get("/").body, "old");
    fs::write(scratch.path("broken"), "no image").unwrap();
    fs::rename(scratch.path("broken"), &image).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.get("/").body, "old", "a broken image is not used");
    fs::rename(packed(&scratch, &[("index.html", "new")]), &image).unwrap();
    let since = Instant::now();
    while server.get("/").body != "new" {
        assert!(since.elapsed() < Duration::from_secs(20), "not swapped");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        exchange(server.admin, b"GET /metrics HTTP/1.0\r\n\r\n")
            .contains("zapp_image_swaps_total{site=\"live\"} 1")
    );
}
