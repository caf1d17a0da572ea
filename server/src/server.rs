//! The front process: listeners, connections, virtual hosts, and an orderly end.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::{Semaphore, watch};

use crate::exchange::buffers::Buffers;
use crate::exchange::instances::Instances;
use crate::hosting::{Site, Slot};
use crate::http::conversation::converse;
use crate::http::listener::Listener;
use crate::ops::admin;
use crate::ops::log::{Level, Log};
use crate::ops::metrics::{Metrics, Now};
use crate::options::{Ceilings, HttpOptions, Options};
use crate::site::path::Host;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) http: HttpOptions,
    pub(crate) queue_timeout: Duration,
    pub(crate) log: Arc<Log>,
    pub(crate) metrics: Metrics,
    pub(crate) buffers: Buffers,
    pub(crate) instances: Instances,
    slots: Vec<Slot>,
    /// Host names from the command line; those of manifests are asked afterwards.
    hosts: HashMap<String, usize>,
    seed: RandomState,
    requests: AtomicU64,
    /// True when the server is about to end.
    draining: watch::Sender<bool>,
}

/// Counts a request while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Server>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Loads every image and starts every worker.
    async fn open(
        options: &Options,
        ceilings: &Arc<Ceilings>,
        log: &Arc<Log>,
    ) -> anyhow::Result<Arc<Server>> {
        let mut slots: Vec<Slot> = Vec::new();
        let mut hosts = HashMap::new();
        let named = options.hosts.iter().map(|(_, path)| path);
        for path in options.images.iter().chain(named) {
            if !slots.iter().any(|slot| slot.path() == path) {
                slots.push(Slot::open(path, ceilings, log).await?);
            }
        }
        if slots.is_empty() {
            bail!("no image to serve");
        }
        for (name, path) in &options.hosts {
            let host = Host::parse(name).with_context(|| format!("--host {name}"))?;
            let slot = slots
                .iter()
                .position(|slot| slot.path() == path)
                .expect("opened above");
            if hosts
                .insert(host.name().to_owned(), slot)
                .is_some_and(|other| other != slot)
            {
                bail!("--host {name} is given for two images");
            }
        }
        Ok(Arc::new(Server {
            http: options.http.clone(),
            queue_timeout: ceilings.queue_timeout,
            log: Arc::clone(log),
            metrics: Metrics::default(),
            buffers: Buffers::new(options.http.buffer_bytes),
            instances: Instances::default(),
            slots,
            hosts,
            seed: RandomState::new(),
            requests: AtomicU64::new(0),
            draining: watch::Sender::new(false),
        }))
    }

    /// Counts a request in.
    pub(crate) fn enter(self: &Arc<Server>) -> InFlight {
        self.metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A name for a request that came without one.
    pub(crate) fn new_request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.seed.hash_one(number))
    }

    /// The site for a host: by the command line, by the manifests, or the only one, when neither names any host.
    pub(crate) fn site(&self, host: Option<&Host>) -> Option<Arc<Site>> {
        let sites = || self.slots.iter().map(Slot::site);
        let Some(host) = host else {
            return sites().next();
        };
        if let Some(&slot) = self.hosts.get(host.name()) {
            return Some(self.slots[slot].site());
        }
        let wished = |site: &Arc<Site>| {
            let mut names = site
                .manifest
                .site
                .hosts
                .iter()
                .filter_map(|name| Host::parse(name).ok());
            names.any(|name| name.name() == host.name())
        };
        if let Some(site) = sites().find(wished) {
            return Some(site);
        }
        let only = self.slots.len() == 1 && self.hosts.is_empty();
        sites()
            .next()
            .filter(|site| only && site.manifest.site.hosts.is_empty())
    }

    /// Whether every site can answer.
    pub(crate) fn is_ready(&self) -> bool {
        !*self.draining.borrow()
            && self
                .slots
                .iter()
                .all(|s| s.site().link.as_ref().is_none_or(|l| l.is_up()))
    }

    /// Waits until the server drains.
    pub(crate) async fn drained(&self) {
        // The sender lives as long as the server, which the caller holds.
        let _ = (self.draining.subscribe())
            .wait_for(|draining| *draining)
            .await;
    }

    /// Whether there are more requests than connections of one request each could bring.
    pub(crate) fn is_crowded(&self) -> bool {
        self.metrics.in_flight.load(Ordering::Relaxed) > 2 * self.http.connections as u64
    }

    /// What each site is doing.
    pub(crate) fn now(&self) -> Vec<(String, Now)> {
        let now = |slot: &Slot| {
            let site = slot.site();
            let now = Now {
                queued: site.gate.waiting(),
                worker_up: site.link.as_ref().is_none_or(|link| link.is_up()),
                restarts: site.link.as_ref().map_or(0, |link| link.restarts()),
                swaps: slot.swaps(),
            };
            (slot.name.clone(), now)
        };
        self.slots.iter().map(now).collect()
    }
}

/// Serves until a signal says stop, then lets what runs end.
pub(crate) async fn run(options: Options, log: Arc<Log>) -> anyhow::Result<()> {
    // Taken before anything else, so that a signal during the start is not lost.
    let mut stop = Stop::new()?;
    let ceilings = Arc::new(options.ceilings.clone());
    let server = tokio::select! {
        server = Server::open(&options, &ceilings, &log) => server?,
        name = stop.wait() => {
            log.event(Level::Info, "", "stopped while starting", &[("signal", name.to_owned())]);
            return Ok(());
        }
    };
    let places = Arc::new(Semaphore::new(options.http.connections));
    for address in &options.listen {
        let listener = Listener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))?;
        log.event(
            Level::Info,
            "",
            &format!("listening on {}", listener.address()),
            &[],
        );
        tokio::spawn(accept(Arc::clone(&server), listener, Arc::clone(&places)));
    }
    if let Some(address) = &options.admin {
        let listener = Listener::bind(address)
            .await
            .with_context(|| format!("admin on {address}"))?;
        log.event(
            Level::Info,
            "",
            &format!("admin on {}", listener.address()),
            &[],
        );
        tokio::spawn(admin::serve(Arc::clone(&server), listener));
    }
    tokio::spawn(hang_ups(Arc::clone(&server), Arc::clone(&ceilings)));
    if let Some(every) = options.watch {
        tokio::spawn(watch_images(Arc::clone(&server), ceilings, every));
    }
    tell_supervisor("READY=1");
    let name = stop.wait().await;
    tell_supervisor("STOPPING=1");
    log.event(Level::Info, "", "draining", &[("signal", name.to_owned())]);
    server.draining.send_replace(true);
    let all = u32::try_from(options.http.connections)?;
    tokio::select! {
        _ = places.acquire_many(all) => log.event(Level::Info, "", "stopped", &[]),
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

async fn watch_images(server: Arc<Server>, ceilings: Arc<Ceilings>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        for slot in &server.slots {
            slot.refresh(&ceilings, &server.log).await;
        }
    }
}

/// SIGHUP: a log that was moved away is opened again, and images are looked at now.
async fn hang_ups(server: Arc<Server>, ceilings: Arc<Ceilings>) {
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
        for slot in &server.slots {
            slot.refresh(&ceilings, &server.log).await;
        }
    }
}

/// Takes connections while there are places, until the server drains.
async fn accept(server: Arc<Server>, listener: Listener, places: Arc<Semaphore>) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
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
                    drop(place);
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
