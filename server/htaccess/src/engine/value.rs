//! What rules may ask of a request: files, headers, variables; and the cookies they set.

use super::{Engine, STAT_STEPS};
use crate::files::Stat;
use crate::hit::Hit;
use crate::uri;
use crate::variable::{Clock, Variable};

impl Engine<'_> {
    /// What lies at a path.
    pub(crate) fn stat(&mut self, path: &[u8]) -> Option<Stat> {
        // An empty budget shows at the next step that is paid.
        let _ = self.budget.spend(STAT_STEPS + path.len());
        if self.budget.left() == 0 || path.contains(&0) {
            return None;
        }
        self.files.stat(&uri::normalise(path)?)
    }

    pub(crate) fn is_symlink(&mut self, path: &[u8]) -> bool {
        let _ = self.budget.spend(STAT_STEPS + path.len());
        uri::normalise(path).is_some_and(|path| self.files.is_symlink(&path))
    }

    /// The value of a request header; several are joined.
    pub(crate) fn request_header_opt(&self, name: &[u8], hit: &Hit) -> Option<Vec<u8>> {
        let headers = hit.headers.as_deref().unwrap_or(self.request.headers);
        let separator: &[u8] = match name.eq_ignore_ascii_case(b"cookie") {
            true => b"; ",
            false => b", ",
        };
        let mut values = headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut joined = values.next()?.1.to_vec();
        for (_, value) in values {
            joined.extend_from_slice(separator);
            joined.extend_from_slice(value);
        }
        Some(joined)
    }

    pub(crate) fn request_header(&self, name: &[u8], hit: &Hit) -> Vec<u8> {
        self.request_header_opt(name, hit).unwrap_or_default()
    }

    /// `http://host:port`.
    pub(crate) fn origin(&self) -> Vec<u8> {
        self.request.origin()
    }

    /// The value of a variable.
    pub(crate) fn variable(&self, variable: Variable, hit: &Hit) -> Vec<u8> {
        let request = self.request;
        match variable {
            Variable::Header(name) => self.request_header(name.as_bytes(), hit),
            Variable::Method => hit.method_name.clone(),
            Variable::Scheme => request.scheme().into(),
            Variable::Uri => hit.uri.clone(),
            Variable::Filename => hit.filename.clone(),
            Variable::RemoteAddr => request.remote.to_canonical().to_string().into(),
            Variable::RemotePort => request.remote_port.to_string().into(),
            Variable::RemoteUser => hit.user.clone().unwrap_or_default(),
            Variable::ServerName => request.host.into(),
            Variable::ServerPort => request.port.to_string().into(),
            Variable::ServerAddr => request.server.to_canonical().to_string().into(),
            Variable::Protocol => request.protocol.into(),
            Variable::PathInfo => hit.path_info.clone(),
            Variable::Query => hit.query.clone().unwrap_or_default(),
            Variable::IsSubrequest => yes_no(hit.is_subrequest(), "true", "false"),
            Variable::DocumentRoot => match self.rules.document_root.as_slice() {
                b"" => b"/".to_vec(),
                root => root.to_vec(),
            },
            Variable::AuthType => hit.auth_type.unwrap_or_default().into(),
            Variable::TheRequest => {
                let parts = [
                    request.method.as_bytes(),
                    request.target,
                    request.protocol.as_bytes(),
                ];
                parts.join(&b' ')
            }
            Variable::ContentType => match hit.response.get(b"content-type") {
                Some(value) => value.to_vec(),
                None => hit.media_type().unwrap_or_default(),
            },
            Variable::Handler => hit.handler.clone().unwrap_or_default(),
            Variable::Status => hit.status.to_string().into(),
            Variable::Https => yes_no(request.https, "on", "off"),
            Variable::Http2 => yes_no(request.protocol.starts_with("HTTP/2"), "on", "off"),
            Variable::Ipv6 => yes_no(request.remote.to_canonical().is_ipv6(), "on", "off"),
            Variable::Software => b"Apache".to_vec(),
            Variable::ApiVersion => b"20120211:126".to_vec(),
            Variable::Time(part) => Clock::at(request.time).part(part).into(),
            Variable::LastModified => {
                let modified = hit.stat.map_or(0, |stat| stat.modified);
                Clock::at(modified)
                    .part(crate::variable::Time::Whole)
                    .into()
            }
            Variable::Nothing => Vec::new(),
        }
    }

    /// Remembers a cookie of a rule: `name:value:domain[:minutes[:path[:secure[:httponly[:samesite]]]]]`.
    pub(crate) fn add_cookie(&mut self, text: &[u8]) {
        let (separator, text) = match text.strip_prefix(b";") {
            Some(rest) => (b';', rest),
            None => (b':', text),
        };
        let mut parts = text
            .split(|&b| b == separator)
            .filter(|part| !part.is_empty());
        let (Some(name), Some(value), Some(domain)) = (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        if self.cookies.iter().any(|known| known == name) {
            return;
        }
        self.cookies.push(name.to_vec());
        let minutes = parts.next().map(crate::text::number);
        let path = parts.next().unwrap_or(b"/");
        let mut cookie = [name, b"=", value, b"; path=", path, b"; domain=", domain].concat();
        if let Some(minutes) = minutes.filter(|minutes| *minutes != 0) {
            let seconds = minutes.saturating_mul(60).clamp(-(1 << 40), 1 << 40);
            let end = Clock::at(self.request.time.saturating_add(seconds));
            cookie.extend_from_slice(format!("; expires={}", end.cookie()).as_bytes());
        }
        let is = |part: Option<&[u8]>, word: &[u8]| {
            part.is_some_and(|p| {
                p == b"1" || p.eq_ignore_ascii_case(b"true") || p.eq_ignore_ascii_case(word)
            })
        };
        if is(parts.next(), b"secure") {
            cookie.extend_from_slice(b"; secure");
        }
        if is(parts.next(), b"httponly") {
            cookie.extend_from_slice(b"; HttpOnly");
        }
        if let Some(same_site) = parts.next()
            && same_site != b"0"
            && !same_site.eq_ignore_ascii_case(b"false")
        {
            cookie.extend_from_slice(b"; SameSite=");
            cookie.extend_from_slice(same_site);
        }
        self.always.add(b"Set-Cookie", &cookie);
    }
}

fn yes_no(value: bool, yes: &str, no: &str) -> Vec<u8> {
    let text = if value { yes } else { no };
    text.as_bytes().to_vec()
}
