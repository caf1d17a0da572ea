//! File contents: first-touch verification, decoding and the cache of decoded blocks.
//!
//! Stored bytes are hashed before the decompressor sees them, each block once in the life of an [`Image`]. Blocks that
//! small files share are kept decoded in a bounded cache, dictionaries for ever (an image has few).

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use zstd::zstd_safe::{self, DCtx, WriteBuf};

use super::{Class, Image};
use crate::error::Error;
use crate::format::{Block, CODEC_RAW, Content, NONE, PAGE};
use crate::sys::Dictionary;

/// Bytes of decoded blocks an image keeps.
const CACHE_BYTES: usize = 64 << 20;
/// Largest file [`Image::bytes`] decodes: a small hostile image can claim files of any size.
const BYTES_MAX: usize = 256 << 20;
/// Bytes hashed at once.
const PIECE: usize = 1 << 20;
/// Independent parts of the cache, so that readers on different blocks do not wait for each other.
const SHARDS: usize = 16;

/// State of an image's blocks at run time.
#[derive(Debug)]
pub(super) struct BlockStore {
    /// One bit a block: its stored bytes have the hash that BLOCKS says.
    verified: Vec<AtomicU64>,
    /// Taken while a block is hashed, by its number: makes "exactly once" true for threads that race.
    hashing: [Mutex<()>; SHARDS],
    cache: [Mutex<Shard>; SHARDS],
    dictionaries: Mutex<HashMap<u32, Arc<OnceLock<Arc<Dictionary>>>>>,
    /// How many blocks have been hashed, for tests and statistics.
    hashed: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    blocks: HashMap<u32, Arc<Vec<u8>>>,
    /// Oldest first.
    order: VecDeque<u32>,
    bytes: usize,
}

impl BlockStore {
    pub(super) fn new(blocks: usize) -> BlockStore {
        BlockStore {
            verified: (0..blocks.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
            hashing: Default::default(),
            cache: Default::default(),
            dictionaries: Mutex::default(),
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing is left half-done under these locks, so a panicking thread does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let _guard = lock(&store.hashing[index as usize % SHARDS]);
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

    /// Decodes a block into a buffer that holds exactly its plain size.
    fn decode<B: WriteBuf + ?Sized>(&self, index: u32, out: &mut B) -> Result<(), Error> {
        let block = &self.block_rows()[index as usize];
        debug_assert_eq!(out.capacity(), block.ulen.get() as usize);
        let stored = self.stored(index)?;
        if let Some(what) = frame_fault(stored, block.ulen.get()) {
            return Err(self.bad_block(index, what));
        }
        let dictionary = match block.dict.get() {
            NONE => None,
            dict => Some(self.dictionary(dict)?),
        };
        let written = DCTX.with_borrow_mut(|ctx| match &dictionary {
            None => ctx.decompress(out, stored),
            Some(d) => ctx.decompress_using_ddict(out, stored, d.ddict()),
        });
        match written {
            Ok(n) if n == block.ulen.get() as usize => Ok(()),
            Ok(_) => Err(self.bad_block(index, "the frame is shorter than declared")),
            Err(_) => Err(self.bad_block(index, "the frame does not decode")),
        }
    }

    /// A block that others use as dictionary, decoded once.
    fn dictionary(&self, index: u32) -> Result<Arc<Dictionary>, Error> {
        let cell = Arc::clone(lock(&self.0.blocks.dictionaries).entry(index).or_default());
        if let Some(found) = cell.get() {
            return Ok(Arc::clone(found));
        }
        // Threads that race decode it more than once; the first one's copy is kept.
        let len = self.block_rows()[index as usize].ulen.get() as usize;
        let dictionary = Dictionary::new(len, |out| self.decode(index, out))?
            .ok_or_else(|| self.bad_block(index, "zstd refuses it as a dictionary"))?;
        Ok(Arc::clone(cell.get_or_init(|| Arc::new(dictionary))))
    }

    /// Copies from the plain bytes of a block, which come from the map, a dictionary, the cache, or are decoded into it.
    fn copy_plain(&self, index: u32, at: usize, out: &mut [u8]) -> Result<(), Error> {
        if self.block_rows()[index as usize].codec.get() == CODEC_RAW {
            out.copy_from_slice(&self.stored(index)?[at..at + out.len()]);
            return Ok(());
        }
        if self.is_dictionary(index) {
            out.copy_from_slice(&self.dictionary(index)?.bytes()[at..at + out.len()]);
            return Ok(());
        }
        let shard = &self.0.blocks.cache[index as usize % SHARDS];
        let found = lock(shard).blocks.get(&index).cloned();
        let plain = match found {
            Some(plain) => plain,
            None => self.decode_into_cache(index, shard)?,
        };
        out.copy_from_slice(&plain[at..at + out.len()]);
        Ok(())
    }

    /// Whether the block after this one, and so all that are compressed with it, use it as their dictionary.
    fn is_dictionary(&self, index: u32) -> bool {
        self.block_rows()
            .get(index as usize + 1)
            .is_some_and(|next| next.dict.get() == index)
    }

    fn decode_into_cache(&self, index: u32, shard: &Mutex<Shard>) -> Result<Arc<Vec<u8>>, Error> {
        let mut plain = Vec::with_capacity(self.block_rows()[index as usize].ulen.get() as usize);
        self.decode(index, &mut plain)?;
        let plain = Arc::new(plain);
        let mut shard = lock(shard);
        while shard.bytes + plain.len() > CACHE_BYTES / SHARDS {
            let Some(oldest) = shard.order.pop_front() else {
                break;
            };
            let gone = shard.blocks.remove(&oldest).map_or(0, |b| b.len());
            shard.bytes -= gone;
        }
        if shard.blocks.insert(index, Arc::clone(&plain)).is_none() {
            shard.order.push_back(index);
            shard.bytes += plain.len();
        }
        Ok(plain)
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
