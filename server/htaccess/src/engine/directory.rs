//! Directories: the slash at their end, their index, and what answers where nothing is.

use super::{Engine, Phase};
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::module::index::Index;
use crate::uri;

impl Engine<'_> {
    /// Gives a status when the request ends here.
    pub(super) fn find_index(&mut self, hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        let index = hit.section.index.clone();
        let index = index.as_deref();
        match hit.stat {
            Some(stat) if stat.is_directory() => self.directory(index, hit),
            None if hit.internal.is_none() && !Engine::has_handler(hit) => {
                match index.and_then(Index::fallback) {
                    Some(fallback) => self.fall_back(fallback, hit),
                    None => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn directory(
        &mut self,
        index: Option<&Index>,
        hit: &mut Hit,
    ) -> Result<Option<u16>, Exhausted> {
        if !hit.path_info.is_empty() {
            return Ok(None);
        }
        if !hit.uri.ends_with(b"/") {
            if !index.is_none_or(Index::adds_slash) {
                return Ok(None);
            }
            let path = [&uri::escape_path(&hit.uri), &b"/"[..]].concat();
            let location = [self.origin(), path].concat();
            hit.location = Some(uri::with_query(location, hit.query.as_deref()));
            return Ok(Some(301));
        }
        if hit.internal.is_some() {
            return Ok(None);
        }
        if index.is_some_and(Index::checks_handler) && hit.handler.is_some() {
            return Ok(None);
        }
        let rules = self.rules;
        let names = index.and_then(Index::names).unwrap_or(&rules.index);
        self.first_index(names, index, hit)
    }

    fn first_index(
        &mut self,
        names: &[Vec<u8>],
        index: Option<&Index>,
        hit: &mut Hit,
    ) -> Result<Option<u16>, Exhausted> {
        let mut refused = None;
        for (place, name) in names.iter().enumerate() {
            let url = uri::with_query(name.clone(), hit.query.as_deref());
            let (found, phase) = self.subrequest(&url, hit)?;
            match phase {
                Phase::Ready if found.stat.is_some_and(|stat| stat.is_file()) => {
                    if let Some(status) = index.and_then(Index::redirect) {
                        hit.location = Some([self.origin(), found.uri].concat());
                        return Ok(Some(status));
                    }
                    self.become_found(found, hit)?;
                    return Ok(None);
                }
                Phase::Ready => {}
                Phase::Ended(status) => {
                    let is_last = place + 1 == names.len();
                    let passes =
                        (300..400).contains(&status) || is_last && matches!(status, 401 | 406);
                    if passes {
                        hit.location = found.location;
                        hit.challenge = found.challenge;
                        return Ok(Some(status));
                    }
                    if status != 404 {
                        refused = Some(status);
                    }
                }
            }
        }
        Ok(refused)
    }

    /// `FallbackResource`.
    fn fall_back(&mut self, fallback: &[u8], hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        let url = uri::with_query(fallback.to_vec(), hit.query.as_deref());
        let (found, phase) = self.subrequest(&url, hit)?;
        match phase {
            Phase::Ready if found.stat.is_some_and(|stat| stat.is_file()) => {
                self.become_found(found, hit)?;
                Ok(None)
            }
            Phase::Ready | Phase::Ended(404) => Ok(None),
            Phase::Ended(status) => {
                hit.location = found.location;
                Ok(Some(status))
            }
        }
    }

    /// The request goes on as the subrequest that was found.
    fn become_found(&mut self, found: Hit, hit: &mut Hit) -> Result<(), Exhausted> {
        self.budget.spend(hit.env.len() * 8)?;
        let mut env = found.env;
        for (name, value) in hit.env.iter() {
            if !env.contains(name) {
                env.add(name, value);
            }
        }
        hit.env = env;
        hit.uri = found.uri;
        hit.filename = found.filename;
        hit.path_info = found.path_info;
        hit.query = found.query;
        hit.stat = found.stat;
        hit.section = found.section;
        hit.handler = found.handler;
        hit.meaning = found.meaning;
        hit.forced_type = found.forced_type.or(hit.forced_type.take());
        hit.forced_handler = found.forced_handler.or(hit.forced_handler.take());
        hit.internal = found.internal;
        for name in found.vary {
            hit.varies_by(&name);
        }
        Ok(())
    }
}
