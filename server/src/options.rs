//! What the operator decides.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::confine::Needs;
use crate::http::address::Address;
use crate::http::proxy::Trusted;
use crate::ops::log::LogOptions;
use crate::site::ceilings::Ceilings;
use crate::user::User;

/// How images are served, each of them.
#[derive(Clone, Debug)]
pub struct HostingOptions {
    /// What they get at most.
    pub ceilings: Ceilings,
    /// Instances at once.
    pub concurrency: u32,
    /// What the process of each image may have in memory; `None` stands for what its limits and the image come to.
    pub worker_memory_bytes: Option<u64>,
    /// Requests that may wait for one.
    pub queue: usize,
    /// How long they may wait for one.
    pub queue_timeout: Duration,
    /// Images are used where they lie, when only their owner can write them.
    pub trust_file: bool,
}

/// Options of the whole server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Images to serve.
    pub images: Vec<PathBuf>,
    /// Host names given on the command line, each with its image.
    pub hosts: Vec<(String, PathBuf)>,
    /// Where requests come in.
    pub listen: Vec<Address>,
    /// Where the operator asks, if anywhere.
    pub admin: Option<Address>,
    /// What holds for each image.
    pub hosting: HostingOptions,
    /// The HTTP side.
    pub http: HttpOptions,
    /// What is written down.
    pub log: LogOptions,
    /// How long running requests may take after the signal to stop.
    pub grace: Duration,
    /// How often images are looked at for a replacement; `None` means never.
    pub watch: Option<Duration>,
    /// Whose rights the server has once its ports are taken and its log is open; `None` means those it was started with.
    pub user: Option<User>,
}

impl Options {
    /// Every image once, in the order of the command line.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let named = self.hosts.iter().map(|(_, path)| path);
        let mut paths: Vec<&Path> = Vec::new();
        for path in self.images.iter().chain(named) {
            if !paths.contains(&path.as_path()) {
                paths.push(path);
            }
        }
        paths
    }

    /// What the server needs of the file system while it serves.
    pub(crate) fn needs(&self) -> Needs<'_> {
        let log = self.log.access.as_deref();
        Needs {
            images: self.paths(),
            log: log.filter(|path| *path != Path::new("-")),
            sockets: (self.listen.iter().chain(&self.admin))
                .filter_map(|address| match address {
                    Address::Unix(path) => Some(path.as_path()),
                    Address::Tcp(_) => None,
                })
                .collect(),
        }
    }
}

/// Options of the HTTP side.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Time for a request's head, and the longest idle time between requests.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// How long a client may take nothing of its response.
    pub write_timeout: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Bytes of bodies in memory, for all requests together.
    pub buffer_bytes: u64,
    /// Adds `Server-Timing` and `X-Zapp-Report` to responses.
    pub server_timing: bool,
    /// Proxies whose word about the client is believed.
    pub trusted: Vec<Trusted>,
}
