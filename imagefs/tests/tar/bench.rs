//! Archives made block by block, and trees as text.

use std::fmt::Write as _;
use std::os::unix::fs::FileExt;

use imagefs::scan::{MtimePolicy, OwnerPolicy};
use imagefs::tar::{Archive, Note, ReadOptions, TarError, read};
use imagefs::tree::{Node, Source, Tree};

/// Options that keep everything the archive says.
pub(crate) fn keep() -> ReadOptions {
    ReadOptions {
        mtime: MtimePolicy::Keep,
        owner: OwnerPolicy::Keep,
        ..ReadOptions::default()
    }
}

/// An archive under construction.
#[derive(Clone, Default)]
pub(crate) struct Tar {
    pub(crate) bytes: Vec<u8>,
}

/// The header of one member, before its checksum.
pub(crate) struct Block(pub(crate) [u8; 512]);

impl Block {
    /// A POSIX header with mode 0644 and all else zero.
    pub(crate) fn new(kind: u8, name: &[u8], size: u64) -> Block {
        let mut block = Block([0; 512]);
        block.set(0, name);
        block.set(100, b"0000644\0");
        block.set(108, b"0000000\0");
        block.set(116, b"0000000\0");
        block.set(124, format!("{size:011o}\0").as_bytes());
        block.set(136, b"00000000000\0");
        block.0[156] = kind;
        block.set(257, b"ustar\x0000");
        block
    }

    pub(crate) fn gnu(kind: u8, name: &[u8], size: u64) -> Block {
        Block::new(kind, name, size).with(257, b"ustar  \0")
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn with(mut self, at: usize, bytes: &[u8]) -> Block {
        self.set(at, bytes);
        self
    }

    pub(crate) fn link(self, target: &[u8]) -> Block {
        self.with(157, target)
    }

    fn sealed(mut self) -> [u8; 512] {
        self.set(148, b"        ");
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        self.set(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    /// Appends a header with a right checksum.
    pub(crate) fn block(mut self, block: Block) -> Tar {
        self.bytes.extend_from_slice(&block.sealed());
        self
    }

    /// Appends bytes and fills the block.
    pub(crate) fn body(mut self, bytes: &[u8]) -> Tar {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &[u8], content: &[u8]) -> Tar {
        self.block(Block::new(b'0', name, content.len() as u64))
            .body(content)
    }

    pub(crate) fn dir(self, name: &[u8]) -> Tar {
        self.block(Block::new(b'5', name, 0).with(100, b"0000755\0"))
    }

    pub(crate) fn symlink(self, name: &[u8], target: &[u8]) -> Tar {
        self.block(Block::new(b'2', name, 0).link(target))
    }

    pub(crate) fn hard_link(self, name: &[u8], target: &[u8]) -> Tar {
        self.block(Block::new(b'1', name, 0).link(target))
    }

    /// A PAX header with these records; `kind` is `x` or `g`.
    pub(crate) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Tar {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let len = (1..9)
                .map(|digits| rest + digits)
                .find(|len| len.to_string().len() + rest == *len);
            body.extend_from_slice(format!("{} {key}=", len.expect("short")).as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.block(Block::new(kind, b"PaxHeaders/x", body.len() as u64))
            .body(&body)
    }

    /// The end marker.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }

    /// Ends it and reads it.
    pub(crate) fn read(self) -> Result<Archive, TarError> {
        read(&self.end()[..], &keep())
    }

    /// Ends it, reads it, and shows the tree.
    pub(crate) fn listed(self) -> String {
        list(&self.read().expect("valid").tree)
    }

    pub(crate) fn notes(self) -> Vec<Note> {
        self.read().expect("valid").notes
    }
}

/// A tree as text, a line for each name: type, permissions, owner, time, number of the node's first name, and
/// content.
pub(crate) fn list(tree: &Tree) -> String {
    let mut out = String::new();
    let mut seen = std::collections::HashMap::new();
    tree.walk(&mut |path, id, node| {
        let path = path.escape_ascii();
        if let Some(first) = seen.insert(id, path.to_string()) {
            seen.insert(id, first.clone());
            writeln!(out, "{path} = {first}").expect("write");
            return Ok(());
        }
        let meta = node.meta();
        write!(
            out,
            "{path} {:o} {}:{} {}.{:09}",
            meta.perm, meta.uid, meta.gid, meta.mtime, meta.mtime_ns
        )
        .expect("write");
        match node {
            Node::Dir { .. } => write!(out, " dir"),
            Node::Symlink { target, .. } => write!(out, " -> {}", target.escape_ascii()),
            Node::File { size, .. } if *size > 1000 => {
                write!(
                    out,
                    " {size} {}",
                    &blake3::hash(&contents(node)).to_hex()[..8]
                )
            }
            Node::File { .. } => write!(out, " '{}'", contents(node).escape_ascii()),
        }
        .expect("write");
        for (name, value) in meta.xattrs.iter().flat_map(|set| set.iter()) {
            write!(out, " {}={}", name.escape_ascii(), value.escape_ascii()).expect("write");
        }
        out.push('\n');
        Ok(())
    })
    .expect("walk");
    out
}

/// The plain bytes of a file, holes filled.
pub(crate) fn contents(node: &Node) -> Vec<u8> {
    let Node::File { size, source, .. } = node else {
        panic!("no file")
    };
    let len = usize::try_from(*size).expect("small");
    match source {
        Source::Bytes(bytes) => {
            assert_eq!(bytes.len(), len);
            bytes.to_vec()
        }
        Source::Stored { file, offset, data } => {
            let mut out = vec![0; len];
            let mut at = *offset;
            let whole = 0..*size;
            for part in data.as_deref().unwrap_or(std::slice::from_ref(&whole)) {
                let range = usize::try_from(part.start).expect("small")
                    ..usize::try_from(part.end).expect("small");
                file.read_exact_at(&mut out[range], at).expect("spooled");
                at += part.end - part.start;
            }
            out
        }
        Source::Disk(_) => panic!("an archive has no files on disk"),
    }
}

/// The node of a path.
pub(crate) fn node<'a>(tree: &'a Tree, path: &str) -> &'a Node {
    let id = path
        .split('/')
        .fold(0, |dir, name| tree.child(dir, name.as_bytes()).expect(name));
    tree.node(id)
}
