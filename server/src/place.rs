//! A place where an image is served, whichever image that is now.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Mutex;

use crate::hosting::{self, Hosted};
use crate::hosts::Taken;
use crate::ops::log::{Level, Log};
use crate::options::HostingOptions;
use crate::site::Site;

/// A file that is written in place, against the advice, is left alone until it has rested this long.
const REST: Duration = Duration::from_millis(200);

/// What tells that a file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64, u64);

impl Stamp {
    /// The stamp of a file, `None` when there is none.
    fn of(path: &Path) -> Option<Stamp> {
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

/// A file that is looked at now and then.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// Kept while a replacement is taken up: whoever looks meanwhile waits, and then finds nothing new.
    seen: Mutex<Option<Stamp>>,
}

impl Watched {
    fn new(path: &Path) -> Watched {
        Watched {
            path: path.to_owned(),
            seen: Mutex::new(Stamp::of(path)),
        }
    }

    /// Does something, once, when the file was replaced since the last time.
    async fn if_replaced<T>(&self, take_up: impl AsyncFnOnce() -> T) -> Option<T> {
        let mut seen = self.seen.lock().await;
        let now = Stamp::of(&self.path);
        if now.is_none() || now == *seen {
            return None;
        }
        tokio::time::sleep(REST).await;
        if Stamp::of(&self.path) != now {
            return None;
        }
        *seen = now;
        Some(take_up().await)
    }
}

/// A place, by the path of its image.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    file: Watched,
    hosted: RwLock<Arc<Hosted>>,
    swaps: AtomicU64,
}

impl Place {
    /// Loads and starts an image.
    pub(crate) async fn open(
        name: &str,
        path: &Path,
        options: &Arc<HostingOptions>,
        log: &Arc<Log>,
    ) -> anyhow::Result<Place> {
        let file = Watched::new(path);
        let started = async {
            let site = load(path, options).await?;
            Hosted::start(name, site, options, log).await
        };
        let hosted = started.await.with_context(|| path.display().to_string())?;
        Ok(Place {
            name: name.to_owned(),
            file,
            hosted: RwLock::new(Arc::new(hosted)),
            swaps: AtomicU64::new(0),
        })
    }

    /// The image as it is now.
    pub(crate) fn hosted(&self) -> Arc<Hosted> {
        Arc::clone(&self.hosted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often the image has been replaced.
    pub(crate) fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }

    /// Looks whether the file was replaced, and serves the new one when it is good: true when there is one. Requests that
    /// have begun end with the old one, whose worker ends with the last of them.
    /// `admit` says whether it may have the host names that it asks for.
    pub(crate) async fn refresh(
        &self,
        options: &Arc<HostingOptions>,
        log: &Arc<Log>,
        admit: impl Fn(&Site) -> Result<(), Taken>,
    ) -> bool {
        let swapped = self
            .file
            .if_replaced(async || self.swap(options, log, &admit).await);
        match swapped.await {
            None | Some(Ok(false)) => false,
            Some(Ok(true)) => {
                self.swaps.fetch_add(1, Ordering::Relaxed);
                log.event(Level::Info, &self.name, "image swapped", &[]);
                true
            }
            Some(Err(error)) => {
                let message = format!("new image not used, the old one stays: {error:#}");
                log.event(Level::Error, &self.name, &message, &[]);
                false
            }
        }
    }

    /// Serves what lies there now, when it is another image.
    async fn swap(
        &self,
        options: &Arc<HostingOptions>,
        log: &Arc<Log>,
        admit: &impl Fn(&Site) -> Result<(), Taken>,
    ) -> anyhow::Result<bool> {
        let known = self.hosted().site.image.image_id();
        let Some(site) = load_other(&self.file.path, &known, options).await? else {
            return Ok(false);
        };
        admit(&site)?;
        let hosted = Hosted::start(&self.name, site, options, log).await?;
        *self.hosted.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hosted);
        Ok(true)
    }
}

/// Loads an image without holding up others.
async fn load(path: &Path, options: &Arc<HostingOptions>) -> anyhow::Result<Site> {
    let (path, options) = (path.to_owned(), Arc::clone(options));
    tokio::task::spawn_blocking(move || hosting::load(&path, &options)).await?
}

/// Loads an image unless it is the one that is known: who only touches a file wants no new worker.
async fn load_other(
    path: &Path,
    known: &[u8; 32],
    options: &Arc<HostingOptions>,
) -> anyhow::Result<Option<Site>> {
    let site = load(path, options).await?;
    Ok((site.image.image_id() != *known).then_some(site))
}

/// Names for the images at these paths, which are all different: the stem of the file where that will do, and otherwise as
/// much of the path as tells them apart. Counters and log lines of two sites must never run into one.
pub(crate) fn names(paths: &[&Path]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_os_string();
    let end = |path: &Path, count: usize| {
        let parts: Vec<_> = path.components().collect();
        let end = &parts[parts.len().saturating_sub(count)..];
        end.iter().collect::<PathBuf>().into_os_string()
    };
    let longest = paths.iter().map(|path| path.components().count()).max();
    let name = |path: &&Path| {
        let alike = |named: &dyn Fn(&Path) -> std::ffi::OsString| {
            let own = named(path);
            paths.iter().filter(|other| named(other) == own).count() > 1
        };
        let own = if !alike(&stem) {
            stem(path)
        } else {
            let count = (1..=longest.unwrap_or(1)).find(|&count| !alike(&|path| end(path, count)));
            count.map_or_else(|| path.as_os_str().to_owned(), |count| end(path, count))
        };
        own.to_string_lossy().into_owned()
    };
    paths.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_one_stem_have_different_names() {
        let names = |paths: &[&str]| {
            let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
            super::names(&paths)
        };
        assert_eq!(names(&["/a/blog.zapp", "shop.zapp"]), ["blog", "shop"]);
        assert_eq!(
            names(&["/a/site.zapp", "/b/site.zapp", "/b/other.zapp"]),
            ["a/site.zapp", "b/site.zapp", "other"]
        );
        assert_eq!(
            names(&["/x/a/site.zapp", "/y/a/site.zapp", "/b/site.img"]),
            ["x/a/site.zapp", "y/a/site.zapp", "site.img"]
        );
        assert_eq!(names(&["/site", "site"]), ["/site", "site"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_replacement_is_taken_up_once_however_many_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, "old").unwrap();
        let (file, taken) = (Watched::new(&path), AtomicU64::new(0));
        let look = || {
            file.if_replaced(async || {
                taken.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(REST).await;
            })
        };
        assert_eq!(look().await, None);
        std::fs::write(&path, "another").unwrap();
        // The watcher and a signal at the same time.
        tokio::join!(look(), look(), look());
        assert_eq!(taken.load(Ordering::Relaxed), 1);
        assert_eq!(look().await, None);
    }

    #[tokio::test]
    async fn a_touched_image_is_not_started_again() {
        use imagefs::scan::{MtimePolicy, ScanOptions, scan};
        use imagefs::writer::{PackOptions, pack};
        let folder = tempfile::tempdir().unwrap();
        let (tree, path) = (folder.path().join("tree"), folder.path().join("image"));
        std::fs::create_dir(&tree).unwrap();
        let write = |text: &str| {
            std::fs::write(tree.join("index.html"), text).unwrap();
            let scanning = ScanOptions {
                mtime: MtimePolicy::Fixed(1),
                ..ScanOptions::default()
            };
            let tree = scan(&tree, &scanning).unwrap().tree;
            let options = PackOptions {
                force: true,
                ..PackOptions::default()
            };
            pack(tree, &options, &path, &|_| (), &false.into()).unwrap();
        };
        let options = Arc::new(HostingOptions {
            ceilings: crate::site::ceilings::Ceilings::default(),
            concurrency: 1,
            worker_memory_bytes: None,
            queue: 1,
            queue_timeout: REST,
            trust_file: false,
        });
        write("old");
        let known = load(&path, &options).await.unwrap().image.image_id();
        write("old");
        let other = load_other(&path, &known, &options).await.unwrap();
        assert!(other.is_none());
        write("new");
        let other = load_other(&path, &known, &options).await.unwrap();
        assert!(other.is_some());
    }
}
