//! The archive as a stream of blocks: decompressed where needed, counted, read once.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};

use super::block::checksum_holds;
use super::error::TarError;
use super::{BLOCK, BLOCK_LEN, padding};

/// Bytes copied at once.
const COPY_LEN: usize = 256 << 10;

/// Reads blocks and bodies, and knows where it is.
pub(super) struct Stream<'a> {
    input: Box<dyn BufRead + 'a>,
    at: u64,
}

impl<'a> Stream<'a> {
    /// Begins to read an archive, plain or compressed with gzip or zstd (any number of members or frames).
    pub(super) fn new(mut input: impl Read + 'a) -> Result<Stream<'a>, TarError> {
        let mut head = [0; BLOCK];
        let got =
            fill(&mut input, &mut head).map_err(|source| TarError::Io { op: "read", source })?;
        let whole = Cursor::new(head[..got].to_vec()).chain(input);
        let buffered = |input| BufReader::with_capacity(COPY_LEN, input);
        let input: Box<dyn BufRead + 'a> = match compression(&head[..got]) {
            // A name may begin like a compressed file, but then the checksum would not hold.
            _ if got == BLOCK && checksum_holds(&head) => {
                Box::new(BufReader::with_capacity(COPY_LEN, whole))
            }
            Some(Compression::Gzip) => Box::new(BufReader::with_capacity(
                COPY_LEN,
                flate2::read::MultiGzDecoder::new(whole),
            )),
            Some(Compression::Zstd) => {
                let decoder =
                    zstd::stream::read::Decoder::new(whole).map_err(|source| TarError::Io {
                        op: "start zstd",
                        source,
                    })?;
                Box::new(buffered(Box::new(decoder) as Box<dyn Read + 'a>))
            }
            Some(Compression::Other(hint)) => return Err(TarError::NotTar(hint)),
            None => Box::new(BufReader::with_capacity(COPY_LEN, whole)),
        };
        Ok(Stream { input, at: 0 })
    }

    /// Position in the decompressed archive.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next block, or `None` at the end of the input. Half a block is an error.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let got = fill(&mut self.input, &mut block).map_err(|error| self.failed(error))?;
        self.at += got as u64;
        match got {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(TarError::Truncated { at: self.at }),
        }
    }

    /// A block that must be there.
    pub(super) fn next_block(&mut self) -> Result<[u8; BLOCK], TarError> {
        self.block()?.ok_or(TarError::Truncated { at: self.at })
    }

    /// A body held in memory, with its padding. Memory grows with what is really there, not with what is claimed.
    pub(super) fn body(&mut self, len: u64) -> Result<Vec<u8>, TarError> {
        let mut body = Vec::new();
        self.copy(len, &mut body)?;
        Ok(body)
    }

    /// Copies a body and passes its padding.
    pub(super) fn copy(&mut self, len: u64, to: &mut impl Write) -> Result<(), TarError> {
        self.pass(len, |bytes| {
            to.write_all(bytes).map_err(|source| TarError::Io {
                op: "write spool file",
                source,
            })
        })?;
        self.pass(padding(len), |_| Ok(()))
    }

    fn pass(
        &mut self,
        len: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), TarError>,
    ) -> Result<(), TarError> {
        let mut left = len;
        while left > 0 {
            let ready = self.ready()?;
            if ready == 0 {
                return Err(TarError::Truncated { at: self.at });
            }
            let take = ready.min(usize::try_from(left).unwrap_or(usize::MAX));
            let bytes = self
                .input
                .fill_buf()
                .map_err(|source| TarError::Io { op: "read", source })?;
            each(&bytes[..take])?;
            self.input.consume(take);
            self.at += take as u64;
            left -= take as u64;
        }
        Ok(())
    }

    /// Bytes that can be had without waiting again; 0 at the end.
    fn ready(&mut self) -> Result<usize, TarError> {
        loop {
            match self.input.fill_buf() {
                Ok(bytes) => return Ok(bytes.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Reads to the end of the input, so that a decoder can check its sums. Where the first byte is that is not zero.
    pub(super) fn drain(&mut self) -> Result<Option<u64>, TarError> {
        let mut found = None;
        loop {
            let ready = self.ready()?;
            if ready == 0 {
                return Ok(found);
            }
            let bytes = self
                .input
                .fill_buf()
                .map_err(|source| TarError::Io { op: "read", source })?;
            if found.is_none() {
                found = bytes
                    .iter()
                    .position(|&byte| byte != 0)
                    .map(|index| self.at + index as u64);
            }
            self.input.consume(ready);
            self.at += ready as u64;
        }
    }

    fn failed(&self, error: io::Error) -> TarError {
        match error.kind() {
            // How decoders say that the compressed input ends too early.
            io::ErrorKind::UnexpectedEof => TarError::Truncated { at: self.at },
            _ => TarError::Io {
                op: "read",
                source: error,
            },
        }
    }
}

enum Compression {
    Gzip,
    Zstd,
    /// Known, but not read here: what to tell the user.
    Other(&'static str),
}

/// What the first bytes of the input are, when they are compressed.
fn compression(head: &[u8]) -> Option<Compression> {
    let zstd_skippable =
        head.len() > 3 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18];
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || zstd_skippable {
        return Some(Compression::Zstd);
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return Some(Compression::Gzip);
    }
    let others: [(&[u8], &str); 5] = [
        (
            &[0xfd, b'7', b'z', b'X', b'Z', 0],
            "it is compressed with xz; give the output of xz -dc",
        ),
        (
            b"BZh",
            "it is compressed with bzip2; give the output of bzip2 -dc",
        ),
        (
            &[0x04, 0x22, 0x4d, 0x18],
            "it is compressed with lz4; give the output of lz4 -dc",
        ),
        (
            b"LZIP",
            "it is compressed with lzip; give the output of lzip -dc",
        ),
        (b"PK\x03\x04", "it is a zip file"),
    ];
    others
        .into_iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, hint)| Compression::Other(hint))
}

/// Reads until `buf` is full or the input ends.
fn fill(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buf.len() {
        match input.read(&mut buf[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Length of a body with its padding, or `None` beyond 64 bits.
pub(super) fn padded(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(BLOCK_LEN)
}
