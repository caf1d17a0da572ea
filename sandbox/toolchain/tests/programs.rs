//! Small programs with stored output, at every optimisation level.

use std::path::{Path, PathBuf};

use crate::twin::{End, build_guest, run_guest};

const LEVELS: [&str; 6] = ["-O0", "-O1", "-O2", "-O3", "-Os", "-Og"];

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name)
}

/// Builds and runs a program at each level, with and without debug information.
fn check(name: &str, status: u8) {
    let work = tempfile::tempdir().expect("a temporary folder");
    let expected = std::fs::read(source(&format!("{name}.expected"))).expect("the stored output");
    for (index, level) in LEVELS.into_iter().enumerate() {
        let program = work.path().join(name);
        let debug = if index % 2 == 0 { "-g" } else { "-g0" };
        build_guest(
            &source(&format!("{name}.c")),
            &[level, debug, "-w"],
            &program,
        )
        .unwrap_or_else(|message| panic!("{name} {level}: {message}"));
        let found = run_guest(&program);
        assert_eq!(found.end, End::Status(status), "{name} {level}");
        assert_eq!(
            String::from_utf8_lossy(&found.stdout),
            String::from_utf8_lossy(&expected),
            "{name} {level}"
        );
    }
}

#[test]
fn control_flow_is_followed() {
    check("control", 3);
}

#[test]
fn flags_survive_a_switch() {
    check("flags", 0);
}

#[test]
fn values_are_exact() {
    check("values", 0);
}
