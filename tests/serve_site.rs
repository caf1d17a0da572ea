//! What a site says about itself, in its manifest and its files, and what `zapp serve` makes of it.

use std::fs;
use std::path::PathBuf;

use crate::serve::{Server, packed};
use crate::serve_php::pack_with_php;
use crate::support::{Scratch, args, zapp};

/// Packs a site of these files with PHP.
fn with_php(scratch: &Scratch, files: &[(&str, &str)]) -> PathBuf {
    let site = scratch.dir("site");
    for (path, text) in files {
        let path = site.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let image = scratch.path("php.zapp");
    pack_with_php(&site, &image);
    image
}

/// What the server answers to each path: status and body.
fn answers(server: &Server, expected: &[(&str, u16, &str)]) {
    for (path, status, body) in expected {
        let reply = server.get(path);
        assert_eq!(reply.status, *status, "{path}: {}", reply.body);
        assert!(reply.body.contains(body), "{path}: {}", reply.body);
    }
}

const URI: &str = "<?php echo 'uri ', $_SERVER['REQUEST_URI'], ' ', ini_get('memory_limit');";

// case site-manifest-replaces
#[test]
fn a_manifest_adds_to_what_fits_the_site() {
    let scratch = Scratch::new();
    let manifest = "schema = 1\n[php]\nmemory_limit = \"64M\"\n";
    let image = with_php(&scratch, &[("index.php", URI), ("zapp.toml", manifest)]);
    let server = Server::start(&image, &[]);
    answers(
        &server,
        &[
            ("/", 200, "uri / 64M"),
            ("/some/page", 200, "uri /some/page 64M"),
        ],
    );

    let said = zapp(args!["info", "--manifest", image]).ok();
    for line in [
        "# recognised as PHP",
        "php.memory_limit = \"64M\"  # zapp.toml",
        "site.front_controller = \"/index.php\"  # built in for PHP",
        "site.root = \"/\"  # default",
    ] {
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    let said = zapp(args!["info", "--manifest", "--json", image]).ok();
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["recognised"], "PHP");
    let keys = said["keys"].as_array().unwrap();
    let limit = keys.iter().find(|row| row["key"] == "php.memory_limit");
    let limit = limit.expect("the manifest says so");
    assert_eq!(
        (&limit["value"], &limit["from"]),
        (&"64M".into(), &"zapp.toml".into())
    );
}

// case site-public-dir
#[test]
fn projects_with_a_public_folder_show_that_alone() {
    let scratch = Scratch::new();
    let files = [
        (".env", "APP_KEY=secret"),
        ("composer.json", "{\"require\":{}}"),
        ("notes.txt", "name: secret"),
        (
            "public/index.php",
            "<?php echo 'app ', basename($_SERVER['DOCUMENT_ROOT']);",
        ),
    ];
    let server = Server::start(&with_php(&scratch, &files), &[]);
    for path in [
        "/",
        "/notes.txt",
        "/composer.json",
        "/.env",
        "/public/index.php",
    ] {
        answers(&server, &[(path, 200, "app public")]);
    }
}

// case reported-virtual-routes-403
#[test]
fn pages_may_be_called_like_files_that_are_never_sent() {
    let scratch = Scratch::new();
    let files = [
        ("index.php", URI),
        ("lib.inc", "secret"),
        (".env", "secret"),
    ];
    let server = Server::start(&with_php(&scratch, &files), &[]);
    for path in [
        "/company/acme.inc",
        "/export/report.db",
        "/wiki/Schema.sql",
        "/r/pics/.json",
        "/user/foo~",
        "/a/c.inc/d",
    ] {
        answers(&server, &[(path, 200, path)]);
    }
    for path in ["/lib.inc", "/lib.inc/x", "/.env"] {
        assert_eq!(server.get(path).status, 403, "{path}");
    }
}

// case reported-extensionless-files-403
#[test]
fn files_without_an_extension_can_be_sent() {
    let scratch = Scratch::new();
    let files = |manifest: &'static str| {
        [
            ("index.html", "ok"),
            (".well-known/apple-app-site-association", "{}"),
            (".well-known/matrix/server", "{}"),
            (".well-known/acme-challenge/tok", "t"),
            ("LICENSE", "free"),
            ("deep/README", "read"),
            ("zapp.toml", manifest),
        ]
    };
    let server = Server::start(&packed(&scratch, &files("schema = 1\n")), &[]);
    for (path, kind) in [
        (
            "/.well-known/apple-app-site-association",
            "application/json",
        ),
        ("/.well-known/matrix/server", "application/json"),
        (
            "/.well-known/acme-challenge/tok",
            "text/plain; charset=utf-8",
        ),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some(kind), "{path}");
    }
    answers(&server, &[("/LICENSE", 403, ""), ("/deep/README", 403, "")]);
    let open = "schema = 1\n[site.types]\n\"/LICENSE\" = \"text/plain\"\nREADME = \"text/plain\"\n";
    let server = Server::start(&packed(&scratch, &files(open)), &[]);
    answers(
        &server,
        &[("/LICENSE", 200, "free"), ("/deep/README", 200, "read")],
    );
}
