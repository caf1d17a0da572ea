//! An image while it is served: its site, its files, its worker, and who waits for one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use imagefs::Image;
use worker::{Link, News};

use crate::exchange::files::StaticFiles;
use crate::exchange::gate::Gate;
use crate::ops::log::{Level, Log};
use crate::ops::seldom::Seldom;
use crate::options::HostingOptions;
use crate::site::Site;

/// A served image. Replaced as a whole when the image is.
#[derive(Debug)]
pub(crate) struct Hosted {
    /// Its name in the log and in metrics.
    pub(crate) name: String,
    pub(crate) site: Site,
    pub(crate) files: StaticFiles,
    pub(crate) gate: Gate,
    /// Missing when the image has no program: then it only has files.
    pub(crate) link: Option<Link>,
    /// Requests whose writes vanished, and those that began a session.
    pub(crate) discards: Seldom,
    pub(crate) sessions: Seldom,
}

impl Hosted {
    /// Gets a site ready, and its worker when there is something to run.
    pub(crate) async fn start(
        name: &str,
        site: Site,
        options: &HostingOptions,
        log: &Arc<Log>,
    ) -> anyhow::Result<Hosted> {
        let link = match site.setup(options.concurrency)? {
            Some(setup) => {
                let (name, log) = (name.to_owned(), Arc::clone(log));
                let tell = move |news: News<'_>| write_down(news, &name, &log);
                let link =
                    Link::start(site.image.clone(), setup, options.worker_memory_bytes, tell);
                link.started()
                    .await
                    .map_err(|why| anyhow::anyhow!("{why}"))?;
                Some(link)
            }
            None => None,
        };
        let concurrency = usize::try_from(options.concurrency)?;
        Ok(Hosted {
            name: name.to_owned(),
            files: StaticFiles::new(&site.image, &site.manifest),
            gate: Gate::new(concurrency, options.queue, options.queue_timeout),
            link,
            discards: Seldom::default(),
            sessions: Seldom::default(),
            site,
        })
    }
}

/// Opens an image and checks everything that can be checked without running it.
pub(crate) fn load(path: &Path, options: &HostingOptions) -> anyhow::Result<Site> {
    let image = ingest(path, options.trust_file).map_err(explained)?;
    Ok(Site::of(image, &options.ceilings)?)
}

/// Why a file that is there cannot be read, which the kernel does not say.
fn explained(error: anyhow::Error) -> anyhow::Error {
    let is_refusal = |cause: &(dyn std::error::Error + 'static)| {
        (cause.downcast_ref::<std::io::Error>())
            .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    match error.chain().any(is_refusal) {
        true => error.context(
            "it lies outside the folders of the images as the server found them at its start, or is not readable for its user",
        ),
        false => error,
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
