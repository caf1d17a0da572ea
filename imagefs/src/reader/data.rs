//! File contents: first-touch verification and decoding.
//!
//! Stored bytes are hashed before the decompressor sees them, each block once in the life of an [`Image`]. Blocks that
//! files share are kept decoded in a bounded [`Cache`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use zstd::zstd_safe::{self, DCtx};

use super::cache::{Cache, lock};
use super::{Class, Image};
use crate::error::Error;
use crate::format::{Block, CODEC_RAW, Content, PAGE};

/// Largest file [`Image::bytes`] decodes: a small hostile image can claim files of any size.
const BYTES_MAX: usize = 256 << 20;
/// Bytes hashed at once.
const PIECE: usize = 1 << 20;
/// Blocks that may be hashed at one time.
const HASHING: usize = 16;

/// State of an image's blocks at run time.
#[derive(Debug)]
pub(super) struct BlockStore {
    /// One bit a block: its stored bytes have the hash that BLOCKS says.
    verified: Vec<AtomicU64>,
    /// Taken while a block is hashed, by its number: makes "exactly once" true for threads that race.
    hashing: [Mutex<()>; HASHING],
    cache: Cache,
    /// How many blocks have been hashed, for tests and statistics.
    hashed: AtomicU64,
}

impl BlockStore {
    pub(super) fn new(blocks: usize) -> BlockStore {
        BlockStore {
            verified: (0..blocks.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
            hashing: Default::default(),
            cache: Cache::default(),
            hashed: AtomicU64::new(0),
        }
    }
}

/// Largest block that is kept although it was read as a whole: a small file is read again more often than a large one,
/// and decoding it costs several times what opening it does.
const KEPT_WHOLE_MAX: usize = 32 << 10;

thread_local! {
    /// A decompression context for each thread; about 160 KiB.
    static DCTX: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

impl Image {
    /// Stored bytes of a block, hashed at first touch.
    pub(crate) fn stored(&self, index: u32) -> Result<&[u8], Error> {
        let block = &self.block_rows()[index as usize];
        let start = usize::try_from(block.off.get()).expect("checked at open");
        let bytes = &self.0.map[start..start + block.clen.get() as usize];
        let store = &self.0.blocks;
        let (word, bit) = (&store.verified[index as usize / 64], 1u64 << (index % 64));
        if word.load(Ordering::Acquire) & bit != 0 {
            return Ok(bytes);
        }
        let _guard = lock(&store.hashing[index as usize % HASHING]);
        if word.load(Ordering::Acquire) & bit == 0 {
            store.hashed.fetch_add(1, Ordering::Relaxed);
            if *blake3::hash(bytes).as_bytes() != block.hash {
                return Err(self.bad_block(index, "its stored bytes do not have their hash"));
            }
            word.fetch_or(bit, Ordering::Release);
        }
        Ok(bytes)
    }

    /// How many times stored blocks have been hashed since the image was opened.
    pub fn blocks_hashed(&self) -> u64 {
        self.0.blocks.hashed.load(Ordering::Relaxed)
    }

    /// BLAKE3 of a content's plain bytes, decoded in pieces.
    pub(crate) fn hash_content(&self, content: &Content) -> Result<[u8; 32], Error> {
        let mut hasher = blake3::Hasher::new();
        let mut buf =
            vec![0; usize::try_from(content.size.get()).map_or(PIECE, |size| size.min(PIECE))];
        let mut at = 0;
        loop {
            let n = read_at(self, content, at, &mut buf)?;
            if n == 0 {
                return Ok(*hasher.finalize().as_bytes());
            }
            hasher.update(&buf[..n]);
            at += n as u64;
        }
    }

    fn bad_block(&self, index: u32, what: &'static str) -> Error {
        Error::BadBlock {
            block: index,
            offset: self.block_rows()[index as usize].off.get(),
            what,
        }
    }

    /// Decodes a block into a buffer of exactly its plain size.
    fn decode(&self, index: u32, out: &mut [u8]) -> Result<(), Error> {
        let ulen = self.block_rows()[index as usize].ulen.get();
        debug_assert_eq!(out.len(), ulen as usize);
        let stored = self.stored(index)?;
        if let Some(what) = frame_fault(stored, ulen) {
            return Err(self.bad_block(index, what));
        }
        match DCTX.with_borrow_mut(|ctx| ctx.decompress(out, stored)) {
            Ok(n) if n == ulen as usize => Ok(()),
            Ok(_) => Err(self.bad_block(index, "the frame is shorter than declared")),
            Err(_) => Err(self.bad_block(index, "the frame does not decode")),
        }
    }

    /// Copies from the plain bytes of a block, which come from the map, the cache, or are decoded into it.
    fn copy_plain(&self, index: u32, at: usize, out: &mut [u8]) -> Result<(), Error> {
        let block = &self.block_rows()[index as usize];
        if block.codec.get() == CODEC_RAW {
            out.copy_from_slice(&self.stored(index)?[at..at + out.len()]);
            return Ok(());
        }
        let plain =
            self.0
                .blocks
                .cache
                .get(index, block.ulen.get() as usize, out.len(), |plain| {
                    self.decode(index, plain)
                })?;
        out.copy_from_slice(&plain[at..at + out.len()]);
        Ok(())
    }
}

/// What is wrong with a frame before it is decoded: it must be exactly one frame that declares exactly its plain size.
fn frame_fault(stored: &[u8], ulen: u32) -> Option<&'static str> {
    match zstd_safe::find_frame_compressed_size(stored) {
        Ok(n) if n == stored.len() => {}
        Ok(_) => return Some("bytes after the frame"),
        Err(_) => return Some("no complete zstd frame"),
    }
    match zstd_safe::get_frame_content_size(stored) {
        Ok(Some(size)) if size == u64::from(ulen) => None,
        _ => Some("the frame declares another size"),
    }
}

/// See [`Image::read_at`].
pub(super) fn read_at(
    image: &Image,
    content: &Content,
    offset: u64,
    buf: &mut [u8],
) -> Result<usize, Error> {
    let size = content.size.get();
    if offset >= size || buf.is_empty() {
        return Ok(0);
    }
    let len = usize::try_from(size - offset).map_or(buf.len(), |rest| rest.min(buf.len()));
    let buf = &mut buf[..len];
    match Class::ALL[usize::from(content.class)] {
        Class::None => {}
        Class::Inline => {
            let at = usize::try_from(offset).expect("below 64");
            let bytes = image.string(
                content.first.get(),
                u32::try_from(size).expect("at most 64"),
            );
            buf.copy_from_slice(&bytes[at..at + len]);
        }
        Class::Packed => {
            let at =
                usize::try_from(offset).expect("below a block") + content.slice_off.get() as usize;
            image.copy_plain(content.first.get(), at, buf)?;
        }
        Class::Raw | Class::PackedRaw | Class::Frame | Class::Blocks => {
            read_blocks(image, content, offset, buf)?
        }
        Class::Sparse => read_sparse(image, content, offset, buf)?,
    }
    Ok(len)
}

/// Reads across blocks of equal plain size. Large whole blocks are decoded in place, parts and small ones through the cache.
fn read_blocks(
    image: &Image,
    content: &Content,
    offset: u64,
    mut buf: &mut [u8],
) -> Result<(), Error> {
    let first = content.first.get();
    let each = u64::from(image.block_rows()[first as usize].ulen.get());
    let mut offset = offset;
    while !buf.is_empty() {
        let index = first + u32::try_from(offset / each).expect("blocks are counted in u32");
        let block: &Block = &image.block_rows()[index as usize];
        let at = usize::try_from(offset % each).expect("below a block");
        let ulen = block.ulen.get() as usize;
        let n = (ulen - at).min(buf.len());
        let (out, rest) = buf.split_at_mut(n);
        if n == ulen && ulen > KEPT_WHOLE_MAX && block.codec.get() != CODEC_RAW {
            image.decode(index, out)?;
        } else {
            image.copy_plain(index, at, out)?;
        }
        buf = rest;
        offset += n as u64;
    }
    Ok(())
}

fn read_sparse(image: &Image, content: &Content, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
    buf.fill(0);
    let end = offset + buf.len() as u64;
    let first = content.first.get() as usize;
    let segments = &image.segments()[first..first + content.count.get() as usize];
    let skip = segments.partition_point(|s| {
        s.offset.get() + image.contents()[s.content.get() as usize].size.get() <= offset
    });
    for segment in &segments[skip..] {
        let start = segment.offset.get();
        if start >= end {
            break;
        }
        let part = &image.contents()[segment.content.get() as usize];
        let from = offset.max(start);
        let to = end.min(start + part.size.get());
        let range = usize::try_from(from - offset).expect("inside buf")
            ..usize::try_from(to - offset).expect("inside buf");
        read_at(image, part, from - start, &mut buf[range])?;
    }
    Ok(())
}

/// See [`Image::bytes`].
pub(super) fn bytes<'a>(image: &'a Image, content: &Content) -> Result<Cow<'a, [u8]>, Error> {
    let first = content.first.get();
    match Class::ALL[usize::from(content.class)] {
        Class::None => Ok(Cow::Borrowed(&[])),
        Class::Inline => Ok(Cow::Borrowed(image.string(
            first,
            u32::try_from(content.size.get()).expect("at most 64"),
        ))),
        Class::Raw | Class::PackedRaw => {
            let mut start = None;
            for index in first..first + content.count.get() {
                let stored = image.stored(index)?;
                start.get_or_insert(stored.as_ptr() as usize - image.0.map.as_ptr() as usize);
            }
            let start = start.unwrap_or_default();
            Ok(Cow::Borrowed(
                &image.0.map
                    [start..start + usize::try_from(content.size.get()).expect("in the map")],
            ))
        }
        _ => {
            let size = usize::try_from(content.size.get()).expect("64-bit");
            if size > BYTES_MAX {
                return Err(Error::Limit {
                    what: format!("decoding {size} bytes at once"),
                    max: BYTES_MAX as u64,
                });
            }
            let mut out = vec![0; size];
            read_at(image, content, 0, &mut out)?;
            Ok(Cow::Owned(out))
        }
    }
}

/// Verifies a raw file whole and returns its offset in the image file.
pub(super) fn raw_extent(image: &Image, content: &Content) -> Result<u64, Error> {
    for index in content.first.get()..content.first.get() + content.count.get() {
        image.stored(index)?;
    }
    let offset = image.block_rows()[content.first.get() as usize].off.get();
    let end = offset + content.size.get();
    let start = usize::try_from(end).expect("in the map");
    let stop = usize::try_from(end.next_multiple_of(PAGE))
        .expect("in the map")
        .min(image.0.map.len());
    if image.0.map[start..stop].iter().any(|&b| b != 0) {
        return Err(Error::corrupt(
            end,
            "bytes after a raw file in its last page",
        ));
    }
    Ok(offset)
}
