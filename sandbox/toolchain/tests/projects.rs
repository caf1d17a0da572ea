//! Programs other people wrote, unmodified, with their own tests: in the sandbox they behave as they do natively.
//!
//! Each is built twice from Debian's source, with the same options against the same libc source, by a makefile below
//! `projects/`; both are kept in the cache until the recipe or the compiler changes. Plain `cargo test` takes the shorter
//! tests of each, `ZAPP_TEST_FULL=1` all that need one process and one thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};
use sandbox::{HostTree, ImageTree, Input, Mounts, Tree};

use crate::project::{Project, SQLITE, Twins, pin};
use crate::twin::{Behaviour, End, run_guest_with, run_native_with};

const LUA: Project = Project {
    name: "lua",
    sources: &[
        (
            "lua",
            &[
                pin("lua5.1", "5.1.5-9", "lua5.1_5.1.5.orig.tar.gz", LUA_HASH),
                pin("lua5.1", "5.1.5-11", "lua5.1_5.1.5.orig.tar.gz", LUA_HASH),
            ],
        ),
        // Debian's Lua comes without its test suite; another implementation carries it.
        (
            "suite",
            &[pin(
                "golang-github-yuin-gopher-lua",
                "0.0~git20170915.0.eb1c729-5",
                "golang-github-yuin-gopher-lua_0.0~git20170915.0.eb1c729.orig.tar.xz",
                "4930565f2f9596a0a47bc84b8c4c535655e8c3206b0d8dd8d2728803dab996e7",
            )],
        ),
    ],
    recipe: include_str!("projects/lua.mk"),
};
const LUA_HASH: &str = "2640fc56a795f29d28ef15e13c34a47e223960b0240e8cb0a82d9b0738695333";

const ZLIB: Project = Project {
    name: "zlib",
    sources: &[(
        "zlib",
        &[
            pin(
                "zlib",
                "1:1.3.dfsg+really1.3.1-1+deb13u1",
                ZLIB_FILE,
                ZLIB_HASH,
            ),
            pin("zlib", "1:1.3.dfsg+really1.3.1-1", ZLIB_FILE, ZLIB_HASH),
        ],
    )],
    recipe: include_str!("projects/zlib.mk"),
};
const ZLIB_FILE: &str = "zlib_1.3.dfsg+really1.3.1.orig.tar.gz";
const ZLIB_HASH: &str = "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb";

const ZSTD: Project = Project {
    name: "zstd",
    sources: &[(
        "zstd",
        &[
            pin(
                "libzstd",
                "1.5.4+dfsg2-5",
                "libzstd_1.5.4+dfsg2.orig.tar.xz",
                "8cf4bbb65e77ec348d052c8d6230eba66d435bddf64c8b5be2fcb16880c19953",
            ),
            pin(
                "libzstd",
                "1.5.7+dfsg-1",
                "libzstd_1.5.7+dfsg.orig.tar.xz",
                "0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5",
            ),
        ],
    )],
    recipe: include_str!("projects/zstd.mk"),
};

const QUICKJS: Project = Project {
    name: "quickjs",
    sources: &[(
        "quickjs",
        &[pin(
            "quickjs",
            "2025.04.26-1",
            "quickjs_2025.04.26.orig.tar.xz",
            "ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe",
        )],
    )],
    recipe: include_str!("projects/quickjs.mk"),
};

/// One run of a program of both twins.
struct Call<'a> {
    program: &'a str,
    /// Working directory natively, root in the sandbox.
    folder: &'a Path,
    args: &'a [&'a str],
    env: &'a [&'a str],
    stdin: Vec<u8>,
}

/// Longest a program may run; the full tests of zstd take minutes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1200);

impl Twins {
    /// Runs both, requires that they do the same, and returns what they did.
    #[track_caller]
    fn alike(&self, call: &Call<'_>) -> Behaviour {
        let tree = HostTree::open(call.folder).expect("the folder is there");
        let guest = self.guest(call, Arc::new(tree));
        let native = run_native_with(
            &self.native.join(call.program),
            call.folder,
            call.args,
            call.env,
            &call.stdin,
            PATIENCE,
        );
        let what = format!("{} {:?}", call.program, call.args);
        assert_eq!(text(&guest.stdout), text(&native.stdout), "{what}");
        assert_eq!(guest.end, native.end, "{what}");
        guest
    }

    fn guest(&self, call: &Call<'_>, tree: Arc<dyn Tree>) -> Behaviour {
        let mounts = Mounts::new().mount("/", tree);
        let stdin = Input::Bytes(call.stdin.clone());
        let program = self.guest.join(call.program);
        run_guest_with(&program, &mounts, call.args, call.env, stdin, PATIENCE)
    }
}

/// Output as an assertion can show it: binary output by its hash.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() < 1 << 16 => text.to_owned(),
        _ => format!("{} bytes, {}", bytes.len(), blake3::hash(bytes)),
    }
}

fn call<'a>(program: &'a str, folder: &'a Path, args: &'a [&'a str]) -> Call<'a> {
    Call {
        program,
        folder,
        args,
        env: &[],
        stdin: Vec::new(),
    }
}

/// Files of the suite that are not run: its driver and a helper; what starts other processes, fills the memory for a
/// minute, or writes beside itself; and what this copy of the suite has changed so that Lua itself fails it.
const LUA_LEFT_OUT: [&str; 11] = [
    "all.lua",
    "checktable.lua",
    "main.lua",
    "big.lua",
    "verybig.lua",
    "attrib.lua",
    "literals.lua",
    "math.lua",
    "nextvar.lua",
    "pm.lua",
    "strings.lua",
];

#[test]
fn lua_passes_its_own_suite() {
    let twins = LUA.built();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let suite = twins.source.join("suite/_lua5.1-tests");
    let mut names = Vec::new();
    for file in std::fs::read_dir(suite)
        .expect("the suite is there")
        .flatten()
    {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".lua") {
            std::fs::copy(file.path(), folder.path().join(&name)).expect("copied");
            names.push(name);
        }
    }
    names.retain(|name| !LUA_LEFT_OUT.contains(&name.as_str()));
    names.sort();
    std::fs::write(
        folder.path().join("each.lua"),
        include_str!("projects/each.lua"),
    )
    .expect("written");
    let args: Vec<&str> = ["each.lua"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    let mut call = call("lua", folder.path(), &args);
    call.env = &["LUA_INIT=package.path = '?;' .. package.path"];
    let done = twins.alike(&call);
    assert_eq!(done.end, End::Status(0));
    let output = text(&done.stdout);
    for name in &names {
        assert!(
            output.contains(&format!("{name}\ttrue")),
            "{name}: {output}"
        );
    }
    assert!(names.len() > 12, "the suite is there");
}

#[test]
fn zlib_passes_its_own_tests() {
    let twins = ZLIB.built();
    let folder = tempfile::tempdir().expect("a temporary folder");
    // `make test`, line by line.
    let packed = {
        let mut pack = call("minigzip", folder.path(), &[]);
        pack.stdin = b"hello world\n".to_vec();
        twins.alike(&pack).stdout
    };
    let mut unpack = call("minigzip", folder.path(), &["-d"]);
    unpack.stdin = packed;
    assert_eq!(twins.alike(&unpack).stdout, b"hello world\n");
    let example = twins.alike(&call("example", folder.path(), &["/tmp/zapp-test-zlib.gz"]));
    assert_eq!(example.end, End::Status(0), "{}", text(&example.stdout));
    let cover = twins.alike(&call("infcover", folder.path(), &[]));
    assert_eq!(cover.end, End::Status(0));
    // And something larger than any window of the format.
    let large: Vec<u8> = (0_u32..200_000)
        .flat_map(|n| (n % 4099 * (n % 4093) % 8191).to_le_bytes())
        .collect();
    for level in ["-1", "-6", "-9"] {
        let args = [level];
        let mut pack = call("minigzip", folder.path(), &args);
        pack.stdin = large.clone();
        unpack.stdin = twins.alike(&pack).stdout;
        assert!(twins.alike(&unpack).stdout == large, "{level}");
    }
}

#[test]
fn zstd_passes_its_own_tests() {
    let twins = ZSTD.built();
    let tests = twins.source.join("zstd/tests");
    let full = crate::full();
    // From number 1 on: number 0 stands for the fixed tests, which want threads and fail natively without them as well.
    let (blocks, streams) = if full {
        ("-i300", "-i500")
    } else {
        ("-i20", "-i40")
    };
    let fuzzer: &[&str] = &["-s4", "-t1", blocks];
    let streams: &[&str] = &["-s4", "-t1", streams];
    for (program, args) in [("fuzzer", fuzzer), ("zstreamtest", streams)] {
        let done = twins.alike(&call(program, &tests, args));
        assert_eq!(done.end, End::Status(0), "{program}");
    }
    // Whole files through the command line: what comes out is the same to the byte, and comes back.
    let data = twins
        .alike(&call("datagen", &tests, &["-g300000", "-P60"]))
        .stdout;
    let levels: &[&str] = if full {
        &["-1", "-3", "-9", "-19", "--ultra", "--fast=5"]
    } else {
        &["-3", "-19"]
    };
    for level in levels {
        let args = [*level, "-c", "-q", "-22"];
        let args = if *level == "--ultra" {
            &args[..]
        } else {
            &args[..3]
        };
        let mut pack = call("zstd", &tests, args);
        pack.stdin = data.clone();
        let packed = twins.alike(&pack).stdout;
        let mut unpack = call("zstd", &tests, &["-d", "-c", "-q"]);
        unpack.stdin = packed;
        assert!(twins.alike(&unpack).stdout == data, "{level}");
    }
    // Recorded frames of the project, the damaged ones among them.
    let mut frames = 0;
    for part in [
        "golden-decompression",
        "golden-decompression-errors",
        "golden-compression",
    ] {
        let Ok(files) = std::fs::read_dir(tests.join(part)) else {
            continue;
        };
        for file in files.flatten() {
            frames += 1;
            let name = format!("{part}/{}", file.file_name().to_string_lossy());
            let verb = if part == "golden-compression" {
                "-3"
            } else {
                "-d"
            };
            twins.alike(&call("zstd", &tests, &[verb, "-c", "-q", &name]));
        }
    }
    assert!(frames > 2, "the recorded frames are there");
    let count = if full { "-n200" } else { "-n15" };
    let made = twins.alike(&call("decodecorpus", &tests, &["-t", count, "-s7"]));
    assert_eq!(made.end, End::Status(0));
}

#[test]
fn quickjs_passes_its_own_tests() {
    let twins = QUICKJS.built();
    let tests = twins.source.join("quickjs/tests");
    for (name, option) in [
        ("test_closure.js", None),
        ("test_language.js", None),
        ("test_builtin.js", Some("--std")),
        ("test_loop.js", None),
        ("test_bigint.js", None),
        ("test_cyclic_import.js", Some("-m")),
    ] {
        let args: Vec<&str> = option.into_iter().chain([name]).collect();
        let done = twins.alike(&call("qjs", &tests, &args));
        assert_eq!(done.end, End::Status(0), "{name}: {}", text(&done.stdout));
    }
}

/// A folder with a database of some tables, indices, a view, a trigger and full-text search.
fn database(twins: &Twins) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = "create table post(id integer primary key, title text not null, body text, at real);\n\
        create index post_title on post(title);\n\
        create view long as select id, length(body) as n from post where n > 100;\n\
        create trigger stamp after insert on post begin update post set at = id / 8.0 where id = new.id; end;\n\
        create virtual table words using fts5(body);\n\
        with recursive c(n) as (select 1 union all select n + 1 from c where n < 4000)\n\
        insert into post(id, title, body) select n, 'post ' || (n * 7919 % 4001), hex(zeroblob(n % 200)) || n from c;\n\
        insert into words select title || ' ' || id from post;\n";
    let mut make = call("shell", folder.path(), &["-bail", "site.db"]);
    make.stdin = script.into();
    let program = twins.native.join("shell");
    let made = run_native_with(
        &program,
        folder.path(),
        make.args,
        &[],
        &make.stdin,
        PATIENCE,
    );
    assert_eq!(made.end, End::Status(0));
    folder
}

#[test]
fn sqlite_reads_a_database_in_an_image_and_vacuums_into_scratch() {
    let twins = SQLITE.built();
    let folder = database(&twins);
    let packed = tempfile::tempdir().expect("a temporary folder");
    let image = packed.path().join("site.zapp");
    let tree = scan(folder.path(), &ScanOptions::default())
        .expect("a tree")
        .tree;
    let stop = AtomicBool::new(false);
    pack(tree, &PackOptions::default(), &image, &|_| {}, &stop).expect("an image");
    let image = imagefs::Image::ingest(&image).expect("an image");
    // Packing prepares a database for read-only media; the native twin reads what came of it.
    let file = image
        .resolve(image.root(), b"site.db", true)
        .expect("packed");
    let prepared = image.bytes(file).expect("whole").to_vec();
    let tree: Arc<dyn Tree> = Arc::new(ImageTree::new(image).expect("a descriptor"));
    let env = ["HOME=/tmp"];
    for script in [
        ".schema\n",
        ".tables\n.indexes\n",
        "select count(*), sum(id), max(title), round(sum(at), 3) from post;\nselect sum(n) from long;\n",
        ".mode json\nselect id, title from post order by title desc, id limit 5;\n",
        "select rowid from words where words match 'post AND 400' order by rank limit 3;\n",
        "explain query plan select * from post where title = 'post 17';\n",
        "pragma integrity_check;\npragma page_count;\n",
        // Writes are private to the instance.
        "update post set title = 'changed' where id < 10;\nselect count(*) from post where title = 'changed';\nrollback;\n",
        "select sha3_query('select * from post');\n.dump\n",
        "vacuum into '/tmp/zapp-test-copy.db';\nattach '/tmp/zapp-test-copy.db' as copy;\npragma copy.integrity_check;\n\
         select count(*), sum(id) from copy.post;\nselect count(*) from copy.post join main.post using (id, title, body, at);\n",
    ] {
        let mut ask = call("shell", folder.path(), &["-batch", "site.db"]);
        (ask.env, ask.stdin) = (&env, script.into());
        let _left_over = std::fs::remove_file("/tmp/zapp-test-copy.db");
        let guest = twins.guest(&ask, Arc::clone(&tree));
        // The native one works on a copy, because it does write.
        let scratch = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(scratch.path().join("site.db"), &prepared).expect("written");
        let program = twins.native.join("shell");
        let native = run_native_with(
            &program,
            scratch.path(),
            ask.args,
            ask.env,
            &ask.stdin,
            PATIENCE,
        );
        assert_eq!(text(&guest.stdout), text(&native.stdout), "{script}");
        assert_eq!(guest.end, native.end, "{script}");
        assert!(!guest.stdout.is_empty(), "{script}");
    }
    let _left_over = std::fs::remove_file("/tmp/zapp-test-copy.db");
}

#[test]
fn sqlite_speedtest_computes_the_same() {
    let twins = SQLITE.built();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let size = if crate::full() { "30" } else { "4" };
    // --verify hashes all results; the times between them are left out.
    let args = ["--memdb", "--verify", "--size", size];
    let hashes = |behaviour: &Behaviour| {
        assert_eq!(behaviour.end, End::Status(0));
        let output = text(&behaviour.stdout);
        let lines: Vec<String> = output
            .lines()
            .filter(|line| line.contains("Hash"))
            .map(str::to_owned)
            .collect();
        assert!(!lines.is_empty(), "{output}");
        lines
    };
    let call = call("speedtest1", folder.path(), &args);
    let tree = HostTree::open(folder.path()).expect("the folder is there");
    let guest = twins.guest(&call, Arc::new(tree));
    let program = twins.native.join("speedtest1");
    let native = run_native_with(&program, folder.path(), &args, &[], &[], PATIENCE);
    assert_eq!(hashes(&guest), hashes(&native));
}
