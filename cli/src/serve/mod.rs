//! The HTTP server: files straight from images, and a fresh instance for every other request.
//!
//! ```text
//!  clients ── listener ── conversation ── request ──┬── files ────────────── image
//!                                   │ path    │
//!                                   │ route   └── gate ── link ══ socket pair ══ worker (one process for each image)
//!                                   └ cgi / guest_answer                           └ sandbox: clone, run, reset
//! ```
//!
//! The front process speaks HTTP, decides what a request means ([`path`], [`route`]), and sends files. It never runs
//! guest code. A [`worker`](::worker) runs the guests of one image, has no network and no files, and may die at any time:
//! its link starts another, and the front answers 502 to what was lost.

mod admin;
mod application;
mod body;
mod buffers;
mod cgi;
mod conversation;
mod files;
mod gate;
mod guest_answer;
mod listener;
pub(crate) mod log;
pub(crate) mod manifest;
mod metrics;
pub(crate) mod options;
mod path;
mod pattern;
pub(crate) mod proxy;
mod range;
mod read_only;
mod request;
mod route;
mod running;
mod server;
pub(crate) mod site;
mod types;
pub(crate) mod units;

use std::sync::Arc;

use anyhow::Context;

/// Serves until a signal ends it.
pub(crate) fn run(options: options::Options, log: log::Log) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(server::run(options, Arc::new(log)));
    // Connections that outlived the grace period are cut, with whatever they still read from a slow disk.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    served
}

/// Loads images as `run` would and says what is wrong with them, without serving or running anything.
pub(crate) fn check(options: &options::Options) -> anyhow::Result<()> {
    for path in options
        .images
        .iter()
        .chain(options.hosts.iter().map(|(_, path)| path))
    {
        let site = site::Site::load("", path, &options.ceilings)
            .with_context(|| path.display().to_string())?;
        site.setup(options.ceilings.concurrency)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
