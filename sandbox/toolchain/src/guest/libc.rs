//! The guest's C library: Debian's musl, changed where a sandbox needs it, built with the driver itself.
//!
//! The same source can be built natively ([`Flavour::Native`]), without the sandbox's changes: what a guest program does
//! and costs is compared with its twin linked against that.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::source::{Pin, fetch};
use super::{Progress, cached};
use crate::cc::{ensure_tools, gcc_version};
use crate::error::Error;
use crate::process::run;
use crate::rewrite;

const RECIPE: &str = include_str!("../../../guests/libc/recipe");
const START: &str = include_str!("../../../guests/libc/crt1.s");
const HELPERS: &str = include_str!("../../../guests/libc/libgcc.c");

/// Our files that the recipe puts into the tree.
const OVERLAYS: [(&str, &str); 11] = [
    ("cpuid.h", include_str!("../../../guests/libc/cpuid.h")),
    ("setjmp.s", include_str!("../../../guests/libc/setjmp.s")),
    ("longjmp.s", include_str!("../../../guests/libc/longjmp.s")),
    (
        "sigsetjmp.s",
        include_str!("../../../guests/libc/sigsetjmp.s"),
    ),
    (
        "unmapself.c",
        include_str!("../../../guests/libc/unmapself.c"),
    ),
    (
        "syscall_cp.c",
        include_str!("../../../guests/libc/syscall_cp.c"),
    ),
    (
        "set_thread_area.c",
        include_str!("../../../guests/libc/set_thread_area.c"),
    ),
    ("memchr.c", include_str!("../../../guests/libc/memchr.c")),
    ("memcpy.c", include_str!("../../../guests/libc/memcpy.c")),
    ("memmove.c", include_str!("../../../guests/libc/memmove.c")),
    ("memset.c", include_str!("../../../guests/libc/memset.c")),
];

/// Libraries that programs ask for and that are part of musl's one library.
const EMPTY: [&str; 8] = [
    "m", "rt", "pthread", "crypt", "util", "xnet", "resolv", "dl",
];

/// Objects in the library, for the progress line.
const OBJECTS: usize = 1330;

/// What the library is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Programs of the sandbox.
    Guest,
    /// The same source for this machine, to compare with.
    Native,
}

/// Builds the library, or returns the finished build of the same recipe: a folder with `include` and `lib`.
pub fn build(flavour: Flavour) -> Result<PathBuf, Error> {
    // GCC first: its version is part of the name.
    ensure_tools(&["gcc"])?;
    cached(&name(flavour)?, |entry| {
        ensure_tools(&["as", "make", "tar", "patch"])?;
        let mut progress = Progress::new(match flavour {
            Flavour::Guest => "guest libc",
            Flavour::Native => "native libc to compare with",
        });
        let made = make(flavour, entry, &mut progress);
        progress.end(made.is_ok());
        made
    })
}

fn make(flavour: Flavour, entry: &Path, progress: &mut Progress) -> Result<(), Error> {
    let work = entry.with_file_name("work");
    std::fs::create_dir(&work).map_err(Error::io(&work))?;
    progress.step("step 1 of 3: sources".to_owned());
    let tree = prepare(flavour, &work)?;
    compile(flavour, &tree, entry, progress)?;
    if flavour == Flavour::Guest {
        runtime(&work, entry)
    } else {
        Ok(())
    }
}

/// The name of the cache entry.
pub(crate) fn name(flavour: Flavour) -> Result<String, Error> {
    let hash = recipe_hash(flavour, gcc_version()?);
    Ok(match flavour {
        Flavour::Guest => format!("libc-{hash}"),
        Flavour::Native => format!("libc-native-{hash}"),
    })
}

/// Changes when anything that goes into the build changes, the rewriter and GCC included.
fn recipe_hash(flavour: Flavour, gcc: &str) -> String {
    let mut hash = blake3::Hasher::new();
    let mut add = |text: &str| {
        hash.update(text.as_bytes());
    };
    add(RECIPE);
    add(gcc);
    if flavour == Flavour::Guest {
        add(START);
        add(HELPERS);
        add(rewrite::VERSION);
        for (name, text) in OVERLAYS {
            add(name);
            add(text);
        }
    }
    hash.finalize().to_hex()[..16].to_owned()
}

/// The statements of the recipe, comments and blank lines left out.
fn statements() -> impl Iterator<Item = Vec<&'static str>> {
    RECIPE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
}

/// A source archive and Debian's changes to it.
struct Choice {
    source: Pin<'static>,
    patches: Option<Pin<'static>>,
}

/// The sources of the recipe, in order of preference.
fn choices() -> Vec<Choice> {
    let mut choices: Vec<Choice> = Vec::new();
    for words in statements() {
        match words[..] {
            ["source", package, version, file, sha256] => {
                choices.push(Choice {
                    source: Pin {
                        package,
                        version,
                        file,
                        sha256,
                    },
                    patches: None,
                });
            }
            ["patches", file, sha256] => {
                if let Some(choice) = choices.last_mut() {
                    choice.patches = Some(Pin {
                        file,
                        sha256,
                        ..choice.source
                    });
                }
            }
            _ => {}
        }
    }
    choices
}

/// Unpacks the first source that can be had and applies the recipe. Returns the tree.
fn prepare(flavour: Flavour, work: &Path) -> Result<PathBuf, Error> {
    let mut last = Error::Usage("the libc recipe names no source".into());
    for choice in choices() {
        match fetch(&choice.source).and_then(|archive| {
            let patches = choice.patches.as_ref().map(fetch).transpose()?;
            Ok((archive, patches))
        }) {
            Ok((archive, patches)) => {
                let tree = work.join("musl");
                std::fs::create_dir_all(&tree).map_err(Error::io(&tree))?;
                let untar = |file: &Path, strip: &str| {
                    run(Command::new("tar")
                        .arg("xf")
                        .arg(file)
                        .arg("-C")
                        .arg(&tree)
                        .arg(strip))
                };
                untar(&archive, "--strip-components=1")?;
                if let Some(patches) = patches {
                    untar(&patches, "--strip-components=0")?;
                    debian_patches(&tree)?;
                }
                if flavour == Flavour::Guest {
                    apply(&tree)?;
                }
                return Ok(tree);
            }
            // A version may have left the archive; the next one will do.
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Debian's series of patches, in its order.
fn debian_patches(tree: &Path) -> Result<(), Error> {
    let folder = tree.join("debian/patches");
    let series = folder.join("series");
    let list = std::fs::read_to_string(&series).map_err(Error::io(&series))?;
    for name in list
        .lines()
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
    {
        run(Command::new("patch")
            .args(["-p1", "-s", "-i"])
            .arg(folder.join(name))
            .current_dir(tree))?;
    }
    Ok(())
}

/// The recipe's own changes.
fn apply(tree: &Path) -> Result<(), Error> {
    let stale =
        |what: &str| Error::Usage(format!("the libc recipe does not fit this source: {what}"));
    let mut lines = RECIPE.lines();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["delete", path] => {
                let file = tree.join(path);
                std::fs::remove_file(&file).map_err(Error::io(&file))?;
            }
            ["overlay", path, name] => {
                let (_, text) = OVERLAYS
                    .iter()
                    .find(|(ours, _)| *ours == name)
                    .ok_or_else(|| stale(name))?;
                let file = tree.join(path);
                std::fs::write(&file, text).map_err(Error::io(&file))?;
            }
            ["edit", path] => {
                let mut text_behind = |sign| lines.next().and_then(|line| line.strip_prefix(sign));
                let (Some(old), Some(new)) = (text_behind("- "), text_behind("+ ")) else {
                    return Err(stale(path));
                };
                let file = tree.join(path);
                let text = std::fs::read_to_string(&file).map_err(Error::io(&file))?;
                if text.matches(old).count() != 1 {
                    return Err(stale(path));
                }
                std::fs::write(&file, text.replace(old, new)).map_err(Error::io(&file))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// configure, make, and the finished files into `entry`.
fn compile(
    flavour: Flavour,
    tree: &Path,
    entry: &Path,
    progress: &mut Progress,
) -> Result<(), Error> {
    let compiler = match flavour {
        Flavour::Guest => driver()?,
        Flavour::Native => "gcc".to_owned(),
    };
    progress.step("step 2 of 3: configure".to_owned());
    let mut configure = Command::new("./configure");
    configure.current_dir(tree).args([
        "--target=x86_64",
        "--disable-shared",
        "--prefix=/",
        "CFLAGS=-O2",
    ]);
    // The driver must not ask for the libc it is building.
    configure.env("ZAPP_SYSROOT", entry).env("TMPDIR", tree);
    configure
        .arg(format!("CC={compiler}"))
        .args(["AR=ar", "RANLIB=ranlib"]);
    progress.run(&mut configure, 0, |_| false)?;
    progress.step("step 3 of 3: compile".to_owned());
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let make = |args: &[&str]| {
        let mut make = Command::new("make");
        // The compiler may be asked for by a make that has a jobserver of its own, which this one cannot reach.
        for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
            make.env_remove(variable);
        }
        make.current_dir(tree)
            .env("ZAPP_SYSROOT", entry)
            .env("TMPDIR", tree)
            .arg(format!("-j{jobs}"))
            .args(args);
        make
    };
    progress.run(&mut make(&["lib/libc.a"]), OBJECTS, |line| {
        line.contains(" -c ")
    })?;
    let destination = format!("DESTDIR={}", entry.display());
    progress.run(&mut make(&["install-headers", &destination]), 0, |_| false)?;
    let library = entry.join("lib");
    std::fs::create_dir_all(&library).map_err(Error::io(&library))?;
    let copy = |from: PathBuf, to: &str| {
        std::fs::copy(&from, library.join(to))
            .map(drop)
            .map_err(Error::io(from))
    };
    copy(tree.join("lib/libc.a"), "libc.a")?;
    if flavour == Flavour::Native {
        run(&mut make(&["-s", "lib/crt1.o", "lib/crti.o", "lib/crtn.o"]))?;
        for name in ["crt1.o", "crti.o", "crtn.o"] {
            copy(tree.join("lib").join(name), name)?;
        }
    }
    for name in EMPTY {
        let file = library.join(format!("lib{name}.a"));
        std::fs::write(&file, b"!<arch>\n").map_err(Error::io(&file))?;
    }
    Ok(())
}

/// Start file and compiler helpers.
fn runtime(work: &Path, entry: &Path) -> Result<(), Error> {
    let library = entry.join("lib");
    let driver = driver()?;
    let mut words = driver.split(' ');
    let program = words.next().unwrap_or_default();
    let leading: Vec<&str> = words.collect();
    let build = |name: &str, text: &str, output: &Path| {
        let file = work.join(name);
        std::fs::write(&file, text).map_err(Error::io(&file))?;
        run(Command::new(program)
            .args(&leading)
            .args(["-O2", "-nostdinc", "-c", "-o"])
            .arg(output)
            .arg(&file)
            .env("ZAPP_SYSROOT", entry))
    };
    build("crt1.s", START, &library.join("crt1.o"))?;
    let helpers = work.join("libgcc.o");
    build("libgcc.c", HELPERS, &helpers)?;
    run(Command::new("ar")
        .arg("rcs")
        .arg(library.join("libguest.a"))
        .arg(helpers))
}

/// The command that runs this driver: `$ZAPP_CC`, or this very program with `cc`. It is called by way of its process, so
/// that it stays the same when its file is replaced while the build lasts.
pub(crate) fn driver() -> Result<String, Error> {
    if let Ok(command) = std::env::var("ZAPP_CC") {
        return Ok(command);
    }
    let program = std::env::current_exe().map_err(Error::io("/proc/self/exe"))?;
    let this = format!("/proc/{}/exe", std::process::id());
    Ok(match program.file_stem() {
        Some(name) if name == "zapp-cc" => this,
        _ => format!("{this} cc"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_gcc_is_another_build() {
        for flavour in [Flavour::Guest, Flavour::Native] {
            let [old, new] = ["(Debian 12.2.0-14) 12.2.0", "(Debian 12.2.0-15) 12.2.0"]
                .map(|gcc| recipe_hash(flavour, gcc));
            assert_ne!(old, new);
        }
    }

    #[test]
    fn the_recipe_names_only_what_exists() {
        assert!(choices().len() >= 2, "a fallback source");
        for words in statements() {
            match words[..] {
                ["overlay", _, name] => {
                    assert!(OVERLAYS.iter().any(|(ours, _)| *ours == name), "{name}")
                }
                ["source" | "patches" | "delete" | "edit" | "-" | "+", ..] => {}
                _ => panic!("unknown statement {words:?}"),
            }
        }
    }
}
