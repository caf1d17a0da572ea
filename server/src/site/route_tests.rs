//! The table of paths: what each is answered by, on one tree that has everything a visitor might try.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use imagefs::Image;
use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};

use super::*;

const MANIFEST: &str = r#"
schema = 1
[site]
root = "/site"
index = ["index.php", "index.html"]
front_controller = "/index.php"
deny = ["/wp-config.php", "/data/**", "*.sqlite", "/secret/page.html", "/cache/**/*.html"]
php = ["/index.php", "/wp-*.php", "/admin/**/*.php", "/link.php"]
types = { bin = "application/octet-stream", "/OPEN" = "text/plain" }
front_controllers = { "/shop/**" = "/admin/index.php", "/shop/old/**" = "/link.php" }
"#;

fn build(dir: &Path) {
    let site = dir.join("site");
    for file in [
        "index.php",
        "wp-config.php",
        "wp-login.php",
        "other.php",
        "admin/index.php",
        "admin/tool.php",
        "admin/a/b.php",
        "UPPER.PHP",
        "old.php~",
        "old.phps",
        "lib.inc",
        "lib.phtml",
        "x.phar",
        "style.css",
        "app.js",
        "pic.PNG",
        "a b.css",
        "caf\u{e9}.css",
        "plain",
        "LICENSE",
        "OPEN",
        "shop/style.css",
        "program.exe",
        "blob.bin",
        "data/posts.sqlite",
        "data/readme.txt",
        "db.sqlite",
        "deep/db.SQLITE3",
        "deep/style.css",
        "secret/page.html",
        "secret/other.html",
        "docs/index.html",
        "docs/guide.html",
        "cache/x.html",
        "cache/x.css",
        "cache/a/b/c.html",
        "empty/keep.css",
        ".htaccess",
        ".git/config",
        ".well-known/security.txt",
        ".well-known/acme-challenge/token",
        ".well-known/.x",
        "deep/.well-known/x",
        "deep/.hidden/x.css",
        "zapp.toml",
        "%61.css",
        "a%2fb.css",
        "semi;colon.css",
        "app.js.map",
        "backup.sql",
        "style.css~",
        "style.css.bak",
        "two.php.css",
        "php.css",
        "x.php5",
        "noext.",
    ] {
        let path = site.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    fs::create_dir_all(dir.join("outside")).unwrap();
    fs::write(dir.join("outside/passwd.css"), "x").unwrap();
    fs::create_dir_all(site.join("bare")).unwrap();
    for (target, link) in [
        ("wp-config.php", "config.css"),
        ("data", "public"),
        ("data/readme.txt", "readme.txt"),
        ("../outside/passwd.css", "escape.css"),
        ("/outside/passwd.css", "absolute.css"),
        ("/site/style.css", "inside.css"),
        ("docs", "manual"),
        ("loop2.css", "loop1.css"),
        ("loop1.css", "loop2.css"),
        ("nowhere.css", "dangling.css"),
        ("index.php", "link.php"),
        ("index.php", "masked.css"),
        ("style.css", "masked.php"),
        ("../../../../site/style.css", "climb.css"),
        ("deep/../style.css", "dots.css"),
        ("../wp-config.php", "docs/index.php"),
    ] {
        symlink(target, site.join(link)).unwrap();
    }
}

fn router() -> Router {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    build(&tree);
    let output = dir.path().join("image.zapp");
    let scanned = scan(&tree, &ScanOptions::default()).unwrap();
    pack(
        scanned.tree,
        &PackOptions::default(),
        &output,
        &|_| {},
        &AtomicBool::new(false),
    )
    .unwrap();
    let image = Image::open(&output).unwrap();
    Router::new(&image, &Manifest::parse(MANIFEST).unwrap()).unwrap()
}

/// What answers a raw path, in one word and, for scripts, their name and `PATH_INFO`.
fn outcome(router: &Router, raw: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Ok(path) = SitePath::parse(raw) else {
        return "400".to_owned();
    };
    match router.route(&path) {
        Route::Answer(answer) => answer.status.to_string(),
        Route::Denied => "403".to_owned(),
        Route::Missing => "404".to_owned(),
        Route::Redirect(location) => format!("301 {location}"),
        Route::Static(file) => format!("file {}", text(&file.path)),
        Route::Script(script) => match script.path_info {
            None => format!("php {}", text(&script.name)),
            Some(info) => format!("php {} {}", text(&script.name), text(&info)),
        },
    }
}

/// The front controller.
const FRONT: &str = "php /index.php";

#[rustfmt::skip]
const TABLE: &[(&str, &str)] = &[
    // Files.
    ("/style.css", "file /style.css"), ("/app.js", "file /app.js"), ("/pic.PNG", "file /pic.PNG"),
    ("/app.js.map", "file /app.js.map"), ("/blob.bin", "file /blob.bin"), ("/deep/style.css", "file /deep/style.css"),
    ("/a%20b.css", "file /a b.css"), ("/caf%C3%A9.css", "file /café.css"), ("/caf%c3%a9.css", "file /café.css"),
    ("/%73tyle.css", "file /style.css"), ("/style%2ecss", "file /style.css"), ("/styl%65.cs%73", "file /style.css"),
    ("//style.css", "file /style.css"), ("/./style.css", "file /style.css"), ("/deep/../style.css", "file /style.css"),
    ("/nowhere/../style.css", "file /style.css"), ("/deep//style.css", "file /deep/style.css"),
    ("/deep/./style.css", "file /deep/style.css"), ("/%2561.css", "file /%61.css"), ("/a%252fb.css", "file /a%2fb.css"),
    ("/semi;colon.css", "file /semi;colon.css"), ("/semi%3Bcolon.css", "file /semi;colon.css"),
    ("/.well-known/security.txt", "file /.well-known/security.txt"), ("/two.php.css", "file /two.php.css"),
    ("/.well-known/acme-challenge/token", "file /.well-known/acme-challenge/token"), ("/OPEN", "file /OPEN"),
    ("/php.css", "file /php.css"), ("/docs/guide.html", "file /docs/guide.html"), ("/empty/keep.css", "file /empty/keep.css"),
    ("/cache/x.css", "file /cache/x.css"), ("/secret/other.html", "file /secret/other.html"),
    ("/inside.css", "file /inside.css"), ("/dots.css", "file /dots.css"), ("/manual/guide.html", "file /manual/guide.html"),
    // Scripts.
    ("/index.php", FRONT), ("/wp-login.php", "php /wp-login.php"), ("/admin/tool.php", "php /admin/tool.php"),
    ("/admin/a/b.php", "php /admin/a/b.php"), ("/admin/", "php /admin/index.php"), ("/", FRONT), ("//", FRONT), ("/.", FRONT),
    ("/admin/..", FRONT), ("/link.php", "php /link.php"), ("/index.php/", "php /index.php /"),
    ("/index.php/a/b", "php /index.php /a/b"), ("/index.php/a/b/", "php /index.php /a/b/"),
    ("/index.php/%41", "php /index.php /A"), ("/wp-login.php/x.css", "php /wp-login.php /x.css"),
    ("/admin/tool.php/style.css", "php /admin/tool.php /style.css"), ("/index%2ephp", FRONT), ("/%69ndex.php", FRONT),
    ("/index.php//a", "php /index.php /a"), ("/index.php/../style.css", "file /style.css"), ("/index.php/..", FRONT),
    ("/admin//tool.php", "php /admin/tool.php"), ("/admin/./tool.php", "php /admin/tool.php"),
    // What is not there belongs to the front controller.
    ("/nowhere", FRONT), ("/nowhere/", FRONT), ("/nowhere.css", FRONT), ("/nowhere.php", FRONT), ("/2024/01/post/", FRONT),
    ("/index.PHP", FRONT), ("/INDEX.php", FRONT), ("/Style.css", FRONT), ("/STYLE.CSS", FRONT), ("/style.css/", FRONT),
    ("/style.css/x", FRONT), ("/style.css/x.php", FRONT), ("/plain/x.php", FRONT), ("/index.php.css", FRONT),
    ("/index.phpx", FRONT), ("/index.php%20", FRONT), ("/index.php.", FRONT), ("/style.css.", FRONT), ("/style.css%20", FRONT),
    ("/a%2520b.css", FRONT), ("/caf%E9.css", FRONT), ("/%ff", FRONT), ("/...", FRONT), ("/..a", FRONT),
    ("/bare", FRONT), ("/bare/", FRONT), ("/empty", FRONT), ("/empty/", FRONT), ("/deep", FRONT), ("/deep/", FRONT),
    ("/secret", FRONT), ("/secret/", FRONT), ("/escape.css", FRONT), ("/absolute.css", FRONT), ("/climb.css", FRONT),
    ("/loop1.css", FRONT), ("/loop2.css/x", FRONT), ("/dangling.css", FRONT), ("/outside/passwd.css", FRONT),
    ("/site/style.css", FRONT), ("/site/wp-config.php", FRONT), ("/*", FRONT), ("/+", FRONT), ("/~user/", FRONT),
    ("/etc/passwd", FRONT), ("/proc/self/environ", FRONT), ("/wp-config", FRONT), ("/wp-config.ph", FRONT),
    ("/%2577p-config.php", FRONT), ("/wp%252dconfig.php", FRONT), ("/WP-CONFIG.PHP", FRONT), ("/Wp-config.php", FRONT),
    ("/wp-config.php5", FRONT), ("/wp-config.php%20", FRONT), ("/wp-config.php.", FRONT), ("/database/x", FRONT),
    ("/datax", FRONT), ("/cache", FRONT), ("/cache/", FRONT), ("/nowhere.exe", FRONT), ("/wp-nowhere.php", FRONT),
    ("/admin/nowhere.php", FRONT), ("/semi", FRONT), ("/index.php;x", FRONT),
    ("/style.css;x", FRONT), ("/wp-config.php;x", FRONT), ("/con", FRONT), ("/a:b", FRONT), ("/style.css::$DATA", FRONT),
    // Case reported-virtual-routes-403: pages of a front controller may be called like files that are never sent.
    ("/company/acme.inc", FRONT), ("/export/report.db", FRONT), ("/wiki/Schema.sql", FRONT), ("/r/pics/.json", FRONT),
    ("/user/foo~", FRONT), ("/a/c.inc/d", FRONT), ("/tips/x.php5", FRONT), ("/data.toml", FRONT), ("/lib.inc/d", "403"),
    // Parts of the site have their own.
    ("/shop", "php /admin/index.php"), ("/shop/x/y", "php /admin/index.php"), ("/shop/old/x", "php /link.php"),
    ("/shop/style.css", "file /shop/style.css"), ("/shopping", FRONT),
    // Directories want their slash, when something answers there.
    ("/admin", "301 /admin/"), ("/docs", "301 /docs/"), ("/%61dmin", "301 /admin/"), ("//admin", "301 /admin/"),
    ("/admin/a/..", "php /admin/index.php"), ("/admin/.", "php /admin/index.php"),
    // Denied by the manifest: as requested, decoded, merged, resolved, and with anything behind it.
    ("/wp-config.php", "403"), ("/wp-config.php/", "403"), ("/wp-config.php/x.css", "403"), ("/wp-config.php/a/b", "403"),
    ("/wp-config.php/index.php", "403"), ("/wp%2dconfig.php", "403"), ("/wp-config%2ephp", "403"), ("/%77p-config.php", "403"),
    ("//wp-config.php", "403"), ("/./wp-config.php", "403"), ("/x/../wp-config.php", "403"), ("/wp-config.php/.", "403"),
    ("/admin/../wp-config.php", "403"), ("/index.php/../wp-config.php", "403"), ("/config.css", "403"), ("/config.css/x", "403"),
    ("/data", "403"), ("/data/", "403"), ("/data/posts.sqlite", "403"), ("/data/readme.txt", "403"), ("/data/nowhere", "403"),
    ("/data/x/y/z", "403"), ("/d%61ta/readme.txt", "403"), ("//data//readme.txt", "403"), ("/public", "403"),
    ("/public/", "403"), ("/public/readme.txt", "403"), ("/public/posts.sqlite", "403"), ("/readme.txt", "403"),
    ("/db.sqlite", "403"), ("/db.sqlite/x.css", "403"), ("/nowhere.sqlite", FRONT), ("/a/b/c.sqlite", FRONT),
    ("/deep/db.SQLITE3", "403"), ("/secret/page.html", "403"), ("/secret/page.html/", "403"), ("/secret/page.html/x", "403"),
    ("/secret/./page.html", "403"), ("/secret//page.html", "403"), ("/secret/%70age.html", "403"), ("/cache/x.html", "403"),
    ("/cache/a/b/c.html", "403"), ("/cache/nowhere.html", "403"), ("/docs/", "403"), ("/docs/index.php", "403"),
    ("/manual/", "403"), ("/manual/index.php", "403"),
    // Denied always: hidden names, sources, back-ups, databases, the manifest, unknown types.
    ("/.htaccess", "403"), ("/.git/config", "403"), ("/.git", "403"), ("/.git/", "403"), ("/.env", FRONT), ("/%2egit/config", "403"),
    ("/deep/.hidden/x.css", "403"), ("/deep/.nowhere", FRONT), ("/x/.git/config", FRONT), ("/.zapp/php", FRONT),
    ("/deep/.well-known/x", "403"), ("/.well-known/.x", "403"), ("/zapp.toml", "403"), ("/zapp%2etoml", "403"),
    ("/old.php~", "403"), ("/old.phps", "403"), ("/lib.inc", "403"), ("/lib.phtml", "403"), ("/x.phar", "403"), ("/x.php5", "403"),
    ("/UPPER.PHP", "403"), ("/UPPER.PHP/x", "403"), ("/other.php", "403"), ("/other.php/x.css", "403"), ("/style.css~", "403"),
    ("/backup.sql", "403"), ("/plain", "403"), ("/LICENSE", "403"), ("/program.exe", "403"), ("/style.css.bak", "403"),
    ("/noext.", "403"), ("/masked.css", "403"), ("/masked.php", "403"), ("/nowhere~", FRONT), ("/a/nowhere.inc", FRONT),
    // Not understood, on purpose.
    ("*", "400"), ("", "400"), ("style.css", "400"), ("/..", "400"), ("/../", "400"), ("/../etc/passwd", "400"),
    ("/a/../../etc/passwd", "400"), ("/admin/../../style.css", "400"), ("/%2e%2e/style.css", "400"), ("/.%2e/style.css", "400"),
    ("/%2e./style.css", "400"), ("/%2e/style.css", "400"), ("/admin/%2e%2e/wp-config.php", "400"), ("/a%2fb.css", "400"),
    ("/a%2Fb.css", "400"), ("/admin%2ftool.php", "400"), ("/a%5cb", "400"), ("/a%5Cb", "400"), ("/..%2f", "400"), ("/..%5c", "400"),
    ("/..%2fwp-config.php", "400"), ("/style.css%00", "400"), ("/wp-config.php%00.css", "400"), ("/%00", "400"), ("/a%0d%0ab", "400"),
    ("/a%0a", "400"), ("/a%1b[2J", "400"), ("/a%7f", "400"), ("/a%", "400"), ("/a%4", "400"), ("/a%g1", "400"), ("/a%%41", "400"),
    ("/a\\b", "400"), ("/..\\wp-config.php", "400"), ("/a%u0041", "400"), ("/%c0%ae%c0%ae%2f", "400"),
];

#[test]
fn every_path_has_one_meaning() {
    assert!(TABLE.len() >= 200, "{} paths", TABLE.len());
    let router = router();
    let wrong: Vec<String> = TABLE
        .iter()
        .map(|(path, expected)| (path, expected, outcome(&router, path)))
        .filter(|(_, expected, found)| *expected != found)
        .map(|(path, expected, found)| format!("{path}: expected {expected}, found {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
