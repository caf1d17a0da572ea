//! A site's PHP and WP-CLI on the command line: `zapp php site.zapp script.php`, `zapp wp site.zapp post list`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::php;
use crate::support::{Run, Scratch, args, command, zapp};

/// A site with a script, a setting and a database, and its image.
fn site(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let site = scratch.dir("site");
    php::guest();
    let script = "<?php echo getcwd(), ' ', implode(',', array_slice($argv, 1)), ' ', ini_get('memory_limit'), \"\\n\"; exit(7);";
    fs::create_dir(site.join("public")).unwrap();
    fs::write(site.join("public/index.php"), "<?php echo 'page';").unwrap();
    fs::write(site.join("public/hello.php"), script).unwrap();
    let manifest = "schema = 1\n[site]\nroot = \"/public\"\n[php]\nmemory_limit = \"77M\"\n";
    fs::write(site.join("zapp.toml"), manifest).unwrap();
    let image = scratch.path("site.zapp");
    zapp(args!["pack", "-q", site, "-o", image]).ok();
    (site, image)
}

#[test]
fn a_script_runs_where_the_site_is() {
    let scratch = Scratch::new();
    let (site, image) = site(&scratch);
    for source in [&site, &image] {
        let run = zapp(args!["php", source, "hello.php", "a", "-b"]).code(7);
        assert_eq!(run.text(), "/site/public a,-b 77M\n", "{}", run.stderr);
        assert_eq!(run.stderr, "");
        let version = zapp(args!["php", source, "-v"]).ok();
        assert!(version.text().starts_with("PHP 8."), "{}", version.text());
        let modules = zapp(args!["php", source, "-m"]).ok();
        assert!(
            modules.text().contains("\npdo_sqlite\n"),
            "{}",
            modules.text()
        );
        let about = zapp(args!["php", source, "-i"]).ok();
        assert!(about.text().contains("memory_limit => 77M"));
        let code = zapp(args!["php", source, "-r", "exit(strlen('four'));"]);
        code.code(4);

        let mut child = command(args!["php", source])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = b"<?php echo strrev('fed');";
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let run: Run = child.wait_with_output().unwrap().into();
        assert_eq!(run.ok().text(), "def");
    }
}

#[test]
fn what_a_command_wrote_is_gone_and_it_says_so() {
    let scratch = Scratch::new();
    let (site, image) = site(&scratch);
    let write =
        "file_put_contents('hello.php', 'gone'); echo file_get_contents('hello.php'); exit(5);";
    for source in [&site, &image] {
        let run = zapp(args!["php", source, "-r", write]).code(5);
        assert_eq!(run.text(), "gone", "{}", run.stderr);
        let said = format!(
            "zapp: 4 bytes were written and are gone: {} stays as it is\n",
            source.display()
        );
        assert_eq!(run.stderr, said);
        zapp(args!["php", source, "hello.php"]).code(7);
    }
    let kept = fs::read_to_string(site.join("public/hello.php")).unwrap();
    assert!(kept.starts_with("<?php"));
}

#[test]
fn an_image_without_php_and_what_is_no_site() {
    let scratch = Scratch::new();
    let (site, _) = site(&scratch);
    let image = scratch.path("bare.zapp");
    zapp(args!["pack", "-q", "--php", "never", site, "-o", image]).ok();
    zapp(args!["php", image, "hello.php"]).code(7);
    zapp(args!["php", scratch.path("none"), "-v"])
        .code(127)
        .says("none");
    zapp(args!["php", site.join("zapp.toml"), "-v"]).code(126);
    zapp(args!["php"]).code(2);
    fs::write(site.join("zapp.toml"), "schema = 1\nfoo = 2\n").unwrap();
    zapp(args!["php", site, "-v"]).code(125).says("foo");
}

/// A file that is called as WP-CLI is, and tells what it sees. PHP itself makes it.
fn phar(scratch: &Scratch, image: &Path) -> PathBuf {
    let code = r##"$phar = new Phar('/tmp/a.phar');
        $phar['main.php'] = '<?php require "phar://wp-cli.phar/told.php";';
        $phar['told.php'] = '<?php
            echo getcwd(), " ", implode(",", array_slice($argv, 1)), " ", implode(",", scandir("/.wp-cli")), " ", getenv("HOME"), "\n";
            if (in_array("update", $argv)) { file_put_contents("/site/wp-content/x", "changed"); }
            exit(in_array("fail", $argv) ? 1 : 0);';
        $phar->setStub("#!/usr/bin/env php\n<?php Phar::mapPhar('wp-cli.phar'); require 'phar://wp-cli.phar/main.php'; __HALT_COMPILER();");
        unset($phar);
        readfile('/tmp/a.phar');"##;
    let made = zapp(args!["php", image, "-d", "phar.readonly=0", "-r", code]).ok();
    let path = scratch.path("any-name.phar");
    fs::write(&path, made.stdout).unwrap();
    path
}

#[test]
fn wp_cli_runs_on_an_image() {
    let scratch = Scratch::new();
    let (image, site) = php::wordpress();
    let phar = phar(&scratch, image);
    for source in [image, &site] {
        let run = zapp(args![
            "wp",
            "--wp-cli",
            phar,
            source,
            "post",
            "list",
            "--format=ids"
        ])
        .ok();
        let words = "--allow-root,post,list,--format=ids";
        assert_eq!(run.text(), format!("/site {words} .,..,wp-cli.phar /tmp\n"));
        assert_eq!(run.stderr, "");
    }
    let mut named = command(args!["wp", image, "option", "update"]);
    let run = Run::from(named.env("ZAPP_WP_CLI", &phar).output().unwrap()).ok();
    assert!(
        run.stderr.contains("7 bytes were written and are gone"),
        "{}",
        run.stderr
    );
    zapp(args!["wp", "--wp-cli", phar, image, "fail"]).code(1);
    zapp(args![
        "wp",
        "--wp-cli",
        scratch.path("no.phar"),
        image,
        "post"
    ])
    .code(127)
    .says("no.phar");

    // In the cache it is found by itself; where it is not, it is said where to get it.
    let cache = scratch.dir("cache");
    let without = |cache: &Path| {
        let mut wp = command(args!["wp", image, "cli", "version"]);
        wp.env_remove("ZAPP_WP_CLI").env("ZAPP_CACHE_DIR", cache);
        Run::from(wp.output().unwrap())
    };
    let said = without(&cache).code(127).says("https://wp-cli.org");
    let kept = cache.join("wp-cli/wp-cli.phar");
    assert!(
        said.stderr.contains(kept.to_str().unwrap()),
        "{}",
        said.stderr
    );
    fs::create_dir(cache.join("wp-cli")).unwrap();
    fs::copy(&phar, kept).unwrap();
    assert!(without(&cache).ok().text().contains(",cli,version "));
}
