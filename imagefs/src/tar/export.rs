//! An image becomes an archive: POSIX `pax` format, plain `ustar` headers wherever they can say it all.
//!
//! Members come in byte order, a directory before what is in it. Owners by name, device numbers, access times and
//! process ids are left out, so the same image gives the same bytes. Sparse files are written in GNU format 1.0.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::Range;

use ::tar::EntryType;

use super::error::TarError;
use super::pax::{escape, push_record};
use super::{BLOCK, padding};
use crate::reader::{Class, Image, Ino, Kind, Stat};

/// Bytes of a file read at once.
const COPY_LEN: usize = 1 << 20;

/// Largest values of the octal fields.
const OCTAL_11: u64 = 0o77_777_777_777;
const OCTAL_7: u32 = 0o7_777_777;

/// How writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it was written.
    Complete,
    /// The reader of the pipe had enough and closed it.
    ClosedPipe,
}

/// Writes the whole image as an archive.
///
/// # Errors
/// A block of the image is damaged, or the output fails. A closed pipe is no error.
pub fn write(image: &Image, out: impl Write) -> Result<End, TarError> {
    let mut export = Export {
        image,
        out: Counted { out, len: 0 },
        first_names: HashMap::new(),
    };
    match export.all() {
        Ok(()) => Ok(End::Complete),
        Err(TarError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(End::ClosedPipe)
        }
        Err(error) => Err(error),
    }
}

struct Export<'a, W> {
    image: &'a Image,
    out: Counted<W>,
    /// Where a file of several names was written.
    first_names: HashMap<Ino, Vec<u8>>,
}

struct Counted<W> {
    out: W,
    len: u64,
}

impl<W: Write> Counted<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.out.write_all(bytes).map_err(|source| TarError::Io {
            op: "write archive",
            source,
        })?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Fills the last block.
    fn pad(&mut self) -> Result<(), TarError> {
        let len = usize::try_from(padding(self.len)).expect("less than a block");
        self.put(&[0; BLOCK][..len])
    }
}

impl<W: Write> Export<'_, W> {
    fn all(&mut self) -> Result<(), TarError> {
        let image = self.image;
        self.member(b"./", image.root())?;
        let mut walk = image.walk(image.root());
        let mut path = Vec::new();
        while let Some(entry) = walk.next() {
            path.clear();
            path.extend_from_slice(walk.path());
            if entry.kind == Kind::Directory {
                path.push(b'/');
            }
            self.member(&path, entry.ino)?;
        }
        self.out.put(&[0; 2 * BLOCK])?;
        self.out.out.flush().map_err(|source| TarError::Io {
            op: "write archive",
            source,
        })
    }

    fn member(&mut self, path: &[u8], ino: Ino) -> Result<(), TarError> {
        let stat = self.image.stat(ino);
        if stat.kind != Kind::Directory && stat.nlink > 1 {
            if let Some(first) = self.first_names.get(&ino) {
                let header = Fields {
                    kind: EntryType::Link,
                    link: &first.clone(),
                    ..Fields::new(path, &stat)
                };
                return self.header(&header, Vec::new());
            }
            self.first_names.insert(ino, path.to_vec());
        }
        let mut records = Vec::new();
        for (name, value) in self.image.xattrs(ino) {
            push_record(
                &mut records,
                &[b"SCHILY.xattr.", &escape(name)[..]].concat(),
                value,
            );
        }
        match stat.kind {
            Kind::Directory => self.header(
                &Fields {
                    kind: EntryType::Directory,
                    ..Fields::new(path, &stat)
                },
                records,
            ),
            Kind::Symlink => {
                let link = self.image.read_link(ino).expect("a symlink has a target");
                self.header(
                    &Fields {
                        kind: EntryType::Symlink,
                        link,
                        ..Fields::new(path, &stat)
                    },
                    records,
                )
            }
            Kind::Regular if stat.class == Class::Sparse => self.sparse(path, &stat, records),
            Kind::Regular => {
                self.header(
                    &Fields {
                        size: stat.size,
                        ..Fields::new(path, &stat)
                    },
                    records,
                )?;
                self.body(ino, 0..stat.size)?;
                self.out.pad()
            }
        }
    }

    /// GNU format 1.0: the map stands before the data, and the header's name is not the file's.
    fn sparse(&mut self, path: &[u8], stat: &Stat, mut records: Vec<u8>) -> Result<(), TarError> {
        let parts = self.parts(stat.ino);
        let mut map = Vec::new();
        let mut entries: Vec<(u64, u64)> = parts
            .iter()
            .map(|part| (part.start, part.end - part.start))
            .collect();
        if parts.last().is_none_or(|last| last.end != stat.size) {
            // An empty part at the end tells extractors how long the file is.
            entries.push((stat.size, 0));
        }
        map.extend_from_slice(format!("{}\n", entries.len()).as_bytes());
        for (offset, len) in &entries {
            map.extend_from_slice(format!("{offset}\n{len}\n").as_bytes());
        }
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        for (key, value) in [
            (&b"major"[..], &b"1"[..]),
            (b"minor", b"0"),
            (b"name", path),
        ] {
            push_record(&mut records, &[b"GNU.sparse.", key].concat(), value);
        }
        push_record(
            &mut records,
            b"GNU.sparse.realsize",
            stat.size.to_string().as_bytes(),
        );
        let base = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let stand_in = [b"GNUSparseFile.0/", &base[..base.len().min(80)]].concat();
        let stored: u64 = entries.iter().map(|(_, len)| len).sum();
        let size = map.len() as u64 + stored;
        self.header(
            &Fields {
                size,
                ..Fields::new(&stand_in, stat)
            },
            records,
        )?;
        self.out.put(&map)?;
        for part in parts {
            self.body(stat.ino, part)?;
        }
        self.out.pad()
    }

    /// Data parts of a sparse file, as the image has them.
    fn parts(&self, ino: Ino) -> Vec<Range<u64>> {
        let content = self
            .image
            .content(ino)
            .expect("a regular file has a content");
        let first = content.first.get() as usize;
        let segments = &self.image.segments()[first..first + content.count.get() as usize];
        segments
            .iter()
            .map(|segment| {
                let start = segment.offset.get();
                start
                    ..start
                        + self.image.contents()[segment.content.get() as usize]
                            .size
                            .get()
            })
            .collect()
    }

    fn body(&mut self, ino: Ino, range: Range<u64>) -> Result<(), TarError> {
        let mut buffer =
            vec![0; COPY_LEN.min(usize::try_from(range.end - range.start).unwrap_or(COPY_LEN))];
        let mut at = range.start;
        while at < range.end {
            let wanted = buffer
                .len()
                .min(usize::try_from(range.end - at).unwrap_or(COPY_LEN));
            let got = self
                .image
                .read_at(ino, at, &mut buffer[..wanted])
                .map_err(Box::new)?;
            assert!(got > 0, "a file is as long as its inode says");
            self.out.put(&buffer[..got])?;
            at += got as u64;
        }
        Ok(())
    }

    /// Writes a header, and an extended one before it for what does not fit.
    fn header(&mut self, fields: &Fields<'_>, mut records: Vec<u8>) -> Result<(), TarError> {
        let (block, missing) = fields.encode();
        records.extend_from_slice(&missing);
        if !records.is_empty() {
            let base = fields.path.strip_suffix(b"/").unwrap_or(fields.path);
            let base = base.rsplit(|&byte| byte == b'/').next().unwrap_or(base);
            let name = [b"PaxHeaders.0/", &base[..base.len().min(80)]].concat();
            let extended = Fields {
                kind: EntryType::XHeader,
                path: &name,
                link: b"",
                size: records.len() as u64,
                mode: 0o644,
                ids: (0, 0),
                mtime: (0, 0),
            };
            self.out.put(&extended.encode().0)?;
            self.out.put(&records)?;
            self.out.pad()?;
        }
        self.out.put(&block)
    }
}

/// What a header says.
struct Fields<'a> {
    kind: EntryType,
    path: &'a [u8],
    link: &'a [u8],
    size: u64,
    mode: u32,
    ids: (u32, u32),
    mtime: (i64, u32),
}

impl<'a> Fields<'a> {
    fn new(path: &'a [u8], stat: &Stat) -> Fields<'a> {
        Fields {
            kind: EntryType::Regular,
            path,
            link: b"",
            size: 0,
            mode: stat.mode,
            ids: (stat.uid, stat.gid),
            mtime: (stat.mtime, stat.mtime_ns),
        }
    }

    /// The header block, and records for the values it cannot hold.
    fn encode(&self) -> ([u8; BLOCK], Vec<u8>) {
        let mut header = ::tar::Header::new_ustar();
        let mut records = Vec::new();
        let fields = header.as_ustar_mut().expect("made as ustar");
        match split_name(self.path) {
            Some((prefix, name)) => {
                fields.prefix[..prefix.len()].copy_from_slice(prefix);
                fields.name[..name.len()].copy_from_slice(name);
            }
            None => {
                push_record(&mut records, b"path", self.path);
                fields.name.copy_from_slice(&self.path[..100]);
            }
        }
        let link = &self.link[..self.link.len().min(100)];
        fields.linkname[..link.len()].copy_from_slice(link);
        if link.len() < self.link.len() {
            push_record(&mut records, b"linkpath", self.link);
        }
        let mut fitting = |key: &[u8], value: u64, max: u64| {
            if value > max {
                push_record(&mut records, key, value.to_string().as_bytes());
                return 0;
            }
            value
        };
        header.set_size(fitting(b"size", self.size, OCTAL_11));
        header.set_uid(fitting(b"uid", self.ids.0.into(), OCTAL_7.into()));
        header.set_gid(fitting(b"gid", self.ids.1.into(), OCTAL_7.into()));
        match self.mtime {
            (seconds @ 0.., 0) if seconds.cast_unsigned() <= OCTAL_11 => {
                header.set_mtime(seconds.cast_unsigned())
            }
            (seconds, nanos) => {
                header.set_mtime(0);
                push_record(&mut records, b"mtime", time(seconds, nanos).as_bytes());
            }
        }
        header.set_mode(self.mode);
        header.set_entry_type(self.kind);
        header.set_cksum();
        (*header.as_bytes(), records)
    }
}

/// Seconds and nanoseconds as a decimal number.
fn time(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (_, 0) => seconds.to_string(),
        // −2 s + 750 ms is −1.25 s.
        (..0, _) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
        _ => format!("{seconds}.{nanos:09}"),
    }
}

/// A name in the two fields of a `ustar` header, when it fits.
fn split_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // A slash at the end belongs to the name.
    (1..path.len() - 1)
        .filter(|&at| path[at] == b'/')
        .map(|at| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_split_where_they_fit() {
        let name =
            |dir: usize, base: usize| [vec![b'd'; dir], b"/".to_vec(), vec![b'b'; base]].concat();
        assert_eq!(
            split_name(&name(155, 100)),
            Some((&[b'd'; 155][..], &[b'b'; 100][..]))
        );
        assert_eq!(split_name(&name(156, 100)), None);
        assert_eq!(split_name(&name(5, 101)), None);
        assert_eq!(split_name(b"short"), Some((&b""[..], &b"short"[..])));
    }

    #[test]
    fn times_before_1970_are_written_as_one_number() {
        assert_eq!(time(-2, 750_000_000), "-1.250000000");
        assert_eq!(time(-1, 999_999_999), "-0.000000001");
        assert_eq!(time(-5, 0), "-5");
        assert_eq!(time(5, 1), "5.000000001");
    }
}
