//! Requests that would change the site, on a site that cannot be changed.
//!
//! Every instance may write: to its scratch files, and to private copies of the image's files. All of that vanishes with
//! the request. For a page that counts its readers this is right; a sign-in, an editor or a comment form must not pretend
//! to work. The screens and forms named here are answered with a page that says so, before a guest is asked; writes of
//! all other requests are counted, and said in the log.

use hyper::Method;
use serde::Deserialize;

use crate::site::pattern::{self, Pattern};

/// `[read_only]`: what is answered with an explanation instead of being run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReadOnly {
    pub(crate) writes: Writes,
    /// Scripts and paths that only make sense where changes are kept.
    #[serde(deserialize_with = "pattern::optional_list")]
    pub(crate) screens: Option<Vec<Pattern>>,
    /// Scripts and paths that are refused when something is sent to them.
    #[serde(deserialize_with = "pattern::optional_list")]
    pub(crate) forms: Option<Vec<Pattern>>,
    /// What is run all the same.
    #[serde(deserialize_with = "pattern::optional_list")]
    pub(crate) except: Option<Vec<Exception>>,
    /// A file of the site that is shown instead of the built-in page.
    pub(crate) page: Option<String>,
}

/// What becomes of a request that would change the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Writes {
    /// The listed screens and forms are answered 403.
    #[default]
    Refuse,
    /// Everything runs, and what it writes vanishes.
    Discard,
}

/// A pattern, perhaps with one parameter of the query: `/wp-login.php?action=postpass`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Exception {
    path: Pattern,
    parameter: Option<String>,
}

impl TryFrom<String> for Exception {
    type Error = String;

    fn try_from(text: String) -> Result<Exception, String> {
        let (path, parameter) = match text.split_once('?') {
            Some((path, parameter)) => (path.to_owned(), Some(parameter.to_owned())),
            None => (text, None),
        };
        Ok(Exception {
            path: path.try_into()?,
            parameter,
        })
    }
}

/// What a refused request had in mind, as far as its answer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Screen,
    Form,
}

impl ReadOnly {
    /// Whether a request for a script is refused. `paths` are all the names by which it could be meant.
    pub(crate) fn refuses(
        &self,
        method: &Method,
        paths: &[&[u8]],
        query: Option<&str>,
    ) -> Option<Refused> {
        let any = |pattern: &Pattern| {
            paths
                .iter()
                .any(|path| pattern.matches(path.strip_suffix(b"/").unwrap_or(path)))
        };
        let listed = |list: &Option<Vec<Pattern>>| list.iter().flatten().any(any);
        let has = |parameter: &String| {
            query.is_some_and(|query| query.split('&').any(|pair| pair == parameter))
        };
        let is_excepted = || {
            let mut list = self.except.iter().flatten();
            list.any(|e| any(&e.path) && e.parameter.as_ref().is_none_or(has))
        };
        let sends = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let refused = match self.writes {
            Writes::Discard => None,
            Writes::Refuse if listed(&self.screens) => Some(Refused::Screen),
            Writes::Refuse if sends && listed(&self.forms) => Some(Refused::Form),
            Writes::Refuse => None,
        };
        refused.filter(|_| !is_excepted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> ReadOnly {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn screens_forms_and_exceptions() {
        let mut rules = rules(
            "screens = ['/login.php', '/admin/**']\nforms = ['/comment.php', '/api/**']\n\
             except = ['/admin/ajax.php', '/login.php?action=pass']\n",
        );
        for (method, path, query, refused) in [
            (Method::GET, "/", None, None),
            (Method::POST, "/", None, None),
            (Method::GET, "/login.php", None, Some(Refused::Screen)),
            (Method::POST, "/login.php", None, Some(Refused::Screen)),
            (Method::POST, "/login.php", Some("action=pass"), None),
            (Method::POST, "/login.php", Some("x=1&action=pass"), None),
            (
                Method::POST,
                "/login.php",
                Some("action=passes"),
                Some(Refused::Screen),
            ),
            (
                Method::POST,
                "/admin/x.php",
                Some("action=pass"),
                Some(Refused::Screen),
            ),
            (Method::GET, "/admin/", None, Some(Refused::Screen)),
            (Method::POST, "/admin/ajax.php", None, None),
            (Method::GET, "/comment.php", None, None),
            (Method::POST, "/comment.php", None, Some(Refused::Form)),
            (Method::DELETE, "/api/1", None, Some(Refused::Form)),
            (Method::OPTIONS, "/api/1", None, None),
        ] {
            assert_eq!(
                rules.refuses(&method, &[path.as_bytes()], query),
                refused,
                "{method} {path} {query:?}"
            );
        }
        let names: [&[u8]; 2] = [b"/other", b"/login.php"];
        assert_eq!(
            rules.refuses(&Method::GET, &names, None),
            Some(Refused::Screen),
            "any of its names"
        );
        rules.writes = Writes::Discard;
        assert_eq!(rules.refuses(&Method::POST, &[b"/login.php"], None), None);
    }
}
