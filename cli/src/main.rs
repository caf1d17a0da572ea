//! The `zapp` command.
//!
//! Data goes to stdout, everything else to stderr. The exit code is 0 when the work is done, 1 when nothing was found,
//! an image is damaged or two images differ, 2 when it failed or was called wrongly, 130 when it was interrupted. A
//! closed pipe on stdout is success: the reader had enough.

#![forbid(unsafe_code)]

mod args;
mod cmd;
mod htaccess;
mod in_tree;
mod interpreter;
mod interrupt;
mod name;
mod output;
mod places;
mod status;
mod warm;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // `serve` and `pack --warm` start this binary once more as a worker, which reads no command line.
    if let Some(code) = worker::intercept(std::env::args_os()) {
        return code;
    }
    if let Some(code) = cmd::cc::intercept(std::env::args_os()) {
        return code;
    }
    let args = args::Args::parse();
    status::report(cmd::run(args.command))
}
