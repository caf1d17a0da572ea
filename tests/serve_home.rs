//! A site lives where it lived, or at `/site`: its scripts see their files there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::serve::Server;
use crate::support::{Scratch, args, have, run, skip, zapp};

fn packed(scratch: &Scratch, site: &Path, options: &[&str]) -> PathBuf {
    let image = scratch.path("site.zapp");
    let line = args!["pack", "-qf", site, "-o", image];
    zapp(line.into_iter().chain(options.iter().map(|&o| o.into()))).ok();
    image
}

const PLACES: &str = "<?php header('Content-Type: text/plain'); chdir(__DIR__);\
    echo substr(__FILE__, strlen(getcwd()) + 1), ' ', str_replace($_SERVER['DOCUMENT_ROOT'], '', __DIR__ . '/img/a.png'),\
    ' ', $_SERVER['SCRIPT_FILENAME'], ' ', __FILE__;";

// case site-docroot-slash
#[test]
fn a_path_without_its_root_is_whole() {
    let scratch = Scratch::new();
    let tree = scratch.tree("site", &[("index.php", PLACES)]);
    for (options, home) in [
        (&[][..], "/site"),
        (&["--at", "/var/www/html/"], "/var/www/html"),
    ] {
        let server = Server::start(&packed(&scratch, &tree, options), &[]);
        let file = format!("{home}/index.php");
        let expected = format!("index.php /img/a.png {file} {file}");
        assert_eq!(server.get("/").body, expected);
    }
    let own = "schema = 1\n[site]\nat = \"/home/me/blog\"\nroot = \"/public\"";
    let files = [("zapp.toml", own), ("public/index.php", PLACES)];
    fs::remove_file(tree.join("index.php")).unwrap();
    let tree = scratch.tree("site", &files);
    let server = Server::start(&packed(&scratch, &tree, &[]), &[]);
    let file = "/home/me/blog/public/index.php";
    let expected = format!("index.php /img/a.png {file} {file}");
    assert_eq!(server.get("/").body, expected);
}

// case site-abs-path
#[test]
fn absolute_paths_of_the_installation_are_right_at_its_place() {
    if !have("sqlite3") {
        skip!("sqlite3 makes the database");
    }
    let scratch = Scratch::new();
    let page = "<?php $db = new PDO('sqlite:/var/www/html/blog.db', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);\
        echo $db->query('select count(*) from sqlite_master')->fetchColumn(), file_get_contents('/var/www/html/link/a.txt');";
    let rules = "AuthType Basic\nAuthName x\nAuthUserFile /var/www/html/.users\n\
        <Files \"secret.txt\">\nRequire valid-user\n</Files>\nRewriteEngine on\n\
        RewriteCond /var/www/html/there.txt -f\nRewriteRule ^moved$ there.txt\n";
    let tree = scratch.tree(
        "site",
        &[
            ("index.php", page),
            ("there.txt", "there"),
            ("secret.txt", "secret"),
            ("files/a.txt", "linked"),
            (".users", "me:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"),
            (".htaccess", rules),
        ],
    );
    let database = tree.join("blog.db");
    run(
        "sqlite3",
        &[database.as_ref(), "CREATE TABLE t(a)".as_ref()],
    )
    .ok();
    symlink("/var/www/html/files", tree.join("link")).unwrap();
    let at = ["--at", "/var/www/html"];
    let server = Server::start(&packed(&scratch, &tree, &at), &[]);
    let front = server.get("/");
    assert_eq!(front.body, "1linked", "{front:?}");
    assert_eq!(server.get("/link/a.txt").body, "linked");
    assert_eq!(server.get("/moved").body, "there");
    assert_eq!(server.get("/secret.txt").status, 401);
    let me = "Authorization: Basic bWU6cGFzc3dvcmQ=\r\n";
    assert_eq!(server.with("/secret.txt", me).body, "secret");
}

#[test]
fn the_command_line_sees_the_same_places() {
    let scratch = Scratch::new();
    let tree = scratch.tree("site", &[("index.php", PLACES)]);
    let image = packed(&scratch, &tree, &["--at", "/srv/blog"]);
    let code = "echo getcwd(), ' ', realpath('index.php');";
    let run = zapp(args!["run", image, "-r", code]).ok();
    assert_eq!(run.text(), "/srv/blog /srv/blog/index.php");
    assert_eq!(zapp(args!["cat", image, "/index.php"]).ok().text(), PLACES);
    zapp(args!["pack", "-q", tree, "--at", "/tmp/site"]).code(2);
}
