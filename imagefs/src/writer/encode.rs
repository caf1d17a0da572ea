//! Second reading: compresses the blocks in parallel and writes them in order.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use super::codec::{Compressors, Parser};
use super::layout::{Job, Layout};
use super::open::Opened;
use super::output::Output;
use super::{Phase, Work};
use crate::error::Error;
use crate::format::{Block, CODEC_RAW, CODEC_ZSTD, DATA_START, PAGE, RAW_BLOCK};
use crate::tree::{Node, Tree};

/// Plain bytes that are compressed before they are written: bounds memory, and is enough for every core.
const BATCH: u64 = 64 << 20;

/// Compresses and writes all blocks. Returns the rows of BLOCKS.
///
/// # Errors
/// A file cannot be read or changed, the output cannot be written, or the caller asked to stop.
pub(super) fn write(
    work: &Work<'_>,
    tree: &Tree,
    layout: &Layout,
    output: &mut Output,
) -> Result<Vec<Block>, Error> {
    output.append(&vec![0; usize::try_from(DATA_START).expect("4096")])?;
    let total = layout.jobs.iter().map(|job| plain_len(layout, job)).sum();
    let encoder = Encoder {
        work,
        tree,
        layout,
        compressors: (0..work.pool.current_num_threads())
            .map(|_| Mutex::default())
            .collect(),
    };
    let mut blocks = Vec::with_capacity(layout.jobs.len());
    let mut done = 0;
    let mut at = 0;
    while at < layout.jobs.len() {
        let mut end = at;
        let mut bytes = 0;
        while end < layout.jobs.len() && (end == at || bytes < BATCH) {
            bytes += plain_len(layout, &layout.jobs[end]);
            end += 1;
        }
        let batch = &layout.jobs[at..end];
        let encoded: Vec<Encoded> = work.pool.install(|| {
            batch
                .par_iter()
                .enumerate()
                .map(|(number, job)| encoder.job(at + number, job))
                .collect::<Result<_, _>>()
        })?;
        for (job, encoded) in batch.iter().zip(encoded) {
            // Only the first block of a raw file and whatever follows the last one begin on a page.
            let after_raw = matches!(job, Job::Raw { on_page: true, .. })
                || (!blocks.is_empty() && ends_raw(layout, blocks.len() - 1));
            if after_raw {
                output.align(PAGE)?;
            }
            blocks.push(Block {
                hash: encoded.hash,
                off: output.at.into(),
                clen: u32::try_from(encoded.stored.len())
                    .expect("blocks are at most 16 MiB")
                    .into(),
                ulen: encoded.ulen.into(),
                codec: encoded.codec.into(),
            });
            output.append(&encoded.stored)?;
            done += plain_len(layout, job);
            work.say(Phase::Write, done, total, output.at);
        }
        work.check_stop()?;
        at = end;
    }
    if !blocks.is_empty() && ends_raw(layout, blocks.len() - 1) {
        output.align(PAGE)?;
    }
    Ok(blocks)
}

/// Whether a job is the last block of a raw file.
fn ends_raw(layout: &Layout, job: usize) -> bool {
    match &layout.jobs[job] {
        Job::Raw { content, range, .. } => {
            layout.contents[*content].class == crate::Class::Raw
                && range.end == layout.contents[*content].size
        }
        _ => false,
    }
}

fn plain_len(layout: &Layout, job: &Job) -> u64 {
    match job {
        Job::Raw { range, .. } | Job::Part { range, .. } => range.end - range.start,
        Job::Frame { content } => layout.contents[*content].size,
        Job::Group { members } => members.iter().map(|&m| layout.contents[m].size).sum(),
    }
}

/// A block ready to be written.
struct Encoded {
    stored: Vec<u8>,
    hash: [u8; 32],
    ulen: u32,
    codec: u32,
}

struct Encoder<'a> {
    work: &'a Work<'a>,
    tree: &'a Tree,
    layout: &'a Layout,
    /// One for each worker thread.
    compressors: Vec<Mutex<Compressors>>,
}

impl Encoder<'_> {
    fn job(&self, number: usize, job: &Job) -> Result<Encoded, Error> {
        self.work.check_stop()?;
        match job {
            Job::Raw { content, range, .. } => {
                Ok(encoded(CODEC_RAW, self.read_range(*content, range)?, None))
            }
            Job::Frame { content } => {
                let plain = self.read_range(*content, &(0..self.layout.contents[*content].size))?;
                let stored = self.compress(number, &plain);
                Ok(encoded(CODEC_ZSTD, plain, Some(stored)))
            }
            Job::Group { members } => Ok(self.smaller(number, self.concat(members)?)),
            Job::Part { content, range } => {
                Ok(self.smaller(number, self.read_range(*content, range)?))
            }
        }
    }

    fn compress(&self, number: usize, plain: &[u8]) -> Vec<u8> {
        let thread = rayon::current_thread_index().unwrap_or(0);
        self.compressors[thread]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .compress(Parser::of(self.work.options.level, number), plain)
    }

    /// Compresses a block, or leaves it as it is when that does not help and a raw block may be as large.
    fn smaller(&self, number: usize, plain: Vec<u8>) -> Encoded {
        let stored = self.compress(number, &plain);
        if stored.len() >= plain.len() && plain.len() <= RAW_BLOCK as usize {
            return encoded(CODEC_RAW, plain, None);
        }
        encoded(CODEC_ZSTD, plain, Some(stored))
    }

    fn concat(&self, members: &[usize]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        for &member in members {
            let start = plain.len();
            plain.resize(start + in_memory(self.layout.contents[member].size), 0);
            self.read(member, 0, &mut plain[start..])?;
        }
        Ok(plain)
    }

    fn read_range(&self, content: usize, range: &Range<u64>) -> Result<Vec<u8>, Error> {
        let mut plain = vec![0; in_memory(range.end - range.start)];
        self.read(content, range.start, &mut plain)?;
        Ok(plain)
    }

    /// Reads from a content's file.
    fn read(&self, content: usize, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let plan = &self.layout.contents[content];
        let file = &self.layout.files[plan.file];
        let Node::File { size, source, .. } = self.tree.node(file.node) else {
            return Err(Error::source(&file.path, "is not a regular file"));
        };
        let opened = Opened::new(self.tree, &file.path, *size, source)?;
        opened.read_exact_at(out, plan.offset + offset)?;
        opened.check_unchanged()
    }
}

fn in_memory(plain: u64) -> usize {
    usize::try_from(plain).expect("blocks are at most 16 MiB")
}

/// `stored` is missing where the plain bytes are stored.
fn encoded(codec: u32, plain: Vec<u8>, stored: Option<Vec<u8>>) -> Encoded {
    let ulen = u32::try_from(plain.len()).expect("blocks are at most 16 MiB");
    let stored = stored.unwrap_or(plain);
    Encoded {
        hash: *blake3::hash(&stored).as_bytes(),
        stored,
        ulen,
        codec,
    }
}
