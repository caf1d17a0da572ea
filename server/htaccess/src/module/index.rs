//! `DirectoryIndex`, `DirectorySlash` and `FallbackResource`.

use super::flag;
use crate::text::number;

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    names: Option<Vec<Vec<u8>>>,
    slash: Option<bool>,
    check_handler: Option<bool>,
    redirect: Option<u16>,
    fallback: Option<Vec<u8>>,
}

impl Index {
    /// `DirectoryIndex name…|disabled`.
    pub(crate) fn add_names(&mut self, words: Vec<Vec<u8>>) {
        let names = self.names.get_or_insert_default();
        match words.as_slice() {
            [only] if only.eq_ignore_ascii_case(b"disabled") => names.clear(),
            _ => names.extend(words),
        }
    }

    /// `DirectorySlash on|off`.
    pub(crate) fn set_slash(&mut self, word: &[u8]) -> Result<(), String> {
        self.slash = Some(flag(word)?);
        Ok(())
    }

    /// `DirectoryCheckHandler on|off`.
    pub(crate) fn set_check_handler(&mut self, word: &[u8]) -> Result<(), String> {
        self.check_handler = Some(flag(word)?);
        Ok(())
    }

    /// `DirectoryIndexRedirect on|off|status`.
    pub(crate) fn set_redirect(&mut self, word: &[u8]) -> Result<(), String> {
        let status = match word.to_ascii_lowercase().as_slice() {
            b"on" | b"temp" => 302,
            b"off" => 0,
            b"permanent" => 301,
            b"seeother" => 303,
            _ => u16::try_from(number(word)).unwrap_or_default(),
        };
        if status != 0 && !(300..400).contains(&status) {
            return Err("must be a status from 300 to 399".to_owned());
        }
        self.redirect = Some(status);
        Ok(())
    }

    /// `FallbackResource path|disabled`.
    pub(crate) fn set_fallback(&mut self, word: &[u8]) {
        self.fallback = Some(word.to_vec());
    }

    pub(crate) fn merged(&self, over: &Index) -> Index {
        Index {
            names: over.names.clone().or_else(|| self.names.clone()),
            slash: over.slash.or(self.slash),
            check_handler: over.check_handler.or(self.check_handler),
            redirect: over.redirect.or(self.redirect),
            fallback: over.fallback.clone().or_else(|| self.fallback.clone()),
        }
    }

    /// The names that are looked for in a directory, when a file says so.
    pub(crate) fn names(&self) -> Option<&[Vec<u8>]> {
        self.names.as_deref()
    }

    pub(crate) fn adds_slash(&self) -> bool {
        self.slash != Some(false)
    }

    pub(crate) fn checks_handler(&self) -> bool {
        self.check_handler == Some(true)
    }

    pub(crate) fn redirect(&self) -> Option<u16> {
        self.redirect.filter(|status| *status != 0)
    }

    pub(crate) fn fallback(&self) -> Option<&[u8]> {
        let fallback = self.fallback.as_deref();
        fallback.filter(|path| !path.eq_ignore_ascii_case(b"disabled"))
    }
}
