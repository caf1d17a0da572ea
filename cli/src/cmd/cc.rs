//! `zapp cc` and `zapp c++`: the guest compiler, a drop-in `CC` and `CXX`. The arguments are gcc's own, so they are passed on unread.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the driver when the first argument is `cc` or `c++`; `None` when it is neither.
///
/// This happens before the command line is parsed: gcc's options (`-dumpmachine`, `-o-`) are not ours to judge.
pub(crate) fn intercept(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let _program = args.next();
    match args.next()?.to_str()? {
        "cc" => Some(toolchain::cc::main(args)),
        "c++" => Some(toolchain::cc::main_cxx(args)),
        _ => None,
    }
}

/// Stands for both in the help; [`intercept`] does the work.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Options and files as for gcc
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}
