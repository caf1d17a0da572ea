//! `zapp cc` and `zapp c++`: a compiler driver that takes GCC's options and makes guest programs.
//!
//! GCC compiles to assembly, [`crate::rewrite`] sandboxes it, `as` and `ld` make a static program at region offsets,
//! [`crate::finish`] merges padding, and the verifier has the last word. Options that have no meaning in a sandbox
//! (position independence, processor extensions, link-time optimisation) are accepted and ignored, because build systems
//! pass them without asking; those that would silently mean something else are errors.
//!
//! C++ is as `gcc` and `g++` have it: `zapp cc` compiles it by the names of files, `zapp c++` takes C for it as well and links the
//! library of [`crate::guest::cxx`]. There are no exceptions, because nothing can unwind a stack that guests cannot read.

mod compile;
mod link;
mod options;
mod response;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Error;
pub use crate::process::run;
pub(crate) use options::{Mode, Options};
pub use tools::ensure_tools;
pub(crate) use tools::{cxx_folders, gcc_version, missing};

/// What `-dumpmachine` prints: a triplet that configure scripts know.
pub const MACHINE: &str = "x86_64-linux-musl";

/// Runs the driver with the arguments behind `cc`; messages go to stderr as GCC's do.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    report("zapp cc", args)
}

/// The same for those behind `c++`.
pub fn main_cxx(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cxx = OsString::from(options::CXX_DRIVER);
    report("zapp c++", [cxx].into_iter().chain(args))
}

fn report(name: &str, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match drive(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: error: {error}");
            ExitCode::from(1)
        }
    }
}

fn drive(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Error> {
    let options = Options::parse(args)?;
    if let Some(code) = tools::answer_query(&options)? {
        return Ok(code);
    }
    match options.mode {
        Mode::Preprocess => compile::preprocess(&options),
        Mode::Assembly | Mode::Object => compile::each_input(&options).map(|()| ExitCode::SUCCESS),
        Mode::Program => link::program(&options).map(|()| ExitCode::SUCCESS),
    }
}
