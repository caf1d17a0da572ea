//! What a site's language has of its own: where its interpreter lies, which files are its sources, how it is told settings, and what
//! its answers say. Another language is one more [`Language`] here, a layer of defaults in `apps`, and a recipe in `sandbox/guests`.

use std::fmt::Display;

use worker::Pairs;

/// A language that sites are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Language {
    /// Where `zapp pack` puts the interpreter, by its path in the image. The directory is hidden, so no request reaches it.
    pub(crate) program: &'static str,
    /// The end of the names of scripts that run, as they are written.
    script: &'static [u8],
    /// What the extensions of sources begin with, whatever the case: `php5` is one.
    source: &'static [u8],
    /// Other extensions of sources.
    sources: &'static [&'static [u8]],
    /// Extensions of what sources include, and nobody asks for.
    parts: &'static [&'static [u8]],
    /// The script in whose name all others are compiled.
    pub(crate) first: &'static [u8],
    /// What a cookie begins with that belongs to a session.
    session: &'static [u8],
}

/// The language of every site, so far.
pub(crate) const PHP: Language = Language {
    program: "/.zapp/php",
    script: b".php",
    source: b"php",
    sources: &[b"phtml", b"phar"],
    parts: &[b"inc"],
    first: b"/index.php",
    session: b"PHPSESSID=",
};

impl Language {
    /// Whether a file of this name can be run for a visitor.
    pub(crate) fn runs(&self, name: &[u8]) -> bool {
        name.ends_with(self.script)
    }

    /// Whether a file with this extension is a script: run, or refused, but never sent.
    pub(crate) fn is_source(&self, extension: &[u8]) -> bool {
        let extension = extension.to_ascii_lowercase();
        extension.starts_with(self.source) || self.sources.contains(&extension.as_slice())
    }

    /// Whether scripts are put together from files with this extension, which are never sent either.
    pub(crate) fn is_part(&self, extension: &[u8]) -> bool {
        self.parts
            .contains(&extension.to_ascii_lowercase().as_slice())
    }

    /// The interpreter's arguments behind its name, for a site that names none: lines of php.ini, the name of what was recognised,
    /// and the constants that are defined where the site has not defined them itself.
    pub(crate) fn arguments(
        &self,
        settings: impl IntoIterator<Item = String>,
        application: Option<&str>,
        constants: impl IntoIterator<Item = (impl Display, impl Display)>,
    ) -> Vec<String> {
        let application = application.map(|name| format!("zapp.site={name}"));
        let constants = constants.into_iter();
        let constants = constants.map(|(name, value)| format!("zapp.constant.{name}={value}"));
        let settings = settings.into_iter().chain(application).chain(constants);
        std::iter::once("--web".to_owned())
            .chain(settings.flat_map(|line| ["-d".to_owned(), line]))
            .collect()
    }

    /// Makes of a request for [`first`](Self::first) the one that has the interpreter compile what lies below `root`, for
    /// `patience_ms` of its time.
    pub(crate) fn compile(&self, mut request: Pairs, root: &str, patience_ms: u64) -> Pairs {
        let patience = patience_ms.to_string().into_bytes();
        request.push((b"ZAPP_COMPILE".to_vec(), root.as_bytes().to_vec()));
        request.push((b"ZAPP_COMPILE_MS".to_vec(), patience));
        request
    }

    /// Whether an answer with this header begins a session.
    pub(crate) fn begins_session(&self, header: &[u8], value: &[u8]) -> bool {
        header.eq_ignore_ascii_case(b"set-cookie") && value.starts_with(self.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_whatever_their_case() {
        for source in ["php", "PHP", "php5", "phps", "pHtml", "phar"] {
            assert!(PHP.is_source(source.as_bytes()), "{source}");
        }
        for other in ["ph", "html", "xphp", "inc", ""] {
            assert!(!PHP.is_source(other.as_bytes()), "{other}");
        }
        assert!(PHP.is_part(b"Inc") && !PHP.is_part(b"php"));
        assert!(PHP.runs(b"/a.php") && !PHP.runs(b"/a.PHP") && !PHP.runs(b"/a.php5"));
    }

    #[test]
    fn sessions_are_told_by_their_cookie() {
        assert!(PHP.begins_session(b"Set-Cookie", b"PHPSESSID=1; path=/"));
        assert!(!PHP.begins_session(b"Set-Cookie", b"PHPSESSIDX=1"));
        assert!(!PHP.begins_session(b"Cookie", b"PHPSESSID=1"));
    }
}
