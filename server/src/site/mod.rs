//! What an image says about its site, and what a request means there. Pure: nothing here waits, serves or runs.

pub(crate) mod apps;
pub(crate) mod ceilings;
pub(crate) mod cgi;
pub(crate) mod home;
pub(crate) mod language;
pub(crate) mod manifest;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod read_only;
pub(crate) mod route;
mod rule_files;
pub(crate) mod rules;
pub(crate) mod symlinks;
mod types;
pub(crate) mod units;

use std::sync::Arc;

use imagefs::{Image, Kind};
use worker::{Bootstrap, BootstrapKind, Pairs, RequestLimits, Setup};

use crate::site::apps::Application;
use crate::site::ceilings::Ceilings;
use crate::site::home::Home;
use crate::site::language::PHP;
use crate::site::manifest::{Manifest, ManifestError, SnapshotLevel};
use crate::site::path::{Host, SitePath};
use crate::site::route::{Route, Router, Script};
use crate::site::rules::{Asked, SiteRules};

/// Host name of warm-up requests.
const WARM_UP_HOST: &str = "localhost";

/// The site in an image: everything that is known about it without running it.
#[derive(Debug)]
pub struct Site {
    pub(crate) image: Image,
    pub(crate) manifest: Manifest,
    pub(crate) router: Arc<Router>,
    /// What its `.htaccess` files say.
    pub(crate) rules: Option<Arc<SiteRules>>,
    pub(crate) limits: RequestLimits,
    /// Host names that the manifest asks for, as requests name them.
    pub(crate) hosts: Vec<Host>,
}

/// Why an image cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// Its manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The image does not give something out.
    #[error(transparent)]
    Image(#[from] imagefs::Error),
    /// Its `.htaccess` files hold too much.
    #[error(transparent)]
    Rules(#[from] htaccess::LoadError),
    /// Its manifest asks for something that is not in the image, or not so.
    #[error("zapp.toml: {0}")]
    Misfit(String),
}

impl Site {
    /// Reads an image's manifest and holds it against what lies in the image.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn of(image: Image, ceilings: &Ceilings) -> Result<Site, SiteError> {
        let mut manifest = Manifest::of_image(&image)?;
        if let Some(level) = ceilings.snapshot {
            manifest.warmup.snapshot = level;
        }
        let router = Router::new(&image, &manifest).map_err(SiteError::Misfit)?;
        let router = Arc::new(router);
        let rules = SiteRules::of(&image, &manifest, &router)?.map(Arc::new);
        let site = Site {
            limits: ceilings.over(&manifest.limits),
            hosts: (manifest.site.hosts.iter())
                .filter_map(|name| Host::parse(name).ok())
                .collect(),
            image,
            manifest,
            router,
            rules,
        };
        site.check_pages()?;
        site.check_database()?;
        Ok(site)
    }

    /// Error pages must be files that may be sent.
    fn check_pages(&self) -> Result<(), SiteError> {
        let pages = self.manifest.site.errors.iter();
        let pages = pages.map(|(status, page)| (format!("site.errors.{status}"), page));
        let own = self.manifest.read_only.page.iter();
        for (key, page) in pages.chain(own.map(|page| ("read_only.page".to_owned(), page))) {
            if self.router.error_page(page).is_none() {
                let what = format!("{key} {page}: no file of the site that may be sent");
                return Err(SiteError::Misfit(what));
            }
        }
        Ok(())
    }

    fn check_database(&self) -> Result<(), SiteError> {
        let Some(database) = &self.manifest.database else {
            return Ok(());
        };
        let path = &database.sqlite;
        let found = (self.image).resolve(self.image.root(), path.as_bytes(), true);
        if found.is_ok_and(|ino| self.image.kind(ino) == Kind::Regular) {
            return Ok(());
        }
        let what = format!("database.sqlite {path}: no such file in the image");
        Err(SiteError::Misfit(what))
    }

    /// What a worker is told that runs so many instances at once; `None` when the image has no program.
    ///
    /// # Errors
    /// When the manifest names a program, or requests to warm up with, that the image does not have.
    pub fn setup(&self, concurrency: u32) -> Result<Option<Setup>, SiteError> {
        let is_there = |path: &str| {
            let found = (self.image).resolve(self.image.root(), path.as_bytes(), true);
            found.is_ok()
        };
        let entry = match self.manifest.entry() {
            Some(entry) => entry.to_owned(),
            None if is_there(PHP.program) => PHP.program.to_owned(),
            None => return Ok(None),
        };
        if !is_there(&entry) {
            let what = format!("program.entry {entry}: no such file in the image");
            return Err(SiteError::Misfit(what));
        }
        let snapshot = self.manifest.warmup.snapshot != SnapshotLevel::None;
        let variables = self.manifest.program.env.iter();
        Ok(Some(Setup {
            arguments: self.manifest.arguments(&entry, &self.php_settings()),
            environment: variables
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            limits: self.limits,
            concurrency,
            warmup: if snapshot {
                self.warm_up_requests()?
            } else {
                Vec::new()
            },
            compile: self.compile(&entry).filter(|_| snapshot),
            at: self.manifest.home().path().to_owned(),
            entry,
            snapshot,
            bootstrap: self.bootstrap()?,
        }))
    }

    /// The request that has PHP compile what no warm-up request has loaded, in half of the time that a request has.
    fn compile(&self, entry: &str) -> Option<Pairs> {
        let is_known = entry == PHP.program && self.manifest.program.args.is_none();
        let patience_ms = self.limits.cpu_ms.min(self.limits.wall_ms) / 2;
        let root = Home::new(&self.manifest.document_root());
        let script = Script {
            name: PHP.first.to_vec(),
            path_info: None,
            ruled: None,
        };
        let request = cgi::warm_up("/", root.path(), WARM_UP_HOST, &script);
        (is_known && self.manifest.warmup.compile != Some(false))
            .then(|| PHP.compile(request, root.path(), patience_ms))
    }

    /// Lines of php.ini that `.htaccess` files say for the whole site.
    fn php_settings(&self) -> Vec<(String, String)> {
        let rules = self.rules.as_ref();
        rules.map_or_else(Vec::new, |rules| rules.php_settings())
    }

    /// How the site's bootstrap is reached, when the manifest wants a snapshot behind it.
    fn bootstrap(&self) -> Result<Option<Bootstrap>, SiteError> {
        if self.manifest.warmup.snapshot != SnapshotLevel::AfterBootstrap {
            return Ok(None);
        }
        let section = &self.manifest.site;
        let Some(front) = &section.front_controller else {
            let what = "warmup.snapshot after-bootstrap needs site.front_controller";
            return Err(SiteError::Misfit(what.to_owned()));
        };
        let script = Script {
            name: front.clone().into_bytes(),
            path_info: None,
            ruled: None,
        };
        let kind = match self.manifest.application {
            Some(Application::WordPress) => BootstrapKind::WordPress,
            None => BootstrapKind::Call,
        };
        Ok(Some(Bootstrap {
            kind,
            request: cgi::warm_up("/", &self.manifest.document_root(), WARM_UP_HOST, &script),
            hosts: section.hosts.clone(),
        }))
    }

    fn warm_up_requests(&self) -> Result<Vec<Pairs>, SiteError> {
        let misfit = |url: &str, what: &str| SiteError::Misfit(format!("warmup.urls: {url}{what}"));
        let request = |url: &String| {
            let raw = url.split('?').next().unwrap_or_default();
            let path = SitePath::parse(raw).map_err(|why| misfit(url, &format!(": {why}")))?;
            let route = match &self.rules {
                Some(rules) => rules.rule(&Asked::warm_up(url, path, WARM_UP_HOST)).route,
                None => self.router.route(&path),
            };
            match route {
                Route::Script(script) => {
                    let root = &self.manifest.document_root();
                    Ok(cgi::warm_up(url, root, WARM_UP_HOST, &script))
                }
                _ => Err(misfit(url, " is not answered by a script")),
            }
        };
        self.manifest.warmup.urls.iter().map(request).collect()
    }
}
