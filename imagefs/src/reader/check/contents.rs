//! Blocks and contents: what is stored, and where.

use super::Tree;
use crate::error::Error;
use crate::format::{
    BLOCK_ULEN_MAX, Block, CODEC_RAW, CODEC_ZSTD, Content, DATA_START, FILE_SIZE_MAX,
    FRAME_ULEN_MAX, INLINE_MAX, PAGE, RAW_BLOCK, SECTION_ALIGN,
};
use crate::reader::Class;

/// Rows that no content has used yet: contents that own blocks or segments own them alone and in ascending order,
/// which keeps the pass linear.
#[derive(Default)]
struct Floor {
    block: u32,
    segment: u32,
}

impl Floor {
    fn take(&mut self, content: &Content, class: Class) -> bool {
        let next = match class {
            Class::Raw | Class::PackedRaw | Class::Frame | Class::Blocks => &mut self.block,
            Class::Sparse => &mut self.segment,
            Class::None | Class::Inline | Class::Packed => return true,
        };
        let (first, count) = (content.first.get(), content.count.get());
        let free = first >= *next;
        *next = first.saturating_add(count);
        free
    }
}

impl Tree<'_> {
    pub(super) fn blocks(&self) -> Result<(), Error> {
        let mut at = DATA_START;
        for (row, block) in self.blocks.iter().enumerate() {
            let bad = |what| {
                self.bad(
                    self.tables.blocks,
                    size_of::<Block>(),
                    row,
                    format!("block {row}: {what}"),
                )
            };
            let (off, clen, ulen) = (block.off.get(), block.clen.get(), block.ulen.get());
            let end = off
                .checked_add(clen.into())
                .filter(|&end| end <= self.tables.data_end);
            let Some(end) = end.filter(|_| clen > 0 && ulen > 0 && off >= at && off - at < PAGE)
            else {
                return Err(bad("position"));
            };
            at = end;
            match block.codec.get() {
                CODEC_RAW if clen == ulen && ulen <= RAW_BLOCK => {}
                CODEC_ZSTD if ulen <= FRAME_ULEN_MAX => {}
                _ => return Err(bad("codec or length")),
            }
        }
        if self.tables.data_end - at >= PAGE + SECTION_ALIGN {
            return Err(Error::corrupt(at, "a gap after the last block"));
        }
        Ok(())
    }

    pub(super) fn contents(&self) -> Result<(), Error> {
        let mut floor = Floor::default();
        for (row, content) in self.contents.iter().enumerate() {
            let class = Class::ALL.get(usize::from(content.class));
            let sound = content.reserved == [0; 3]
                && content.size.get() <= FILE_SIZE_MAX
                && class.is_some_and(|&class| {
                    floor.take(content, class) && self.content(row, content, class)
                });
            if !sound {
                return Err(self.bad(
                    self.tables.contents,
                    size_of::<Content>(),
                    row,
                    format!("content {row}: class, size, blocks or slice"),
                ));
            }
        }
        Ok(())
    }

    /// Whether a content's rows fit its class and size.
    fn content(&self, row: usize, content: &Content, class: Class) -> bool {
        let (size, first, count) = (
            content.size.get(),
            content.first.get() as usize,
            content.count.get() as usize,
        );
        if class != Class::Packed && content.slice_off.get() != 0 {
            return false;
        }
        let blocks = || self.blocks.get(first..first.checked_add(count)?);
        let codec = |codec: u32| move |b: &Block| b.codec.get() == codec;
        match class {
            Class::None => size == 0 && first == 0 && count == 0,
            Class::Inline => {
                size > 0 && size <= INLINE_MAX as u64 && count == 0 && {
                    let len = usize::try_from(size).expect("at most 64");
                    self.string(content.first.get(), len).is_some()
                }
            }
            Class::Raw | Class::PackedRaw => blocks().is_some_and(|blocks| {
                let aligned = class == Class::PackedRaw
                    || blocks
                        .first()
                        .is_some_and(|b| b.off.get().is_multiple_of(PAGE));
                // A raw file must lie in one piece; a packed one does because blocks are written back to back.
                let adjacent = blocks
                    .windows(2)
                    .all(|w| w[0].off.get() + u64::from(w[0].clen.get()) == w[1].off.get());
                aligned
                    && adjacent
                    && blocks.iter().all(codec(CODEC_RAW))
                    && equal_blocks(blocks, size)
                    && blocks
                        .first()
                        .is_none_or(|b| count == 1 || b.ulen.get() == RAW_BLOCK)
            }),
            Class::Frame => blocks().is_some_and(|blocks| {
                count == 1
                    && blocks.iter().all(codec(CODEC_ZSTD))
                    && u64::from(blocks[0].ulen.get()) == size
            }),
            Class::Packed => blocks().is_some_and(|blocks| {
                count == 1
                    && size > 0
                    && blocks[0].ulen.get() <= BLOCK_ULEN_MAX
                    && u64::from(content.slice_off.get()) + size <= u64::from(blocks[0].ulen.get())
            }),
            Class::Blocks => blocks().is_some_and(|blocks| {
                blocks
                    .first()
                    .is_some_and(|first| first.ulen.get() <= BLOCK_ULEN_MAX)
                    && equal_blocks(blocks, size)
            }),
            Class::Sparse => self
                .segments
                .get(first..first.saturating_add(count))
                .is_some_and(|segments| {
                    let mut at = 0;
                    segments.iter().all(|segment| {
                        let Some(part) = self.contents.get(segment.content.get() as usize) else {
                            return false;
                        };
                        let start = segment.offset.get();
                        let end = start.checked_add(part.size.get());
                        // Parts come before the files that use them and are never sparse themselves.
                        let sound = (segment.content.get() as usize) < row
                            && part.class != Class::Sparse as u8
                            && part.size.get() > 0
                            && segment.reserved.get() == 0
                            && start >= at
                            && end.is_some_and(|end| end <= size);
                        at = end.unwrap_or(u64::MAX);
                        sound
                    })
                }),
        }
    }
}

/// Whether blocks have equal plain sizes but for a smaller last one, and add up to `size`.
fn equal_blocks(blocks: &[Block], size: u64) -> bool {
    let Some((last, before)) = blocks.split_last() else {
        return size == 0;
    };
    let each = blocks[0].ulen.get();
    before.iter().all(|b| b.ulen.get() == each)
        && last.ulen.get() <= each
        && u64::from(each) * before.len() as u64 + u64::from(last.ulen.get()) == size
}
