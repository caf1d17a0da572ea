//! Which contents there are and in which blocks they go.

use std::collections::HashMap;
use std::ops::Range;

use super::examine::{self, Examined, FileRef};
use super::{Planned, Work};
use crate::error::Error;
use crate::format::{BLOCK_ULEN_MAX, NONE, RAW_BLOCK};
use crate::reader::Class;
use crate::tree::Tree;

/// The most that files share. With 2, 3, 4 MiB WordPress' text is 9.03, 8.77, 8.63 MB (lazy parser); reading one byte
/// decodes a block, which takes about a millisecond for each MiB.
pub(super) const SHARED: u64 = 4 << 20;
/// Plain size of the blocks of files that are larger: reading one byte of such a file should cost less.
pub(super) const PART: u64 = 1 << 20;

const _: () = assert!(SHARED <= BLOCK_ULEN_MAX as u64 && PART <= SHARED);

/// A distinct content: a row of the CONTENTS table.
pub(super) struct Plan {
    pub(super) hash: [u8; 32],
    pub(super) size: u64,
    pub(super) class: Class,
    pub(super) inline: Vec<u8>,
    /// The file it is read from, and where in it.
    pub(super) file: usize,
    pub(super) offset: u64,
    /// First block, number of blocks, and offset in the block.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) slice_off: u32,
    /// For class sparse: offset and content of each data range.
    pub(super) parts: Vec<(u64, usize)>,
}

/// A block to be written. Contents are indices of [`Layout::contents`].
pub(super) enum Job {
    /// A stretch of a content as it is; the first one of a raw file begins on a page.
    Raw {
        content: usize,
        range: Range<u64>,
        on_page: bool,
    },
    /// A whole content as one frame.
    Frame { content: usize },
    /// Contents that share a block.
    Group { members: Vec<usize> },
    /// A stretch of a content, compressed.
    Part { content: usize, range: Range<u64> },
}

/// Everything about the data area but the stored bytes.
pub(super) struct Layout {
    pub(super) files: Vec<FileRef>,
    /// Content of each file.
    pub(super) content_of: Vec<usize>,
    pub(super) contents: Vec<Plan>,
    /// Blocks in file order.
    pub(super) jobs: Vec<Job>,
    /// Rows of CONTENTS: order of the contents there.
    pub(super) rows: Vec<usize>,
}

impl Layout {
    /// Reads all files and lays them out.
    ///
    /// # Errors
    /// A file cannot be read or changed, or there are more blocks than the format can number.
    pub(super) fn new(work: &Work<'_>, tree: &Tree) -> Result<Layout, Error> {
        let files = examine::list(tree)?;
        let examined = examine::all(work, tree, &files)?;
        let mut merge = Merge::default();
        let content_of = examined
            .into_iter()
            .enumerate()
            .map(|(file, e)| merge.add(file, 0, e))
            .collect();
        let mut layout = Layout {
            files,
            content_of,
            contents: merge.contents,
            jobs: Vec::new(),
            rows: Vec::new(),
        };
        layout.raw();
        layout.each(
            |c| c.class == Class::Frame,
            |this, content| this.whole(content, Job::Frame { content }),
        );
        layout.packed();
        layout.each(
            |c| c.class == Class::Blocks,
            |this, content| this.cut(content, PART, |content, range| Job::Part { content, range }),
        );
        layout.each(
            |c| matches!(c.class, Class::None | Class::Inline),
            |this, content| this.rows.push(content),
        );
        // Data parts come before the files that use them.
        layout.each(
            |c| c.class == Class::Sparse,
            |this, content| this.rows.push(content),
        );
        debug_assert_eq!(layout.rows.len(), layout.contents.len());
        if layout.jobs.len() >= NONE as usize {
            return Err(Error::Limit {
                what: "number of blocks".into(),
                max: NONE.into(),
            });
        }
        Ok(layout)
    }

    /// What the user sees of it.
    pub(super) fn planned(&self) -> Vec<Planned> {
        let mut seen = vec![false; self.contents.len()];
        let each = self
            .files
            .iter()
            .zip(&self.content_of)
            .map(|(file, &content)| Planned {
                path: file.path.clone(),
                size: self.contents[content].size,
                class: self.contents[content].class,
                duplicate: std::mem::replace(&mut seen[content], true)
                    && self.contents[content].size > 0,
            });
        each.collect()
    }

    fn each(&mut self, which: impl Fn(&Plan) -> bool, mut place: impl FnMut(&mut Self, usize)) {
        for content in 0..self.contents.len() {
            if which(&self.contents[content]) {
                place(self, content);
            }
        }
    }

    fn next_block(&self) -> u32 {
        // More jobs than u32 are refused at the end of `new`; until then the number is only carried along.
        u32::try_from(self.jobs.len()).unwrap_or(NONE)
    }

    /// Places a content in one block of its own.
    fn whole(&mut self, content: usize, job: Job) {
        self.contents[content].first = self.next_block();
        self.contents[content].count = 1;
        self.jobs.push(job);
        self.rows.push(content);
    }

    /// Raw files first, because each begins on a page; then those that need no page.
    fn raw(&mut self) {
        for class in [Class::Raw, Class::PackedRaw] {
            self.each(
                |c| c.class == class,
                |this, content| {
                    this.cut(content, u64::from(RAW_BLOCK), |content, range| Job::Raw {
                        content,
                        on_page: class == Class::Raw && range.start == 0,
                        range,
                    });
                },
            );
        }
    }

    /// Places a content in blocks of `size` plain bytes.
    fn cut(&mut self, content: usize, size: u64, job: impl Fn(usize, Range<u64>) -> Job) {
        let end = self.contents[content].size;
        self.contents[content].first = self.next_block();
        let starts = (0..end).step_by(usize::try_from(size).expect("a block size"));
        for start in starts {
            self.jobs.push(job(content, start..end.min(start + size)));
        }
        self.contents[content].count = self.next_block() - self.contents[content].first;
        self.rows.push(content);
    }

    /// Text side by side in the order of paths. A site repeats itself most within a directory, and whoever reads in that
    /// order, or one directory, comes by with few blocks. (Bringing files together by what they share, wherever they are,
    /// made the text of WordPress 2 % smaller and its blocks wanted all at once.)
    fn packed(&mut self) {
        let mut members = Vec::new();
        let mut bytes = 0;
        self.each(
            |c| c.class == Class::Packed,
            |this, content| {
                let size = this.contents[content].size;
                if bytes + size > SHARED {
                    this.flush(&mut members);
                    bytes = 0;
                }
                members.push(content);
                bytes += size;
            },
        );
        self.flush(&mut members);
    }

    fn flush(&mut self, members: &mut Vec<usize>) {
        if !members.is_empty() {
            self.group(members);
            self.jobs.push(Job::Group {
                members: std::mem::take(members),
            });
        }
    }

    /// Gives each member its slice of the block that is pushed next.
    fn group(&mut self, members: &[usize]) {
        let block = self.next_block();
        let mut at = 0;
        for &member in members {
            let plan = &mut self.contents[member];
            (plan.first, plan.count, plan.slice_off) = (block, 1, at);
            at += u32::try_from(plan.size).expect("members are smaller than a block");
            self.rows.push(member);
        }
    }
}

/// Merges equal contents.
#[derive(Default)]
struct Merge {
    contents: Vec<Plan>,
    /// By hash, and whether the content has holes: a sparse content and the same bytes without holes stay two rows.
    by_hash: HashMap<([u8; 32], bool), usize>,
}

impl Merge {
    fn add(&mut self, file: usize, offset: u64, examined: Examined) -> usize {
        let key = (examined.hash, examined.class == Class::Sparse);
        if let Some(&content) = self.by_hash.get(&key) {
            return content;
        }
        let parts = examined
            .parts
            .into_iter()
            .map(|(at, part)| (at, self.add(file, at, part)))
            .collect();
        let content = self.contents.len();
        self.by_hash.insert(key, content);
        self.contents.push(Plan {
            hash: examined.hash,
            size: examined.size,
            class: examined.class,
            inline: examined.inline,
            file,
            offset,
            first: 0,
            count: 0,
            slice_off: 0,
            parts,
        });
        content
    }
}
