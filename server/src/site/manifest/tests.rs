//! What manifests are read, and what they come to.

use super::*;

/// Files and what they hold.
struct Files<'a>(&'a [(&'a str, &'a str)]);

impl Look for Files<'_> {
    fn kind(&self, path: &str) -> Option<Kind> {
        let below = format!("{path}/");
        let mut kinds = self.0.iter().filter_map(|(name, _)| match *name == path {
            true => Some(Kind::Regular),
            false => name.starts_with(&below).then_some(Kind::Directory),
        });
        kinds.next()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let names = self.0.iter().filter_map(|(name, _)| match directory {
            "" => name.split('/').next(),
            _ => name
                .strip_prefix(directory)?
                .strip_prefix('/')?
                .split('/')
                .next(),
        });
        names.map(str::to_owned).collect()
    }

    fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, imagefs::Error> {
        let mut found = self
            .0
            .iter()
            .filter(|(name, text)| *name == path && text.len() as u64 <= max);
        Ok(found.next().map(|(_, text)| text.as_bytes().to_vec()))
    }
}

const VERSION: (&str, &str) = ("wp-includes/version.php", "");

fn effective(files: &[(&str, &str)]) -> Effective {
    let site = Files(files);
    layers::of(&site, layers::written(&site).unwrap().as_deref()).unwrap()
}

fn front(files: &[(&str, &str)]) -> (&'static str, String, Option<String>) {
    let Effective {
        recognised,
        manifest,
        ..
    } = effective(files);
    (
        recognised,
        manifest.site.root,
        manifest.site.front_controller,
    )
}

/// Case site-manifest-replaces: any manifest switched the rules of the application off.
#[test]
fn a_manifest_adds_to_the_defaults_and_wins() {
    let manifest = "schema = 1\n[php]\nmemory_limit = \"64M\"\n[constants]\nDISABLE_WP_CRON = false\n\
        [read_only]\nforms = []\n[site.headers]\n\"/wp-content/**\" = { x = \"y\" }\n";
    let site = effective(&[("index.php", ""), VERSION, ("zapp.toml", manifest)]);
    let holds = &site.manifest;
    assert_eq!(holds.site.front_controller.as_deref(), Some("/index.php"));
    assert_eq!(holds.warmup.urls, ["/", "/?p=1", "/feed/"]);
    assert_eq!(holds.site.deny.len(), 6);
    assert_eq!(holds.constants["DISABLE_WP_CRON"], Constant::Bool(false));
    assert_eq!(holds.constants["DISALLOW_FILE_MODS"], Constant::Bool(true));
    let refused = |method, path: &[u8]| holds.read_only.refuses(&method, &[path], None).is_some();
    assert!(refused(hyper::Method::GET, b"/wp-login.php"));
    assert!(refused(hyper::Method::GET, b"/wp-admin/options.php"));
    assert!(!refused(hyper::Method::POST, b"/wp-admin/admin-ajax.php"));
    assert!(!refused(hyper::Method::POST, b"/wp-comments-post.php"));
    let from = |key: &str| {
        let row = site.rows.iter().find(|row| row.key == key);
        row.map(|row| (row.value.to_string(), row.origin.to_string()))
    };
    let row = |value: &str, origin: &str| Some((value.to_owned(), origin.to_owned()));
    let content = |key| from(&format!("site.headers.\"/wp-content/**\".{key}"));
    assert_eq!(from("site.root"), row("\"/\"", "default"));
    assert_eq!(
        from("site.front_controller"),
        row("\"/index.php\"", "built in for WordPress")
    );
    assert_eq!(from("php.memory_limit"), row("\"64M\"", "zapp.toml"));
    assert_eq!(from("read_only.forms"), row("[]", "zapp.toml"));
    assert_eq!(from("constants.DISABLE_WP_CRON"), row("false", "zapp.toml"));
    assert_eq!(content("x"), row("\"y\"", "zapp.toml"));
    assert_eq!(
        content("cache-control"),
        row("\"public, max-age=86400\"", "built in for WordPress")
    );
}

#[test]
fn built_in_rules_can_be_taken_away() {
    let manifest = "schema = 1\nsite.front_controller = \"\"\nsite.deny = []\nwarmup.urls = []\n";
    let holds = effective(&[("index.php", ""), ("zapp.toml", manifest)]).manifest;
    assert_eq!(holds.site.front_controller, None);
    assert!(holds.site.deny.is_empty() && holds.warmup.urls.is_empty());
}

/// Case site-public-dir: no page, no PHP, and the project's own files were sent.
#[test]
fn projects_with_a_public_folder_are_recognised() {
    let php = |root: &str| ("PHP", root.to_owned(), Some("/index.php".to_owned()));
    let composer = ("composer.json", "{}");
    assert_eq!(front(&[composer, ("public/index.php", "")]), php("/public"));
    assert_eq!(
        front(&[("web/index.php", ""), ("web/index.html", "")]),
        php("/web")
    );
    assert_eq!(
        front(&[("index.php", ""), ("public/index.php", "")]),
        php("/")
    );
    let files = ("files", "/".to_owned(), None);
    assert_eq!(
        front(&[("index.html", ""), ("public/index.php", "")]),
        files
    );
    assert_eq!(front(&[composer, ("public/style.css", "")]), files);
    let manifest = "schema = 1\nsite.root = \"/\"\n";
    assert_eq!(
        front(&[("zapp.toml", manifest), ("public/index.php", "")]),
        files
    );
    let libraries = ("vendor/autoload.php", "");
    let denied = |files: &[(&str, &str)], path: &[u8]| {
        effective(files)
            .manifest
            .site
            .deny
            .iter()
            .any(|pattern| pattern.matches_within(path))
    };
    assert!(denied(
        &[("index.php", ""), libraries],
        b"/vendor/acme/x.css"
    ));
    assert!(!denied(&[("index.php", "")], b"/vendor/acme"));
}

#[test]
fn wordpress_is_recognised_in_a_folder() {
    let version = ("blog/wp-includes/version.php", "");
    // A site of its own below another.
    let own = effective(&[("blog/index.php", ""), version, ("index.html", "")]).manifest;
    assert_eq!(own.application, Some(Application::WordPress));
    assert_eq!(own.site.front_controller, None);
    let fronts: Vec<&String> = own.site.front_controllers.values().collect();
    assert_eq!(fronts, ["/blog/index.php"]);
    assert_eq!(own.warmup.urls[1], "/blog/?p=1");
    let refused = |path: &[u8]| {
        own.read_only
            .refuses(&hyper::Method::GET, &[path], None)
            .is_some()
    };
    assert!(refused(b"/blog/wp-login.php") && !refused(b"/wp-login.php"));
    // Its files in a folder, its pages at the root.
    let index = (
        "index.php",
        "<?php require __DIR__ . '/blog/wp-blog-header.php';",
    );
    let (name, root, controller) = front(&[index, ("blog/index.php", ""), version]);
    assert_eq!(
        (name, root.as_str(), controller.as_deref()),
        ("WordPress", "/", Some("/index.php"))
    );
    // Names that would be something else in a pattern.
    for folder in ["a*", "a\"b", ".hidden", "a b"] {
        let version = format!("{folder}/wp-includes/version.php");
        let index = format!("{folder}/index.php");
        assert_eq!(
            front(&[(&version, ""), (&index, "")]).0,
            "files",
            "{folder}"
        );
    }
}

#[test]
fn unknown_keys_are_refused_with_their_line() {
    let error = Manifest::parse("schema = 1\n[site]\nroot = \"/\"\ndenny = []\n").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("line 4") && text.contains("denny"), "{text}");
    for text in [
        "schema = 1\nextra = 1",
        "schema = 2",
        "",
        "schema = 1\n[limits]\nwall = \"1d\"",
    ] {
        assert!(Manifest::parse(text).is_err(), "{text}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for line in [
        "site.root = \"site\"",
        "site.front_controller = \"index.php\"",
        "site.index = [\"a/b\"]",
        "site.hosts = [\"a b\"]",
        "site.headers.\"/**\".x = \"a\\nb\"",
        "site.types.php = \"text/plain\"",
        "site.errors.200 = \"/x\"",
        "warmup.urls = [\"x\"]",
        "constants.\"a b\" = 1",
        "constants.a = \"${x}\"",
        "constants.a = 1.5",
        "read_only.page = \"x\"",
        "read_only.screens = [\"a/b\"]",
        "read_only.writes = \"keep\"",
        "site.deny = [\"a/b\"]",
    ] {
        let text = format!("schema = 1\n{line}\n");
        assert!(Manifest::parse(&text).is_err(), "{line}");
    }
}

#[test]
fn php_settings_become_options() {
    let text = "schema = 1\n[php]\nmemory_limit = \"64M\"\ndisplay_errors = false\nsession.gc_divisor = 5\n";
    let manifest = Manifest::parse(text).unwrap();
    let expected = [
        "/php",
        "--web",
        "-d",
        "display_errors=0",
        "-d",
        "memory_limit=64M",
        "-d",
        "session.gc_divisor=5",
    ];
    assert_eq!(manifest.arguments("/php", &[]), expected);
}

#[test]
fn constants_become_options() {
    let text = "schema = 1\n[constants]\nA = true\nB = -3\nC = \"x y\"\n";
    let manifest = Manifest::parse(text).unwrap();
    let options: Vec<String> = manifest.arguments("php", &[]).split_off(2);
    let lines: Vec<&str> = options
        .iter()
        .map(String::as_str)
        .filter(|o| *o != "-d")
        .collect();
    let expected = [
        "zapp.constant.A=bool:1",
        "zapp.constant.B=int:-3",
        "zapp.constant.C=text:x y",
    ];
    assert_eq!(lines, expected);
}

/// Case limits-04-manifest-bomb: 8 KB of an image became 3 GB and 26 seconds.
#[test]
fn lists_of_patterns_are_bounded() {
    let list = |key: &str, count: usize| {
        let patterns = (0..count)
            .map(|n| format!("\"/a{n}/**\""))
            .collect::<Vec<_>>();
        Manifest::parse(&format!("schema = 1\n{key} = [{}]", patterns.join(", ")))
    };
    for key in [
        "site.deny",
        "site.php",
        "read_only.screens",
        "read_only.forms",
        "read_only.except",
    ] {
        list(key, 256).unwrap();
        let refused = list(key, 257).unwrap_err().to_string();
        assert!(
            refused.contains("more than 256 patterns"),
            "{key}: {refused}"
        );
    }
    let table = |count: usize| {
        let rows = (0..count).map(|n| format!("\"/a{n}\" = {{}}\n"));
        Manifest::parse(&format!(
            "schema = 1\n[site.headers]\n{}",
            rows.collect::<String>()
        ))
    };
    table(256).unwrap();
    let refused = table(257).unwrap_err().to_string();
    assert!(refused.contains("more than 256 patterns"), "{refused}");
}
