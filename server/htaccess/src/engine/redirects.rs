//! Whether `Redirect` and its kin send a request elsewhere.

use super::Engine;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::module::alias::{From, Redirects, is_redirect, matched};
use crate::uri;

/// What a request is redirected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirected {
    pub(super) status: u16,
    pub(super) location: Option<Vec<u8>>,
}

impl Engine<'_> {
    /// Whether a request is redirected.
    pub(super) fn redirected(&mut self, hit: &mut Hit) -> Result<Option<Redirected>, Exhausted> {
        let Some(redirects) = hit.section.redirects.clone() else {
            return Ok(None);
        };
        if let Some((url, status)) = &redirects.all {
            let url = match url {
                Some(url) => uri::escape_location(&self.text(url, hit)?),
                None => Vec::new(),
            };
            return Ok(Some(self.location(url, *status, &redirects, hit)));
        }
        for entry in &redirects.entries {
            let url = match &entry.from {
                From::Path(from) => {
                    self.budget.spend(from.len())?;
                    let Some(used) = matched(&hit.uri, from) else {
                        continue;
                    };
                    let to = entry.to.as_deref().unwrap_or_default();
                    [to, &uri::escape_path(&hit.uri[used..])].concat()
                }
                From::Matching(pattern) => {
                    let Some(groups) = pattern.find(&hit.uri, &mut self.budget)? else {
                        continue;
                    };
                    match &entry.to {
                        Some(to) => uri::escape_location(&groups.substitute(to)),
                        None => Vec::new(),
                    }
                }
            };
            return Ok(Some(self.location(url, entry.status, &redirects, hit)));
        }
        Ok(None)
    }

    fn location(
        &self,
        mut url: Vec<u8>,
        status: u16,
        redirects: &Redirects,
        hit: &Hit,
    ) -> Redirected {
        if !is_redirect(status) {
            return Redirected {
                status,
                location: None,
            };
        }
        let may_stay = redirects.relative == Some(true) && url.starts_with(b"/");
        if !may_stay {
            if url.starts_with(b"/") {
                url = [self.request.origin(), url].concat();
            }
            if !uri::is_url(&url) {
                return Redirected {
                    status: 500,
                    location: None,
                };
            }
        }
        if !url.contains(&b'?') {
            url = uri::with_query(url, hit.query.as_deref());
        }
        Redirected {
            status,
            location: Some(url),
        }
    }
}
