//! An archive becomes a tree.
//!
//! The rules, each with its test in `tests/tar`:
//! - `./` and doubled slashes vanish; absolute names, `..`, NUL and empty names are refused;
//! - a member of a name that is taken replaces the earlier one, with a note. A directory that has entries is not replaced by
//!   anything but a directory, and nothing is ever placed below a symlink;
//! - a hard link refers to an earlier file or symlink of this archive;
//! - missing parent directories are made, mode 0755;
//! - `.zappignore` files hold as in a directory, wherever in the archive they stand.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use globset::GlobSet;

use super::error::TarError;
use super::member::{Kind, Member, Members};
use super::note::Note;
use super::prune::prune;
use super::spool::Spool;
use super::stream::Stream;
use crate::error::printable;
use crate::format::PATH_MAX;
use crate::scan::{MtimePolicy, OwnerPolicy, globs};
use crate::tree::{Meta, Node, NodeId, Source, Tree, Xattrs};

/// How an archive is read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Directory of the spool file; it needs room for the archive's contents.
    pub spool_dir: PathBuf,
    /// An archive with more members is refused: a compressed one can claim any number.
    pub members_max: u64,
    /// An archive with more bytes in its files is refused, for the same reason.
    pub bytes_max: u64,
    /// Globs of paths to leave out, as in [`ScanOptions`](crate::scan::ScanOptions).
    pub excludes: Vec<String>,
    /// Do not read `.zappignore` files.
    pub no_ignore_file: bool,
    /// Modification times.
    pub mtime: MtimePolicy,
    /// Owners.
    pub owner: OwnerPolicy,
    /// Leave out devices, sockets and FIFOs with a note; otherwise they are an error.
    pub skip_special: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions {
            spool_dir: std::env::temp_dir(),
            members_max: 16_000_000,
            bytes_max: 1 << 44,
            excludes: Vec::new(),
            no_ignore_file: false,
            mtime: MtimePolicy::default(),
            owner: OwnerPolicy::default(),
            skip_special: false,
        }
    }
}

/// What an archive holds.
#[derive(Debug)]
pub struct Archive {
    /// The files. Bodies are in the spool file, which lives as long as any of them is referred to.
    pub tree: Tree,
    /// What was left out or decided.
    pub notes: Vec<Note>,
    /// Number of members read.
    pub members: u64,
}

/// Reads an archive: plain, gzip or zstd; a file or a pipe.
///
/// # Errors
/// See [`TarError`].
pub fn read(input: impl Read, options: &ReadOptions) -> Result<Archive, TarError> {
    let excludes = globs(&options.excludes)
        .map_err(Box::new)
        .map_err(TarError::Pattern)?;
    let mut members = Members::new(Stream::new(input)?);
    let mut import = Import {
        options,
        excludes,
        tree: Tree::new(implied(options)),
        spool: Spool::create(&options.spool_dir)?,
        notes: Vec::new(),
    };
    let mut count = 0;
    while let Some(member) = members.next()? {
        count += 1;
        if count > options.members_max {
            return Err(TarError::Limit {
                what: "number of members",
                max: options.members_max,
            });
        }
        import.take(member, &mut members.stream)?;
    }
    import.spool.finish()?;
    // At the end, because a hard link may give the same file a name that stays, and an ignore file may come last.
    import.notes.extend(prune(
        &mut import.tree,
        &import.excludes,
        !options.no_ignore_file,
    )?);
    import.notes.append(&mut members.notes);
    Ok(Archive {
        tree: import.tree,
        notes: import.notes,
        members: count,
    })
}

/// Metadata of a directory that the archive implies but does not hold.
fn implied(options: &ReadOptions) -> Meta {
    let mut meta = Meta::default();
    (meta.mtime, meta.mtime_ns) = options.mtime.apply((meta.mtime, meta.mtime_ns));
    if let OwnerPolicy::Fixed(uid, gid) = options.owner {
        (meta.uid, meta.gid) = (uid, gid);
    }
    meta
}

struct Import<'a> {
    options: &'a ReadOptions,
    excludes: GlobSet,
    tree: Tree,
    spool: Spool,
    notes: Vec<Note>,
}

/// A name as the directories above it and its last part; `None` for the root.
struct Place<'a> {
    parents: Vec<&'a [u8]>,
    name: Option<&'a [u8]>,
}

impl Import<'_> {
    fn take(&mut self, member: Member, stream: &mut Stream<'_>) -> Result<(), TarError> {
        let refuse = |what| TarError::Path {
            at: member.at,
            path: printable(&member.path),
            what,
        };
        if let Kind::Special(what) = member.kind {
            let path = printable(&member.path);
            if !self.options.skip_special && !self.is_excluded(&member.path) {
                let what =
                    format!("is {what} and cannot be packed; exclude it, or pass --skip-special");
                return Err(TarError::Unsupported {
                    at: member.at,
                    path,
                    what,
                });
            }
            self.notes.push(Note::SpecialSkipped { path, what });
            return Ok(());
        }
        let place = split(&member.path).map_err(refuse)?;
        let meta = self.meta(&member);
        match member.kind {
            Kind::Directory => self.place(
                &member,
                &place,
                Node::Dir {
                    meta,
                    entries: BTreeMap::new(),
                    parent: 0,
                    depth: 0,
                },
            ),
            Kind::Symlink => self.place(
                &member,
                &place,
                Node::Symlink {
                    meta,
                    target: member.link.clone().into(),
                },
            ),
            Kind::HardLink => self.link(&member, &place),
            Kind::File => {
                let (size, source) = self.body(&member, stream)?;
                self.place(&member, &place, Node::File { meta, size, source })
            }
            Kind::Special(_) => unreachable!("handled above"),
        }
    }

    /// Moves a body into the spool file.
    fn body(
        &mut self,
        member: &Member,
        stream: &mut Stream<'_>,
    ) -> Result<(u64, Source), TarError> {
        let size = member.map.as_ref().map_or(member.stored, |map| map.size);
        if size == 0 {
            return Ok((0, Source::Bytes(Arc::from([]))));
        }
        let (file, offset) = self.spool.position();
        if member.stored > self.options.bytes_max.saturating_sub(offset) {
            return Err(TarError::Limit {
                what: "size of all files",
                max: self.options.bytes_max,
            });
        }
        stream.copy(member.stored, &mut self.spool)?;
        let dense =
            |map: &super::sparse::Map| map.data.first().is_some_and(|part| *part == (0..size));
        let data = member
            .map
            .as_ref()
            .filter(|map| !dense(map))
            .map(|map| Arc::from(map.data.as_slice()));
        Ok((size, Source::Stored { file, offset, data }))
    }

    fn meta(&mut self, member: &Member) -> Meta {
        const SET_ID: u32 = 0o6000;
        if member.mode & SET_ID != 0 && member.kind != Kind::HardLink {
            self.notes.push(Note::SetIdDropped {
                path: printable(&member.path),
            });
        }
        for name in &member.attributes.dropped {
            self.notes.push(Note::AttributeDropped {
                path: printable(&member.path),
                name: printable(name),
            });
        }
        let xattrs: Xattrs = member
            .attributes
            .xattrs
            .iter()
            .map(|(name, value)| (name.as_slice().into(), value.as_slice().into()))
            .collect();
        let mut meta = Meta {
            // Nobody checks a symlink's own permissions; Linux shows these.
            perm: if member.kind == Kind::Symlink {
                0o777
            } else {
                u16::try_from(member.mode & 0o1777).expect("ten bits")
            },
            xattrs: (!xattrs.is_empty()).then(|| Box::new(xattrs)),
            ..implied(self.options)
        };
        (meta.mtime, meta.mtime_ns) = self.options.mtime.apply(member.mtime);
        if self.options.owner == OwnerPolicy::Keep {
            (meta.uid, meta.gid) = (member.uid, member.gid);
        }
        meta
    }

    /// Whether a pattern takes out this name or a directory above it.
    fn is_excluded(&self, path: &[u8]) -> bool {
        let Ok(place) = split(path) else { return false };
        let mut above = Vec::new();
        place.parents.iter().chain(&place.name).any(|part| {
            if !above.is_empty() {
                above.push(b'/');
            }
            above.extend_from_slice(part);
            self.excludes.is_match(OsStr::from_bytes(&above))
        })
    }

    /// Puts a node where it belongs, in place of what is there.
    fn place(&mut self, member: &Member, place: &Place<'_>, node: Node) -> Result<(), TarError> {
        let refuse = |what| TarError::Path {
            at: member.at,
            path: printable(&member.path),
            what,
        };
        let is_dir = matches!(node, Node::Dir { .. });
        let Some(name) = place.name else {
            return match node {
                Node::Dir { meta, .. } => {
                    *self.tree.node_mut(0).meta_mut() = meta;
                    Ok(())
                }
                _ => Err(refuse("the root can only be a directory")),
            };
        };
        let parent = self.parent(member, place)?;
        if let Some(old) = self.tree.child(parent, name) {
            match self.tree.node(old) {
                Node::Dir { .. } if is_dir => {
                    *self.tree.node_mut(old).meta_mut() = node.meta().clone();
                    return Ok(());
                }
                Node::Dir { entries, .. } if !entries.is_empty() => {
                    return Err(refuse("would replace a directory that has entries"));
                }
                _ => self.replace(member, parent, name),
            }
        }
        let added = self.tree.add(parent, name, node);
        added.map(drop).map_err(|source| TarError::Tree {
            at: member.at,
            source: Box::new(source),
        })
    }

    fn replace(&mut self, member: &Member, parent: NodeId, name: &[u8]) {
        self.tree.unlink(parent, name);
        self.notes.push(Note::Replaced {
            path: printable(&member.path),
        });
    }

    /// Gives an earlier member another name.
    fn link(&mut self, member: &Member, place: &Place<'_>) -> Result<(), TarError> {
        let refuse = |what| TarError::Link {
            at: member.at,
            path: printable(&member.path),
            target: printable(&member.link),
            what,
        };
        let target = split(&member.link).map_err(refuse)?;
        let id = self
            .find(&target)
            .ok_or_else(|| refuse("no such earlier member"))?;
        if matches!(self.tree.node(id), Node::Dir { .. }) {
            return Err(refuse("it is a directory"));
        }
        let name = place
            .name
            .ok_or_else(|| refuse("the root can only be a directory"))?;
        let parent = self.parent(member, place)?;
        if let Some(old) = self.tree.child(parent, name) {
            if old == id {
                self.notes.push(Note::LinkToItself {
                    path: printable(&member.path),
                });
                return Ok(());
            }
            if matches!(self.tree.node(old), Node::Dir { entries, .. } if !entries.is_empty()) {
                return Err(refuse("would replace a directory that has entries"));
            }
            self.replace(member, parent, name);
        }
        self.tree
            .link(parent, name, id)
            .map_err(|source| TarError::Tree {
                at: member.at,
                source: Box::new(source),
            })
    }

    /// The node of a name, without following symlinks.
    fn find(&self, place: &Place<'_>) -> Option<NodeId> {
        place
            .parents
            .iter()
            .chain(&place.name)
            .try_fold(0, |dir, name| self.tree.child(dir, name))
    }

    /// The directory a member goes into, made where it is missing.
    fn parent(&mut self, member: &Member, place: &Place<'_>) -> Result<NodeId, TarError> {
        let mut dir = 0;
        for name in &place.parents {
            dir = match self.tree.child(dir, name) {
                Some(next) if matches!(self.tree.node(next), Node::Dir { .. }) => next,
                Some(_) => {
                    return Err(TarError::Path {
                        at: member.at,
                        path: printable(&member.path),
                        what: "a parent is a file or symlink",
                    });
                }
                None => {
                    let node = Node::Dir {
                        meta: implied(self.options),
                        entries: BTreeMap::new(),
                        parent: 0,
                        depth: 0,
                    };
                    self.tree
                        .add(dir, name, node)
                        .map_err(|source| TarError::Tree {
                            at: member.at,
                            source: Box::new(source),
                        })?
                }
            };
        }
        Ok(dir)
    }
}

/// Takes a name apart, and refuses those that lead out of the archive.
fn split(path: &[u8]) -> Result<Place<'_>, &'static str> {
    match path {
        b"" => return Err("an empty name"),
        _ if path[0] == b'/' => return Err("an absolute name"),
        _ if path.contains(&0) => return Err("a name with a NUL"),
        _ => {}
    }
    let mut parents: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .collect();
    if parents.iter().any(|part| part == b"..") {
        return Err("a name with ..");
    }
    let len: usize = parents.iter().map(|part| part.len() + 1).sum();
    if len > PATH_MAX + 1 {
        return Err("a name longer than 4095 bytes");
    }
    let name = parents.pop();
    Ok(Place { parents, name })
}
