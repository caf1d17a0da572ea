//! From a path to what lies there, and to the sections that hold for it: directories from the root down, then `<Files>`,
//! then `<If>`.

use std::sync::Arc;

use super::Engine;
use crate::files::Kind;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::section::{Branch, IfSection, Section};
use crate::uri;

impl Engine<'_> {
    /// Finds what a request's file name leads to, and its section. Gives a status when the way there is barred.
    pub(super) fn find_section(&mut self, hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        let Some(path) = uri::normalise(&hit.filename) else {
            return Ok(Some(400));
        };
        self.budget.spend(path.len())?;
        hit.filename = path;
        let barred = self.walk_directories(hit)?;
        if barred.is_some() {
            return Ok(barred);
        }
        self.walk_files(hit)?;
        self.walk_ifs(hit)?;
        Ok(None)
    }

    fn walk_directories(&mut self, hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        let stat = self.stat(&hit.filename);
        let is_file_with_slash =
            stat.is_some_and(|stat| !stat.is_directory()) && hit.filename.ends_with(b"/");
        let direct = stat.filter(|stat| !stat.linked && !is_file_with_slash);
        let Some(stat) = direct else {
            return self.walk_names(hit);
        };
        if stat.kind == Kind::Other {
            return Ok(Some(403));
        }
        let directory = match stat.is_directory() {
            true => hit.filename.as_slice(),
            false => uri::parent(&hit.filename),
        };
        hit.section = self.rules.section(directory);
        hit.stat = Some(stat);
        Ok(None)
    }

    /// Name by name: for paths that go on behind a file, that lead nowhere, or through symbolic links.
    fn walk_names(&mut self, hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        let rules = self.rules;
        let root = &rules.document_root;
        let full = std::mem::take(&mut hit.filename);
        let Some(below) = full.strip_prefix(root.as_slice()).map(<[u8]>::to_vec) else {
            hit.stat = self.stat(&full);
            hit.filename = full;
            return Ok(None);
        };
        let mut path = root.clone();
        let mut rest = below.as_slice();
        let mut section = rules.section(root);
        hit.stat = self.stat(match root.is_empty() {
            true => b"/",
            false => root,
        });
        loop {
            let name_start = rest.iter().take_while(|&&b| b == b'/').count();
            let name = &rest[name_start..];
            if name.is_empty() {
                // A slash at the end belongs to the directory's name.
                path.extend_from_slice(rest);
                rest = b"";
                break;
            }
            let len = name.iter().position(|&b| b == b'/').unwrap_or(name.len());
            path.push(b'/');
            path.extend_from_slice(&name[..len]);
            rest = &name[len..];
            self.budget.spend(len)?;
            hit.stat = self.stat(&path);
            let Some(stat) = hit.stat else {
                break;
            };
            let follows = section.options().follows_symlinks();
            if stat.linked && !follows && self.is_symlink(&path) {
                return Ok(Some(403));
            }
            match stat.kind {
                Kind::Directory => section = self.deeper(&section, &path, stat.linked),
                Kind::File => break,
                Kind::Other => return Ok(Some(403)),
            }
        }
        hit.path_info = rest.to_vec();
        hit.filename = path;
        hit.section = section;
        Ok(None)
    }

    /// The section of a directory, given that of the one above.
    fn deeper(&self, above: &Arc<Section>, path: &[u8], linked: bool) -> Arc<Section> {
        if !linked {
            return self.rules.section(path);
        }
        // As Apache: the file is found through the link, but not those above its real place.
        let real = self.files.real_path(path);
        match real.and_then(|real| self.rules.own_section(&real)) {
            Some(own) => {
                let mut own = own.as_ref().clone();
                // Rules take the name by which they were found for their directory.
                own.rewriting = own.rewriting.map(|rules| Arc::new(rules.moved_to(path)));
                Arc::new(above.merged(&own))
            }
            None => Arc::clone(above),
        }
    }

    fn walk_files(&mut self, hit: &mut Hit) -> Result<(), Exhausted> {
        if hit.section.files.is_empty() {
            return Ok(());
        }
        let name = uri::basename(&hit.filename);
        let mut matched: Option<Section> = None;
        for files in &hit.section.files {
            if files.names.include(name, &mut self.budget)? {
                matched = Some(match matched {
                    Some(earlier) => earlier.merged(&files.section),
                    None => files.section.clone(),
                });
            }
        }
        if let Some(matched) = matched {
            self.budget.spend(100)?;
            hit.section = Arc::new(hit.section.merged(&matched));
        }
        Ok(())
    }

    fn walk_ifs(&mut self, hit: &mut Hit) -> Result<(), Exhausted> {
        let mut ifs = hit.section.ifs.clone();
        while !ifs.is_empty() {
            let Some(matched) = self.matching_ifs(&ifs, hit)? else {
                break;
            };
            // Sections inside of those that matched come next.
            ifs.clone_from(&matched.ifs);
            hit.section = Arc::new(hit.section.merged(&matched));
        }
        Ok(())
    }

    fn matching_ifs(
        &mut self,
        ifs: &[Arc<IfSection>],
        hit: &mut Hit,
    ) -> Result<Option<Section>, Exhausted> {
        let mut matched: Option<Section> = None;
        // Whether a branch of the present chain was taken.
        let mut taken = false;
        for one in ifs {
            let holds = match &one.branch {
                Branch::If(condition) => self.holds(condition, hit, &mut None)?,
                Branch::ElseIf(_) | Branch::Else if taken => continue,
                Branch::ElseIf(condition) => self.holds(condition, hit, &mut None)?,
                Branch::Else => true,
            };
            taken = holds;
            if !holds {
                continue;
            }
            self.budget.spend(100)?;
            matched = Some(match matched {
                Some(earlier) => earlier.merged(&one.section),
                None => one.section.clone(),
            });
        }
        Ok(matched)
    }
}
