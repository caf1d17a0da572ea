//! PHP's command line in the sandbox: `zapp run php.zapp -r 'echo 1;'`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use crate::php;
use crate::support::{Run, Scratch, args, command, zapp};

/// An image that holds PHP, a script and a database, and nothing else.
fn image() -> PathBuf {
    static IMAGE: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, image) = IMAGE.get_or_init(|| {
        let scratch = Scratch::new();
        let site = scratch.dir("site");
        fs::copy(php::guest(), site.join("php")).unwrap();
        fs::write(
            site.join("hello.php"),
            "<?php echo 'hello ', $argv[1] ?? 'nobody', \"\\n\"; exit(3);",
        )
        .unwrap();
        let made = database(&site.join("data.sqlite"));
        assert!(made.success());
        let image = scratch.path("php.zapp");
        zapp(args!["pack", site, "-o", image]).ok();
        (scratch, image)
    });
    image.clone()
}

/// A database with three rows, made by the native PHP.
fn database(path: &std::path::Path) -> std::process::ExitStatus {
    let code = "$db = new SQLite3($argv[1]); $db->exec('CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (20), (300)');";
    std::process::Command::new(php::native())
        .args(["-n", "-r", code])
        .arg(path)
        .status()
        .expect("PHP starts")
}

fn php(arguments: &[&str]) -> Run {
    let image = image();
    zapp(
        [std::ffi::OsString::from("run"), image.into_os_string()]
            .into_iter()
            .chain(arguments.iter().map(Into::into)),
    )
}

#[test]
fn code_on_the_command_line_runs() {
    assert_eq!(php(&["-r", "echo 1;"]).ok().text(), "1");
    let version = php(&["-v"]).ok();
    assert!(version.text().starts_with("PHP 8."), "{}", version.text());
    assert!(
        version.text().contains("Zend OPcache"),
        "{}",
        version.text()
    );
    let sum = "echo array_sum(range(1, 1000)), ' ', PHP_INT_SIZE, ' ', md5('a');";
    assert_eq!(
        php(&["-r", sum]).ok().text(),
        "500500 8 0cc175b9c0f1b6a831c399e269772661"
    );
}

#[test]
fn a_script_of_the_image_gets_its_arguments_and_gives_its_status() {
    let run = php(&["/hello.php", "world"]).code(3);
    assert_eq!(run.text(), "hello world\n");
}

#[test]
fn a_directory_of_the_host_is_the_working_directory() {
    let scratch = Scratch::new();
    let dir = scratch.dir("scripts");
    fs::write(dir.join("a.php"), "<?php require 'b.inc'; echo getcwd();").unwrap();
    fs::write(dir.join("b.inc"), "included ").unwrap();
    let shown = format!("{}::/scripts", dir.display());
    let words = ["run", "--dir", &shown, "-w", "/scripts"];
    let run = zapp(
        words
            .into_iter()
            .map(Into::into)
            .chain([image().into_os_string(), "a.php".into()]),
    );
    assert_eq!(run.ok().text(), "included /scripts");
}

#[test]
fn a_script_comes_from_standard_input() {
    let mut child = command(args!["run", image()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = b"<?php echo strrev('fed'), \"\\n\";";
    child.stdin.take().unwrap().write_all(script).unwrap();
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.ok().text(), "def\n");
}

#[test]
fn a_database_of_the_image_is_read_and_its_changes_vanish() {
    let code = "$db = new PDO('sqlite:/data.sqlite', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
        $db->exec('INSERT INTO t VALUES (4000)');
        echo $db->query('SELECT sum(n) FROM t')->fetchColumn();";
    for _ in 0..2 {
        assert_eq!(php(&["-r", code]).ok().text(), "4321");
    }
}

#[test]
fn a_missing_extension_fails_as_php_users_know_it() {
    for function in ["imap_open", "ldap_connect", "pcntl_fork", "xslt_create"] {
        let run = php(&["-r", &format!("{function}();")]).code(255);
        let words = format!("Uncaught Error: Call to undefined function {function}()");
        assert!(run.text().contains(&words), "{}{}", run.text(), run.stderr);
    }
    let run = php(&["-r", "new NumberFormatter('de', 1);"]).code(255);
    let words = "Uncaught Error: Class \"NumberFormatter\" not found";
    assert!(run.text().contains(words), "{}{}", run.text(), run.stderr);
    assert_eq!(
        php(&["-r", "var_dump(extension_loaded('xsl'));"])
            .ok()
            .text(),
        "bool(false)\n"
    );
}

#[test]
fn what_php_cannot_do_here_is_an_error_of_php() {
    let run = php(&["-r", "var_dump(@fsockopen('127.0.0.1', 80));"]).ok();
    assert_eq!(run.text(), "bool(false)\n");
    let run = php(&["-r", "var_dump(@proc_open('true', [], $pipes));"]).ok();
    assert_eq!(run.text(), "bool(false)\n");
    let run = php(&[
        "-r",
        "ini_set('memory_limit', '8M'); str_repeat('x', 9 << 20);",
    ])
    .code(255);
    assert!(
        run.text()
            .contains("Allowed memory size of 8388608 bytes exhausted"),
        "{}",
        run.text()
    );
    let run = php(&["-r", "function f() { f(); } f();"]).code(255);
    assert!(run.text().contains("Allowed memory size"), "{}", run.text());
}
