//! Attributes, each combination once.

use std::collections::HashMap;

use super::{Strings, limited, number};
use crate::error::Error;
use crate::format::{Attr, NONE, Xattr};
use crate::tree::{Meta, Xattrs};

/// Attribute rows in order of first use.
#[derive(Default)]
pub(super) struct Attrs {
    rows: Vec<(u16, Meta)>,
    known: HashMap<(u16, u32, u32, i64, u32), Vec<u32>>,
}

/// The final rows, and where each of the first-use order went.
pub(super) struct AttrRows {
    pub(super) rows: Vec<Attr>,
    pub(super) moved: Vec<u32>,
}

impl Attrs {
    pub(super) fn add(&mut self, kind: u16, meta: &Meta) -> u32 {
        let mode = kind | meta.perm;
        let same = self
            .known
            .entry((mode, meta.uid, meta.gid, meta.mtime, meta.mtime_ns))
            .or_default();
        for &row in same.iter() {
            if self.rows[row as usize].1.xattrs == meta.xattrs {
                return row;
            }
        }
        let row = number(self.rows.len());
        same.push(row);
        self.rows.push((mode, meta.clone()));
        row
    }

    /// Sorts the rows, so that their order does not depend on the numbering, and lays out the attribute sets.
    pub(super) fn finish(self, strings: &mut Strings) -> Result<(AttrRows, Vec<Xattr>), Error> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let key = |&i: &usize| {
            let (mode, meta) = &self.rows[i];
            (
                *mode,
                meta.uid,
                meta.gid,
                meta.mtime,
                meta.mtime_ns,
                meta.xattrs.as_deref(),
            )
        };
        order.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut moved = vec![0; order.len()];
        let mut rows = Vec::with_capacity(order.len());
        let mut xattrs = Vec::new();
        for (new, &old) in order.iter().enumerate() {
            moved[old] = number(new);
            let (mode, meta) = &self.rows[old];
            let first = match &meta.xattrs {
                None => NONE,
                Some(set) => xattr_set(set, &mut xattrs, strings)?,
            };
            rows.push(Attr {
                mode: (*mode).into(),
                reserved: 0.into(),
                uid: meta.uid.into(),
                gid: meta.gid.into(),
                mtime_ns: meta.mtime_ns.into(),
                mtime: meta.mtime.into(),
                xattr_first: first.into(),
                xattr_count: number(meta.xattrs.as_ref().map_or(0, |set| set.len())).into(),
            });
        }
        Ok((AttrRows { rows, moved }, xattrs))
    }
}

fn xattr_set(set: &Xattrs, rows: &mut Vec<Xattr>, strings: &mut Strings) -> Result<u32, Error> {
    let first = limited(rows.len(), "extended attributes")?;
    for (name, value) in set {
        // Name and value are one string: the value follows its name.
        rows.push(Xattr {
            off: strings.add(&[&name[..], &value[..]].concat())?.into(),
            name_len: number(name.len()).into(),
            value_len: number(value.len()).into(),
        });
    }
    Ok(first)
}
