//! The programs behind the driver: GCC, `as`, `ld`; how they are found, run, and installed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;

use super::Options;
use crate::error::Error;
use crate::guest::{cxx, sysroot};
use crate::process::{run, run_whole};

/// Names GCC 12 goes by; the rewriter was written for its output.
const GCC: [&str; 2] = ["gcc-12", "gcc"];

/// Options GCC always gets, behind the user's: they are the sandbox's calling convention and instruction set.
pub(crate) const FIXED: [&str; 20] = [
    "-ffixed-rbx",
    "-ffixed-r11",
    "-ffixed-r14",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=small",
    "-fcf-protection=none",
    "-fno-stack-protector",
    "-fno-stack-clash-protection",
    "-ftls-model=local-exec",
    "-march=x86-64-v2",
    "-mno-mmx",
    "-mno-avx",
    // The rewriter checks the stack depth it finds against these tables.
    "-fasynchronous-unwind-tables",
    "-fno-lto",
    "-fno-split-stack",
    // Inline rounding of long doubles would switch the x87 rounding mode; the library's does not.
    "-fno-fp-int-builtin-inexact",
    "-fno-builtin-floorl",
    "-fno-builtin-ceill",
    "-fno-builtin-truncl",
];

/// The same for C++ alone.
const FIXED_CXX: [&str; 1] = ["-fno-exceptions"];

/// Answers `--help`. What GCC knows is GCC's to explain.
const HELP: &str = "\
zapp cc: compiles C to a program of the sandbox, with the options of gcc.

Usage: zapp cc [options] file...

  A configure script:   CC='zapp cc' ./configure --host=x86_64-linux-musl
  CMake:                CC='zapp cc' cmake -S . -B build -DCMAKE_SYSTEM_NAME=Linux
  The program:          zapp run ./program

  Guests run in the sandbox only, so a build must not start what it has built: --host and CMAKE_SYSTEM_NAME say that it is
  compiled for another machine.

Always on:      -march=x86-64-v2 without MMX and AVX, static, no position-independent code
Ignored:        -fPIC, -pie, -flto, -march=..., -fstack-protector, and others that mean nothing in a sandbox
C++:            compiled as well; zapp c++ links it, and zapp cc -lstdc++
Refused:        languages other than C, C++ and assembly, executable stacks, instructions beyond x86-64-v2
All others:     see gcc --help=common, or zapp cc --help=CLASS
";

/// Answers `zapp c++ --help`.
const HELP_CXX: &str = "\
zapp c++: compiles C++ to a program of the sandbox, with the options of g++.

Usage: zapp c++ [options] file...

  A configure script:   CC='zapp cc' CXX='zapp c++' ./configure --host=x86_64-linux-musl
  CMake:                CC='zapp cc' CXX='zapp c++' cmake -S . -B build -DCMAKE_SYSTEM_NAME=Linux
  The program:          zapp run ./program

There:          the language but for exceptions, with typeid and dynamic_cast, new and delete, thread_local; of the library
                what GCC's headers hold: containers, strings, algorithms, smart pointers, functional, atomic, mutex, chrono
Not there:      throw and try (an error of the compiler; what the library would throw ends the program and says what),
                iostream, locale, regex, filesystem, thread, future, and all that needs them
All others:     as for zapp cc, see zapp cc --help
";

/// The installed GCC.
pub(crate) fn gcc() -> Result<&'static str, Error> {
    static FOUND: OnceLock<Option<&'static str>> = OnceLock::new();
    FOUND
        .get_or_init(|| GCC.into_iter().find(|name| in_path(name)))
        .ok_or_else(|| missing("gcc"))
}

/// What the installed GCC calls itself, Debian's revision included: another one makes other code. A part of the names of
/// everything that is kept.
pub(crate) fn gcc_version() -> Result<&'static str, Error> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let output = Command::new(gcc().ok()?).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        // The first word is the name it was called by.
        Some(text.lines().next()?.split_once(' ')?.1.to_owned())
    };
    FOUND
        .get_or_init(ask)
        .as_deref()
        .ok_or_else(|| missing("gcc"))
}

/// Makes sure that GCC and binutils are there, installing them with apt when run as root.
pub fn ensure_tools(programs: &[&str]) -> Result<(), Error> {
    let absent: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| {
            match *program {
                "gcc" => gcc().is_err(),
                // The compiler proper and the headers: `g++` itself is only another way to start them.
                "g++" => cxx_folders().is_err(),
                program => !in_path(program),
            }
        })
        .collect();
    let Some(first) = absent.first() else {
        return Ok(());
    };
    let packages: Vec<&str> = absent.iter().map(|program| package(program)).collect();
    if !rustix::process::geteuid().is_root() || !in_path("apt-get") {
        return Err(missing(first));
    }
    eprintln!("zapp: installing {}", packages.join(" "));
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "--no-install-recommends", "-qq"])
        .args(&packages);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    // What apt says goes to stderr: stdout is for results.
    apt.stdin(Stdio::null()).stdout(std::io::stderr());
    if run_whole(&mut apt).is_err() {
        // The package lists may never have been fetched.
        run_whole(Command::new("apt-get").args(["update", "-qq"]))?;
        run_whole(&mut apt)?;
    }
    Ok(())
}

/// The Debian package a program comes from.
fn package(program: &str) -> &str {
    match program {
        "as" | "ld" | "ar" => "binutils",
        "gcc" => "gcc-12",
        "g++" => "g++-12",
        "xz" => "xz-utils",
        "tclsh" => "tcl",
        other => other,
    }
}

pub(crate) fn missing(program: &str) -> Error {
    let remedy = format!("apt-get install {}", package(program));
    Error::Missing {
        program: program.to_owned(),
        remedy,
    }
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// GCC with everything but inputs: the user's options, the fixed ones, and the guest's headers, for C++ with those of its library.
pub(crate) fn compiler(options: &Options, cxx: bool) -> Result<Command, Error> {
    let gcc = gcc()?;
    let mut command = Command::new(gcc);
    // Frame pointers only where they are asked for: they cost a register that the sandbox has already made scarce.
    command
        .arg("-fomit-frame-pointer")
        .args(&options.compiler)
        .args(FIXED);
    if options.debug {
        command.args([
            "-g1",
            "-gno-as-locview-support",
            "-gno-variable-location-views",
        ]);
    }
    if cxx {
        command.args(FIXED_CXX);
    }
    if !options.no_standard_includes {
        command.arg("-nostdinc");
        if cxx && !options.no_cxx_includes {
            for folder in cxx::headers()? {
                command.arg("-isystem").arg(folder);
            }
        }
        let root = sysroot()?;
        command.arg("-isystem").arg(root.join("include"));
        command.arg("-isystem").arg(gcc_headers(gcc)?);
    }
    if options.verbose {
        eprintln!("{command:?}");
    }
    Ok(command)
}

/// GCC's own headers: stdarg.h, the intrinsics.
fn gcc_headers(gcc: &str) -> Result<&'static Path, Error> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let output = Command::new(gcc)
            .arg("-print-file-name=include")
            .output()
            .ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().into())
    });
    found.as_deref().ok_or_else(|| missing("gcc"))
}

/// Where GCC has the headers of its C++ library. An error when its compiler of C++ is not installed.
pub(crate) fn cxx_folders() -> Result<Vec<PathBuf>, Error> {
    let output = Command::new(gcc()?)
        .args(["-xc++", "-E", "-v", "/dev/null"])
        .env("LC_ALL", "C")
        .output()
        .map_err(Error::io("gcc"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let folders: Vec<PathBuf> = said
        .lines()
        .skip_while(|line| !line.starts_with("#include <"))
        .take_while(|line| !line.starts_with("End of"))
        .filter(|line| line.contains("/c++/"))
        .map(|line| line.trim().into())
        .collect();
    if folders.is_empty() || !output.status.success() {
        return Err(missing("g++"));
    }
    Ok(folders)
}

/// Answers questions about the driver itself, as configure scripts ask them.
pub(crate) fn answer_query(options: &Options) -> Result<Option<ExitCode>, Error> {
    let Some(query) = options.queries.first() else {
        if !options.inputs.is_empty() {
            return Ok(None);
        }
        if options.verbose {
            // `-v` alone: libtool and configure look for "gcc version".
            eprintln!("Target: {}", super::MACHINE);
            let name = if options.cxx { "c++" } else { "cc" };
            eprintln!("gcc version {} (zapp {name})", ask("-dumpfullversion")?);
            return Ok(Some(ExitCode::SUCCESS));
        }
        let asks_linker = options.link.iter().any(|item| {
            matches!(item, super::options::LinkItem::Argument(text) if text.contains("version") || text == "-v")
        });
        if asks_linker {
            run(Command::new("ld").arg("--version"))?;
            return Ok(Some(ExitCode::SUCCESS));
        }
        return Err(Error::Usage("no input files".into()));
    };
    let answer = match query.as_str() {
        "-dumpmachine" => super::MACHINE.to_owned(),
        "--help" if options.cxx => HELP_CXX.trim_end().to_owned(),
        "--help" => HELP.trim_end().to_owned(),
        "--version" => {
            format!(
                "zapp {} {} (GCC) {}",
                if options.cxx { "c++" } else { "cc" },
                env!("CARGO_PKG_VERSION"),
                ask("-dumpfullversion")?
            )
        }
        "-print-sysroot" | "--print-sysroot" => sysroot()?.display().to_string(),
        query => match query.strip_prefix("-print-file-name=") {
            Some(name) => {
                let file = sysroot()?.join("lib").join(name);
                if file.exists() {
                    file.display().to_string()
                } else {
                    ask(query)?
                }
            }
            None => ask(query)?,
        },
    };
    println!("{answer}");
    Ok(Some(ExitCode::SUCCESS))
}

/// What GCC itself answers.
fn ask(query: &str) -> Result<String, Error> {
    let output = Command::new(gcc()?)
        .arg(query)
        .output()
        .map_err(Error::io("gcc"))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}
