//! `tree_id`: a Merkle hash of what a tree is, independent of how it is stored.
//!
//! A directory's hash covers, for each entry in byte order: name, file type and permissions, extended attributes, and
//! then the size and BLAKE3 of a file's bytes, the target of a symlink, or the hash of a directory. Times, owners and
//! which names share an inode are left out: they are normalised or follow from the source's history.

use crate::reader::{Image, Ino, Kind};

/// Context string of the hash (BLAKE3 key derivation).
const CONTEXT: &str = "zapp imagefs 1 tree id";

/// What an entry's hash covers besides its name, mode and attributes.
pub(crate) enum Body<'a> {
    Dir([u8; 32]),
    File { size: u64, hash: [u8; 32] },
    Symlink(&'a [u8]),
}

/// Hash of one directory in the making.
pub(crate) struct DirHasher(blake3::Hasher);

impl DirHasher {
    /// Begins with the directory's own mode and attributes.
    pub(crate) fn new<'a>(mode: u16, xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut this = DirHasher(blake3::Hasher::new_derive_key(CONTEXT));
        this.attributes(mode, xattrs);
        this
    }

    /// Adds the next entry in byte order.
    pub(crate) fn entry<'a>(
        &mut self,
        name: &[u8],
        mode: u16,
        xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        body: &Body<'_>,
    ) {
        self.bytes(name);
        match body {
            // The directory's hash holds its mode and attributes.
            Body::Dir(hash) => {
                self.0.update(b"d").update(hash);
            }
            Body::File { size, hash } => {
                self.attributes(mode, xattrs);
                self.0.update(b"f").update(&size.to_le_bytes()).update(hash);
            }
            Body::Symlink(target) => {
                self.attributes(mode, xattrs);
                self.0.update(b"l");
                self.bytes(target);
            }
        }
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    fn attributes<'a>(&mut self, mode: u16, xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.0.update(&mode.to_le_bytes());
        for (name, value) in xattrs {
            self.0.update(b"x");
            self.bytes(name);
            self.bytes(value);
        }
        self.0.update(b".");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    }
}

/// `tree_id` from an image's metadata.
pub(crate) fn of_image(image: &Image) -> [u8; 32] {
    let dirs = image.dir_count();
    let mut hashes = vec![[0; 32]; dirs as usize];
    // Children have larger numbers than their parents.
    for dir in (0..dirs).rev().map(Ino) {
        let mode = |ino: Ino| {
            let stat = image.stat(ino);
            u16::try_from(stat.mode).expect("twelve bits")
        };
        let mut hasher = DirHasher::new(mode(dir), image.xattrs(dir));
        for entry in image.read_dir(dir) {
            let body = match entry.kind {
                Kind::Directory => Body::Dir(hashes[entry.ino.0 as usize]),
                Kind::Symlink => Body::Symlink(image.read_link(entry.ino).unwrap_or_default()),
                Kind::Regular => Body::File {
                    size: image.stat(entry.ino).size,
                    hash: image.content_hash(entry.ino).unwrap_or_default(),
                },
            };
            hasher.entry(entry.name, mode(entry.ino), image.xattrs(entry.ino), &body);
        }
        hashes[dir.0 as usize] = hasher.finish();
    }
    hashes[0]
}
