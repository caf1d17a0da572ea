//! `zapp pack` puts PHP into an image that needs it: packing and serving are one command each.

use std::fs;
use std::path::Path;

use crate::serve::Server;
use crate::support::{Scratch, args, zapp};

/// Packs a site of these files and says whether PHP is in the image.
fn has_php(files: &[(&str, &str)], options: &[&str]) -> bool {
    let scratch = Scratch::new();
    let site = scratch.tree("site", files);
    let image = scratch.path("site.zapp");
    let line = args!["pack", "-q", site, "-o", image];
    zapp(line.into_iter().chain(options.iter().map(|&o| o.into()))).ok();
    zapp(args!["cat", image, "/.zapp/php"])
        .stdout
        .starts_with(b"\x7fELF")
}

#[test]
fn php_is_packed_where_it_is_needed_and_nowhere_else() {
    let page = "<?php echo 'packed';";
    for (files, options, packed) in [
        (&[("index.php", page)][..], &[][..], true),
        (&[("index.php", page)], &["--php", "never"], false),
        (&[("index.html", "page")], &[], false),
        (&[("index.html", "page")], &["--php", "always"], true),
        // A library is no site.
        (&[("src/library.php", page)], &[], false),
        (
            &[
                ("public/index.php", page),
                ("zapp.toml", "schema = 1\n[site]\nroot = \"/public\""),
            ],
            &[],
            true,
        ),
        (
            &[("public/index.php", page), ("zapp.toml", "schema = 1")],
            &[],
            true,
        ),
        (
            &[
                ("public/index.php", page),
                ("zapp.toml", "schema = 1\n[site]\nroot = \"/\""),
            ],
            &[],
            false,
        ),
        (
            &[
                ("index.php", page),
                ("serve", "a program"),
                ("zapp.toml", "schema = 1\n[program]\nentry = \"/serve\""),
            ],
            &[],
            false,
        ),
        // The site has brought its own.
        (
            &[("index.php", page), (".zapp/php", "not ours")],
            &[],
            false,
        ),
    ] {
        assert_eq!(has_php(files, options), packed, "{files:?} {options:?}");
    }
}

#[test]
fn manifest_that_cannot_be_served_is_not_packed() {
    let scratch = Scratch::new();
    let site = scratch.dir("site");
    fs::write(site.join("zapp.toml"), "schema = 1\n[site]\ndenny = []\n").unwrap();
    let image = scratch.path("site.zapp");
    zapp(args!["pack", site, "-o", image])
        .code(2)
        .says("line 3")
        .says("denny");
    assert!(!image.exists());
}

#[test]
fn packing_and_serving_is_one_command_each() {
    let scratch = Scratch::new();
    let image = scratch.path("blog.zapp");
    let blog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/sites/blog");
    zapp(args!["pack", blog, "-o", image])
        .ok()
        .says("PHP is put into the image");
    let server = Server::start(&image, &[]);
    let reply = server.get("/");
    assert!(
        reply.status == 200 && reply.body.contains("</html>"),
        "{reply:?}"
    );
}
