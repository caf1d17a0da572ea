//! The files of a site, as its `.htaccess` rules ask about them.

use std::cell::RefCell;

use htaccess::{Files, Stat};
use imagefs::{Image, Ino, Kind};

use crate::site::apps::Look;
use crate::site::home::Home;
use crate::site::symlinks::follow;

/// The files of an image, as rules ask about them.
#[derive(Debug)]
pub(super) struct InImage {
    pub(super) image: Image,
    pub(super) home: Home,
}

impl InImage {
    /// What a path leads to, and its path without symlinks.
    pub(super) fn find(&self, path: &[u8]) -> Option<(Ino, Vec<u8>)> {
        let (image, home) = (&self.image, &self.home);
        let path = home.inside(path)?;
        let child = |at, name: &[u8]| image.child(at, name);
        let stack = follow(image.root(), home, path, child, |ino| image.read_link(ino))?;
        let names: Vec<&[u8]> = stack.iter().map(|(_, name)| &name[..]).collect();
        let ino = stack.last().expect("the top stays").0;
        Some((
            ino,
            [home.outside("").as_bytes(), &names.join(&b'/')].concat(),
        ))
    }

    fn plain(&self, path: &[u8]) -> Option<Ino> {
        let path = self.home.inside(path)?;
        let path = path.strip_prefix(b"/").unwrap_or(path);
        self.image.lookup(path.strip_suffix(b"/").unwrap_or(path))
    }
}

impl Files for InImage {
    fn stat(&self, path: &[u8]) -> Option<Stat> {
        let direct = self
            .plain(path)
            .filter(|ino| self.image.kind(*ino) != Kind::Symlink);
        let ino = direct.or_else(|| Some(self.find(path)?.0))?;
        let stat = self.image.stat(ino);
        Some(Stat {
            kind: kind(stat.kind),
            size: stat.size,
            modified: stat.mtime,
            executable: stat.mode & 0o111 != 0,
            linked: direct.is_none(),
        })
    }

    fn is_symlink(&self, path: &[u8]) -> bool {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let slash = path.iter().rposition(|&b| b == b'/');
        let (above, name) = path.split_at(slash.map_or(0, |slash| slash + 1));
        let child = self
            .find(above)
            .and_then(|(at, _)| self.image.child(at, name));
        child.is_some_and(|ino| self.image.kind(ino) == Kind::Symlink)
    }

    fn real_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        Some(self.find(path)?.1)
    }
}

/// The same while rules are read: whatever is read then holds passwords or groups.
pub(super) struct Reading<'a> {
    pub(super) files: &'a InImage,
    pub(super) secret: RefCell<Vec<Ino>>,
}

impl Files for Reading<'_> {
    fn stat(&self, path: &[u8]) -> Option<Stat> {
        self.files.stat(path)
    }

    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>> {
        let image = &self.files.image;
        let (ino, _) = self.files.find(path)?;
        let fits = image.stat(ino).size <= u64::try_from(max).ok()?;
        if image.kind(ino) != Kind::Regular || !fits {
            return None;
        }
        self.secret.borrow_mut().push(ino);
        image.bytes(ino).ok().map(Into::into)
    }
}

/// The files of a site that is not an image yet.
pub(super) struct InSite<'a> {
    pub(super) site: &'a dyn Look,
    pub(super) home: Home,
}

impl InSite<'_> {
    fn inside<'p>(&self, path: &'p [u8]) -> Option<&'p str> {
        let path = std::str::from_utf8(self.home.inside(path)?).ok()?;
        Some(path.trim_matches('/'))
    }
}

impl Files for InSite<'_> {
    fn stat(&self, path: &[u8]) -> Option<Stat> {
        Some(Stat {
            kind: kind(self.site.kind(self.inside(path)?)?),
            size: 0,
            modified: 0,
            executable: false,
            linked: false,
        })
    }

    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>> {
        let path = self.inside(path)?;
        self.site.read(path, u64::try_from(max).ok()?).ok()?
    }
}

fn kind(kind: Kind) -> htaccess::Kind {
    match kind {
        Kind::Regular => htaccess::Kind::File,
        Kind::Directory => htaccess::Kind::Directory,
        _ => htaccess::Kind::Other,
    }
}
