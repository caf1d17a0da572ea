//! Decoded blocks that an image keeps, within one bound.
//!
//! A block is charged before it is decoded, and what was not used lately makes room for it: what is kept and what is being
//! decoded are within [`CACHE_BYTES`] together, whatever an image says. Second chance instead of an exact order, so that
//! readers of kept blocks do not wait for each other.
//!
//! A large block that was read to its end hands its memory to the next one before the bound is reached: whoever reads an
//! image in order keeps one block, in the processor's cache, instead of having fresh pages zeroed for all of them. A block
//! that comes back after that stays, so that this costs at most one more decoding of each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use memmap2::MmapMut;

use crate::error::Error;
use crate::format::{BLOCK_ULEN_MAX, FRAME_ULEN_MAX};

/// Bytes of decoded blocks that an image keeps, what is being decoded included.
pub(crate) const CACHE_BYTES: usize = 64 << 20;
/// What a block is charged over its bytes: the entry, and what the allocator adds.
const OVERHEAD: usize = 256;
/// Blocks from this size on get pages of their own, in multiples of it.
const OWN_PAGES: usize = 1 << 20;
/// Threads that miss different blocks decode beside each other, those that miss the same one wait for the first.
const TURNS: usize = 8;

// What is being decoded fits even when everything else has been evicted for it.
const _: () = assert!(
    TURNS * (BLOCK_ULEN_MAX as usize + OVERHEAD) + FRAME_ULEN_MAX as usize + OVERHEAD
        <= CACHE_BYTES
);

/// The decoded blocks of one image.
#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: RwLock<Kept>,
    turns: [Mutex<()>; TURNS],
    /// Taken as well for a block that is larger than files share, which only a frame is: one of them at a time.
    large_turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    blocks: HashMap<u32, Entry>,
    /// The one that has waited longest for eviction comes first.
    waiting: VecDeque<u32>,
    /// Those with pages of their own, the oldest first: at most [`CACHE_BYTES`] / [`OWN_PAGES`].
    large: VecDeque<u32>,
    /// Those that have handed on their memory once.
    handed_on: HashSet<u32>,
    /// What `blocks` and the ones being decoded are charged.
    charged: usize,
}

#[derive(Debug)]
struct Entry {
    plain: Arc<Plain>,
    /// Asked for since it was last considered for eviction.
    used: AtomicBool,
    /// Bytes that nobody has asked for yet, if each was asked for once.
    unread: AtomicUsize,
}

impl Cache {
    /// The plain bytes of a block of `len` bytes, which `decode` fills in when they are not kept. The caller wants `take`
    /// of them.
    ///
    /// # Errors
    /// That of `decode`; no memory.
    pub(super) fn get(
        &self,
        block: u32,
        len: usize,
        take: usize,
        decode: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Arc<Plain>, Error> {
        if let Some(plain) = self.find(block, take) {
            return Ok(plain);
        }
        let _turn = lock(&self.turns[block as usize % TURNS]);
        if let Some(plain) = self.find(block, take) {
            return Ok(plain);
        }
        let _large_turn = (len > BLOCK_ULEN_MAX as usize).then(|| lock(&self.large_turn));
        let charge = charge(len);
        let memory = self.write(|kept| kept.make_room(len));
        let decoded = Plain::new(memory, len).and_then(|mut plain| {
            decode(plain.bytes_mut())?;
            Ok(Arc::new(plain))
        });
        self.write(|kept| match &decoded {
            Ok(plain) => kept.keep(block, plain, len.saturating_sub(take)),
            Err(_) => kept.charged -= charge,
        });
        decoded
    }

    fn find(&self, block: u32, take: usize) -> Option<Arc<Plain>> {
        // Nothing is left half-done under these locks, so a panicking thread does not spoil them.
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let entry = kept.blocks.get(&block)?;
        entry.used.store(true, Ordering::Relaxed);
        // Two readers at once may count one reading only: it is a guess anyway.
        let unread = entry.unread.load(Ordering::Relaxed);
        entry
            .unread
            .store(unread.saturating_sub(take), Ordering::Relaxed);
        Some(Arc::clone(&entry.plain))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.kept.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Kept {
    /// Charges a block of `len` bytes and evicts until it fits. Returns memory for it if there is some to be had. When
    /// other blocks that are being decoded need the rest of the bound, nothing is kept.
    fn make_room(&mut self, len: usize) -> Option<MmapMut> {
        let memory = if len < OWN_PAGES {
            None
        } else {
            self.hand_on(len)
        };
        self.charged += charge(len);
        while self.charged > CACHE_BYTES {
            let Some(block) = self.waiting.pop_front() else {
                break;
            };
            // Those that have handed on their memory are still waiting.
            let Some(entry) = self.blocks.get(&block) else {
                continue;
            };
            if entry.used.swap(false, Ordering::Relaxed) {
                self.waiting.push_back(block);
            } else {
                self.remove(block);
            }
        }
        memory
    }

    /// The memory of a block that has been read to its end, that nobody is reading, and that has just the size: a small
    /// block in the memory of a large one would be charged too little.
    fn hand_on(&mut self, len: usize) -> Option<MmapMut> {
        let at = self.large.iter().position(|block| {
            let entry = &self.blocks[block];
            entry.unread.load(Ordering::Relaxed) == 0
                && Arc::strong_count(&entry.plain) == 1
                && entry.plain.memory_len() == len.next_multiple_of(OWN_PAGES)
                && !self.handed_on.contains(block)
        })?;
        let block = self.large[at];
        self.handed_on.insert(block);
        match Arc::into_inner(self.remove(block)?)? {
            Plain::Mapped { memory, .. } => Some(memory),
            Plain::Allocated(_) => None,
        }
    }

    fn remove(&mut self, block: u32) -> Option<Arc<Plain>> {
        let entry = self.blocks.remove(&block)?;
        self.charged -= charge(entry.plain.len());
        self.large.retain(|&other| other != block);
        Some(entry.plain)
    }

    fn keep(&mut self, block: u32, plain: &Arc<Plain>, unread: usize) {
        let entry = Entry {
            plain: Arc::clone(plain),
            used: AtomicBool::new(false),
            unread: AtomicUsize::new(unread),
        };
        let before = self.blocks.insert(block, entry);
        debug_assert!(before.is_none(), "a block has one turn");
        self.waiting.push_back(block);
        if plain.memory_len() > 0 {
            self.large.push_back(block);
        }
    }
}

/// Plain bytes of a block.
#[derive(Debug)]
pub(super) enum Plain {
    Allocated(Vec<u8>),
    Mapped { memory: MmapMut, len: usize },
}

/// What a block of `len` plain bytes is charged.
fn charge(len: usize) -> usize {
    if len < OWN_PAGES {
        len + OVERHEAD
    } else {
        len.next_multiple_of(OWN_PAGES) + OVERHEAD
    }
}

impl Plain {
    /// A buffer of `len` bytes that hold anything; in `memory` if that is there, which has its size.
    fn new(memory: Option<MmapMut>, len: usize) -> Result<Plain, Error> {
        if len < OWN_PAGES {
            return Ok(Plain::Allocated(vec![0; len]));
        }
        if let Some(memory) = memory {
            return Ok(Plain::Mapped { memory, len });
        }
        let memory = MmapMut::map_anon(len.next_multiple_of(OWN_PAGES))
            .map_err(|e| Error::io("mmap", "memory", e))?;
        // One call instead of a fault for each page. Only a hint: the system may not know it. Large pages are not asked
        // for: making them costs more than they save where memory is in pieces.
        drop(memory.advise_range(memmap2::Advice::PopulateWrite, 0, len));
        Ok(Plain::Mapped { memory, len })
    }

    /// Size of its own pages; 0 when it has none.
    fn memory_len(&self) -> usize {
        match self {
            Plain::Allocated(_) => 0,
            Plain::Mapped { memory, .. } => memory.len(),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Plain::Allocated(bytes) => bytes,
            Plain::Mapped { memory, len } => &mut memory[..*len],
        }
    }
}

impl Deref for Plain {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Plain::Allocated(bytes) => bytes,
            Plain::Mapped { memory, len } => &memory[..*len],
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
