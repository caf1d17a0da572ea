//! What all connections share: the places, what is counted, and whether the server is about to end.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, bail};
use tokio::sync::{Mutex, watch};

use crate::exchange::buffers::Buffers;
use crate::exchange::instances::Instances;
use crate::hosting::Hosted;
use crate::hosts::HostTable;
use crate::ops::log::{Level, Log};
use crate::ops::metrics::{Metrics, Now};
use crate::options::{HostingOptions, HttpOptions, Options};
use crate::place::{self, Place};
use crate::site::Site;
use crate::site::path::Host;

/// The front process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) http: HttpOptions,
    pub(crate) hosting: Arc<HostingOptions>,
    pub(crate) log: Arc<Log>,
    pub(crate) metrics: Metrics,
    pub(crate) buffers: Buffers,
    pub(crate) instances: Instances,
    places: Vec<Place>,
    hosts: RwLock<HostTable>,
    refreshing: Mutex<()>,
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
    pub(crate) async fn open(options: &Options, log: &Arc<Log>) -> anyhow::Result<Arc<Server>> {
        let hosting = Arc::new(options.hosting.clone());
        let paths = options.paths();
        if paths.is_empty() {
            bail!("no image to serve");
        }
        let mut places = Vec::with_capacity(paths.len());
        for (name, path) in place::names(&paths).iter().zip(&paths) {
            places.push(Place::open(name, path, &hosting, log).await?);
        }
        let given = given(options, &paths)?;
        let hosts = with_wishes(&places, |wishes| HostTable::new(given, wishes))?;
        Ok(Arc::new(Server {
            http: options.http.clone(),
            hosting,
            log: Arc::clone(log),
            metrics: Metrics::default(),
            buffers: Buffers::new(options.http.buffer_bytes),
            instances: Instances::default(),
            places,
            hosts: RwLock::new(hosts),
            refreshing: Mutex::new(()),
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

    /// What answers for a host, if anything does.
    pub(crate) fn hosted(&self, host: Option<&Host>) -> Option<Arc<Hosted>> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let number = hosts.place(host)?;
        Some(self.places[number].hosted())
    }

    /// Looks at every image, and takes up those that were replaced.
    pub(crate) async fn refresh(&self) {
        // One after the other, or two images could both be admitted to one host.
        let _alone = self.refreshing.lock().await;
        for (number, place) in self.places.iter().enumerate() {
            let admit = |site: &Site| {
                let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
                hosts.admits(number, &site.hosts)
            };
            if place.refresh(&self.hosting, &self.log, admit).await {
                let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
                match with_wishes(&self.places, |wishes| hosts.renewed(wishes)) {
                    Ok(renewed) => *hosts = renewed,
                    Err(taken) => {
                        let message = taken.to_string();
                        self.log.event(Level::Error, &place.name, &message, &[]);
                    }
                }
            }
        }
    }

    /// Whether every site can answer.
    pub(crate) fn is_ready(&self) -> bool {
        let is_up = |place: &Place| place.hosted().link.as_ref().is_none_or(|l| l.is_up());
        !*self.draining.borrow() && self.places.iter().all(is_up)
    }

    /// No more connections are taken from here on.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
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
        let now = |place: &Place| {
            let hosted = place.hosted();
            let now = Now {
                queued: hosted.gate.waiting(),
                worker_up: hosted.link.as_ref().is_none_or(|link| link.is_up()),
                restarts: hosted.link.as_ref().map_or(0, |link| link.restarts()),
                swaps: place.swaps(),
            };
            (place.name.clone(), now)
        };
        self.places.iter().map(now).collect()
    }
}

/// Host names from the command line, each with the number of its image.
fn given(options: &Options, paths: &[&Path]) -> anyhow::Result<HashMap<String, usize>> {
    let mut given = HashMap::new();
    for (name, path) in &options.hosts {
        let host = Host::parse(name).with_context(|| format!("--host {name}"))?;
        let number = paths
            .iter()
            .position(|known| known == path)
            .expect("all images of the command line are listed");
        if given
            .insert(host.name().to_owned(), number)
            .is_some_and(|other| other != number)
        {
            bail!("--host {name} is given for two images");
        }
    }
    Ok(given)
}

/// Does something with the host names that each place's manifest asks for.
fn with_wishes<T>(places: &[Place], make: impl FnOnce(Vec<&[Host]>) -> T) -> T {
    let hosted: Vec<Arc<Hosted>> = places.iter().map(Place::hosted).collect();
    make(hosted.iter().map(|h| h.site.hosts.as_slice()).collect())
}
