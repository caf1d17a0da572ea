//! What a site says about itself, in its manifest and its files, and what `zapp serve` makes of it.

use std::fs;
use std::path::PathBuf;

use crate::serve::{Server, packed};
use crate::serve_php::pack_with_php;
use crate::support::{Scratch, args, zapp};

/// Packs a site of these files with PHP.
fn with_php(scratch: &Scratch, files: &[(&str, &str)]) -> PathBuf {
    let site = scratch.tree("site", files);
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

// case site-htaccess-deny
#[test]
fn what_htaccess_denies_is_not_sent() {
    let scratch = Scratch::new();
    let files = [
        ("index.php", "<?php echo 'home';"),
        ("data/database.js", "{\"password\":\"secret\"}"),
        ("data/users.xml", "<users hash=\"secret\"/>"),
        ("data/tool.php", "<?php echo 'secret';"),
        ("data/.htaccess", "Require all denied\n"),
        ("old/note.txt", "secret"),
        ("old/.htaccess", "Order deny,allow\nDeny from all\n"),
        ("some/a.bak.txt", "secret"),
        ("some/a.txt", "open"),
        (
            "some/.htaccess",
            "<FilesMatch \"\\.bak\\.\">\nRequire all denied\n</FilesMatch>\nErrorDocument 403 /closed.php\n",
        ),
        (
            "closed.php",
            "<?php echo 'closed ', $_SERVER['REDIRECT_STATUS'];",
        ),
        ("off/x.php", "<?php echo 'secret';"),
        (
            "off/.htaccess",
            "php_flag engine off\nRequire all granted\n",
        ),
    ];
    let server = Server::start(&with_php(&scratch, &files), &[]);
    for path in [
        "/data/database.js",
        "/data/users.xml",
        "/data/tool.php",
        "/data//users.xml",
        "/x/../data/users.xml",
        "/data/",
        "/data/nowhere",
        "/data/.htaccess",
        "/old/note.txt",
        "/off/x.php",
        "/some/.htaccess",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 403, "{path}: {}", reply.body);
        assert!(!reply.body.contains("secret"), "{path}: {}", reply.body);
    }
    answers(
        &server,
        &[
            ("/", 200, "home"),
            ("/some/a.txt", 200, "open"),
            ("/some/a.bak.txt", 403, "closed 403"),
            ("/nowhere", 200, "home"),
        ],
    );
}

// case site-htaccess-query
#[test]
fn htaccess_rewrites_and_changes_headers() {
    let scratch = Scratch::new();
    let page = "<?php echo 'page=', $_GET['page'] ?? 'home', ' x=', $_GET['x'] ?? '-', ' uri=', $_SERVER['REQUEST_URI'],
        ' env=', $_SERVER['REDIRECT_KIND'] ?? '-', ' limit=', ini_get('memory_limit');";
    let rules = "php_value memory_limit 48M\nHeader set X-Site rules\nAddType text/x-own .own\n\
        ErrorDocument 410 \"gone for good\"\n\
        RewriteEngine On\nRewriteRule ^old/(.*)$ /new/$1 [R=301,L]\nRewriteRule ^gone$ - [G]\n\
        RewriteRule ^secret - [F]\nRewriteRule ^to-hidden$ /.env [L]\n\
        RewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule ^(.+)$ index.php?page=$1 [QSA,L,E=KIND:rewritten]\n";
    let files = [
        ("index.php", page),
        (".htaccess", rules),
        ("style.css", "body{}"),
        ("thing.own", "own"),
        (".env", "APP_KEY"),
        ("pass.txt", "u:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"),
        (
            "inner/index.php",
            "<?php echo 'user ', $_SERVER['REMOTE_USER'];",
        ),
        (
            "inner/.htaccess",
            "AuthType Basic\nAuthName inner\nAuthUserFile /site/pass.txt\nRequire valid-user\n",
        ),
    ];
    let server = Server::start(&with_php(&scratch, &files), &[]);
    answers(
        &server,
        &[
            ("/", 200, "page=home x=- uri=/ env=- limit=48M"),
            (
                "/some/page?x=1",
                200,
                "page=some/page x=1 uri=/some/page?x=1 env=rewritten",
            ),
            ("/gone", 410, "gone for good"),
            ("/secret", 403, ""),
            ("/to-hidden", 403, ""),
            ("/pass.txt", 403, ""),
            ("/inner/", 401, ""),
            ("/style.css", 200, "body{}"),
        ],
    );
    let moved = server.get("/old/a?b=1");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("http://test/new/a?b=1"))
    );
    for path in ["/", "/style.css", "/thing.own"] {
        assert_eq!(server.get(path).header("x-site"), Some("rules"), "{path}");
    }
    assert_eq!(
        server.get("/thing.own").header("content-type"),
        Some("text/x-own")
    );
    let signed_in = server.with("/inner/", "Authorization: Basic dTpzZWNyZXQ=\r\n");
    assert_eq!(
        (signed_in.status, signed_in.body.as_str()),
        (200, "user u"),
        "secret"
    );
    assert_eq!(
        server
            .with("/inner/", "Authorization: Basic dTp3cm9uZw==\r\n")
            .status,
        401
    );
}

#[test]
fn directives_that_would_deny_are_not_packed_over() {
    let scratch = Scratch::new();
    let site = scratch.dir("site");
    fs::create_dir(site.join("data")).unwrap();
    fs::write(site.join("index.html"), "x").unwrap();
    fs::write(
        site.join("data/.htaccess"),
        "# first\nRequire ldap-group admins\nFrobnicate on\n",
    )
    .unwrap();
    let image = scratch.path("site.zapp");
    zapp(args!["pack", "-q", site, "-o", image])
        .code(2)
        .says("data/.htaccess:2")
        .says("--htaccess ignore");
    assert!(!image.exists());
    zapp(args![
        "pack",
        "-q",
        "--htaccess",
        "ignore",
        site,
        "-o",
        image
    ])
    .ok()
    .says("data/.htaccess:3");
    let open = "schema = 1\nsite.htaccess = false\n";
    fs::write(site.join("zapp.toml"), open).unwrap();
    zapp(args!["pack", "-q", "-f", site, "-o", image]).ok();
    assert_eq!(Server::start(&image, &[]).get("/").status, 200);
}
