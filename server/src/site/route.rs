//! From a canonical path to what answers it: a file, a script, a redirect, or a refusal.
//!
//! Deny rules are held to everything a path could mean: the path as requested, each prefix of it (a script may be followed by
//! `PATH_INFO`), and the same of the path that symlinks lead to. Rules about paths hold whatever is there; names are
//! refused where something has them, since a page that a front controller makes may be called as it likes. A symlink
//! that leaves the site's root leads nowhere.

use htaccess::Answer;
use imagefs::{Image, Ino, Kind};

use crate::site::language::PHP;
use crate::site::manifest::{Manifest, SiteSection};
use crate::site::path::{SitePath, encode};
use crate::site::symlinks::SYMLINKS_MAX;
use crate::site::types;

/// What answers a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A file, sent as it is.
    Static(StaticFile),
    /// A script.
    Script(Script),
    /// The path of a directory without its slash.
    Redirect(String),
    /// Rules of the site answer it themselves.
    Answer(Answer),
    /// A rule forbids it.
    Denied,
    /// Nothing is there.
    Missing,
}

/// A file to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StaticFile {
    pub(crate) ino: Ino,
    /// Path of the site that led to it, for header rules.
    pub(crate) path: Vec<u8>,
    pub(crate) media_type: String,
}

/// A script to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    /// Its path in the site, `/` first: `SCRIPT_NAME`.
    pub(crate) name: Vec<u8>,
    /// What follows it in the request.
    pub(crate) path_info: Option<Vec<u8>>,
    /// What rules of the site say of its request.
    pub(crate) ruled: Option<Box<Ruled>>,
}

/// What a script is told otherwise than the request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruled {
    /// The query as it was rewritten.
    pub(crate) query: Option<Vec<u8>>,
    /// Variables beside those of CGI.
    pub(crate) environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// Who has signed in, and how.
    pub(crate) user: Option<(Vec<u8>, String)>,
}

/// Where a walk along a path ended.
#[derive(Debug)]
struct Walked {
    ino: Ino,
    kind: Kind,
    /// The path after all symlinks, in the site.
    real: Vec<u8>,
    /// How many segments of the request were used; the rest is `PATH_INFO` of a file.
    used: usize,
}

/// Decides routes for one image.
#[derive(Debug)]
pub(crate) struct Router {
    image: Image,
    root: Ino,
    document_root: String,
    site: SiteSection,
}

impl Router {
    /// A router for an image; fails when the site's root is no directory of it.
    pub(crate) fn new(image: &Image, manifest: &Manifest) -> Result<Router, String> {
        let root_path = manifest.site.root.as_str();
        let root = if root_path.trim_matches('/').is_empty() {
            image.root()
        } else {
            image
                .resolve(image.root(), root_path.as_bytes(), true)
                .map_err(|e| format!("site.root {root_path}: {e}"))?
        };
        if image.kind(root) != Kind::Directory {
            return Err(format!("site.root {root_path}: not a directory"));
        }
        let router = Router {
            image: image.clone(),
            root,
            document_root: manifest.document_root(),
            site: manifest.site.clone(),
        };
        let parts = manifest.site.front_controllers.values();
        let parts = parts.map(|front| ("site.front_controllers", front));
        let whole = manifest.site.front_controller.iter();
        for (key, front) in whole
            .map(|front| ("site.front_controller", front))
            .chain(parts)
        {
            let path = SitePath::parse(front).map_err(|e| format!("{key}: {e}"))?;
            if router.script_at(&path).is_none() {
                return Err(format!("{key} {front}: not a script of the site"));
            }
        }
        Ok(router)
    }

    /// Where the site's files lie before programs, without a slash at the end.
    pub(crate) fn root_path(&self) -> &str {
        &self.document_root
    }

    /// Whether a path is forbidden, whatever else is made of it.
    pub(crate) fn refuses(&self, path: &SitePath) -> bool {
        let is_denied = |walked: Walked| {
            let asked = first_segments(path.as_bytes(), walked.used);
            self.is_denied(asked) || self.is_denied(&walked.real)
        };
        self.is_denied_path(path.as_bytes()) || self.walk(path).is_some_and(is_denied)
    }

    /// What answers a path.
    pub(crate) fn route(&self, path: &SitePath) -> Route {
        self.route_as(path, None)
    }

    /// The same, where a file is of this type whatever its name says.
    pub(crate) fn route_as(&self, path: &SitePath, media_type: Option<&str>) -> Route {
        if self.is_denied_path(path.as_bytes()) {
            return Route::Denied;
        }
        let Some(walked) = self.walk(path) else {
            return self.front_controller(path.as_bytes());
        };
        let count = path.segments().count();
        let asked = first_segments(path.as_bytes(), walked.used);
        if self.is_denied(asked) || self.is_denied(&walked.real) {
            return Route::Denied;
        }
        match walked.kind {
            Kind::Directory => self.directory(path, &walked, media_type),
            _ if walked.used < count || path.is_directory() => self.below_file(path, &walked),
            _ => self.file(path.as_bytes(), &walked, media_type),
        }
    }

    /// The path and the type of a script or file that exists and is allowed, for error pages.
    pub(crate) fn error_page(&self, path: &str) -> Option<StaticFile> {
        match self.route(&SitePath::parse(path).ok()?) {
            Route::Static(file) => Some(file),
            _ => None,
        }
    }

    fn directory(&self, path: &SitePath, walked: &Walked, media_type: Option<&str>) -> Route {
        for name in &self.site.index {
            let Some(ino) = self.image.child(walked.ino, name.as_bytes()) else {
                continue;
            };
            if !path.is_directory() {
                return Route::Redirect(path.directory_location());
            }
            let mut index = path.as_bytes().to_vec();
            index.extend_from_slice(name.as_bytes());
            if self.image.kind(ino) == Kind::Symlink {
                // As if it had been asked for by name: symlinks and rules are looked at again.
                match SitePath::parse(&encode(&index)) {
                    Ok(index) if self.walk(&index).is_some_and(|w| w.kind == Kind::Regular) => {
                        return self.route(&index);
                    }
                    _ => continue,
                }
            }
            if self.image.kind(ino) != Kind::Regular {
                continue;
            }
            let mut real = walked.real.clone();
            if !real.ends_with(b"/") {
                real.push(b'/');
            }
            real.extend_from_slice(name.as_bytes());
            if self.is_denied(&index) || self.is_denied(&real) {
                return Route::Denied;
            }
            let used = walked.used + 1;
            return self.file(
                &index,
                &Walked {
                    ino,
                    kind: Kind::Regular,
                    real,
                    used,
                },
                media_type,
            );
        }
        self.front_controller(path.as_bytes())
    }

    fn file(&self, path: &[u8], walked: &Walked, media_type: Option<&str>) -> Route {
        if types::is_script(path) || types::is_script(&walked.real) {
            return if self.may_run(path) && self.may_run(&walked.real) {
                Route::Script(Script {
                    name: path.to_vec(),
                    path_info: None,
                    ruled: None,
                })
            } else {
                Route::Denied
            };
        }
        match media_type.or_else(|| self.site.types.of(&walked.real)) {
            Some(media_type) => Route::Static(StaticFile {
                ino: walked.ino,
                path: path.to_vec(),
                media_type: media_type.to_owned(),
            }),
            None => Route::Denied,
        }
    }

    /// A path that goes on after a regular file: the rest is `PATH_INFO` of a script, and nothing otherwise.
    fn below_file(&self, path: &SitePath, walked: &Walked) -> Route {
        let mut name = Vec::new();
        let mut rest = Vec::new();
        for (index, segment) in path.segments().enumerate() {
            let side = if index < walked.used {
                &mut name
            } else {
                &mut rest
            };
            side.push(b'/');
            side.extend_from_slice(segment);
        }
        if path.is_directory() {
            rest.push(b'/');
        }
        if !types::is_script(&name) && !types::is_script(&walked.real) {
            return self.front_controller(path.as_bytes());
        }
        if self.may_run(&name) && self.may_run(&walked.real) {
            Route::Script(Script {
                name,
                path_info: Some(rest),
                ruled: None,
            })
        } else {
            Route::Denied
        }
    }

    /// What answers a path where nothing is.
    pub(crate) fn front_controller(&self, path: &[u8]) -> Route {
        let whole = path.strip_suffix(b"/").unwrap_or(path);
        let parts = self.site.front_controllers.iter();
        let part = (parts.filter(|(pattern, _)| pattern.matches(whole)))
            .max_by_key(|(pattern, _)| pattern.text().len());
        match part
            .map(|(_, front)| front)
            .or(self.site.front_controller.as_ref())
        {
            Some(front) => Route::Script(Script {
                name: front.as_bytes().to_vec(),
                path_info: None,
                ruled: None,
            }),
            None => Route::Missing,
        }
    }

    fn script_at(&self, path: &SitePath) -> Option<Ino> {
        let walked = self.walk(path)?;
        let whole = walked.used == path.segments().count() && walked.kind == Kind::Regular;
        (whole && self.may_run(path.as_bytes())).then_some(walked.ino)
    }

    /// Only lower-case `.php` runs, and only where the manifest says.
    fn may_run(&self, path: &[u8]) -> bool {
        PHP.runs(path)
            && self
                .site
                .php
                .as_ref()
                .is_none_or(|php| php.iter().any(|p| p.matches(path)))
    }

    /// Whether a rule forbids something that is there, by its path, its name or those of the directories above it.
    fn is_denied(&self, path: &[u8]) -> bool {
        let whole = path.strip_suffix(b"/").unwrap_or(path);
        let mut segments = whole.split(|&b| b == b'/').skip(1).enumerate();
        segments.any(|(depth, name)| is_always_denied(name, depth == 0))
            || self.site.deny.iter().any(|p| p.matches_within(whole))
    }

    /// Whether a rule forbids a path or one of its prefixes, whatever is there.
    fn is_denied_path(&self, path: &[u8]) -> bool {
        let whole = path.strip_suffix(b"/").unwrap_or(path);
        let mut paths = self.site.deny.iter().filter(|pattern| !pattern.is_name());
        paths.any(|pattern| pattern.matches_within(whole))
    }

    /// Follows a path from the site's root to the first regular file, or to its end. Symlinks are followed inside the
    /// site only: absolute targets are paths of programs and must lie below its root.
    fn walk(&self, path: &SitePath) -> Option<Walked> {
        let image = &self.image;
        // Directories from the site's root to where the walk is, with the name of each.
        let mut stack: Vec<(Ino, Vec<u8>)> = vec![(self.root, Vec::new())];
        let mut links = 0;
        let mut used = 0;
        for segment in path.segments() {
            used += 1;
            let mut pending: Vec<Vec<u8>> = vec![segment.to_vec()];
            while let Some(name) = pending.pop() {
                let at = stack.last().expect("the root stays").0;
                match name.as_slice() {
                    b"" | b"." => continue,
                    _ if image.kind(at) != Kind::Directory => return None,
                    b".." if stack.len() == 1 => return None,
                    b".." => {
                        stack.pop();
                        continue;
                    }
                    _ => {}
                }
                let next = image.child(at, &name)?;
                if image.kind(next) != Kind::Symlink {
                    stack.push((next, name));
                    continue;
                }
                links += 1;
                if links > SYMLINKS_MAX {
                    return None;
                }
                let target = image.read_link(next).expect("it is a symlink");
                let target = match target.strip_prefix(b"/") {
                    Some(_) => {
                        stack.truncate(1);
                        self.below_root(target)?
                    }
                    None => target.to_vec(),
                };
                pending.extend(target.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
            }
            let at = stack.last().expect("the root stays").0;
            if image.kind(at) == Kind::Regular {
                break;
            }
        }
        let mut real = Vec::new();
        for (_, name) in &stack[1..] {
            real.push(b'/');
            real.extend_from_slice(name);
        }
        if real.is_empty() {
            real.push(b'/');
        }
        let ino = stack.last().expect("the root stays").0;
        Some(Walked {
            ino,
            kind: image.kind(ino),
            real,
            used,
        })
    }

    /// An absolute target as a path below the site's root.
    fn below_root(&self, target: &[u8]) -> Option<Vec<u8>> {
        let rest = target.strip_prefix(self.document_root.as_bytes())?;
        (rest.is_empty() || rest.starts_with(b"/")).then(|| rest.to_vec())
    }
}

/// The beginning of a path that has so many segments.
fn first_segments(path: &[u8], count: usize) -> &[u8] {
    let mut slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    slashes.nth(count).map_or(path, |(end, _)| &path[..end])
}

/// Hidden names (but `.well-known`), the manifest, back-ups of editors, and what only PHP reads.
fn is_always_denied(name: &[u8], is_at_root: bool) -> bool {
    let hidden = name.starts_with(b".") && !(is_at_root && name == b".well-known");
    let extension = name.rsplit(|&b| b == b'.').next().unwrap_or(name);
    let unreadable = name.contains(&b'.')
        && types::is_never_static(extension)
        && !types::is_script(name)
        && !extension.eq_ignore_ascii_case(b"toml");
    hidden || name.ends_with(b"~") || unreadable || (is_at_root && name == b"zapp.toml")
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
