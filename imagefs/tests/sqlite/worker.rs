//! SQLite's part in a process of its own: same results, and nothing that process does reaches further than its database.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use imagefs::sqlite::{Note, Options, Runner, SqliteError, run_job};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::bench::{Bench, JOB, Role, as_role, has};

const REPLY: &str = "reply: ";

/// The child: limits itself, does the job, prints the reply.
pub(crate) fn play(dir: &Path, job: &str) {
    let limit = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(Resource::As, limit(4 << 30)).expect("limit");
    setrlimit(Resource::Cpu, limit(60)).expect("limit");
    println!("{REPLY}{}", run_job(dir, job));
}

/// Runs each job in a child.
fn child() -> Runner {
    Arc::new(|dir, job| {
        let mut command = Command::new(std::env::current_exe()?);
        let output = as_role(&mut command, "worker", dir)
            .env(JOB, job)
            .env("SQLITE_TMPDIR", dir)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let reply = text
            .lines()
            .find_map(|line| line.split_once(REPLY))
            .map(|(_, reply)| reply.to_owned());
        reply.ok_or_else(|| io::Error::other(format!("ended with {}", output.status)))
    })
}

fn with(runner: Runner) -> Options {
    Options {
        runner: Some(runner),
        ..Options::default()
    }
}

#[test]
fn a_worker_gives_the_same_bytes_and_notes() {
    let bench = Bench::new();
    let path = bench.database("x.db", "PRAGMA journal_mode=WAL; CREATE TABLE old(x);");
    Role::start("die-with-wal", &path).kill();
    let mut here = bench.prepare(&path).expect("here");
    let mut there = bench.prepare_with(&path, &with(child())).expect("there");
    assert_eq!(here.notes, there.notes);
    assert!(has(
        &there.notes,
        |note| matches!(note, Note::WalApplied { frames, .. } if *frames > 0)
    ));
    assert_eq!(
        (here.vacuumed, here.page_size),
        (there.vacuumed, there.page_size)
    );
    assert!(Bench::bytes(&mut here) == Bench::bytes(&mut there));
}

#[test]
fn errors_of_a_worker_are_the_same_errors() {
    let bench = Bench::new();
    let sql = "CREATE TABLE t(v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
               INSERT INTO t SELECT hex(zeroblob(20)) FROM n;";
    let path = bench.database("x.db", sql);
    let slow = Options {
        timeout: Duration::ZERO,
        ..with(child())
    };
    let result = bench.prepare_with(&path, &slow);
    assert!(
        matches!(&result, Err(SqliteError::Timeout { path: at, .. }) if *at == path),
        "{result:?}"
    );

    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 64], 4096 * 3).expect("write");
    let here = bench.prepare(&path).expect_err("damaged").to_string();
    let there = bench
        .prepare_with(&path, &with(child()))
        .expect_err("damaged")
        .to_string();
    assert_eq!(here, there);
}

/// A runner that lets `after` loose on the staging directory once the work is done, like a captured worker.
fn captured(after: impl Fn(&Path) + Send + Sync + 'static) -> Runner {
    Arc::new(move |dir, job| {
        let reply = run_job(dir, job);
        after(dir);
        Ok(reply)
    })
}

#[test]
fn what_a_captured_worker_leaves_is_not_trusted() {
    let bench = Bench::new();
    let path = bench.database("x.db", "CREATE TABLE t(v); INSERT INTO t VALUES (1);");
    bench
        .prepare_with(&path, &with(captured(|_| {})))
        .expect("an honest one");
    let refused = |after: fn(&Path)| {
        bench
            .prepare_with(&path, &with(captured(after)))
            .expect_err("refused")
    };

    let error = refused(|dir| {
        fs::remove_file(dir.join("out")).expect("remove");
        symlink("/etc/passwd", dir.join("out")).expect("symlink");
    });
    assert!(
        matches!(
            error,
            SqliteError::Io {
                op: "open copy",
                ..
            }
        ),
        "{error:?}"
    );
    let error = refused(|dir| {
        fs::remove_file(dir.join("out")).expect("remove");
        fs::create_dir(dir.join("out")).expect("dir");
    });
    assert!(matches!(error, SqliteError::NotAFile { .. }), "{error:?}");
    let error = refused(|dir| fs::write(dir.join("out-wal"), "x").expect("write"));
    assert!(matches!(error, SqliteError::Wrong { .. }), "{error:?}");
    let error = refused(|dir| fs::write(dir.join("out"), "<?php").expect("write"));
    assert!(
        matches!(error, SqliteError::NotADatabase { .. }),
        "{error:?}"
    );
    let error = refused(|dir| {
        let mut bytes = fs::read(dir.join("out")).expect("read");
        bytes[18..20].fill(2);
        fs::write(dir.join("out"), bytes).expect("write");
    });
    assert!(matches!(error, SqliteError::Wrong { .. }), "{error:?}");
}

#[test]
fn a_worker_that_dies_or_babbles_is_an_error() {
    let bench = Bench::new();
    let path = bench.database("x.db", "CREATE TABLE t(v);");
    let runners: [Runner; 4] = [
        Arc::new(|_, _| Err(io::Error::other("killed by signal 9"))),
        Arc::new(|_, _| Ok("{\"Done\":".to_owned())),
        Arc::new(|_, _| Ok("{\"Done\":{\"vacuumed\":true,\"notes\":[\"Nonsense\"]}}".to_owned())),
        Arc::new(|dir, _| Ok(run_job(dir, "no job"))),
    ];
    for runner in runners {
        let result = bench.prepare_with(&path, &with(runner));
        assert!(
            matches!(&result, Err(SqliteError::Worker { path: at, .. }) if *at == path),
            "{result:?}"
        );
    }
}
