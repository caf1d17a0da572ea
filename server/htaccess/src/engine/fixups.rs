//! What happens to a request that may be asked: its type and handler, rewriting, redirects, variables, its headers.

use std::sync::Arc;

use super::Engine;
use super::rewrite::Rewritten;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::module::headers::Which;
use crate::module::mime;
use crate::table::Table;

impl Engine<'_> {
    /// What the file's name says about its type.
    pub(super) fn find_type(&mut self, hit: &mut Hit) {
        let is_directory = hit.stat.is_some_and(|stat| stat.is_directory());
        if let Some(mime) = &hit.section.mime
            && !is_directory
        {
            hit.meaning = mime.meaning(&hit.filename);
            hit.handler.clone_from(&hit.meaning.handler);
        }
    }

    /// Gives a status when the request ends here.
    pub(super) fn fix_up(&mut self, hit: &mut Hit) -> Result<Option<u16>, Exhausted> {
        self.set_handler(hit)?;
        match self.rewrite(hit)? {
            Rewritten::Untouched => {}
            Rewritten::Refused(status) => return Ok(Some(status)),
            Rewritten::Ended(status) => {
                // As Apache: what rules end is an answer of its own, also in the page of an error.
                hit.status = 200;
                return Ok(Some(status));
            }
            Rewritten::Redirect { status, location } => {
                hit.status = 200;
                hit.location = Some(location);
                return Ok(Some(status));
            }
            Rewritten::Internal(url) => hit.internal = Some(url),
        }
        if let Some(redirected) = self.redirected(hit)? {
            hit.location = redirected.location;
            return Ok(Some(redirected.status));
        }
        if let Some(fixed) = hit.section.fixed.clone() {
            fixed.apply(&mut hit.env);
        }
        if let Some(status) = self.find_index(hit)? {
            return Ok(Some(status));
        }
        self.change_request_headers(hit)?;
        if let Some(handler) = hit.forced_handler.clone() {
            hit.handler = Some(handler);
        }
        Ok(None)
    }

    /// `SetHandler`.
    fn set_handler(&mut self, hit: &mut Hit) -> Result<(), Exhausted> {
        let core = hit.section.core.clone();
        let Some(word) = core.as_ref().and_then(|core| core.handler.as_ref()) else {
            return Ok(());
        };
        let handler = self.text(word, hit)?;
        if handler.eq_ignore_ascii_case(b"none") {
            return Ok(());
        }
        hit.handler = Some(match handler.starts_with(b"proxy:unix") {
            true => handler,
            false => handler.to_ascii_lowercase(),
        });
        Ok(())
    }

    fn change_request_headers(&mut self, hit: &mut Hit) -> Result<(), Exhausted> {
        let has_any = hit
            .section
            .headers
            .as_ref()
            .is_some_and(|headers| headers.has(Which::Request));
        if !has_any {
            return Ok(());
        }
        let mut headers: Table = match &hit.headers {
            Some(headers) => headers.as_ref().clone(),
            None => self.request.headers.clone(),
        };
        self.change_headers(Which::Request, hit, &mut headers)?;
        hit.headers = Some(Arc::new(headers));
        Ok(())
    }

    /// Whether anything would answer a name with nothing behind it: scripts do, by their extension.
    pub(super) fn has_handler(hit: &Hit) -> bool {
        hit.handler.is_some() || mime::extensions(&hit.filename).any(|e| e == b"php")
    }
}
