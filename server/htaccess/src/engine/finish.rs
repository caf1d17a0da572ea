//! The headers of an answer.

use super::Engine;
use crate::decision::Decision;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::module::core::Charset;
use crate::module::headers::Which;
use crate::outcome::Response;
use crate::table::Table;

impl Engine<'_> {
    /// Changes the headers of an answer: `Expires`, `Header`, `AddDefaultCharset`.
    pub(crate) fn finish(
        &mut self,
        decision: &Decision,
        response: &mut Response,
    ) -> Result<(), Exhausted> {
        let mut hit = decision.hit.as_ref().clone();
        hit.status = response.status;
        let mut headers = response.headers.clone();
        let mut always = decision.always.clone();
        if !response.own_page {
            add_vary(&mut headers, &hit.vary);
        }
        if let Some(expires) = &hit.section.expires
            && response.status < 400
        {
            let own: &[u8] = if response.own_page { b"text/html" } else { b"" };
            let media_type = headers.get(b"content-type").unwrap_or(own).to_vec();
            expires.apply(
                &mut headers,
                &media_type,
                self.request.time,
                response.modified,
            );
        }
        hit.response = headers.clone();
        self.change_headers(Which::Always, &mut hit, &mut always)?;
        if !response.own_page {
            self.change_headers(Which::OnSuccess, &mut hit, &mut headers)?;
            add_default_charset(&hit, &mut headers);
        }
        // What was evaluated just now may depend on more.
        let later = &hit.vary[decision.hit.vary.len()..];
        if !response.own_page {
            add_vary(&mut headers, later);
        }
        for (name, value) in headers.iter() {
            always.add(name, value);
        }
        response.headers = always;
        Ok(())
    }
}

/// Names in `Vary` what is not named there yet.
fn add_vary(headers: &mut Table, names: &[Vec<u8>]) {
    for name in names {
        let there = headers.get(b"vary").unwrap_or_default();
        let is_named = |part: &[u8]| crate::text::trim(part).eq_ignore_ascii_case(name);
        if !there.split(|&b| b == b',').any(is_named) {
            headers.merge(b"Vary", name);
        }
    }
}

fn add_default_charset(hit: &Hit, headers: &mut Table) {
    let charset = hit
        .section
        .core
        .as_ref()
        .and_then(|c| c.default_charset.as_ref());
    let Some(Charset::Named(charset)) = charset else {
        return;
    };
    let Some(media_type) = headers.get(b"content-type") else {
        return;
    };
    let lower = media_type.to_ascii_lowercase();
    let is_text = lower.starts_with(b"text/plain") || lower.starts_with(b"text/html");
    let has_charset = lower.windows(8).any(|part| part == b"charset=");
    if is_text && !has_charset {
        let full = [media_type, b"; charset=", charset].concat();
        headers.set(b"Content-Type", &full);
    }
}
