//! Projects of other people, each built for the sandbox and natively: the same source, options and libc source.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use toolchain::cc::{ensure_tools, run};
use toolchain::error::Error;
use toolchain::guest::cached;
use toolchain::guest::libc::{Flavour, build};
use toolchain::guest::source::{Pin, fetch};

use crate::twin::{driver, ready};

/// A project: its sources, each with the folder it is unpacked into and in order of preference, and its recipe.
pub(crate) struct Project {
    pub(crate) name: &'static str,
    pub(crate) sources: &'static [(&'static str, &'static [Pin<'static>])],
    pub(crate) recipe: &'static str,
}

pub(crate) const SQLITE: Project = Project {
    name: "sqlite",
    sources: &[(
        "sqlite",
        &[
            pin(
                "sqlite3",
                "3.46.1-7+deb13u2",
                "sqlite3_3.46.1.orig.tar.xz",
                "d0cdd2ece271b29e7ce18095745d892517ee26d0f270065b3a25c2e9eb11639c",
            ),
            pin(
                "sqlite3",
                "3.40.1-2+deb12u2",
                "sqlite3_3.40.1.orig.tar.xz",
                "aaa776260ab4dc976db34aa7891819484c8676b5b2783123ebc6301e2ca5d655",
            ),
        ],
    )],
    recipe: include_str!("projects/sqlite.mk"),
};

/// Lua as a benchmark has it; the tests take the version whose suite Debian has.
#[allow(dead_code, reason = "the benchmark builds it")]
pub(crate) const LUA54: Project = Project {
    name: "lua54",
    sources: &[(
        "lua",
        &[
            pin(
                "lua5.4",
                "5.4.4-3+deb12u1",
                "lua5.4_5.4.4.orig.tar.gz",
                "164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61",
            ),
            pin(
                "lua5.4",
                "5.4.7-1",
                "lua5.4_5.4.7.orig.tar.gz",
                "9fbf5e28ef86c69858f6d3d34eccc32e911c1a28b4120ff3e84aaa70cfbf1e30",
            ),
        ],
    )],
    recipe: include_str!("projects/lua54.mk"),
};

pub(crate) const fn pin(
    package: &'static str,
    version: &'static str,
    file: &'static str,
    sha256: &'static str,
) -> Pin<'static> {
    Pin {
        package,
        version,
        file,
        sha256,
    }
}

/// A project built both ways.
pub(crate) struct Twins {
    /// The unpacked sources.
    pub(crate) source: PathBuf,
    pub(crate) guest: PathBuf,
    pub(crate) native: PathBuf,
}

impl Project {
    pub(crate) fn built(&self) -> Twins {
        Twins {
            source: self.source(),
            guest: self.guest(),
            native: self.native(Memory::Musl),
        }
    }

    fn recipe_hash(&self) -> String {
        hash(&[self.recipe, &format!("{:?}", self.sources)])
    }

    /// The unpacked sources, with what the recipe makes of them by running programs.
    fn source(&self) -> PathBuf {
        let name = format!("test-{}-source-{}", self.name, self.recipe_hash());
        let made = cached(&name, |entry| {
            ensure_tools(&["gcc", "make", "tar", "xz", "tclsh"])?;
            self.unpack(entry)?;
            self.make(entry, "prepare", "gcc", entry)
        });
        made.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The folder with its programs for the sandbox.
    pub(crate) fn guest(&self) -> PathBuf {
        self.programs("guest", driver().get_program().as_ref(), ready())
    }

    /// The folder with its programs for this machine.
    pub(crate) fn native(&self, memory: Memory) -> PathBuf {
        let folder = native_compiler(memory);
        self.programs("native", &folder.join("cc"), &folder)
    }

    /// Programs by a compiler that is named after what it is made of.
    fn programs(&self, kind: &str, cc: &Path, named: &Path) -> PathBuf {
        let source = self.source();
        // One build at a time: each uses all processors.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let by = named.file_name().unwrap_or_default().to_string_lossy();
        let key = hash(&[&self.recipe_hash(), &by]);
        let name = format!("test-{}-{kind}-{key}", self.name);
        let made = cached(&name, |entry| {
            self.make(entry, "all", &cc.display().to_string(), &source)
        });
        made.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn unpack(&self, entry: &Path) -> Result<(), Error> {
        for (folder, pins) in self.sources {
            let into = entry.join(folder);
            std::fs::create_dir(&into).expect("a new folder");
            let mut archive = Err(Error::Usage(format!("no source of {folder}")));
            for pin in *pins {
                archive = archive.or_else(|_| fetch(pin));
            }
            let archive = archive?;
            let mut tar = Command::new("tar");
            tar.arg("xf").arg(archive).arg("--strip-components=1");
            run(tar.arg("-C").arg(&into))?;
        }
        Ok(())
    }

    fn make(&self, folder: &Path, goal: &str, cc: &str, source: &Path) -> Result<(), Error> {
        let file = folder.join("recipe.mk");
        std::fs::write(&file, self.recipe).expect("written");
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut make = Command::new("make");
        make.args(["-s", "-f", "recipe.mk", &format!("-j{jobs}"), goal])
            .arg(format!("CC={cc}"))
            .arg(format!("S={}", source.display()))
            .env("ZAPP_CC", driver().get_program())
            .env_remove("MAKEFLAGS")
            .env_remove("CFLAGS")
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("messages")).expect("created"));
        run(&mut make).inspect_err(|_| {
            let messages = std::fs::read(folder.join("messages")).unwrap_or_default();
            eprintln!("{}", String::from_utf8_lossy(&messages));
        })
    }
}

fn hash(parts: &[&str]) -> String {
    blake3::hash(parts.join("\0").as_bytes()).to_hex()[..16].to_owned()
}

/// Whose memcpy, memmove, memset and memchr a native program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// musl's own, which use `rep movsq`.
    Musl,
    /// Those of the guest libc, in C with vector moves: what differs then is the sandbox alone.
    #[allow(dead_code, reason = "the benchmark compares with it")]
    Guest,
}

/// A folder with `cc`: GCC that knows nothing but the native musl, with the options the driver adds as well.
fn native_compiler(memory: Memory) -> PathBuf {
    let libc = build(Flavour::Native).expect("the native libc builds");
    let root = libc.display();
    let specs = format!(
        "*startfile:\n{root}/lib/crt1.o {root}/lib/crti.o\n\n*endfile:\n{root}/lib/crtn.o\n\n*lib:\n{root}/lib/libc.a\n\n\
         *libgcc:\nlibgcc.a%s libgcc_eh.a%s {root}/lib/libc.a\n\n*link:\n-static -no-pie -L{root}/lib\n\n"
    );
    let more = match memory {
        Memory::Musl => "",
        Memory::Guest => " -Wl,\"${0%/*}/memory.o\"",
    };
    let script = format!(
        "#!/bin/sh\nexec gcc -specs=\"${{0%/*}}/specs\" -march=x86-64-v2 -mno-avx -fno-pie -fcf-protection=none \
         -fno-stack-protector -fomit-frame-pointer -nostdinc -isystem {root}/include \
         -isystem \"$(gcc -print-file-name=include)\" \"$@\"{more} -static -no-pie\n"
    );
    let texts: Vec<&str> = MEMORY.iter().map(|(_, text)| *text).collect();
    let name = format!(
        "test-native-cc-{}",
        hash(&[&specs, &script, &texts.concat()])
    );
    let made = cached(&name, |entry| {
        use std::os::unix::fs::PermissionsExt;
        let file = entry.join("cc");
        std::fs::write(entry.join("specs"), &specs).expect("written");
        std::fs::write(&file, &script).expect("written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("changed");
        for (name, text) in MEMORY {
            std::fs::write(entry.join(name), text).expect("written");
        }
        let mut compile = Command::new(&file);
        compile.args(["-c", "-O2", "-fno-tree-loop-distribute-patterns"]);
        run(compile
            .args(MEMORY.map(|(name, _)| name))
            .current_dir(entry))?;
        let objects = ["memchr.o", "memcpy.o", "memmove.o", "memset.o"];
        let mut join = Command::new("ld");
        join.args(["-r", "-o", "memory.o"]).args(objects);
        run(join.current_dir(entry))
    });
    made.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The guest libc's memory routines.
const MEMORY: [(&str, &str); 4] = [
    ("memchr.c", include_str!("../../guests/libc/memchr.c")),
    ("memcpy.c", include_str!("../../guests/libc/memcpy.c")),
    ("memmove.c", include_str!("../../guests/libc/memmove.c")),
    ("memset.c", include_str!("../../guests/libc/memset.c")),
];
