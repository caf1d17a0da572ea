//! `zapp serve` with WordPress: what its visitors could change is refused with an explanation, and its clock is off, without
//! a word about it in the site.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::serve::{Reply, Server};
use crate::serve_php::{copy, pack_with_php};
use crate::support::{Scratch, skip, wordpress};

/// Says which constants there are, and what was noticed on the way.
const SHOW: &str = r#"<?php
set_error_handler(function ($number, $text) { header("X-Warning: $text", false); return false; });
add_action('send_headers', function () {
    foreach (['DISABLE_WP_CRON', 'AUTOMATIC_UPDATER_DISABLED', 'WP_HTTP_BLOCK_EXTERNAL', 'DISALLOW_FILE_MODS'] as $name) {
        header("X-$name: " . (defined($name) ? var_export(constant($name), true) : 'missing'));
    }
});
"#;

/// WordPress whose own configuration says nothing about its clock but `cron`, packed once.
fn image(cron: &'static str) -> Option<PathBuf> {
    static IMAGES: [OnceLock<Option<(Scratch, PathBuf)>>; 2] = [OnceLock::new(), OnceLock::new()];
    let made = IMAGES[usize::from(cron.is_empty())].get_or_init(|| {
        let source = wordpress()?;
        let scratch = Scratch::new();
        let site = scratch.dir("edited");
        copy(&source, &site);
        let config = fs::read_to_string(source.join("wp-config.php")).unwrap();
        let lines = config.lines().filter(|line| {
            let is_ours = [
                "DISABLE_WP_CRON",
                "AUTOMATIC_UPDATER",
                "WP_HTTP",
                "DISALLOW",
            ];
            !is_ours.iter().any(|name| line.contains(name))
        });
        let mut lines: Vec<&str> = lines.collect();
        lines.insert(1, cron);
        fs::write(site.join("wp-config.php"), lines.join("\n")).unwrap();
        fs::create_dir_all(site.join("wp-content/mu-plugins")).unwrap();
        fs::write(site.join("wp-content/mu-plugins/show.php"), SHOW).unwrap();
        let image = scratch.path("wordpress.zapp");
        pack_with_php(&site, &image);
        Some((scratch, image))
    });
    made.as_ref().map(|(_, image)| image.clone())
}

fn constants(reply: &Reply) -> [Option<&str>; 4] {
    [
        "x-disable_wp_cron",
        "x-automatic_updater_disabled",
        "x-wp_http_block_external",
        "x-disallow_file_mods",
    ]
    .map(|name| reply.header(name))
}

#[test]
fn its_clock_is_off_without_a_word_of_the_site() {
    let Some(image) = image("") else {
        skip!("the WordPress fixture is not built");
    };
    let server = Server::start(&image, &[]);
    let front = server.get("/");
    assert_eq!(front.status, 200, "{}", server.log());
    assert_eq!(constants(&front), [Some("true"); 4]);
    assert_eq!(front.header("x-warning"), None);
}

#[test]
fn what_the_site_defines_itself_is_left_to_it() {
    let Some(image) = image("define('DISABLE_WP_CRON', false);") else {
        skip!("the WordPress fixture is not built");
    };
    let server = Server::start(&image, &[]);
    let front = server.get("/");
    assert_eq!(front.status, 200, "{}", server.log());
    let mut expected = [Some("true"); 4];
    expected[0] = Some("false");
    assert_eq!(constants(&front), expected);
    assert_eq!(front.header("x-warning"), None);
    assert!(
        !server.log().contains("already defined"),
        "{}",
        server.log()
    );
}

#[test]
fn nothing_pretends_to_be_kept() {
    let Some(image) = image("") else {
        skip!("the WordPress fixture is not built");
    };
    let server = Server::start(&image, &["--server-timing"]);
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n";
    for (method, path, kind) in [
        ("GET", "/wp-login.php", "text/html; charset=utf-8"),
        ("POST", "/wp-login.php", "text/html; charset=utf-8"),
        ("GET", "/wp-admin/", "text/html; charset=utf-8"),
        ("GET", "/wp-admin/post-new.php", "text/html; charset=utf-8"),
        (
            "POST",
            "/wp-admin/async-upload.php",
            "text/html; charset=utf-8",
        ),
        ("POST", "/wp-comments-post.php", "text/html; charset=utf-8"),
        (
            "GET",
            "/wp-cron.php?doing_wp_cron",
            "text/html; charset=utf-8",
        ),
        ("POST", "/xmlrpc.php", "text/xml; charset=utf-8"),
        ("POST", "/wp-json/wp/v2/posts", "application/json"),
        ("DELETE", "/wp-json/wp/v2/posts/1", "application/json"),
    ] {
        let reply = server.request(method, path, form, "a=b");
        assert_eq!(reply.status, 403, "{method} {path}");
        assert_eq!(reply.header("content-type"), Some(kind), "{method} {path}");
        assert!(
            reply.body.contains("read-only"),
            "{method} {path}: {reply:?}"
        );
    }
    // What only reads goes on: the API, plugins' calls, the password of a post, and the screens' own style sheets.
    let posts = server.get("/wp-json/wp/v2/posts?per_page=1");
    assert_eq!(posts.status, 200);
    assert!(posts.body.starts_with("[{\"id\""), "{}", posts.body);
    let call = server.request("POST", "/wp-admin/admin-ajax.php", form, "a=b");
    assert_eq!(
        (call.status, call.body.as_str()),
        (400, "0"),
        "WordPress' own answer"
    );
    let pass = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 15\r\nReferer: http://test/\r\n";
    let pass = server.request(
        "POST",
        "/wp-login.php?action=postpass",
        pass,
        "post_password=x",
    );
    assert_eq!(pass.status, 302);
    let mut cookies = pass.headers("set-cookie");
    assert!(cookies.any(|cookie| cookie.starts_with("wp-postpass_")));
    assert_eq!(server.get("/wp-admin/css/login.css").status, 200);
    for path in [
        "/wp-config.php",
        "/wp-config.php/x.css",
        "/index.php/../wp-config.php",
        "/wp-content/database/.ht.sqlite",
        "/wp-content/database/",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 403, "{path}");
        assert!(
            !reply.body.contains("AUTH_KEY") && !reply.body.contains("SQLite"),
            "{path}"
        );
    }
    // A warmed site writes nothing when it is read.
    for path in ["/", "/feed/", "/?s=tempor", "/nowhere/"] {
        let reply = server.get(path);
        let report = reply.header("x-zapp-report").expect(path);
        assert!(
            report.contains("\"discarded_bytes\":0,"),
            "{path}: {report}"
        );
    }
}
