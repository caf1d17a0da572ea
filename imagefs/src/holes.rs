//! Where a file has data and where it has holes.

use std::ops::Range;

use crate::reader::{Class, Image, Ino};

impl Image {
    /// The data parts of a regular file in ascending order; what lies between them reads as zero. A file that is not
    /// sparse is one part; other files have none.
    pub fn data_ranges(&self, ino: Ino) -> impl Iterator<Item = Range<u64>> {
        let content = self.content(ino);
        let sparse = content.filter(|c| c.class == Class::Sparse as u8);
        let rows = sparse.map_or(0..0, |c| {
            c.first.get() as usize..c.first.get() as usize + c.count.get() as usize
        });
        let parts = self.segments()[rows].iter().map(|segment| {
            let start = segment.offset.get();
            start..start + self.contents()[segment.content.get() as usize].size.get()
        });
        let whole = content
            .filter(|c| c.class != Class::Sparse as u8 && c.size.get() > 0)
            .map(|c| 0..c.size.get());
        whole.into_iter().chain(parts)
    }
}
