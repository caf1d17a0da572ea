//! A request as it stands between two phases.

use std::sync::Arc;

use crate::files::Stat;
use crate::module::mime::Meaning;
use crate::outcome::{Existing, Handler, Target};
use crate::request::{Method, Request};
use crate::section::Section;
use crate::table::Table;

/// A request as it stands: the first one, one after an internal redirect, or a subrequest.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) uri: Vec<u8>,
    pub(crate) query: Option<Vec<u8>>,
    pub(crate) filename: Vec<u8>,
    pub(crate) path_info: Vec<u8>,
    pub(crate) stat: Option<Stat>,
    pub(crate) method: Method,
    pub(crate) method_name: Vec<u8>,
    pub(crate) section: Arc<Section>,
    pub(crate) env: Table,
    /// The request's headers, once they were changed.
    pub(crate) headers: Option<Arc<Table>>,
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) auth_type: Option<&'static str>,
    pub(crate) realm: Option<Vec<u8>>,
    /// What asks the client to sign in.
    pub(crate) challenge: Option<Vec<u8>>,
    pub(crate) meaning: Meaning,
    pub(crate) handler: Option<Vec<u8>>,
    /// `T=` and `H=` of rules.
    pub(crate) forced_type: Option<Vec<u8>>,
    pub(crate) forced_handler: Option<Vec<u8>>,
    pub(crate) rewriting_ended: bool,
    pub(crate) location: Option<Vec<u8>>,
    /// Path and query that it starts again with.
    pub(crate) internal: Option<Vec<u8>>,
    pub(crate) vary: Vec<Vec<u8>>,
    pub(crate) status: u16,
    /// The answer's headers, once they are there.
    pub(crate) response: Table,
    /// URI and query before the internal redirect.
    pub(crate) previous: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// The sections that the request before this one was checked by.
    pub(crate) checked: Option<Vec<u32>>,
    /// The method became GET, because this is the page of an error.
    pub(crate) as_get: bool,
    /// The request that failed, when this is the page of its error.
    pub(crate) failed: Option<Box<Hit>>,
    /// The URI of the request that this is a subrequest of.
    pub(crate) main: Option<Vec<u8>>,
    pub(crate) depth: u32,
}

impl Hit {
    pub(crate) fn empty(section: Arc<Section>) -> Hit {
        Hit {
            uri: Vec::new(),
            query: None,
            filename: Vec::new(),
            path_info: Vec::new(),
            stat: None,
            method: Method::GET,
            method_name: b"GET".to_vec(),
            section,
            env: Table::default(),
            headers: None,
            user: None,
            auth_type: None,
            realm: None,
            challenge: None,
            meaning: Meaning::default(),
            handler: None,
            forced_type: None,
            forced_handler: None,
            rewriting_ended: false,
            location: None,
            internal: None,
            vary: Vec::new(),
            status: 200,
            response: Table::default(),
            previous: None,
            checked: None,
            as_get: false,
            failed: None,
            main: None,
            depth: 0,
        }
    }

    pub(crate) fn first(request: &Request<'_>, section: Arc<Section>) -> Hit {
        Hit {
            uri: request.path.to_vec(),
            query: request.query.map(<[u8]>::to_vec),
            method: Method::named(request.method),
            method_name: request.method.as_bytes().to_vec(),
            ..Hit::empty(section)
        }
    }

    pub(crate) fn is_subrequest(&self) -> bool {
        self.main.is_some()
    }

    /// The value of one of the answer's headers.
    pub(crate) fn response_header(&self, name: &[u8]) -> Vec<u8> {
        self.response.get(name).unwrap_or_default().to_vec()
    }

    /// The answer depends on a request header. `Host` is part of what is asked for.
    pub(crate) fn varies_by(&mut self, name: &[u8]) {
        let is_known = |known: &Vec<u8>| known.eq_ignore_ascii_case(name);
        if !name.eq_ignore_ascii_case(b"host") && !self.vary.iter().any(is_known) {
            self.vary.push(name.to_vec());
        }
    }

    /// The type that rules give, if any.
    pub(crate) fn media_type(&self) -> Option<Vec<u8>> {
        self.forced_type.clone().or_else(|| self.named_type())
    }

    /// The type by `ForceType` or `AddType`.
    fn named_type(&self) -> Option<Vec<u8>> {
        let core = self.section.core.as_ref();
        let forced = core.and_then(|core| core.forced_type.clone());
        forced
            .filter(|name| !name.eq_ignore_ascii_case(b"none"))
            .or_else(|| self.meaning.media_type.clone())
    }

    pub(crate) fn target(&self) -> Target {
        let exists = match &self.stat {
            None => Existing::Nothing,
            Some(stat) if stat.is_directory() => Existing::Directory,
            Some(_) => Existing::File,
        };
        let core = self.section.core.as_ref();
        Target {
            uri: self.uri.clone(),
            file: self.filename.clone(),
            exists,
            path_info: self.path_info.clone(),
            query: self.query.clone(),
            handler: self.how(),
            status: self.status,
            as_get: self.as_get,
            lists: self.section.options().lists(),
            accept_path_info: core.and_then(|core| core.accept_path_info).flatten(),
            body_max: core.and_then(|core| core.body_max),
        }
    }

    /// How the file is run.
    fn how(&self) -> Handler {
        let core = self.section.core.as_ref();
        if core.is_some_and(|core| core.php_off == Some(true)) {
            return Handler::Never;
        }
        let set = core.and_then(|core| core.handler.as_ref());
        let is_none = |text: &[u8]| text.eq_ignore_ascii_case(b"none");
        if let Some(handler) = &self.handler {
            return match is_php(handler) {
                true => Handler::Php,
                false => Handler::Never,
            };
        }
        if set.and_then(|word| word.constant()).is_some_and(is_none) {
            return Handler::Never;
        }
        if self.forced_type.as_ref().is_some_and(|name| is_php(name)) {
            return Handler::Php;
        }
        match self.named_type() {
            Some(name) if is_php(&name) => Handler::Php,
            // A page is what scripts make; any other type says that this is no script.
            Some(name) if name != b"text/html" => Handler::Never,
            _ if self.meaning.taken => Handler::Never,
            _ => Handler::ByName,
        }
    }
}

/// Whether a handler's or a type's name means PHP, as distributions and hosters write it.
fn is_php(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    has(b"x-httpd-php") && !has(b"source")
        || has(b"x-httpd-ea-php")
        || has(b"x-httpd-alt-php")
        || has(b"x-lsphp")
        || name.starts_with(b"php") && !has(b"source")
        || name.starts_with(b"proxy:") && (has(b"fcgi") || has(b"php"))
        || matches!(name.as_slice(), b"fcgid-script" | b"fastcgi-script")
}
