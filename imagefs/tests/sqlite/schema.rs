//! What a schema may contain, and that the contents come out equal.

use std::cmp::Ordering;
use std::fs;

use imagefs::sqlite::{Note, Options, Vacuum, WhyCopied};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::bench::{Bench, count, dump, has};

fn copied_because_undefined(notes: &[Note], word: &str) -> bool {
    has(notes, |note| {
        matches!(note, Note::Copied(WhyCopied::Undefined(what)) if what.contains(word))
            && note.is_warning()
    })
}

/// Prepares, expects a rewrite, and compares everything.
fn rewritten_alike(bench: &Bench, path: &std::path::Path) -> Vec<u8> {
    let mut prepared = bench.prepare(path).expect("prepare");
    assert!(prepared.vacuumed, "{:?}", prepared.notes);
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(dump(path), dump(&out));
    fs::read(out).expect("read")
}

#[test]
fn collation_of_the_application_falls_back_to_a_copy() {
    let bench = Bench::new();
    let path = bench.source("a.db");
    let backwards = |a: &str, b: &str| -> Ordering { b.cmp(a) };
    let conn = Connection::open(&path).expect("open");
    conn.create_collation("backwards", backwards)
        .expect("collation");
    conn.execute_batch(
        "CREATE TABLE t(v TEXT COLLATE backwards); CREATE INDEX tv ON t(v); CREATE TABLE fine(x UNIQUE);
         INSERT INTO t VALUES ('a'), ('b'), ('c'); INSERT INTO fine VALUES (1), (2);",
    )
    .expect("sql");
    conn.close().expect("close");
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(
        !prepared.vacuumed && copied_because_undefined(&prepared.notes, "backwards"),
        "{:?}",
        prepared.notes
    );
    assert!(has(
        &prepared.notes,
        |n| matches!(n, Note::Unchecked { scanned, unread } if scanned == &["t"] && unread.is_empty())
    ));
    let out = bench.save(&mut prepared, "out.db");
    let conn = Connection::open(&out).expect("open");
    conn.create_collation("backwards", backwards)
        .expect("collation");
    let first: String = conn
        .query_row("SELECT v FROM t ORDER BY v LIMIT 1", [], |row| row.get(0))
        .expect("query");
    assert_eq!(first, "c");
    let check: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("check");
    assert_eq!(check, "ok");
}

#[test]
fn damage_elsewhere_is_found_although_a_collation_is_missing() {
    let bench = Bench::new();
    let path = bench.source("a.db");
    let conn = Connection::open(&path).expect("open");
    conn.create_collation("mine", |a, b| a.cmp(b))
        .expect("collation");
    conn.execute_batch(
        "CREATE TABLE t(v TEXT COLLATE mine PRIMARY KEY); CREATE TABLE other(v); CREATE INDEX ov ON other(v);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO other SELECT printf('value %d', i) FROM n;
         PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE other(v, w)' WHERE name = 'other';
         UPDATE sqlite_schema SET sql = 'CREATE INDEX ov ON other(w)' WHERE name = 'ov';",
    )
    .expect("sql");
    conn.close().expect("close");
    let result = bench.prepare(&path);
    assert!(
        matches!(result, Err(imagefs::sqlite::SqliteError::Corrupt { .. })),
        "{result:?}"
    );
}

#[test]
fn function_of_the_application_falls_back_to_a_copy() {
    let bench = Bench::new();
    for (name, sql) in [
        (
            "index",
            "CREATE TABLE t(a); CREATE INDEX i ON t(mine(a)); INSERT INTO t VALUES (1), (2);",
        ),
        (
            "partial",
            "CREATE TABLE t(a); CREATE INDEX i ON t(a) WHERE mine(a) > 1; INSERT INTO t VALUES (1), (2);",
        ),
        (
            "stored",
            "CREATE TABLE t(a, b AS (mine(a)) STORED); INSERT INTO t(a) VALUES (1), (2);",
        ),
        (
            "virtual",
            "CREATE TABLE t(a, b AS (mine(a)) VIRTUAL); INSERT INTO t(a) VALUES (1), (2);",
        ),
        (
            "check",
            "CREATE TABLE t(a CHECK (mine(a) > 0)); INSERT INTO t(a) VALUES (1), (2);",
        ),
    ] {
        let path = bench.source(name);
        let conn = Connection::open(&path).expect("open");
        let flags = FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS
            | FunctionFlags::SQLITE_UTF8;
        conn.create_scalar_function("mine", 1, flags, |context| {
            context.get::<i64>(0).map(|n| n * 3)
        })
        .expect("function");
        conn.execute_batch(sql).expect(sql);
        conn.close().expect("close");
        let mut prepared = bench.prepare(&path).expect(name);
        println!("{name}: {:?}", prepared.notes);
        assert!(
            copied_because_undefined(&prepared.notes, "mine"),
            "{name}: {:?}",
            prepared.notes
        );
        let out = bench.save(&mut prepared, "out.db");
        assert_eq!(count(&out, "SELECT sum(a) FROM t NOT INDEXED"), 3, "{name}");
    }
}

#[test]
fn rows_that_break_constraints_are_kept_with_a_warning() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "CREATE TABLE c(a CHECK (a > 0)); CREATE TABLE n(a); CREATE TABLE s(a INT, b TEXT) STRICT;
         INSERT INTO n VALUES (NULL); INSERT INTO s VALUES (1, 'x');
         PRAGMA ignore_check_constraints=ON; INSERT INTO c VALUES (-1), (-2);
         PRAGMA writable_schema=ON;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE n(a NOT NULL)' WHERE name = 'n';
         UPDATE sqlite_schema SET sql = 'CREATE TABLE s(a TEXT, b INT) STRICT' WHERE name = 's';",
    );
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(
        has(&prepared.notes, |n| matches!(
            n,
            Note::RulesBroken { count: 5, .. }
        )),
        "{:?}",
        prepared.notes
    );
    assert!(prepared.vacuumed && prepared.notes.iter().all(Note::is_warning));
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(dump(&path), dump(&out));
}

#[test]
fn virtual_table_without_its_module_is_kept() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "CREATE TABLE t(a); INSERT INTO t VALUES (1); CREATE TABLE v_rows(x); INSERT INTO v_rows VALUES (5);
         PRAGMA writable_schema=ON;
         INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nowhere(a, b)');",
    );
    let mut prepared = bench.prepare(&path).expect("prepare");
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(
        count(
            &out,
            "SELECT count(*) FROM sqlite_schema WHERE name = 'v' AND sql LIKE '%nowhere(a, b)'"
        ),
        1
    );
    assert_eq!(count(&out, "SELECT x FROM v_rows"), 5);
}

#[test]
fn full_text_tokenizer_of_the_application_is_survived() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "CREATE VIRTUAL TABLE f USING fts5(text, tokenize='unicode61'); INSERT INTO f VALUES ('hello world');
         PRAGMA writable_schema=ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'unicode61', 'mine') WHERE name = 'f';",
    );
    let mut prepared = bench.prepare(&path).expect("prepare");
    println!("{:?}", prepared.notes);
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(count(&out, "SELECT count(*) FROM f_content"), 1);
}

#[test]
fn built_in_virtual_tables_survive() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "CREATE VIRTUAL TABLE f USING fts5(text); INSERT INTO f VALUES ('hello world'), ('good bye');
         CREATE VIRTUAL TABLE o USING fts4(text); INSERT INTO o VALUES ('old hello');
         CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 0, 1);",
    );
    let bytes = rewritten_alike(&bench, &path);
    let out = bench.root().join("again.db");
    fs::write(&out, bytes).expect("write");
    assert_eq!(
        count(&out, "SELECT count(*) FROM f WHERE f MATCH 'hello'"),
        1
    );
    assert_eq!(
        count(&out, "SELECT count(*) FROM o WHERE o MATCH 'hello'"),
        1
    );
    assert_eq!(count(&out, "SELECT count(*) FROM r WHERE x0 < 0.5"), 1);
}

/// VACUUM may renumber these; `VACUUM INTO` does not, and the comparison would notice.
#[test]
fn rowids_of_tables_without_integer_key_stay() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "CREATE TABLE plain(v); CREATE TABLE keyed(v TEXT PRIMARY KEY); CREATE TABLE shadow(rowid TEXT, oid TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO plain SELECT i FROM n;
         INSERT INTO keyed SELECT v FROM plain; INSERT INTO shadow SELECT v, v FROM plain;
         DELETE FROM plain WHERE v % 3; DELETE FROM keyed WHERE v % 5; DELETE FROM shadow WHERE oid % 7;
         CREATE TABLE auto(id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO auto(id, v) VALUES (900, 1); DELETE FROM auto;
         CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w SELECT v, v FROM plain;",
    );
    rewritten_alike(&bench, &path);
    let bytes = rewritten_alike(&bench, &path);
    let out = bench.root().join("again.db");
    fs::write(&out, bytes).expect("write");
    assert_eq!(count(&out, "SELECT max(_rowid_) FROM shadow"), 497);
    assert_eq!(
        count(&out, "SELECT seq FROM sqlite_sequence WHERE name = 'auto'"),
        900
    );
}

#[test]
fn deleted_rows_do_not_survive_a_rewrite() {
    let bench = Bench::new();
    let path = bench.database(
        "a.db",
        "PRAGMA secure_delete=OFF; CREATE TABLE t(v); INSERT INTO t VALUES ('the secret password'); DELETE FROM t;",
    );
    let holds = |bytes: &[u8]| bytes.windows(10).any(|window| window == b"the secret");
    assert!(
        holds(&fs::read(&path).expect("read")),
        "still in a free page"
    );
    assert!(!holds(&rewritten_alike(&bench, &path)));
    let options = Options {
        vacuum: Vacuum::Never,
        ..Options::default()
    };
    let mut copied = bench.prepare_with(&path, &options).expect("prepare");
    assert!(
        !copied.vacuumed
            && has(&copied.notes, |note| *note
                == Note::Copied(WhyCopied::Asked))
    );
    assert!(
        holds(&Bench::bytes(&mut copied)),
        "a copy keeps it, as documented"
    );
}

#[test]
fn page_sizes_encodings_and_auto_vacuum_stay() {
    let bench = Bench::new();
    for page_size in [512, 1024, 4096, 8192, 32768, 65536_u32] {
        for setting in [
            "auto_vacuum=NONE",
            "auto_vacuum=FULL",
            "auto_vacuum=INCREMENTAL",
            "encoding='UTF-16le'",
            "encoding='UTF-16be'",
        ] {
            let path = bench.database(
                &format!("{page_size} {setting}"),
                &format!(
                    "PRAGMA page_size={page_size}; PRAGMA {setting}; PRAGMA user_version=77; PRAGMA application_id=99;
                     CREATE TABLE t(a, b); CREATE INDEX i ON t(b); INSERT INTO t VALUES (1, 'äöü'), (2, 'x'), (NULL, -0.0), (x'00', 1e300);
                     INSERT INTO t SELECT a, hex(zeroblob(1000)) FROM t; DELETE FROM t WHERE a = 1;"
                ),
            );
            let bytes = rewritten_alike(&bench, &path);
            assert_eq!(bytes.len() as u64 % u64::from(page_size), 0);
            assert_eq!(bench.prepare(&path).expect("prepare").page_size, page_size);
        }
    }
}

/// Bytes at the end of each page belong to an extension such as the checksum VFS; a rewrite would empty them.
#[test]
fn reserved_bytes_forbid_a_rewrite() {
    let bench = Bench::new();
    let plain = bench.database(
        "plain.db",
        "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);",
    );
    let path = bench.source("reserved.db");
    Connection::open(&plain)
        .expect("open")
        .execute(
            "VACUUM INTO ?1",
            [format!("file:{}?reserve=8", path.display())],
        )
        .expect("vacuum");
    assert_eq!(fs::read(&path).expect("read")[20], 8);
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert_eq!(prepared.notes, [Note::Copied(WhyCopied::ReservedBytes(8))]);
    assert_eq!(
        Bench::bytes(&mut prepared),
        fs::read(&path).expect("read"),
        "nothing needed to change"
    );
}

#[test]
fn large_databases_are_copied_and_checked_quickly() {
    let bench = Bench::new();
    let path = bench.database("a.db", "PRAGMA journal_mode=WAL; CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (zeroblob(20000));");
    let options = Options {
        vacuum_bytes_max: 10_000,
        ..Options::default()
    };
    let prepared = bench.prepare_with(&path, &options).expect("prepare");
    assert_eq!(
        prepared.notes,
        [Note::QuickChecked, Note::Copied(WhyCopied::Large)]
    );
    let deep = Options {
        deep: true,
        ..options
    };
    assert_eq!(
        bench.prepare_with(&path, &deep).expect("prepare").notes,
        [Note::Copied(WhyCopied::Large)]
    );
}

#[test]
fn widest_table_and_odd_names_are_compared() {
    let bench = Bench::new();
    let columns: Vec<String> = (0..2000).map(|n| format!("c{n}")).collect();
    let wide = format!(
        "CREATE TABLE wide({}); INSERT INTO wide(c0, c1999) VALUES (1, 2);",
        columns.join(",")
    );
    let odd = "CREATE TABLE \"a\"\"b'c;--\"(\"x\"\"y\", \"select\"); INSERT INTO \"a\"\"b'c;--\" VALUES (1, 2);
               CREATE TABLE \"\"(x); INSERT INTO \"\" VALUES (1); CREATE TABLE \"ünï\"(\"ß\"); INSERT INTO \"ünï\" VALUES ('ü');";
    let path = bench.database("a.db", &format!("{wide}{odd}"));
    let mut prepared = bench.prepare(&path).expect("prepare");
    assert!(prepared.vacuumed, "{:?}", prepared.notes);
    let out = bench.save(&mut prepared, "out.db");
    assert_eq!(count(&out, "SELECT c0 + c1999 FROM wide"), 3);
    assert_eq!(
        count(&out, "SELECT \"x\"\"y\" + \"select\" FROM \"a\"\"b'c;--\""),
        3
    );
}

/// Property: whatever was done to a database, preparing changes nothing that can be read, and gives the same bytes twice.
#[test]
fn random_histories_come_out_equal() {
    let mut random = 42_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for round in 0..40 {
        let bench = Bench::new();
        let mode =
            ["DELETE", "WAL", "PERSIST", "TRUNCATE"][usize::try_from(next(4)).expect("small")];
        let path = bench.database(
            "a.db",
            &format!(
                "PRAGMA page_size={}; PRAGMA journal_mode={mode};",
                512 << next(5)
            ),
        );
        let conn = Connection::open(&path).expect("open");
        conn.execute_batch("PRAGMA wal_autocheckpoint=3; CREATE TABLE t0(a, b)")
            .expect("sql");
        for step in 0..30 {
            let table = format!("t{}", next(4));
            let sql = match next(7) {
                0 => format!("CREATE TABLE IF NOT EXISTS {table}(a, b)"),
                1 => format!("CREATE TABLE IF NOT EXISTS {table}(a INTEGER PRIMARY KEY, b)"),
                2 => format!("CREATE TABLE IF NOT EXISTS {table}(a, b, PRIMARY KEY(a, b)) WITHOUT ROWID"),
                3 => format!("CREATE INDEX i{step} ON {table}(b)"),
                4 => format!("DELETE FROM {table} WHERE a % {} = 0", next(5) + 2),
                5 => format!("UPDATE {table} SET b = hex(zeroblob({})) WHERE a % 3 = 0", next(3000)),
                _ => format!(
                    "WITH RECURSIVE n(i) AS (SELECT {step} * 1000 UNION ALL SELECT i + 1 FROM n WHERE i < {step} * 1000 + {})
                     INSERT INTO {table} SELECT i, CASE i % 4 WHEN 0 THEN i * 0.5 WHEN 1 THEN 'text ' || i WHEN 2 THEN randomblob(i % 900) ELSE i END FROM n",
                    next(200)
                ),
            };
            // Statements about tables that do not exist yet fail, and that is part of the history.
            let _ = conn.execute_batch(&sql);
        }
        conn.close().expect("close");
        let first = rewritten_alike(&bench, &path);
        assert!(
            first == rewritten_alike(&bench, &path),
            "round {round}: other bytes"
        );
    }
}
