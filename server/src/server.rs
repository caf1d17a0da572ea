//! The front process: listeners, connections, images that are replaced, and an orderly end.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;

use crate::http::address::Address;
use crate::http::conversation::converse;
use crate::http::listener::{Bound, Listener};
use crate::ops::admin;
use crate::ops::log::{Level, Log};
use crate::options::Options;
use crate::state::Server;

/// The addresses of a server, taken before it is confined.
#[derive(Debug)]
pub(crate) struct Doors {
    visitors: Vec<Bound>,
    admin: Option<Bound>,
}

impl Doors {
    /// Takes them all.
    pub(crate) fn take(options: &Options) -> anyhow::Result<Doors> {
        let take = |address: &Address| {
            Bound::take(address).with_context(|| format!("listen on {address}"))
        };
        Ok(Doors {
            visitors: options.listen.iter().map(take).collect::<Result<_, _>>()?,
            admin: options.admin.as_ref().map(take).transpose()?,
        })
    }
}

/// Serves until a signal says stop, then lets what runs end.
pub(crate) async fn run(options: Options, doors: Doors, log: Arc<Log>) -> anyhow::Result<()> {
    // Taken before anything else, so that a signal during the start is not lost.
    let mut stop = Stop::new()?;
    let server = tokio::select! {
        server = Server::open(&options, &log) => server?,
        name = stop.wait() => {
            log.event(Level::Info, "", "stopped while starting", &[("signal", name.to_owned())]);
            return Ok(());
        }
    };
    let seats = Arc::new(Semaphore::new(options.http.connections));
    for door in doors.visitors {
        let listener = door.listen().context("listen")?;
        let message = format!("listening on {}", listener.address());
        log.event(Level::Info, "", &message, &[]);
        tokio::spawn(accept(Arc::clone(&server), listener, Arc::clone(&seats)));
    }
    if let Some(door) = doors.admin {
        let listener = door.listen().context("listen")?;
        let message = format!("admin on {}", listener.address());
        log.event(Level::Info, "", &message, &[]);
        tokio::spawn(admin::serve(Arc::clone(&server), listener));
    }
    tokio::spawn(hang_ups(Arc::clone(&server)));
    if let Some(every) = options.watch {
        tokio::spawn(watch_images(Arc::clone(&server), every));
    }
    tell_supervisor("READY=1");
    let name = stop.wait().await;
    tell_supervisor("STOPPING=1");
    log.event(Level::Info, "", "draining", &[("signal", name.to_owned())]);
    server.drain();
    let all = u32::try_from(options.http.connections)?;
    tokio::select! {
        _ = seats.acquire_many(all) => log.event(Level::Info, "", "stopped", &[]),
        () = tokio::time::sleep(options.grace) => {
            let left = server.metrics.in_flight.load(Ordering::Relaxed).to_string();
            log.event(Level::Warn, "", "stopped before all requests had ended", &[("left", left)]);
        }
        name = stop.wait() => log.event(Level::Warn, "", "stopped at once", &[("signal", name.to_owned())]),
    }
    Ok(())
}

/// Tells systemd, when it has started us and wants to know (`sd_notify(3)`).
fn tell_supervisor(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let path = path.as_encoded_bytes();
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    // Who does not listen does not need to know.
    let _ = address.and_then(|to| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &to));
}

async fn watch_images(server: Arc<Server>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        server.refresh().await;
    }
}

/// SIGHUP: a log that was moved away is opened again, and images are looked at now.
async fn hang_ups(server: Arc<Server>) {
    use tokio::signal::unix::{SignalKind, signal};
    // Where the signal cannot be had, it keeps its default effect, which ends the process.
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else {
        return;
    };
    while hang_up.recv().await.is_some() {
        match server.log.reopen() {
            Ok(()) => {
                server
                    .log
                    .event(Level::Info, "", "reloading", &[("signal", "SIGHUP".into())])
            }
            Err(error) => server
                .log
                .event(Level::Error, "", &format!("{error:#}"), &[]),
        }
        server.refresh().await;
    }
}

/// Takes connections while there are seats, until the server drains.
async fn accept(server: Arc<Server>, listener: Listener, seats: Arc<Semaphore>) {
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept(server.http.write_timeout) => accepted,
            () = server.drained() => return,
        };
        match accepted {
            Ok(connection) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    converse(server, connection).await;
                    drop(seat);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others must end before more can come.
                server
                    .log
                    .event(Level::Warn, "", &format!("accept: {error}"), &[]);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The signals that end the server.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> std::io::Result<Stop> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
