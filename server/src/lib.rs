//! The HTTP server: files straight from images, and a fresh instance for every other request.
//!
//! ```text
//!  clients ── http ── exchange ──┬── files ────────── image
//!                 │ site: path,  │
//!                 │ route, rules └── gate ── worker's link ══ one confined process for each image
//!                 └ ops: log, metrics, admin                      └ sandbox: clone, run, reset
//! ```
//!
//! The front process speaks HTTP, decides what a request means ([`site`]), and sends files. It never runs guest code, and is
//! [confined](confine) itself, because it reads what tenants wrote. A
//! [`worker`] runs the guests of one image, has no network and no files, and may die at any time: its link starts
//! another, and the front answers 502 to what was lost.

#![forbid(unsafe_code)]

mod confine;
mod exchange;
mod hosting;
mod hosts;
mod http;
mod ops;
mod options;
mod place;
mod server;
mod site;
mod state;
mod user;

use std::sync::Arc;

use anyhow::Context;
#[doc(hidden)]
pub use confine::confine_front_for_a_test;
pub use htaccess::{Class, Finding};
pub use http::address::Address;
pub use http::proxy::Trusted;
pub use ops::log::{AccessFormat, Level, LogFormat, LogOptions};
pub use options::{HostingOptions, HttpOptions, Options};
pub use site::apps::Look;
pub use site::ceilings::Ceilings;
pub use site::home::{Home, misfit as home_misfit};
pub use site::manifest::layers::{Effective, Origin, Row};
pub use site::manifest::{MANIFEST_PATH, Manifest, ManifestError, PROGRAM_PATH, SnapshotLevel};
pub use site::rules::{HTACCESS, Input, findings};
pub use site::symlinks::follow;
pub use site::units::{Size, Span};
pub use site::{Site, SiteError};
pub use user::User;

use crate::ops::log::Log;

/// Serves until a signal ends it.
///
/// # Errors
/// When an image cannot be served, or an address not be listened on.
pub fn run(options: Options) -> anyhow::Result<()> {
    let log = Log::open(&options.log)?;
    let doors = server::Doors::take(&options)?;
    if let Some(user) = &options.user {
        user.become_it()?;
    } else if rustix::process::geteuid().is_root() {
        let advice =
            "running as root: --user NAME takes the rights away once ports and log are open";
        log.event(Level::Info, "", advice, &[]);
    }
    if !confine::front(&options.needs())? {
        let lack = "this kernel has no landlock; only seccomp confines this process";
        log.event(Level::Warn, "", lack, &[]);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // They hash and decode: more of them would only take memory, and processor time from whoever answers.
        .max_blocking_threads((cores * 2).max(4))
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(server::run(options, doors, Arc::new(log)));
    // Connections that outlived the grace period are cut, with whatever they still read from a slow disk.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    served
}

/// Loads images as [`run`] would and says what is wrong with them, without serving or running anything.
///
/// # Errors
/// What is wrong.
pub fn check(options: &Options) -> anyhow::Result<()> {
    for path in options
        .images
        .iter()
        .chain(options.hosts.iter().map(|(_, path)| path))
    {
        let site =
            hosting::load(path, &options.hosting).with_context(|| path.display().to_string())?;
        site.setup(options.hosting.concurrency)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
