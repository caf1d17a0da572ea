//! PAX extended headers: `LENGTH KEY=VALUE\n` records, in POSIX.1-2008 `pax` and with the keys of GNU tar and star.
//!
//! The length counts the whole record, itself included, so keys and values may hold any byte.

use std::collections::BTreeMap;

use super::error::TarError;
use super::sparse::{SparseKeys, decimal};

/// What extended headers say about one member. Later records and headers win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Seconds and nanoseconds.
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Attributes that an image does not hold.
    pub(super) dropped: Vec<Vec<u8>>,
    pub(super) sparse: SparseKeys,
}

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits a header's body into keys and values.
fn records(mut body: &[u8], at: u64) -> Result<Vec<Record<'_>>, TarError> {
    let bad = |what: &str| TarError::Pax {
        at,
        what: what.to_owned(),
    };
    let mut found = Vec::new();
    while !body.is_empty() {
        let space = body
            .iter()
            .position(|&byte| byte == b' ')
            .ok_or_else(|| bad("record without length"))?;
        let len = decimal(&body[..space])
            .and_then(|len| usize::try_from(len).ok())
            .ok_or_else(|| bad("record length is no number"))?;
        if len > body.len() || len <= space + 1 {
            return Err(bad("record length does not fit"));
        }
        let (record, rest) = body.split_at(len);
        let record = record[space + 1..]
            .strip_suffix(b"\n")
            .ok_or_else(|| bad("record without newline"))?;
        let equals = record
            .iter()
            .position(|&byte| byte == b'=')
            .ok_or_else(|| bad("record without ="))?;
        if equals == 0 {
            return Err(bad("record without key"));
        }
        found.push((&record[..equals], &record[equals + 1..]));
        body = rest;
    }
    Ok(found)
}

impl Attributes {
    /// Takes in a header for one member.
    pub(super) fn merge(&mut self, body: &[u8], at: u64) -> Result<(), TarError> {
        for (key, value) in records(body, at)? {
            self.set(key, value, at)?;
        }
        Ok(())
    }

    /// Takes in a header for all members that follow. What names or measures a single member has no place there, and
    /// readers disagree about it; attributes would be copied to every member, whatever their number.
    pub(super) fn merge_global(&mut self, body: &[u8], at: u64) -> Result<(), TarError> {
        for (key, value) in records(body, at)? {
            let single = [&b"GNU.sparse."[..], b"SCHILY.xattr."]
                .iter()
                .any(|prefix| key.starts_with(prefix));
            if single || matches!(key, b"path" | b"linkpath" | b"size") {
                return Err(TarError::Pax {
                    at,
                    what: format!("global {} would apply to every member", key.escape_ascii()),
                });
            }
            self.set(key, value, at)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8], at: u64) -> Result<(), TarError> {
        let bad = || TarError::Pax {
            at,
            what: format!(
                "{} has the value {}",
                key.escape_ascii(),
                value[..value.len().min(100)].escape_ascii()
            ),
        };
        let id = || {
            decimal(value)
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(bad)
        };
        match key {
            b"path" => self.path = Some(nonempty(value).ok_or_else(bad)?),
            b"linkpath" => self.link = Some(nonempty(value).ok_or_else(bad)?),
            b"size" => self.size = Some(decimal(value).ok_or_else(bad)?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(bad)?),
            b"uid" => self.uid = Some(id()?),
            b"gid" => self.gid = Some(id()?),
            b"SCHILY.realsize" | b"GNU.dumpdir" => return Err(unsupported(key, at)),
            _ if key.starts_with(b"GNU.volume.") => return Err(unsupported(key, at)),
            _ if key.starts_with(b"GNU.sparse.") => {
                self.sparse
                    .set(&key[b"GNU.sparse.".len()..], value)
                    .map_err(|what| TarError::Pax { at, what })?;
            }
            _ => self.set_attribute(key, value),
        }
        Ok(())
    }

    fn set_attribute(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            let name = unescape(name);
            if name.starts_with(b"user.") {
                self.xattrs.insert(name, value.to_vec());
            } else {
                self.dropped.push(name);
            }
        } else if key.starts_with(b"SCHILY.acl.") || key == b"RHT.security.selinux" {
            self.dropped.push(key.to_vec());
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            // bsdtar writes each attribute twice; the other form is the one every program reads.
            if !name.starts_with(b"user.") {
                self.dropped.push(name.to_vec());
            }
        }
    }

    /// What a member has when these records are its own and `global` applies to all.
    pub(super) fn over(mut self, global: &Attributes) -> Attributes {
        self.mtime = self.mtime.or(global.mtime);
        self.uid = self.uid.or(global.uid);
        self.gid = self.gid.or(global.gid);
        self
    }
}

fn unsupported(key: &[u8], at: u64) -> TarError {
    TarError::Pax {
        at,
        what: format!("{} is not supported", key.escape_ascii()),
    }
}

fn nonempty(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// Seconds with an optional fraction, to nanoseconds towards the past.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut halves = digits.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(halves.next()?)?).ok()?;
    let fraction = halves.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0;
    for index in 0..9 {
        nanos = nanos * 10 + u32::from(fraction.get(index).map_or(0, |digit| digit - b'0'));
    }
    let beyond = fraction.iter().skip(9).any(|&digit| digit != b'0');
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) if !beyond => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos - u32::from(beyond)),
    })
}

/// GNU tar writes `%` and `=` of attribute names as `%25` and `%3D`.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        out.push(first);
        rest = tail;
        for (code, byte) in [(b"%25", b'%'), (b"%3D", b'=')] {
            if first == b'%' && tail.starts_with(&code[1..]) {
                *out.last_mut().expect("just pushed") = byte;
                rest = &tail[2..];
                break;
            }
        }
    }
    out
}

/// The opposite of what reading does to an attribute's name.
pub(super) fn escape(name: &[u8]) -> Vec<u8> {
    name.iter()
        .flat_map(|&byte| match byte {
            b'%' => b"%25".to_vec(),
            b'=' => b"%3D".to_vec(),
            _ => vec![byte],
        })
        .collect()
}

/// Appends a record. Its length includes the digits of the length.
pub(super) fn push_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    for part in [&b" "[..], key, b"=", value, b"\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_length_come_back() {
        for len in (0..300).chain(980..1010).chain(9980..10010) {
            let value = vec![b'\n'; len];
            let mut body = Vec::new();
            push_record(&mut body, b"key", &value);
            push_record(&mut body, b"other=", b"=");
            let found = records(&body, 0).expect("valid");
            assert_eq!(
                found,
                [(&b"key"[..], &value[..]), (b"other", b"==")],
                "{len}"
            );
        }
    }

    #[test]
    fn damaged_records_are_refused() {
        for body in [
            &b"x"[..],
            b"4 a=\n",
            b"7 a=b\n",
            b"6 a=bX",
            b"99999999999999999999 a=b\n",
            b"3 \n\n",
            b"5 =b\n",
            b"5 ab\n",
            b"-6 a=b\n",
            b"06 a=b\n\0",
            b" 6 a=b\n",
        ] {
            assert!(records(body, 0).is_err(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn times_round_towards_the_past() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12.0000000019"), Some((12, 1)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-1.0000000001"), Some((-2, 999_999_999)));
        for value in [
            &b""[..],
            b"-",
            b"1.x",
            b"1.2.3",
            b"99999999999999999999",
            b"+1",
            b" 1",
        ] {
            assert_eq!(time(value), None, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn attribute_names_survive_escaping() {
        for name in [
            &b"user.a=b"[..],
            b"user.100%",
            b"user.%25",
            b"user.%3D",
            b"%",
            b"%2",
            b"user.%%3",
        ] {
            assert_eq!(unescape(&escape(name)), name);
        }
    }
}
