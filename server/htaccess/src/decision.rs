//! What the rules say about a request.

use crate::hit::Hit;
use crate::outcome::{Existing, MediaType, Outcome};
use crate::request::Method;
use crate::table::Table;

/// The answer of [`Rules::decide`].
#[derive(Clone, Debug)]
pub struct Decision {
    /// What answers.
    pub outcome: Outcome,
    pub(crate) hit: Box<Hit>,
    /// Headers of every answer.
    pub(crate) always: Table,
}

impl Decision {
    /// The status that Apache's own handler would answer, if not the target's: for a path where nothing is, a directory
    /// that is not listed, something behind a file, a method that files do not know.
    pub fn default_status(&self, is_script: bool) -> Option<u16> {
        let Outcome::Serve(target) = &self.outcome else {
            return None;
        };
        let method = self.hit.method;
        let is_get = method == Method::GET || target.as_get;
        match target.exists {
            Existing::Directory if is_get && target.lists => None,
            Existing::Directory if is_get => Some(403),
            _ if is_script && target.exists == Existing::File => None,
            _ if !is_get && method != Method::POST => Some(405),
            Existing::Nothing | Existing::Directory => Some(404),
            Existing::File => {
                let accepts = target.accept_path_info == Some(true);
                (!accepts && !target.path_info.is_empty()).then_some(404)
            }
        }
    }

    /// The variables that a script gets, beside those of CGI.
    pub fn environment(&self) -> Table {
        let mut env = self.hit.env.clone();
        if let Some((uri, query)) = &self.hit.previous {
            env.set(b"REDIRECT_URL", uri);
            if let Some(query) = query {
                env.set(b"REDIRECT_QUERY_STRING", query);
            }
        }
        env
    }

    /// Who has signed in, and how.
    pub fn user(&self) -> Option<(&[u8], &str)> {
        let user = self.hit.user.as_deref()?;
        Some((user, self.hit.auth_type.unwrap_or("Basic")))
    }

    /// The request's headers as `RequestHeader` left them, when it changed any.
    pub fn request_headers(&self) -> Option<&Table> {
        self.hit.headers.as_deref()
    }

    /// Settings of php.ini: `php_value`, `php_flag`.
    pub fn php_settings(&self) -> &[(String, String)] {
        match &self.hit.section.core {
            Some(core) => core.php(),
            None => &[],
        }
    }

    /// What the file's names say about its type.
    pub fn media_type(&self) -> MediaType {
        let hit = &self.hit;
        MediaType {
            name: hit.media_type(),
            charset: hit.meaning.charset.clone(),
            encoding: hit.meaning.encoding.clone(),
            language: hit.meaning.language.clone(),
        }
    }
}
