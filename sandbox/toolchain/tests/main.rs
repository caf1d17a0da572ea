//! Programs built by the driver and run in the sandbox: they do what their native twins do.
//!
//! Plain `cargo test` builds the small programs under `programs/` and compares with the output stored beside them, C++ with what g++ makes of it. With
//! `ZAPP_TEST_FULL=1` it also builds every program of GCC's own torture suite and 1,000 random programs of csmith, natively and
//! for the sandbox; without it, a sample of both, when their sources are already in the cache. Whole projects are built by
//! either, and run their own tests.

mod csmith;
mod cxx;
mod driver;
mod programs;
mod project;
mod projects;
mod torture;
mod twin;

/// True when the full, hour-long sets were asked for.
fn full() -> bool {
    std::env::var_os("ZAPP_TEST_FULL").is_some()
}

/// Which part of the full sets to run, and of how many: all of them, or what `ZAPP_TEST_PART=K/N` says (K from 0).
fn part() -> Option<(usize, usize)> {
    if !full() {
        return None;
    }
    let Some(text) = std::env::var_os("ZAPP_TEST_PART") else {
        return Some((0, 1));
    };
    let text = text.to_str().expect("digits");
    let (part, of) = text.split_once('/').expect("ZAPP_TEST_PART=K/N");
    let number = |text: &str| text.parse::<usize>().expect("ZAPP_TEST_PART=K/N");
    let (part, of) = (number(part), number(of));
    assert!(part < of, "parts are counted from 0");
    Some((part, of))
}
