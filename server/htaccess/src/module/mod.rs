//! What sections say, by the module of Apache that reads it: the directives, how those of a deeper directory are merged
//! with those above, and what they mean for a request.

pub(crate) mod access;
pub(crate) mod alias;
pub(crate) mod authentication;
pub(crate) mod authorization;
pub(crate) mod core;
pub(crate) mod environment;
pub(crate) mod expires;
pub(crate) mod headers;
pub(crate) mod index;
pub(crate) mod mime;

/// `on` or `off`.
pub(crate) fn flag(word: &[u8]) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}
