//! `AuthType Basic`, its realm, and its files of passwords and groups.

use std::collections::HashMap;
use std::sync::Arc;

use super::flag;
use crate::expression::{self, Word};
use crate::password::Passwords;

/// How users show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Basic,
    /// A kind that is not known: nobody can sign in.
    Unknown,
}

/// Names of groups, and who is in them.
pub(crate) type Groups = HashMap<Vec<u8>, Vec<Vec<u8>>>;

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authentication {
    pub(crate) kind: Option<Kind>,
    pub(crate) realm: Option<Word>,
    /// `None` inside when the file is not there.
    pub(crate) passwords: Option<Option<Arc<Passwords>>>,
    groups: Option<Option<Arc<Groups>>>,
    /// Only files are asked; another provider lets nobody in.
    pub(crate) only_files: Option<bool>,
    pub(crate) authoritative: Option<bool>,
}

impl Authentication {
    /// `AuthType name`; `false` when it is not known.
    pub(crate) fn set_type(&mut self, word: &[u8]) -> bool {
        let kind = match word.to_ascii_lowercase().as_slice() {
            b"none" => Kind::None,
            b"basic" => Kind::Basic,
            _ => Kind::Unknown,
        };
        self.kind = Some(kind);
        kind != Kind::Unknown
    }

    /// `AuthName realm`.
    pub(crate) fn set_realm(&mut self, word: &[u8]) -> Result<(), String> {
        self.realm = Some(expression::text(word).map_err(|e| e.to_string())?);
        Ok(())
    }

    /// `AuthUserFile path`, as it was found.
    pub(crate) fn set_passwords(&mut self, passwords: Option<Passwords>) {
        self.passwords = Some(passwords.map(Arc::new));
    }

    /// `AuthGroupFile path`, as it was found.
    pub(crate) fn set_groups(&mut self, text: Option<&[u8]>) {
        self.groups = Some(text.map(|text| Arc::new(groups_of(text))));
    }

    /// `AuthBasicProvider name…`; `false` when one is not known.
    pub(crate) fn set_providers(&mut self, words: &[Vec<u8>]) -> bool {
        let only_files = words.iter().all(|word| word.eq_ignore_ascii_case(b"file"));
        self.only_files = Some(only_files);
        only_files
    }

    /// `AuthBasicAuthoritative on|off`.
    pub(crate) fn set_authoritative(&mut self, word: &[u8]) -> Result<(), String> {
        self.authoritative = Some(flag(word)?);
        Ok(())
    }

    pub(crate) fn merged(&self, over: &Authentication) -> Authentication {
        Authentication {
            kind: over.kind.or(self.kind),
            realm: over.realm.clone().or_else(|| self.realm.clone()),
            passwords: over.passwords.clone().or_else(|| self.passwords.clone()),
            groups: over.groups.clone().or_else(|| self.groups.clone()),
            only_files: over.only_files.or(self.only_files),
            authoritative: over.authoritative.or(self.authoritative),
        }
    }

    /// Whether a kind is named at all.
    pub(crate) fn has_type(&self) -> bool {
        self.kind.is_some_and(|kind| kind != Kind::None)
    }

    pub(crate) fn is_member(&self, user: &[u8], group: &[u8]) -> bool {
        let Some(Some(groups)) = &self.groups else {
            return false;
        };
        groups
            .get(group)
            .is_some_and(|members| members.iter().any(|member| member == user))
    }
}

/// Lines `group: user user`.
fn groups_of(text: &[u8]) -> Groups {
    let mut groups = Groups::new();
    for line in text.split(|&b| b == b'\n') {
        let line = crate::text::trim(line);
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        if line.starts_with(b"#") {
            continue;
        }
        let members = crate::text::Words::new(&line[colon + 1..]);
        groups
            .entry(crate::text::trim(&line[..colon]).to_vec())
            .or_default()
            .extend(members);
    }
    groups
}
