//! Databases in an image open with the unmodified sqlite3 shell, whatever state they were packed in.
//!
//! One test for each row of what goes wrong with an unprepared database on read-only media: a WAL database that was
//! closed cleanly, one with an un-checkpointed WAL, one with a hot journal, and one that needs nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Mount, Run, Scratch, args, have, no_fuse, run, skip, zapp};

/// Runs SQL in the shell; `open` is a file or a URI.
fn sqlite3(open: &str, sql: &str) -> Run {
    let output = Command::new("sqlite3")
        .args(["-batch", open, sql])
        .stdin(Stdio::null())
        .output();
    output.expect("sqlite3").into()
}

/// Runs SQL in a shell and kills it before it can clean up, as a crash would.
fn crash_after(database: &Path, sql: &str) {
    let mut shell = Command::new("sqlite3")
        .arg("-batch")
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    writeln!(stdin, "{sql}\nSELECT 'reached';").unwrap();
    stdin.flush().unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
    while lines.next().expect("the shell answers").unwrap() != "reached" {}
    shell.kill().unwrap();
    shell.wait().unwrap();
}

const FILL: &str = "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
    INSERT INTO t SELECT value, hex(randomblob(50)) FROM generate_series(1, 1000);";

/// Packs a directory, mounts it, and counts rows of the database by a plain open, read-only and immutable.
fn counts(scratch: &Scratch, source: &Path, mode: &str) -> Vec<Run> {
    let image = scratch.path(format!("{mode}.zapp"));
    zapp(args!["pack", "-q", "--sqlite", mode, source, "-o", image]).ok();
    let mount = Mount::new(&image, scratch.path("mount"));
    let database = mount.point.join("site.db");
    let uri = |how: &str| format!("file:{}?{how}", database.display());
    let sql = "SELECT count(*) FROM t; PRAGMA integrity_check;";
    vec![
        sqlite3(database.to_str().unwrap(), sql),
        sqlite3(&uri("mode=ro"), sql),
        sqlite3(&uri("immutable=1"), sql),
    ]
}

#[track_caller]
fn all_are(counts: &[Run], rows: u32) {
    for run in counts {
        assert_eq!(run.text(), format!("{rows}\nok\n"), "{}", run.stderr);
    }
}

/// What all of these need.
fn missing() -> Option<&'static str> {
    if !have("sqlite3") {
        return Some("no sqlite3 shell (apt-get install sqlite3)");
    }
    no_fuse()
}

#[test]
fn a_clean_wal_database_opens() {
    if let Some(reason) = missing() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let database = source.join("site.db");
    sqlite3(
        database.to_str().unwrap(),
        &format!("PRAGMA journal_mode=WAL; {FILL}"),
    )
    .ok();
    assert_eq!(
        &fs::read(&database).unwrap()[18..20],
        [2, 2],
        "the header says WAL"
    );
    all_are(&counts(&scratch, &source, "prepare"), 1000);
    // Without preparation this is what would happen.
    let raw = counts(&scratch, &source, "raw");
    assert!(raw[0].stderr.contains("unable to open"), "{raw:?}");
}

#[test]
fn rows_that_are_only_in_the_wal_are_kept() {
    if let Some(reason) = missing() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let database = source.join("site.db");
    crash_after(&database, &format!("PRAGMA journal_mode=WAL; {FILL}"));
    assert!(
        source.join("site.db-wal").metadata().unwrap().len() > 0,
        "the WAL is left behind"
    );
    let before = fs::read(source.join("site.db-wal")).unwrap();
    all_are(&counts(&scratch, &source, "prepare"), 1000);
    assert_eq!(
        fs::read(source.join("site.db-wal")).unwrap(),
        before,
        "the source is untouched"
    );
    let image = scratch.path("refused.zapp");
    zapp(args![
        "pack", "-q", "--sqlite", "refuse", source, "-o", image
    ])
    .code(2)
    .says("site.db");
    assert!(!image.exists());
}

#[test]
fn a_hot_journal_is_rolled_back() {
    if let Some(reason) = missing() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let database = source.join("site.db");
    sqlite3(database.to_str().unwrap(), FILL).ok();
    // A cache of one page makes the shell write pages of the open transaction into the file.
    crash_after(
        &database,
        "PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN;
        INSERT INTO t SELECT value, hex(randomblob(50)) FROM generate_series(1001, 3000);
        UPDATE t SET b = 'uncommitted';",
    );
    let journal = source.join("site.db-journal");
    assert!(
        journal.metadata().unwrap().len() > 512,
        "the journal is hot"
    );
    let before = fs::read(&database).unwrap();
    let counts = counts(&scratch, &source, "prepare");
    all_are(&counts, 1000);
    assert_eq!(
        fs::read(&database).unwrap(),
        before,
        "the source is untouched"
    );
    assert!(journal.exists());
    let image = scratch.path("prepare.zapp");
    let names = zapp(args!["ls", image]).ok();
    assert_eq!(names.text(), "site.db\n", "sidecars never enter the image");
}

#[test]
fn a_clean_database_opens_and_cannot_be_written() {
    if let Some(reason) = missing() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let database = source.join("site.db");
    sqlite3(database.to_str().unwrap(), FILL).ok();
    all_are(&counts(&scratch, &source, "prepare"), 1000);
    all_are(&counts(&scratch, &source, "raw"), 1000);
    let image = scratch.path("prepare.zapp");
    let mount = Mount::new(&image, scratch.path("again"));
    let run = sqlite3(
        mount.point.join("site.db").to_str().unwrap(),
        "DELETE FROM t;",
    );
    assert!(run.stderr.contains("readonly"), "{run:?}");
    let class = zapp(args!["ls", "--json", image, "site.db"]).ok().json()[0]["class"].clone();
    assert_eq!(class, "raw", "databases can be mapped");
    run_cat_matches(&scratch, &image);
}

/// The bytes that come out without a mount are the same database.
fn run_cat_matches(scratch: &Scratch, image: &Path) {
    let copy = scratch.path("copy.db");
    fs::write(&copy, zapp(args!["cat", image, "site.db"]).ok().stdout).unwrap();
    let sql = "SELECT count(*), sum(a) FROM t;";
    let run = run("sqlite3", &["-batch".as_ref(), copy.as_ref(), sql.as_ref()]).ok();
    assert_eq!(run.text(), "1000|500500\n");
}

/// Case reported-sqlite-hardlink-wal: the log was looked for beside the name that sorts first only, and the committed row
/// was lost without a word.
#[test]
fn the_log_beside_any_name_of_a_database_is_merged() {
    if let Some(reason) = missing() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    let (first, second) = (source.join("backup"), source.join("data"));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    let database = second.join("live.db");
    let settings = "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;";
    sqlite3(database.to_str().unwrap(), &format!("{settings} {FILL}")).ok();
    crash_after(
        &database,
        &format!("{settings} INSERT INTO t VALUES (5000, 'only in the log');"),
    );
    fs::hard_link(&database, first.join("live.db")).unwrap();
    let archive = scratch.path("source.tar");
    let words = args!["-C", source, "-cf", archive, "."];
    run("tar", &words.each_ref().map(|word| word.as_ref())).ok();
    let image = scratch.path("image.zapp");
    for from in [args![source].to_vec(), args!["--tar", archive].to_vec()] {
        let options = args!["pack", "-qf", "-o", image];
        let packed = zapp(options.into_iter().chain(from)).ok();
        for kind in ["-wal", "-shm"] {
            let note = format!("data/live.db{kind}: left out");
            assert!(packed.stderr.contains(&note), "{}", packed.stderr);
        }
        assert!(!zapp(args!["ls", "-R", image]).ok().text().contains("-wal"));
        let mount = Mount::new(&image, scratch.path("mount"));
        for name in ["backup/live.db", "data/live.db"] {
            let open = mount.point.join(name);
            let rows = sqlite3(open.to_str().unwrap(), "SELECT count(*) FROM t");
            assert_eq!(rows.text(), "1001\n", "{name}: {}", rows.stderr);
        }
    }

    // Each name with a log: nobody can say which one is the database.
    fs::copy(second.join("live.db-wal"), first.join("live.db-wal")).unwrap();
    zapp(args!["pack", "-qf", source, "-o", scratch.path("two.zapp")])
        .code(2)
        .says("is one file with data/live.db, and each name has a log of its own");
}

/// A shell that is killed with everything it runs.
struct Writer(std::process::Child);

impl Writer {
    /// One row to each of two tables in each transaction, again and again, from a new connection each time.
    fn start(database: &Path, mode: &str) -> Writer {
        let tables = format!("PRAGMA journal_mode={mode}; CREATE TABLE a(x); CREATE TABLE b(x);");
        sqlite3(database.to_str().unwrap(), &tables).ok();
        let writes = "while [ ! -e \"$0.stop\" ]; do sqlite3 -batch -cmd '.timeout 10000' \"$0\" \"$1\" || exit 1; done";
        let rows = "BEGIN IMMEDIATE; INSERT INTO a VALUES (zeroblob(3000));
            INSERT INTO b VALUES (zeroblob(3000)); COMMIT;";
        let mut shell = Command::new("sh");
        shell.args(["-c", writes]).arg(database).arg(rows);
        Writer(shell.spawn().unwrap())
    }

    /// Ends it after its last transaction. None may have failed.
    fn stop(mut self, database: &Path) {
        let mut name = database.as_os_str().to_owned();
        name.push(".stop");
        fs::write(&name, "").unwrap();
        assert!(self.0.wait().unwrap().success(), "the writer was disturbed");
        fs::remove_file(name).unwrap();
    }
}

/// A database that is written all the time was refused 25 times of 25.
// case site-pack-live
#[test]
fn a_database_that_is_being_written_is_packed() {
    if !have("sqlite3") {
        skip!("no sqlite3 shell (apt-get install sqlite3)");
    }
    let scratch = Scratch::new();
    for mode in ["WAL", "DELETE"] {
        let source = scratch.dir(mode);
        let database = source.join("d.sqlite");
        fs::write(source.join("index.html"), "live").unwrap();
        let writer = Writer::start(&database, mode);
        let (image, copy) = (scratch.path("live.zapp"), scratch.path("copy.db"));
        let mut rows = Vec::new();
        for _ in 0..25 {
            zapp(args!["pack", "-qf", source, "-o", image]).ok();
            fs::write(&copy, zapp(args!["cat", image, "d.sqlite"]).ok().stdout).unwrap();
            let sql = "SELECT count(*) FROM a; SELECT count(*) FROM b; PRAGMA integrity_check;";
            let counted = sqlite3(copy.to_str().unwrap(), sql).ok();
            let lines: Vec<&str> = counted.text().lines().collect();
            assert!(
                lines[0] == lines[1] && lines[2] == "ok",
                "{mode}: {lines:?}"
            );
            rows.push(lines[0].parse::<u32>().unwrap());
        }
        writer.stop(&database);
        assert!(rows.is_sorted() && rows[0] < rows[24], "{mode}: {rows:?}");
        // The last to leave removes its log, unless it left while the log was read.
        sqlite3(database.to_str().unwrap(), "INSERT INTO a VALUES (1)").ok();
        assert_eq!(fs::read_dir(&source).unwrap().count(), 2, "{mode}");
    }
}
