//! What an image is made of: counts and sizes for each storage class.

use std::collections::HashSet;

use crate::reader::{Class, Image, Kind};

/// Files of one storage class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassSummary {
    /// The class.
    pub class: Class,
    /// Regular files, hard links counted once.
    pub files: u64,
    /// Distinct contents; the parts of sparse files count in their own class.
    pub contents: u64,
    /// Bytes of those contents before compression.
    pub plain: u64,
    /// Bytes they take in the image. A block that several contents share counts once.
    pub stored: u64,
}

/// What [`summary`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Directories, the root included.
    pub directories: u64,
    /// Regular files, hard links counted once.
    pub files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Names in all directories.
    pub names: u64,
    /// Bytes of all regular files, hard links counted once.
    pub plain: u64,
    /// Bytes of the data area.
    pub data: u64,
    /// Bytes of everything else.
    pub metadata: u64,
    /// Files whose bytes are those of another file as well, without the first of each.
    pub shared_files: u64,
    /// Bytes of those files.
    pub shared_bytes: u64,
    /// Classes that occur, in the order of their numbers.
    pub classes: Vec<ClassSummary>,
}

/// Counts what an image holds. Looks at metadata only.
pub fn summary(image: &Image) -> Summary {
    let mut classes = Class::ALL.map(|class| ClassSummary {
        class,
        files: 0,
        contents: 0,
        plain: 0,
        stored: 0,
    });
    let mut used = HashSet::new();
    for content in image.contents() {
        let row = &mut classes[usize::from(content.class)];
        row.contents += 1;
        row.plain += content.size.get();
        row.stored += match row.class {
            Class::None | Class::Sparse => 0,
            Class::Inline => content.size.get(),
            _ => (content.first.get()..content.first.get() + content.count.get().max(1))
                .filter(|&block| used.insert(block))
                .map(|block| u64::from(image.block_rows()[block as usize].clen.get()))
                .sum(),
        };
    }
    let mut summary = Summary {
        directories: image.dir_count().into(),
        files: 0,
        symlinks: 0,
        names: 0,
        plain: image.total_size(),
        data: 0,
        metadata: 0,
        shared_files: 0,
        shared_bytes: 0,
        classes: Vec::new(),
    };
    let mut seen = HashSet::new();
    for ino in (0..image.inode_count()).filter_map(|index| image.inode_at(index)) {
        match image.kind(ino) {
            Kind::Directory => summary.names += u64::from(image.dir_len(ino)),
            Kind::Symlink => summary.symlinks += 1,
            Kind::Regular => {
                let stat = image.stat(ino);
                summary.files += 1;
                classes[stat.class as usize].files += 1;
                if stat.size > 0 && !seen.insert(image.content_index(ino)) {
                    summary.shared_files += 1;
                    summary.shared_bytes += stat.size;
                }
            }
        }
    }
    let blocks = image.block_rows();
    summary.data = blocks.iter().map(|block| u64::from(block.clen.get())).sum();
    summary.metadata = image.image_len().saturating_sub(summary.data);
    summary.classes = classes
        .into_iter()
        .filter(|c| c.contents > 0 || c.files > 0)
        .collect();
    summary
}
