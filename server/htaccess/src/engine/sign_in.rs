//! Who asks: `Authorization: Basic` and the files of passwords.

use super::Engine;
use crate::hit::Hit;
use crate::limits::Exhausted;
use crate::module::authentication::Kind;

/// What became of signing in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignedIn {
    /// There is nothing to sign in to.
    NotAsked,
    /// As this user.
    As(Vec<u8>),
    /// The client shall try again.
    Refused,
    /// It is not configured to work: 500.
    Broken,
}

impl Engine<'_> {
    /// Finds out who asks, by `Authorization: Basic`.
    pub(super) fn sign_in(&mut self, hit: &mut Hit) -> Result<SignedIn, Exhausted> {
        let Some(authentication) = hit.section.authentication.clone() else {
            return Ok(SignedIn::NotAsked);
        };
        match authentication.kind {
            None | Some(Kind::None) => return Ok(SignedIn::NotAsked),
            Some(Kind::Unknown) => return Ok(SignedIn::Broken),
            Some(Kind::Basic) => {}
        }
        let Some(realm) = &authentication.realm else {
            return Ok(SignedIn::Broken);
        };
        hit.realm = Some(self.text(realm, hit)?);
        hit.auth_type = Some("Basic");
        let Some((user, password)) = self.credentials(hit) else {
            return Ok(SignedIn::Refused);
        };
        if authentication.only_files == Some(false) {
            return Ok(SignedIn::Broken);
        }
        let Some(Some(passwords)) = &authentication.passwords else {
            return Ok(SignedIn::Broken);
        };
        let checked = passwords.check(&user, &password, &mut self.budget)?;
        Ok(match checked {
            Some(true) => SignedIn::As(user),
            None if authentication.authoritative == Some(false) => SignedIn::NotAsked,
            Some(false) | None => SignedIn::Refused,
        })
    }

    fn credentials(&self, hit: &Hit) -> Option<(Vec<u8>, Vec<u8>)> {
        use base64::Engine as _;
        let header = self.request_header_opt(b"authorization", hit)?;
        let space = header.iter().position(|&b| b == b' ')?;
        if !header[..space].eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let encoded = crate::text::trim(&header[space..]);
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .ok()?;
        let colon = decoded.iter().position(|&b| b == b':');
        let (user, password) = match colon {
            Some(colon) => (&decoded[..colon], &decoded[colon + 1..]),
            None => (decoded.as_slice(), &b""[..]),
        };
        Some((user.to_vec(), password.to_vec()))
    }
}
