//! The compiler driver on its own, for builds that do not have the `zapp` binary: `zapp-cc` is `zapp cc`.

use std::process::ExitCode;

fn main() -> ExitCode {
    toolchain::cc::main(std::env::args_os().skip(1))
}
