//! A site's `.htaccess` files and what they make of a request. The rules themselves are the crate `htaccess`; here they meet
//! the image's files, the manifest and the router.
//!
//! The files are read again from the image each time it is opened: what is stored is what somebody wrote and can check,
//! an image of another version of this program says the same, and the ceilings of `htaccess::limits` bound what a
//! hostile one costs. The manifest and what is never sent come first, for the path as it was asked for and again for
//! the one it was rewritten to.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use htaccess::limits::{FILE_BYTES_MAX, FILES_MAX, TOTAL_BYTES_MAX};
use htaccess::{
    Answer, Decision, Exhausted, Existing, Files, Finding, Handler, Outcome, Request, Response,
    Rules, Table, Target,
};
use imagefs::{Image, Ino, Kind};

use crate::site::SiteError;
use crate::site::apps::Look;
use crate::site::manifest::Manifest;
use crate::site::path::{SitePath, encode};
use crate::site::route::{Route, Router, Ruled, Script};
use crate::site::rule_files::{InImage, InSite, Reading};

/// What the files are called.
pub const HTACCESS: &str = ".htaccess";

/// The directory of such a file, as a path from the top, and what the file holds.
pub type Input = (Vec<u8>, Vec<u8>);

/// Pages of errors that may fail themselves, before the plain answer is given.
const FAILURES_MAX: u32 = 2;

/// The rules of a site.
#[derive(Debug)]
pub(crate) struct SiteRules {
    rules: Rules,
    files: InImage,
    router: Arc<Router>,
    /// Files of passwords and groups: never sent.
    secret: Vec<Ino>,
}

/// A request, as rules see it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query as they came.
    pub(crate) target: String,
    pub(crate) path: SitePath,
    pub(crate) protocol: &'static str,
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) headers: Table,
    pub(crate) remote: (IpAddr, u16),
    pub(crate) server: IpAddr,
    /// In seconds since 1970.
    pub(crate) time: i64,
}

impl Asked {
    fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            target: self.target.as_bytes(),
            path: self.path.as_bytes(),
            query: self
                .target
                .split_once('?')
                .map(|(_, query)| query.as_bytes()),
            protocol: self.protocol,
            https: self.https,
            host: &self.host,
            port: self.port,
            headers: &self.headers,
            remote: self.remote.0,
            remote_port: self.remote.1,
            server: self.server,
            time: self.time,
        }
    }

    /// A GET of nobody's, as warm-up requests are.
    pub(crate) fn warm_up(target: &str, path: SitePath, host: &str) -> Asked {
        let localhost = IpAddr::from([127, 0, 0, 1]);
        Asked {
            method: "GET".to_owned(),
            target: target.to_owned(),
            path,
            protocol: "HTTP/1.1",
            https: false,
            host: host.to_owned(),
            port: 80,
            headers: [("Host", host)].into_iter().collect(),
            remote: (localhost, 0),
            server: localhost,
            time: 0,
        }
    }
}

/// What rules make of a request.
#[derive(Debug)]
pub(crate) struct Ruling {
    pub(crate) route: Route,
    /// Missing when the manifest forbids it already.
    decision: Option<Decision>,
}

impl Ruling {
    /// The error that this is the page of.
    pub(crate) fn error(&self) -> Option<u16> {
        match self.decision.as_ref().map(|decision| &decision.outcome) {
            Some(Outcome::Serve(target)) if target.status != 200 => Some(target.status),
            _ => None,
        }
    }

    /// Whether the method became GET, because this is the page of an error.
    pub(crate) fn is_get(&self) -> bool {
        match self.decision.as_ref().map(|decision| &decision.outcome) {
            Some(Outcome::Serve(target)) => target.as_get,
            _ => false,
        }
    }

    /// `Content-Encoding` and `Content-Language` of a file, by its name.
    pub(crate) fn content(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        match (&self.route, &self.decision) {
            (Route::Static(_), Some(decision)) => {
                let kind = decision.media_type();
                (kind.encoding, kind.language)
            }
            _ => (None, None),
        }
    }

    /// The request's headers, when rules have changed them.
    pub(crate) fn request_headers(&self) -> Option<&Table> {
        self.decision.as_ref()?.request_headers()
    }
}

impl SiteRules {
    /// The rules of the site in an image; none when it has no such file or its manifest does not want them.
    ///
    /// # Errors
    /// When there is more of something than a site may have.
    pub(crate) fn of(
        image: &Image,
        manifest: &Manifest,
        router: &Arc<Router>,
    ) -> Result<Option<SiteRules>, SiteError> {
        if manifest.site.htaccess == Some(false) {
            return Ok(None);
        }
        let files = InImage {
            image: image.clone(),
            home: manifest.home(),
        };
        let inputs = in_image(&files, &manifest.document_root())?;
        if inputs.is_empty() {
            return Ok(None);
        }
        let reading = Reading {
            files: &files,
            secret: RefCell::default(),
        };
        let rules = read(manifest, &inputs, &reading)?;
        let secret = reading.secret.into_inner();
        Ok(Some(SiteRules {
            rules,
            secret,
            files,
            router: Arc::clone(router),
        }))
    }

    /// What the rules make of a request, if that costs little.
    pub(crate) fn rule_soon(&self, asked: &Asked) -> Option<Ruling> {
        if self.router.refuses(&asked.path) {
            return Some(Ruling {
                route: Route::Denied,
                decision: None,
            });
        }
        let decision = self.rules.decide_soon(&asked.request(), &self.files)?;
        Some(self.settle(asked, decision))
    }

    /// What the rules make of a request, whatever it costs: up to a second where rules are hostile or a password is checked.
    pub(crate) fn rule(&self, asked: &Asked) -> Ruling {
        self.rule_soon(asked).unwrap_or_else(|| {
            let decision = self.rules.decide(&asked.request(), &self.files);
            self.settle(asked, decision)
        })
    }

    /// Changes the headers of an answer to what was decided.
    ///
    /// # Errors
    /// When they would cost too much: the answer must not be sent.
    pub(crate) fn finish(
        &self,
        asked: &Asked,
        ruling: &Ruling,
        response: &mut Response,
    ) -> Result<(), Exhausted> {
        match &ruling.decision {
            Some(decision) => {
                (self.rules).finish(&asked.request(), &self.files, decision, response)
            }
            None => Ok(()),
        }
    }

    /// The lines of php.ini that hold for the whole site: those of its document root.
    pub(crate) fn php_settings(&self) -> Vec<(String, String)> {
        let root = SitePath::parse("/").expect("the shortest path");
        let asked = Asked::warm_up("/", root, "localhost");
        let decision = self.rules.decide_soon(&asked.request(), &self.files);
        decision.map_or_else(Vec::new, |decision| decision.php_settings().to_vec())
    }

    /// From a decision to what answers, by way of the pages of errors that are met.
    fn settle(&self, asked: &Asked, mut decision: Decision) -> Ruling {
        let mut failures = 0;
        loop {
            let route = match &decision.outcome {
                Outcome::Answer(answer) => Ok(Route::Answer(answer.clone())),
                Outcome::Serve(target) => self.route(target, &decision),
            };
            let status = match route {
                Ok(route) => {
                    return Ruling {
                        route,
                        decision: Some(decision),
                    };
                }
                Err(status) => status,
            };
            failures += 1;
            if failures > FAILURES_MAX {
                let route = Route::Answer(bare(status));
                let decision = Some(decision);
                return Ruling { route, decision };
            }
            decision = (self.rules).fail(&asked.request(), &self.files, &decision, status);
        }
    }

    /// What answers a target, or the status of what is wrong with it.
    fn route(&self, target: &Target, decision: &Decision) -> Result<Route, u16> {
        let whole = self.router.root_path();
        let path = target.file.strip_prefix(whole.as_bytes()).ok_or(404_u16)?;
        let path = SitePath::parse(&encode(path)).map_err(|_| 403_u16)?;
        if self.router.refuses(&path) {
            return Err(403);
        }
        let front = |uri: &[u8]| match self.router.front_controller(uri) {
            Route::Script(script) => Ok(ruled(script, target, decision)),
            _ => Err(404),
        };
        if target.exists != Existing::File {
            return front(&target.uri);
        }
        let kind = decision.media_type();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        let charset = kind.charset.and_then(text);
        let given = kind.name.and_then(text).map(|name| match charset {
            Some(charset) => format!("{name}; charset={charset}"),
            None => name,
        });
        match self.router.route_as(&path, given.as_deref()) {
            Route::Script(_) if target.handler == Handler::Never => Err(403),
            Route::Script(script) => {
                let path_info = Some(target.path_info.clone()).filter(|info| !info.is_empty());
                let path_info = script.path_info.or(path_info);
                let name = script.name;
                let script = Script {
                    name,
                    path_info,
                    ruled: None,
                };
                Ok(ruled(script, target, decision))
            }
            Route::Static(file) if self.secret.contains(&file.ino) => Err(403),
            Route::Static(file) if target.handler == Handler::Php => {
                let path_info = Some(target.path_info.clone()).filter(|info| !info.is_empty());
                let script = Script {
                    name: file.path,
                    path_info,
                    ruled: None,
                };
                Ok(ruled(script, target, decision))
            }
            Route::Static(_) if !target.path_info.is_empty() => front(&target.uri),
            Route::Static(file) => Ok(Route::Static(file)),
            Route::Denied => Err(403),
            _ => front(&target.uri),
        }
    }
}

/// A script with what rules say of its request.
fn ruled(mut script: Script, target: &Target, decision: &Decision) -> Route {
    let environment = decision.environment();
    let pairs = environment
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()));
    let user = decision.user();
    script.ruled = Some(Box::new(Ruled {
        query: target.query.clone(),
        environment: pairs.collect(),
        user: user.map(|(name, kind)| (name.to_vec(), kind.to_owned())),
    }));
    Route::Script(script)
}

/// An answer of nothing but a status.
fn bare(status: u16) -> Answer {
    Answer {
        status,
        location: None,
        text: None,
        exhausted: None,
    }
}

/// What the files of a site say that is not done here.
///
/// # Errors
/// When there is more of something than a site may have.
pub fn findings(
    manifest: &Manifest,
    inputs: &[Input],
    site: &dyn Look,
) -> Result<Vec<Finding>, SiteError> {
    if manifest.site.htaccess == Some(false) {
        return Ok(Vec::new());
    }
    let home = manifest.home();
    let at_home = |(directory, bytes): &Input| {
        let directory = [home.outside("").as_bytes(), directory].concat();
        (directory, bytes.clone())
    };
    let inputs: Vec<Input> = inputs.iter().map(at_home).collect();
    let files = InSite {
        site,
        home: home.clone(),
    };
    let rules = read(manifest, &inputs, &files)?;
    let mut findings = rules.findings().to_vec();
    for finding in &mut findings {
        // Who packs knows the file by its path in the tree.
        if let Some(file) = finding.file.strip_prefix(&home.outside("")) {
            finding.file = file.to_owned();
        }
    }
    Ok(findings)
}

fn read(manifest: &Manifest, inputs: &[Input], files: &dyn Files) -> Result<Rules, SiteError> {
    let root = manifest.document_root();
    let site = htaccess::Site {
        document_root: root.as_bytes(),
        index: &manifest.site.index,
    };
    Rules::read(&site, inputs, files).map_err(SiteError::Rules)
}

/// The files below an image's document root.
fn in_image(files: &InImage, root: &str) -> Result<Vec<Input>, SiteError> {
    let image = &files.image;
    let mut inputs = Vec::new();
    let mut total = 0;
    let root = root.as_bytes();
    let Some(top) = files.find(root) else {
        return Ok(inputs);
    };
    let mut directories = vec![(root.to_vec(), top.0)];
    while let Some((path, directory)) = directories.pop() {
        for entry in image.read_dir(directory) {
            let full = [&path, &b"/"[..], entry.name].concat();
            if entry.kind == Kind::Directory {
                directories.push((full, entry.ino));
                continue;
            }
            if entry.name != HTACCESS.as_bytes() {
                continue;
            }
            let Some((ino, _)) = files.find(&full) else {
                continue;
            };
            let stat = image.stat(ino);
            let size = usize::try_from(stat.size).unwrap_or(usize::MAX);
            total += size.min(TOTAL_BYTES_MAX);
            let is_much =
                size > FILE_BYTES_MAX || total > TOTAL_BYTES_MAX || inputs.len() > FILES_MAX;
            if stat.kind != Kind::Regular || is_much {
                let what = "no regular file, or more than a site may have of them";
                let name = String::from_utf8_lossy(&full).into_owned();
                return Err(SiteError::Misfit(format!("{name}: {what}")));
            }
            let bytes = image.bytes(ino).map_err(SiteError::Image)?;
            inputs.push((path.clone(), bytes.into_owned()));
        }
    }
    Ok(inputs)
}
