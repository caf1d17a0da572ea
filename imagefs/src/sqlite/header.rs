//! The first 100 bytes of a database, as <https://www.sqlite.org/fileformat.html> §1.3 lays them out (big-endian).
//!
//! ```text
//!  0 magic[16]   16 page size   18 write version   19 read version   20 reserved bytes a page   21 64   22 32   23 32
//! ```

/// Length of the header.
pub const HEADER_LEN: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What preparation needs from the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes a page: a power of two, 512 to 65536.
    pub page_size: u32,
    /// 1 rollback journal, 2 WAL.
    pub write_version: u8,
    /// 1 rollback journal, 2 WAL.
    pub read_version: u8,
    /// Bytes at the end of each page that belong to an extension (checksums, encryption).
    pub reserved: u8,
}

impl Header {
    /// Reads the header, or `None` when these bytes do not begin a database.
    ///
    /// The magic alone is not enough: file-type test suites are full of files that hold just the magic. The three payload
    /// fractions are fixed by the format, so they belong to the signature.
    #[must_use]
    #[expect(clippy::big_endian_bytes, reason = "the format is big-endian")]
    pub fn parse(head: &[u8]) -> Option<Header> {
        let head = head.first_chunk::<HEADER_LEN>()?;
        let page_size = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65536,
            size if size >= 512 && size.is_power_of_two() => u32::from(size),
            _ => return None,
        };
        if !head.starts_with(MAGIC) || head[21..24] != [64, 32, 32] {
            return None;
        }
        Some(Header {
            page_size,
            write_version: head[18],
            read_version: head[19],
            reserved: head[20],
        })
    }

    /// Whether opening it needs a write-ahead log, which read-only media cannot have.
    #[must_use]
    pub fn is_wal(&self) -> bool {
        self.write_version == 2 || self.read_version == 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut head = vec![0; HEADER_LEN];
        head[..16].copy_from_slice(MAGIC);
        head[16..24].copy_from_slice(&[0x10, 0, 1, 1, 0, 64, 32, 32]);
        head
    }

    #[test]
    fn header_of_a_database_is_read() {
        let header = Header::parse(&sample()).expect("valid");
        assert_eq!(
            (header.page_size, header.is_wal(), header.reserved),
            (4096, false, 0)
        );
    }

    #[test]
    fn page_size_one_means_65536() {
        let mut head = sample();
        head[16..18].copy_from_slice(&[0, 1]);
        assert_eq!(Header::parse(&head).map(|h| h.page_size), Some(65536));
    }

    #[test]
    fn near_misses_are_ordinary_files() {
        assert_eq!(Header::parse(b""), None);
        assert_eq!(Header::parse(MAGIC), None);
        for (at, value) in [
            (0, b's'),
            (15, b'3'),
            (16, 0x11),
            (17, 1),
            (21, 63),
            (22, 0),
            (23, 255),
        ] {
            let mut head = sample();
            head[at] = value;
            assert_eq!(Header::parse(&head), None, "byte {at}");
        }
        let mut head = sample();
        head[16..18].copy_from_slice(&[1, 0]);
        assert_eq!(Header::parse(&head), None, "page size 256");
    }
}
