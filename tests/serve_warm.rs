//! What a server does before its snapshot: it compiles every script, and says what warming up met.

use std::fs;

use crate::serve::Server;
use crate::serve_php::pack_with_php;
use crate::support::Scratch;

/// Tells which of its scripts it finds compiled, and how often one of them has run.
const INDEX: &str = r#"<?php
foreach (['lib/deep/unseen.php', 'lib/part.inc', 'broken.php', 'big.php', 'notes.txt'] as $name) {
    echo $name, isset(opcache_get_status()['scripts'][realpath("$_SERVER[DOCUMENT_ROOT]/$name")]) ? ' is' : ' is not', " compiled\n";
}
echo class_exists('Unseen', false) ? 'declared' : 'unknown', "\n";
if (isset($_GET['run'])) {
    include __DIR__ . '/lib/deep/unseen.php';
    echo Unseen::NAME, "\n";
}
"#;

#[test]
fn every_script_is_compiled_before_the_first_request() {
    let scratch = Scratch::new();
    let site = scratch.dir("site");
    fs::create_dir_all(site.join("lib/deep")).unwrap();
    // Room for this one is not certain: sixteen times its size.
    let big = format!("<?php return '{}';", "x".repeat(5 << 20));
    for (name, text) in [
        ("index.php", INDEX),
        (
            "lib/deep/unseen.php",
            "<?php echo \"it runs\\n\"; class Unseen { const NAME = 'seen'; }",
        ),
        ("lib/part.inc", "<?php exit('it must not run');"),
        ("broken.php", "<?php this is no PHP"),
        ("big.php", &big),
        ("notes.txt", "<?php exit;"),
        (
            "failing.php",
            "<?php http_response_code(503); error_log('before'); error_log('no key'); echo 'later';",
        ),
        (
            "zapp.toml",
            "schema = 1\n[warmup]\nurls = [\"/index.php\", \"/failing.php\"]\n",
        ),
    ] {
        fs::write(site.join(name), text).unwrap();
    }
    let image = scratch.path("site.zapp");
    pack_with_php(&site, &image);

    let server = Server::start(&image, &[]);
    let log = server.log();
    assert!(
        log.contains("behind warm-up: 2 scripts compiled, 1 refused by PHP, 1 left out for want of room or time"),
        "{log}"
    );
    assert!(
        log.contains("warm-up request /failing.php was answered 503: [warm-up] no key"),
        "{log}"
    );
    assert!(!log.contains("warm-up request /index.php"), "{log}");
    assert!(!log.contains("Parse error"), "{log}");
    // Compiled, and neither run nor declared.
    assert_eq!(
        server.get("/index.php?run").body,
        "lib/deep/unseen.php is compiled\nlib/part.inc is compiled\nbroken.php is not compiled\nbig.php is not compiled\n\
         notes.txt is not compiled\nunknown\nit runs\nseen\n"
    );
    // What PHP refuses is the affair of the request that asks for it.
    assert_eq!(server.get("/broken.php").status, 500);
    assert!(server.says("Parse error").contains("broken.php"));

    // A server that warms nothing up compiles nothing beforehand.
    let cold = Server::start(&image, &["--snapshot", "none"]);
    assert!(!cold.log().contains("behind warm-up"));
    assert!(
        cold.get("/index.php")
            .body
            .starts_with("lib/deep/unseen.php is not compiled")
    );

    // Nor does one whose manifest does not want it.
    let manifest = "schema = 1\nwarmup.compile = false\n";
    fs::write(site.join("zapp.toml"), manifest).unwrap();
    pack_with_php(&site, &image);
    let plain = Server::start(&image, &[]);
    assert!(!plain.log().contains("behind warm-up"));
    assert!(
        plain
            .get("/index.php")
            .body
            .starts_with("lib/deep/unseen.php is not compiled")
    );
}
