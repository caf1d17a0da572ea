//! Which names are extracted.

use std::path::Path;

use globset::GlobSet;

use super::place::os;
use crate::error::Error;
use crate::reader::{Image, Ino};
use crate::scan::globs;

/// The names that globs select.
pub(super) struct Selection {
    /// `None`: everything.
    globs: Option<GlobSet>,
    /// For each directory, whether something below it is selected.
    above: Vec<bool>,
}

impl Selection {
    pub(super) fn new(image: &Image, patterns: &[String]) -> Result<Selection, Error> {
        if patterns.is_empty() {
            return Ok(Selection {
                globs: None,
                above: Vec::new(),
            });
        }
        let mut selection = Selection {
            globs: Some(globs(patterns)?),
            above: vec![false; image.dir_count() as usize],
        };
        let mut walk = image.walk(image.root());
        while walk.next().is_some() {
            if selection.matches(walk.path()) {
                for dir in walk.above() {
                    selection.above[dir.index() as usize] = true;
                }
                walk.skip();
            }
        }
        Ok(selection)
    }

    /// Whether there is nothing to choose.
    pub(super) fn everything(&self) -> bool {
        self.globs.is_none()
    }

    /// Whether a glob selects this path itself.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.globs
            .as_ref()
            .is_some_and(|globs| globs.is_match(Path::new(os(path))))
    }

    /// Whether something below a directory is selected.
    pub(super) fn leads_to_match(&self, dir: Ino) -> bool {
        self.above
            .get(dir.index() as usize)
            .copied()
            .unwrap_or(true)
    }
}
