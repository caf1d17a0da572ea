//! Programs built by the driver and run in the sandbox: they do what their native twins do.
//!
//! Plain `cargo test` builds the small programs under `programs/` and compares with the output stored beside them. With
//! `ZAPP_TEST_FULL=1` it also builds every program of GCC's own torture suite and 1,000 random programs of csmith, natively and
//! for the sandbox; without it, a sample of both, when their sources are already in the cache.

mod csmith;
mod driver;
mod programs;
mod torture;
mod twin;

/// True when the full, hour-long sets were asked for.
fn full() -> bool {
    std::env::var_os("ZAPP_TEST_FULL").is_some()
}
