//! One served image: its manifest, its routes, its files, and its worker.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, bail};
use imagefs::{Image, Kind};
use worker::{Bootstrap, BootstrapKind, Link, News, Pairs, RequestLimits, Setup};

use crate::exchange::files::Files;
use crate::exchange::gate::Gate;
use crate::ops::log::{Level, Log};
use crate::options::Ceilings;
use crate::site::application::Application;
use crate::site::cgi;
use crate::site::manifest::{self, Manifest, PROGRAM_PATH, SnapshotLevel};
use crate::site::path::SitePath;
use crate::ops::seldom::Seldom;
use crate::site::route::{Route, Router, Script};

/// Host name of warm-up requests.
const WARM_UP_HOST: &str = "localhost";

/// Everything that is known about an image while it is served. Replaced as a whole when the image is.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) image: Image,
    pub(crate) manifest: Manifest,
    pub(crate) router: Router,
    pub(crate) files: Files,
    pub(crate) limits: RequestLimits,
    pub(crate) gate: Gate,
    /// Missing when the image has no program: then it only has files.
    pub(crate) link: Option<Link>,
    /// Requests whose writes vanished, and those that began a session.
    pub(crate) discards: Seldom,
    pub(crate) sessions: Seldom,
}

impl Site {
    /// Opens an image and checks everything that can be checked without running it.
    pub(crate) fn load(name: &str, path: &Path, ceilings: &Ceilings) -> anyhow::Result<Site> {
        Site::of(name, ingest(path, ceilings.trust_file)?, ceilings)
    }

    /// The site of an image that is open.
    pub(crate) fn of(name: &str, image: Image, ceilings: &Ceilings) -> anyhow::Result<Site> {
        let mut manifest = Manifest::of_image(&image)?;
        if let Some(level) = ceilings.snapshot {
            manifest.warmup.snapshot = level;
        }
        let router =
            Router::new(&image, &manifest).map_err(|e| anyhow::anyhow!("zapp.toml: {e}"))?;
        let pages = manifest.site.errors.iter();
        let pages = pages.map(|(status, page)| (format!("site.errors.{status}"), page));
        let own = manifest.read_only.page.iter();
        for (key, page) in pages.chain(own.map(|page| ("read_only.page".to_owned(), page))) {
            if router.error_page(page).is_none() {
                bail!("zapp.toml: {key} {page}: no file of the site that may be sent");
            }
        }
        if let Some(database) = &manifest.database {
            let found = image.resolve(image.root(), database.sqlite.as_bytes(), true);
            let is_file = found.is_ok_and(|ino| image.kind(ino) == Kind::Regular);
            if !is_file {
                bail!(
                    "zapp.toml: database.sqlite {}: no such file in the image",
                    database.sqlite
                );
            }
        }
        Ok(Site {
            name: name.to_owned(),
            files: Files::new(&image, &manifest),
            limits: effective(&manifest.limits, &ceilings.limits),
            gate: Gate::new(ceilings.concurrency, ceilings.queue, ceilings.queue_timeout),
            link: None,
            discards: Seldom::default(),
            sessions: Seldom::default(),
            image,
            manifest,
            router,
        })
    }

    /// Starts the worker, when there is something to run.
    pub(crate) async fn start(&mut self, concurrency: usize, log: &Arc<Log>) -> anyhow::Result<()> {
        let Some(setup) = self.setup(concurrency)? else {
            return Ok(());
        };
        let (name, log) = (self.name.clone(), Arc::clone(log));
        let tell = move |news: News<'_>| write_down(news, &name, &log);
        let link = Link::start(self.image.clone(), setup, tell);
        link.started()
            .await
            .map_err(|why| anyhow::anyhow!("{why}"))?;
        self.link = Some(link);
        Ok(())
    }

    /// What the worker is told; `None` when the image has no program.
    pub(crate) fn setup(&self, concurrency: usize) -> anyhow::Result<Option<Setup>> {
        let entry = match &self.manifest.program.entry {
            Some(entry) => entry.clone(),
            None if self
                .image
                .resolve(self.image.root(), PROGRAM_PATH.as_bytes(), true)
                .is_ok() =>
            {
                PROGRAM_PATH.to_owned()
            }
            None => return Ok(None),
        };
        if self
            .image
            .resolve(self.image.root(), entry.as_bytes(), true)
            .is_err()
        {
            bail!("zapp.toml: program.entry {entry}: no such file in the image");
        }
        let snapshot = self.manifest.warmup.snapshot != SnapshotLevel::None;
        let environment = self
            .manifest
            .program
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        Ok(Some(Setup {
            arguments: self.manifest.arguments(&entry),
            environment: environment.collect(),
            entry,
            limits: self.limits,
            concurrency: u32::try_from(concurrency)?,
            warmup: if snapshot {
                self.warm_up_requests()?
            } else {
                Vec::new()
            },
            snapshot,
            bootstrap: self.bootstrap()?,
        }))
    }

    /// How the site's bootstrap is reached, when the manifest wants a snapshot behind it.
    fn bootstrap(&self) -> anyhow::Result<Option<Bootstrap>> {
        if self.manifest.warmup.snapshot != SnapshotLevel::AfterBootstrap {
            return Ok(None);
        }
        let site = &self.manifest.site;
        let front = site
            .front_controller
            .as_ref()
            .context("zapp.toml: warmup.snapshot after-bootstrap needs site.front_controller")?;
        let script = Script {
            name: front.clone().into_bytes(),
            path_info: None,
        };
        let kind = match self.manifest.application {
            Some(Application::WordPress) => BootstrapKind::WordPress,
            None => BootstrapKind::Call,
        };
        Ok(Some(Bootstrap {
            kind,
            request: cgi::warm_up("/", &site.root, WARM_UP_HOST, &script),
            hosts: site.hosts.clone(),
        }))
    }

    fn warm_up_requests(&self) -> anyhow::Result<Vec<Pairs>> {
        let mut requests = Vec::new();
        for url in &self.manifest.warmup.urls {
            let raw = url.split('?').next().unwrap_or_default();
            let path =
                SitePath::parse(raw).with_context(|| format!("zapp.toml: warmup.urls: {url}"))?;
            match self.router.route(&path) {
                Route::Script(script) => {
                    let root = &self.manifest.site.root;
                    requests.push(cgi::warm_up(url, root, WARM_UP_HOST, &script));
                }
                _ => bail!("zapp.toml: warmup.urls: {url} is not answered by a script"),
            }
        }
        Ok(requests)
    }
}

/// Puts what happens to a site's worker into the log.
fn write_down(news: News<'_>, site: &str, log: &Log) {
    match news {
        News::Ready { pid, snapshot } => {
            let pid = pid.map_or_else(String::new, |pid| pid.to_string());
            let facts = [("pid", pid), ("snapshot", snapshot.to_owned())];
            log.event(Level::Info, site, "worker ready", &facts);
        }
        News::Ended { why, lost } => {
            let message = format!("worker ended: {why}");
            let facts = [("lost_requests", lost.to_string())];
            log.event(Level::Error, site, &message, &facts);
        }
        News::Said(line) => log.event(Level::Warn, site, line, &[("from", "worker".to_owned())]),
    }
}

/// The smaller of what the operator allows and what the image wishes.
fn effective(wish: &manifest::Limits, ceiling: &RequestLimits) -> RequestLimits {
    let time = |wish: Option<crate::site::units::Span>, ceiling: u64| {
        wish.map_or(ceiling, |span| {
            u64::try_from(span.0.as_millis())
                .unwrap_or(u64::MAX)
                .min(ceiling)
        })
    };
    let size = |wish: Option<crate::site::units::Size>, ceiling: u64| {
        wish.map_or(ceiling, |size| size.0.min(ceiling))
    };
    RequestLimits {
        wall_ms: time(wish.wall, ceiling.wall_ms),
        cpu_ms: time(wish.cpu, ceiling.cpu_ms),
        memory_bytes: size(wish.memory, ceiling.memory_bytes),
        output_bytes: size(wish.output, ceiling.output_bytes),
        body_bytes: size(wish.body, ceiling.body_bytes),
        scratch_bytes: size(wish.tmp, ceiling.scratch_bytes),
        files: wish
            .files
            .map_or(ceiling.files, |files| files.min(ceiling.files)),
    }
}

/// An image that cannot change while it is served: a sealed copy, or a file that only its trusted owner can write.
fn ingest(path: &Path, trust_file: bool) -> anyhow::Result<Image> {
    if !trust_file {
        return Ok(Image::ingest(path)?);
    }
    let full = std::fs::canonicalize(path).with_context(|| path.display().to_string())?;
    let own = rustix::process::geteuid().as_raw();
    for part in full.ancestors() {
        let meta = part
            .metadata()
            .with_context(|| part.display().to_string())?;
        let sticky_directory = meta.is_dir() && meta.mode() & 0o1000 != 0;
        if (meta.uid() != 0 && meta.uid() != own) || (meta.mode() & 0o022 != 0 && !sticky_directory)
        {
            bail!(
                "{}: others may write it, so --trust-file cannot be used",
                part.display()
            );
        }
    }
    Ok(Image::open(&full)?)
}

/// What tells that a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, u64, i64, i64, u64);

impl Stamp {
    /// The stamp of a file, `None` when there is none.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        let meta = path.metadata().ok()?;
        Some(Stamp(
            meta.dev(),
            meta.ino(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.len(),
        ))
    }
}

/// A place where an image is served, whichever image that is now.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    path: PathBuf,
    site: RwLock<Arc<Site>>,
    stamp: Mutex<Option<Stamp>>,
    swaps: AtomicU64,
}

impl Slot {
    /// Loads and starts an image.
    pub(crate) async fn open(
        path: &Path,
        ceilings: &Arc<Ceilings>,
        log: &Arc<Log>,
    ) -> anyhow::Result<Slot> {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let stamp = Stamp::of(path);
        let site = started(&name, path, ceilings, log)
            .await
            .with_context(|| path.display().to_string())?;
        Ok(Slot {
            name,
            path: path.to_owned(),
            site: RwLock::new(Arc::new(site)),
            stamp: Mutex::new(stamp),
            swaps: AtomicU64::new(0),
        })
    }

    /// The image as it is now.
    pub(crate) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often the image has been replaced.
    pub(crate) fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }

    /// Where the image lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file was replaced, and serves the new one when it is good. Requests that have begun end with
    /// the old one, whose worker ends with the last of them.
    pub(crate) async fn refresh(&self, ceilings: &Arc<Ceilings>, log: &Arc<Log>) {
        let now = Stamp::of(&self.path);
        let known = *self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_none() || now == known {
            return;
        }
        // A file that is written in place, against the advice, is left alone until it rests.
        tokio::time::sleep(Duration::from_millis(200)).await;
        if Stamp::of(&self.path) != now {
            return;
        }
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = now;
        match started(&self.name, &self.path, ceilings, log).await {
            Ok(site) => {
                let same = site.image.image_id() == self.site().image.image_id();
                if same {
                    return;
                }
                *self.site.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(site);
                self.swaps.fetch_add(1, Ordering::Relaxed);
                log.event(Level::Info, &self.name, "image swapped", &[]);
            }
            Err(error) => {
                let message = format!("new image not used, the old one stays: {error:#}");
                log.event(Level::Error, &self.name, &message, &[]);
            }
        }
    }
}

async fn started(
    name: &str,
    path: &Path,
    ceilings: &Arc<Ceilings>,
    log: &Arc<Log>,
) -> anyhow::Result<Site> {
    let loading = {
        let (name, path, ceilings) = (name.to_owned(), path.to_owned(), Arc::clone(ceilings));
        tokio::task::spawn_blocking(move || Site::load(&name, &path, &ceilings))
    };
    let mut site = loading.await??;
    site.start(ceilings.concurrency, log).await?;
    Ok(site)
}
