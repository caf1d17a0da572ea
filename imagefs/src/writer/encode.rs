//! Second reading: compresses the blocks in parallel and writes them in order.

use std::sync::Mutex;

use rayon::prelude::*;

use super::codec::{Compressor, Use};
use super::layout::{BLOCK, Job, Layout};
use super::open::Opened;
use super::output::Output;
use super::{Phase, Work};
use crate::error::Error;
use crate::format::{Block, CODEC_RAW, CODEC_ZSTD, DATA_START, NONE, PAGE};
use crate::tree::{Node, Tree};

/// Plain bytes that are compressed before they are written: bounds memory, and is enough for every core.
const BATCH: u64 = 32 << 20;

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
    let mut encoder = Encoder {
        work,
        tree,
        layout,
        dictionary: Vec::new(),
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
            // Nothing after the dictionary can be compressed before it.
            if matches!(layout.jobs[end - 1], Job::Dictionary { .. }) {
                break;
            }
        }
        let batch = &layout.jobs[at..end];
        let encoded: Vec<Encoded> = work.pool.install(|| {
            batch
                .par_iter()
                .map(|job| encoder.job(job))
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
                dict: encoded.dict.into(),
                codec: encoded.codec.into(),
            });
            output.append(&encoded.stored)?;
            done += plain_len(layout, job);
            work.say(Phase::Write, done, total, output.at);
            if let Some(plain) = encoded.dictionary {
                encoder.dictionary = plain;
            }
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
        Job::Dictionary { members } | Job::Group { members } => {
            members.iter().map(|&m| layout.contents[m].size).sum()
        }
    }
}

/// A block ready to be written.
struct Encoded {
    stored: Vec<u8>,
    hash: [u8; 32],
    ulen: u32,
    codec: u32,
    dict: u32,
    /// The plain bytes, when the block is the dictionary.
    dictionary: Option<Vec<u8>>,
}

struct Encoder<'a> {
    work: &'a Work<'a>,
    tree: &'a Tree,
    layout: &'a Layout,
    /// Plain bytes of the dictionary, once it is written.
    dictionary: Vec<u8>,
    /// One for each worker thread, made when it is first needed.
    compressors: Vec<Mutex<Option<Compressor>>>,
}

impl Encoder<'_> {
    fn job(&self, job: &Job) -> Result<Encoded, Error> {
        self.work.check_stop()?;
        let level = self.work.options.level;
        match job {
            Job::Raw { content, range, .. } => {
                let mut plain =
                    vec![0; usize::try_from(range.end - range.start).expect("at most 1 MiB")];
                self.read(*content, range.start, &mut plain)?;
                Ok(encoded(plain.len(), CODEC_RAW, NONE, plain))
            }
            Job::Frame { content } => {
                let mut plain = vec![
                    0;
                    usize::try_from(self.layout.contents[*content].size)
                        .expect("at most 16 MiB")
                ];
                self.read(*content, 0, &mut plain)?;
                let stored = Compressor::new(level, Use::Frame, None).compress(&plain);
                Ok(encoded(plain.len(), CODEC_ZSTD, NONE, stored))
            }
            Job::Dictionary { members } => {
                let plain = self.concat(members)?;
                let stored = Compressor::new(level, Use::Dictionary, None).compress(&plain);
                Ok(Encoded {
                    dictionary: Some(plain.clone()),
                    ..encoded(plain.len(), CODEC_ZSTD, NONE, stored)
                })
            }
            Job::Group { members } => Ok(self.compressed(self.concat(members)?)),
            Job::Part { content, range } => {
                let mut plain = vec![0; usize::try_from(range.end - range.start).expect("a block")];
                self.read(*content, range.start, &mut plain)?;
                Ok(self.compressed(plain))
            }
        }
    }

    /// Compresses a block with the dictionary, or leaves it as it is when that does not help.
    fn compressed(&self, plain: Vec<u8>) -> Encoded {
        debug_assert!(plain.len() as u64 <= BLOCK);
        let thread = rayon::current_thread_index().unwrap_or(0);
        let mut compressor = self.compressors[thread]
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let compressor = compressor.get_or_insert_with(|| {
            let dictionary = (!self.dictionary.is_empty()).then_some(&self.dictionary[..]);
            Compressor::new(self.work.options.level, Use::Block, dictionary)
        });
        let stored = compressor.compress(&plain);
        if stored.len() >= plain.len() {
            return encoded(plain.len(), CODEC_RAW, NONE, plain);
        }
        encoded(
            plain.len(),
            CODEC_ZSTD,
            self.layout.dictionary.unwrap_or(NONE),
            stored,
        )
    }

    fn concat(&self, members: &[usize]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        for &member in members {
            let start = plain.len();
            let size =
                usize::try_from(self.layout.contents[member].size).expect("smaller than a block");
            plain.resize(start + size, 0);
            self.read(member, 0, &mut plain[start..])?;
        }
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

fn encoded(ulen: usize, codec: u32, dict: u32, stored: Vec<u8>) -> Encoded {
    Encoded {
        hash: *blake3::hash(&stored).as_bytes(),
        stored,
        ulen: u32::try_from(ulen).expect("blocks are at most 16 MiB"),
        codec,
        dict,
        dictionary: None,
    }
}
