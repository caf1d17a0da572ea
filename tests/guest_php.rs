//! How the build of PHP goes on: what it shows, what an interruption leaves, and where the next one begins. The compiler is one
//! that writes empty objects, so that the recipe is all there is to see.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::guest::{downloads, nothing_goes_on_below};
use crate::support::{Run, Scratch, ZAPP, command};

/// Writes the names of objects into a log, and nothing into them; what it preprocesses, GCC does.
const COMPILER: &str = r#"#!/bin/sh
output=a.out
for word; do
    case $before in -o) output=$word ;; esac
    case $word in
    -c) object=yes ;;
    -E | --version | -v | -V | -qversion | -dump*) exec gcc "$@" ;;
    esac
    before=$word
done
if [ -z "$object" ]; then
    exec cp /bin/true "$output"
fi
: >"$output"
echo "$output" >>"$LOG"
"#;

/// A folder with a cache of its own, a compiler, and a libc that nobody looks into.
struct Bench {
    scratch: Scratch,
}

impl Bench {
    /// `None` when the sources of PHP have never been fetched.
    fn new() -> Option<Bench> {
        let scratch = Scratch::new();
        let kept = downloads()?;
        let mut names = fs::read_dir(&kept).ok()?.flatten();
        names.find(|file| file.file_name().to_string_lossy().contains("php8"))?;
        symlink(kept, scratch.dir("cache").join("downloads")).unwrap();
        scratch.dir("libc");
        let compiler = scratch.path("compiler");
        fs::write(&compiler, COMPILER).unwrap();
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Bench { scratch })
    }

    fn cache(&self) -> PathBuf {
        self.scratch.path("cache")
    }

    fn prepared(&self, mut command: Command) -> Command {
        command
            .env("ZAPP_CACHE_DIR", self.cache())
            .env("ZAPP_SYSROOT", self.scratch.path("libc"))
            .env("ZAPP_CC", self.scratch.path("compiler"))
            .env("LOG", self.scratch.path("log"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn build(&self) -> Command {
        self.prepared(command(["guest", "build", "php", "--with", "small"]))
    }

    /// The objects compiled so far, in their order.
    fn compiled(&self) -> Vec<String> {
        let log = fs::read_to_string(self.scratch.path("log")).unwrap_or_default();
        log.lines()
            // configure's own programs have no other names.
            .filter(|name| !name.starts_with("conftest") && *name != "a.out")
            .map(str::to_owned)
            .collect()
    }

    /// What is in the cache, downloads and locks left out.
    fn left(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in [self.cache(), self.cache().join("guests")] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().expect("UTF-8");
                if !["downloads", "apt", "guests"].contains(&&*name) && !name.ends_with(".lock") {
                    names.push(name);
                }
            }
        }
        names
    }
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill runs").success());
}

fn count(names: &[String], name: &str) -> usize {
    names.iter().filter(|other| *other == name).count()
}

#[test]
fn an_interrupted_build_goes_on_where_it_was() {
    let Some(bench) = Bench::new() else {
        crate::support::skip!("PHP's sources are not in the cache");
    };
    let mut child = bench.build().spawn().expect("the program starts");
    let mut heard = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    while !heard.contains("step 3") {
        let read = stderr.read_line(&mut heard).expect("UTF-8");
        assert!(read > 0, "it ended: {heard}");
    }
    while bench.compiled().len() < 40 {
        assert!(child.try_wait().expect("waited").is_none(), "it ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    interrupt(&child);
    stderr.read_to_string(&mut heard).expect("UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{heard}");
    nothing_goes_on_below(&bench.cache());
    assert_eq!(bench.left(), ["work"], "no program, nothing half done");
    let steps: Vec<&str> = heard.lines().collect();
    assert_eq!(
        steps,
        [
            "zapp: PHP guest",
            "zapp: PHP guest: step 1 of 4: sources",
            "zapp: PHP guest: step 2 of 4: configure, beside it SQLite",
            "zapp: PHP guest: step 3 of 4: PHP and its libraries",
            "zapp: cannot build php: interrupted",
        ],
        "one line a step"
    );

    let before = bench.compiled();
    let again = Run::from(bench.build().output().expect("it starts")).ok();
    let steps: Vec<&str> = again.stderr.lines().collect();
    assert_eq!(
        steps,
        [
            "zapp: PHP guest",
            "zapp: PHP guest: step 3 of 4: PHP and its libraries",
            "zapp: PHP guest: step 4 of 4: link",
        ],
        "sources and configuration are kept"
    );
    let program = PathBuf::from(again.text().trim());
    assert!(program.is_file() && program.starts_with(bench.cache()));
    let all = bench.compiled();
    assert!(all.len() > 450, "{} objects", all.len());
    // Those under way when it was interrupted, one a processor, are compiled again, and no other.
    let twice = before.iter().filter(|name| count(&all, name) > 1).count();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(twice <= processors, "{twice} objects compiled twice");
    let left = fs::read_dir(bench.cache().join("work")).unwrap().flatten();
    let folders = left.filter(|entry| entry.path().is_dir()).count();
    assert_eq!(folders, 0, "the objects are gone");
}

#[test]
fn a_terminal_shows_how_far_it_is_and_ctrl_c_ends_it() {
    let Some(bench) = Bench::new() else {
        crate::support::skip!("PHP's sources are not in the cache");
    };
    // util-linux' script gives the program a terminal.
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--flush", "--command"])
        .arg(format!("{ZAPP} guest build php --with small"))
        .arg("/dev/null")
        .stdin(Stdio::piped());
    let mut child = bench.prepared(script).spawn().expect("script starts");
    let mut screen = child.stdout.take().expect("a pipe");
    let mut seen = Vec::new();
    let far = |seen: &[u8]| {
        let text = String::from_utf8_lossy(seen).into_owned();
        text.contains("step 3 of 4") && text.contains(" files, ")
    };
    while !far(&seen) {
        let mut piece = [0; 4096];
        let read = screen.read(&mut piece).expect("read");
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&seen));
        seen.extend(&piece[..read]);
    }
    let mut keyboard = child.stdin.take().expect("a pipe");
    keyboard.write_all(b"\x03").expect("typed");
    screen.read_to_end(&mut seen).expect("read");
    let text = String::from_utf8_lossy(&seen);
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{text}");
    nothing_goes_on_below(&bench.cache());
    let lines: Vec<&str> = text.trim_end().split('\n').map(str::trim_end).collect();
    assert_eq!(
        lines.len(),
        2,
        "one line drawn again, one message: {lines:?}"
    );
    assert!(lines[0].ends_with("\x1b[K") && lines[0].contains("failed, "));
    assert!(lines[1].ends_with("interrupted"), "{lines:?}");
}

/// A program that calls itself another version than the real one.
fn other_gcc(folder: &Path) {
    let gcc = "#!/bin/sh\ncase $1 in --version) echo 'gcc-12 (Debian 12.9.0-1) 12.9.0' ;; *) exec gcc \"$@\" ;; esac\n";
    let file = folder.join("gcc-12");
    fs::write(&file, gcc).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_another_gcc_built_is_not_taken() {
    let scratch = Scratch::new();
    other_gcc(&scratch.dir("bin"));
    let path = std::env::var("PATH").expect("a path");
    for guest in ["libc", "php"] {
        let built = Run::from(
            command(["guest", "build", guest])
                .output()
                .expect("it starts"),
        );
        built.ok();
        let mut other = command(["guest", "path", guest]);
        other.env("PATH", format!("{}:{path}", scratch.path("bin").display()));
        Run::from(other.output().expect("it starts")).code(1);
    }
}
