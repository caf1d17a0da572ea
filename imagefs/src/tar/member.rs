//! Headers put together: one [`Member`] for each file, directory or link, whatever number of blocks describe it.

use super::block::{Dialect, Header, checksum_holds};
use super::error::TarError;
use super::note::Note;
use super::pax::Attributes;
use super::sparse::{self, Map, PARTS_MAX, decimal};
use super::stream::{Stream, padded};
use super::{BLOCK, BLOCK_LEN};
use crate::error::printable;

/// Bytes the extended headers of one member may have: its attributes may fill 64 KiB each.
const EXTENSION_BYTES_MAX: u64 = 16 << 20;

/// Volume labels and the like; each leaves a note.
const LABELS_MAX: u64 = 10_000;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    /// A device, FIFO or socket: what to call it.
    Special(&'static str),
}

/// One member of the archive. Its body, `stored` bytes, is still in the stream.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) at: u64,
    pub(super) kind: Kind,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) stored: u64,
    /// The data parts of a sparse file.
    pub(super) map: Option<Map>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
    pub(super) attributes: Attributes,
}

/// The members of an archive, one after the other.
pub(super) struct Members<'a> {
    pub(super) stream: Stream<'a>,
    global: Attributes,
    pub(super) notes: Vec<Note>,
    /// Members skipped because they describe the archive.
    labels: u64,
}

/// Extension headers collected for the next member.
#[derive(Default)]
struct Pending {
    attributes: Attributes,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    /// Bytes of all of them.
    bytes: u64,
    any: bool,
}

impl<'a> Members<'a> {
    pub(super) fn new(stream: Stream<'a>) -> Members<'a> {
        Members {
            stream,
            global: Attributes::default(),
            notes: Vec::new(),
            labels: 0,
        }
    }

    /// The next member; the caller must have read the body of the one before. `None` after the end marker.
    pub(super) fn next(&mut self) -> Result<Option<Member>, TarError> {
        let mut pending = Pending::default();
        loop {
            let at = self.stream.at();
            let block = match self.stream.block()? {
                Some(block) => block,
                None if at == 0 => return Err(TarError::NotTar("it is empty")),
                None => return Err(TarError::Truncated { at }),
            };
            if block == [0; BLOCK] {
                if pending.any {
                    return Err(TarError::Pax {
                        at,
                        what: "no member follows".to_owned(),
                    });
                }
                return self.end(at);
            }
            if !checksum_holds(&block) {
                return Err(match at {
                    0 => TarError::NotTar("its first block has no valid checksum"),
                    _ => TarError::Header {
                        at,
                        what: "checksum is wrong",
                    },
                });
            }
            let header = Header::parse(&block, at)?;
            if !self.extension(&header, at, &mut pending)? {
                return self.member(&header, &block, at, pending).map(Some);
            }
        }
    }

    /// The end marker is two zero blocks. One alone counts at the end of the input only: programs disagree on what
    /// follows it.
    fn end(&mut self, at: u64) -> Result<Option<Member>, TarError> {
        match self.stream.block()? {
            None => return Ok(None),
            Some(block) if block == [0; BLOCK] => {}
            Some(_) => {
                return Err(TarError::Header {
                    at,
                    what: "a lone zero block in the middle",
                });
            }
        }
        if let Some(at) = self.stream.drain()? {
            self.notes.push(Note::AfterEnd { at });
        }
        Ok(None)
    }

    /// Takes in a header that describes the next member or the archive. `false` when it is a member itself.
    fn extension(
        &mut self,
        header: &Header,
        at: u64,
        pending: &mut Pending,
    ) -> Result<bool, TarError> {
        match header.kind {
            b'x' | b'X' => {
                let body = self.extension_body(header, at, pending)?;
                pending.attributes.merge(&body, at)?;
            }
            b'g' => {
                let body = self.extension_body(header, at, pending)?;
                self.global.merge_global(&body, at)?;
                // Not about the next member alone.
                return Ok(true);
            }
            b'L' => pending.long_name = Some(until_nul(self.extension_body(header, at, pending)?)),
            b'K' => pending.long_link = Some(until_nul(self.extension_body(header, at, pending)?)),
            b'V' | b'A' => {
                self.labels += 1;
                if self.labels > LABELS_MAX {
                    return Err(TarError::Limit {
                        what: "number of labels",
                        max: LABELS_MAX,
                    });
                }
                let what = if header.kind == b'V' {
                    "a volume label"
                } else {
                    "a Solaris ACL"
                };
                self.notes.push(Note::Skipped {
                    path: printable(&header.name),
                    what,
                });
                let body = self.extension_body(header, at, pending)?;
                drop(body);
                return Ok(true);
            }
            _ => return Ok(false),
        }
        pending.any = true;
        Ok(true)
    }

    fn extension_body(
        &mut self,
        header: &Header,
        at: u64,
        pending: &mut Pending,
    ) -> Result<Vec<u8>, TarError> {
        let size = u64::try_from(header.size).unwrap_or(u64::MAX);
        pending.bytes = pending.bytes.saturating_add(size);
        if pending.bytes > EXTENSION_BYTES_MAX {
            return Err(TarError::Header {
                at,
                what: "extended headers of an impossible size",
            });
        }
        self.stream.body(size)
    }

    fn member(
        &mut self,
        header: &Header,
        block: &[u8; BLOCK],
        at: u64,
        pending: Pending,
    ) -> Result<Member, TarError> {
        let attributes = pending.attributes.over(&self.global);
        let named = attributes.sparse.name.as_ref().or(attributes.path.as_ref());
        let path = named
            .cloned()
            .or(pending.long_name)
            .unwrap_or_else(|| header.name.clone());
        let link = attributes
            .link
            .clone()
            .or(pending.long_link)
            .unwrap_or_else(|| header.link.clone());
        let kind = self.kind(header, &path, at)?;
        let refuse_size = |what| TarError::Size {
            at,
            path: printable(&path),
            what,
        };
        let claimed = u64::try_from(header.size).map_err(|_| refuse_size("negative size"))?;
        let stored = attributes.size.unwrap_or(claimed);
        if padded(stored)
            .and_then(|len| self.stream.at().checked_add(len))
            .is_none()
        {
            return Err(refuse_size("size is beyond any archive"));
        }
        // For links and directories some programs take the size for a body that follows, others do not.
        if kind != Kind::File && stored != 0 {
            return Err(refuse_size(
                "a member without content has a size, which programs read differently",
            ));
        }
        let mut member = Member {
            at,
            kind,
            link,
            stored,
            map: None,
            mode: header.mode,
            uid: attributes.uid.unwrap_or(header.uid),
            gid: attributes.gid.unwrap_or(header.gid),
            mtime: attributes.mtime.unwrap_or((header.mtime, 0)),
            attributes,
            path,
        };
        self.sparse(&mut member, header, block)?;
        Ok(member)
    }

    fn kind(&self, header: &Header, path: &[u8], at: u64) -> Result<Kind, TarError> {
        let unsupported = |what: String| TarError::Unsupported {
            at,
            path: printable(path),
            what,
        };
        Ok(match header.kind {
            // Before there was a type for directories, the slash said it; programs still go by it.
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'S' if header.dialect == Dialect::Gnu => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Special("a character device"),
            b'4' => Kind::Special("a block device"),
            b'5' => Kind::Directory,
            b'6' => Kind::Special("a FIFO"),
            b'D' => {
                return Err(unsupported(
                    "incremental archives are not supported".to_owned(),
                ));
            }
            b'M' => {
                return Err(unsupported(
                    "multi-volume archives are not supported".to_owned(),
                ));
            }
            other => {
                return Err(unsupported(format!(
                    "member type {} is not known",
                    other.escape_ascii()
                )));
            }
        })
    }

    /// Reads the map of a sparse file, from wherever its format keeps it, and leaves `stored` at the data alone.
    fn sparse(
        &mut self,
        member: &mut Member,
        header: &Header,
        block: &[u8; BLOCK],
    ) -> Result<(), TarError> {
        let (at, path) = (member.at, printable(&member.path));
        let refuse = |what| TarError::Sparse {
            at,
            path: path.clone(),
            what,
        };
        let keys = std::mem::take(&mut member.attributes.sparse);
        if header.kind == b'S' {
            if !keys.is_empty() {
                return Err(refuse("two maps"));
            }
            let mut parts = Vec::new();
            let (size, mut more) = sparse::old_header(block, &mut parts).map_err(refuse)?;
            while more {
                if parts.len() > PARTS_MAX {
                    return Err(refuse("too many parts"));
                }
                more = sparse::old_extension(&self.stream.next_block()?, &mut parts)
                    .map_err(refuse)?;
            }
            member.map = Some(Map::new(parts, size, member.stored).map_err(refuse)?);
        } else if !keys.is_empty() {
            if member.kind != Kind::File {
                return Err(refuse("on a member that is no file"));
            }
            member.map = Some(if keys.map_in_body().map_err(refuse)? {
                let parts =
                    self.map_from_body(&mut member.stored)
                        .map_err(|error| match error {
                            MapError::What(what) => refuse(what),
                            MapError::Tar(error) => error,
                        })?;
                keys.with_parts(parts, member.stored).map_err(refuse)?
            } else {
                keys.into_map(member.stored).map_err(refuse)?
            });
        }
        Ok(())
    }

    /// The map of format 1.0: a count, then offsets and lengths, one decimal number a line, padded to a block.
    fn map_from_body(&mut self, stored: &mut u64) -> Result<Vec<(u64, u64)>, MapError> {
        let mut lines = Lines {
            blocks: Vec::new(),
            next: 0,
        };
        let count = lines.number(self, stored)?;
        let count = usize::try_from(count)
            .ok()
            .filter(|&count| count <= PARTS_MAX);
        let count = count.ok_or(MapError::What("too many parts"))?;
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push((lines.number(self, stored)?, lines.number(self, stored)?));
        }
        Ok(parts)
    }
}

enum MapError {
    What(&'static str),
    Tar(TarError),
}

/// Decimal lines at the start of a body, fetched block by block.
struct Lines {
    blocks: Vec<u8>,
    next: usize,
}

impl Lines {
    fn number(&mut self, members: &mut Members<'_>, stored: &mut u64) -> Result<u64, MapError> {
        /// Digits of the largest number, and one for the newline.
        const LINE_LEN_MAX: usize = 21;
        loop {
            let rest = &self.blocks[self.next..];
            if let Some(len) = rest
                .iter()
                .take(LINE_LEN_MAX)
                .position(|&byte| byte == b'\n')
            {
                let value = decimal(&rest[..len]).ok_or(MapError::What("a line is no number"))?;
                self.next += len + 1;
                return Ok(value);
            }
            if rest.len() >= LINE_LEN_MAX {
                return Err(MapError::What("a line is no number"));
            }
            *stored = stored
                .checked_sub(BLOCK_LEN)
                .ok_or(MapError::What("map is longer than the member"))?;
            let block = members.stream.next_block().map_err(MapError::Tar)?;
            self.blocks.drain(..self.next);
            self.next = 0;
            self.blocks.extend_from_slice(&block);
        }
    }
}

/// GNU tar ends long names with a NUL.
fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}
