//! Which names are extracted.

use std::path::Path;

use globset::GlobSet;

use super::place::os;
use crate::error::Error;
use crate::reader::{Image, Ino, Kind};
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
        let mut path = Vec::new();
        let mut stack = vec![(image.root(), 0, 0)];
        while let Some((dir, next, above)) = stack.last_mut() {
            path.truncate(*above);
            let Some(entry) = image.dir_entry(*dir, *next) else {
                stack.pop();
                continue;
            };
            *next += 1;
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name);
            if selection.matches(&path) {
                for (dir, ..) in &stack {
                    selection.above[dir.index() as usize] = true;
                }
            } else if entry.kind == Kind::Directory {
                stack.push((entry.ino, 0, path.len()));
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
