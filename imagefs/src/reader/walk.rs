//! One walk over the names of an image.

use super::{DirEntry, Image, Ino, Kind};

/// Visits everything below a directory; see [`Image::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    image: &'a Image,
    /// The directories from the start to the one whose entries are being visited: at most
    /// [`DEPTH_MAX`](crate::format::DEPTH_MAX) and one.
    levels: Vec<Level>,
    path: Vec<u8>,
    /// The entry visited last, when it is a directory that has not been entered yet.
    ahead: Option<Ino>,
}

#[derive(Debug)]
struct Level {
    dir: Ino,
    /// Its next entry.
    next: u32,
    /// Length of its path.
    path: usize,
}

impl Image {
    /// Visits every name below a directory: each directory before what is in it, and that in byte order of names, at once
    /// after it. Takes memory for one path only, however large the image is.
    ///
    /// ```no_run
    /// # let image = imagefs::Image::open("x.zapp")?;
    /// let mut walk = image.walk(image.root());
    /// while let Some(entry) = walk.next() {
    ///     println!("{} {:?}", imagefs::printable(walk.path()), entry.kind);
    /// }
    /// # Ok::<(), imagefs::Error>(())
    /// ```
    pub fn walk(&self, dir: Ino) -> Walk<'_> {
        Walk {
            image: self,
            levels: Vec::new(),
            path: Vec::new(),
            ahead: Some(dir),
        }
    }
}

impl<'a> Walk<'a> {
    /// The next name.
    #[expect(
        clippy::should_implement_trait,
        reason = "a `for` loop could not ask for the path"
    )]
    pub fn next(&mut self) -> Option<DirEntry<'a>> {
        if let Some(dir) = self.ahead.take() {
            self.levels.push(Level {
                dir,
                next: 0,
                path: self.path.len(),
            });
        }
        loop {
            let level = self.levels.last_mut()?;
            self.path.truncate(level.path);
            let Some(entry) = self.image.dir_entry(level.dir, level.next) else {
                self.levels.pop();
                continue;
            };
            level.next += 1;
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(entry.name);
            self.ahead = (entry.kind == Kind::Directory).then_some(entry.ino);
            return Some(entry);
        }
    }

    /// Path of the name visited last, from the directory where the walk began, without a slash at either end.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The directories that the name visited last is in, the one where the walk began first.
    pub fn above(&self) -> impl Iterator<Item = Ino> {
        self.levels.iter().map(|level| level.dir)
    }

    /// Leaves out what is in the directory visited last.
    pub fn skip(&mut self) {
        self.ahead = None;
    }
}
