//! Requests that come of a request: internal redirects, pages of errors, subrequests.

use std::sync::Arc;

use super::{Engine, Next, Phase};
use crate::hit::Hit;
use crate::limits::{Exhausted, REDIRECTS_MAX};
use crate::module::core::ErrorDocument;
use crate::outcome::Answer;
use crate::request::Method;
use crate::table::Table;
use crate::uri::{self, BadEscape};

impl Engine<'_> {
    /// A new start with another path and query; or the status that prevents it.
    pub(super) fn redirect_inside(
        &mut self,
        mut old: Hit,
        url: &[u8],
    ) -> Result<Result<Hit, (Hit, u16)>, Exhausted> {
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX {
            self.exhausted = Some(Exhausted::Redirects);
            return Ok(Err((old, 500)));
        }
        let url = url.strip_prefix(b"/").map_or(url, |rest| {
            let extra = rest.iter().take_while(|&&b| b == b'/').count();
            &url[extra..]
        });
        let (path, query) = uri::split_query(url);
        let status = old.status;
        let bad = |status: u16, old: Hit| Ok(Err((old, status)));
        let path = match uri::unescape(path) {
            Ok(path) => path,
            Err(BadEscape::Malformed) => return bad(400, old),
            Err(BadEscape::Forbidden) => return bad(404, old),
        };
        let Some(path) = uri::normalise(&path) else {
            return bad(400, old);
        };
        self.budget
            .spend(path.len() + old.env.len() * (8 + old.env.len() / 8))?;
        let mut env = Table::default();
        for (name, value) in old.env.iter() {
            env.set(&[b"REDIRECT_", name].concat(), value);
        }
        env.set(b"REDIRECT_STATUS", status.to_string().as_bytes());
        let failed = match old.failed.take() {
            None if status != 200 => Some(Box::new(old.clone())),
            failed => failed,
        };
        Ok(Ok(Hit {
            uri: path,
            query: query.map(<[u8]>::to_vec),
            method: old.method,
            method_name: old.method_name,
            env,
            headers: old.headers,
            rewriting_ended: old.rewriting_ended,
            vary: old.vary,
            status,
            previous: Some((old.uri, old.query)),
            checked: Some(old.section.identity.clone()),
            user: old.user,
            auth_type: old.auth_type,
            failed,
            as_get: old.as_get,
            ..Hit::empty(Arc::clone(&self.rules.top))
        }))
    }

    /// What answers in place of an error.
    pub(super) fn error(&mut self, mut hit: Hit, status: u16) -> Result<Next, Exhausted> {
        let answer = |status: u16, location: Option<Vec<u8>>| Answer {
            status,
            location,
            text: None,
            exhausted: None,
        };
        if let Some(challenge) = hit.challenge.take() {
            self.always.set(b"WWW-Authenticate", &challenge);
        }
        if hit.status != 200 && hit.previous.is_some() {
            // The page of an error fails: the error is answered in the plainest way.
            return Ok(match hit.failed.take() {
                Some(first) => {
                    let answer = answer(first.status, None);
                    Next::Done(*first, answer)
                }
                None => {
                    let answer = answer(status, hit.location.take());
                    Next::Done(hit, answer)
                }
            });
        }
        hit.status = status;
        let mut answer = answer(status, hit.location.take());
        let core = hit.section.core.clone();
        let document = core.as_ref().and_then(|core| core.error_document(status));
        let Some(ErrorDocument::Custom { text, word }) = document else {
            return Ok(Next::Done(hit, answer));
        };
        let document = self.text(word, &mut hit)?;
        if *text {
            answer.text = Some(document);
        } else if uri::is_url(&document) {
            answer.status = 302;
            answer.location = Some(document);
        } else if document.starts_with(b"/") {
            let method = hit.method_name.clone();
            hit.env.set(b"REQUEST_METHOD", &method);
            let failed = hit.clone();
            hit.method = Method::GET;
            hit.method_name = b"GET".to_vec();
            hit.as_get = true;
            hit.vary.clear();
            return Ok(match self.redirect_inside(hit, &document)? {
                Ok(page) => Next::Again(page),
                Err(_) => Next::Done(failed, answer),
            });
        } else {
            answer.status = 500;
        }
        Ok(Next::Done(hit, answer))
    }

    /// A subrequest for a path of the site, after its phases.
    pub(super) fn subrequest(
        &mut self,
        url: &[u8],
        parent: &Hit,
    ) -> Result<(Hit, Phase), Exhausted> {
        let Some(mut hit) = self.child(parent)? else {
            let none = Hit::empty(Arc::clone(&self.rules.top));
            return Ok((none, Phase::Ended(500)));
        };
        let full = match url.starts_with(b"/") {
            true => url.to_vec(),
            false => [&uri::escape_path(uri::parent(&parent.uri)), url].concat(),
        };
        let (path, query) = uri::split_query(&full);
        hit.query = query.map(<[u8]>::to_vec);
        let path = match uri::unescape(path) {
            Ok(path) => uri::normalise(&path),
            Err(BadEscape::Malformed) => None,
            Err(BadEscape::Forbidden) => return Ok((hit, Phase::Ended(404))),
        };
        let Some(path) = path else {
            return Ok((hit, Phase::Ended(400)));
        };
        hit.uri = path;
        let phase = match self.process(&mut hit)? {
            // As Apache: a rule that would have redirected leaves its status behind.
            Phase::Ready if hit.status != 200 => Phase::Ended(hit.status),
            phase => phase,
        };
        Ok((hit, phase))
    }

    /// A subrequest before its phases; `None` when there are too many of them, or of redirects, within each other.
    fn child(&mut self, parent: &Hit) -> Result<Option<Hit>, Exhausted> {
        if parent.depth >= REDIRECTS_MAX || self.redirects >= REDIRECTS_MAX {
            self.exhausted = Some(Exhausted::Redirects);
            return Ok(None);
        }
        self.budget.spend(64 + parent.env.len() * 8)?;
        Ok(Some(Hit {
            env: parent.env.clone(),
            headers: parent.headers.clone(),
            user: parent.user.clone(),
            auth_type: parent.auth_type,
            checked: Some(parent.section.identity.clone()),
            main: Some(parent.uri.clone()),
            depth: parent.depth + 1,
            ..Hit::empty(Arc::clone(&self.rules.top))
        }))
    }

    fn may_ask(hit: &Hit) -> bool {
        hit.main.as_ref().is_none_or(|main| *main != hit.uri)
    }

    /// `-U`: whether a path could be asked for.
    pub(crate) fn is_url_allowed(&mut self, url: &[u8], hit: &Hit) -> Result<bool, Exhausted> {
        if url.is_empty() || !Engine::may_ask(hit) {
            return Ok(false);
        }
        let (_, phase) = self.subrequest(url, hit)?;
        Ok(!matches!(phase, Phase::Ended(400..)))
    }

    /// `-F`: whether a file is there and could be asked for.
    pub(crate) fn is_file_allowed(&mut self, file: &[u8], hit: &Hit) -> Result<bool, Exhausted> {
        if file.is_empty() || !Engine::may_ask(hit) {
            return Ok(false);
        }
        let full = match file.starts_with(b"/") {
            true => file.to_vec(),
            false => [uri::parent(&hit.filename), file].concat(),
        };
        let Some(full) = uri::normalise(&full) else {
            return Ok(false);
        };
        let Some(mut child) = self.child(hit)? else {
            return Ok(false);
        };
        // A neighbour of the request's own file has a path of its own, any other file has none.
        let name = uri::basename(&full);
        let is_neighbour = uri::parent(&full) == uri::parent(&hit.filename);
        if is_neighbour && !name.is_empty() && !hit.uri.is_empty() {
            child.uri = [uri::parent(&hit.uri), name].concat();
        }
        child.filename = full;
        let phase = self.process_file(&mut child)?;
        let ended = matches!(phase, Phase::Ended(300..));
        Ok(!ended && self.stat(&child.filename).is_some())
    }

    /// `%{LA-U:…}`: the request that a path would become.
    pub(crate) fn look_ahead(&mut self, url: &[u8], hit: &Hit) -> Result<Option<Hit>, Exhausted> {
        if !Engine::may_ask(hit) {
            return Ok(None);
        }
        let (ahead, _) = self.subrequest(url, hit)?;
        Ok(Some(ahead))
    }
}
