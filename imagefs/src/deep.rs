//! Proves an open image sound: every stored block, and with `contents` every file.
//!
//! Opening has checked the structure already. What is left is what a reader checks at first touch, done here for all of
//! it and without stopping at the first damage: the hash of each stored block; the tree id; that what lies between them
//! is zero; and, on request, that each
//! content decodes to bytes of its content hash, that raw files are followed by zeros up to the end of their page, and
//! that each servable frame can be decoded by any HTTP client.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::error::Error;
use crate::format::{Content, DATA_START, SECTION_ALIGN};
use crate::reader::{Class, Image, Ino};

/// Largest window of a frame that HTTP clients must be able to decode (RFC 9659).
const SERVABLE_WINDOW_MAX: u64 = 8 << 20;
/// Files above this size are not decoded: a small image can claim a hole of any size.
const DECODE_MAX: u64 = 1 << 40;
/// Writers leave smaller gaps only, for alignment.
const GAP_MAX: u64 = 64 << 10;
/// Names listed for one fault.
const PATHS_MAX: usize = 16;
/// Bytes decoded at once.
const PART: usize = 1 << 20;

/// Something wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// Where in the image file, when it is in one place.
    pub offset: Option<u64>,
    /// Which stored block, when it is one.
    pub block: Option<u32>,
    /// Files that cannot be trusted because of it, at most sixteen.
    pub paths: Vec<Vec<u8>>,
    /// How many more there are.
    pub more: u64,
}

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong, in file order; empty for a sound image.
    pub faults: Vec<Fault>,
    /// Stored blocks hashed.
    pub blocks: u64,
    /// Contents decoded and compared with their hash.
    pub contents: u64,
    /// Contents that are too large to be decoded; only their stored blocks were checked.
    pub skipped: u64,
}

/// How much to check, and who is told.
#[derive(Clone, Copy)]
pub struct CheckOptions<'a> {
    /// Decode every content and compare it with its hash.
    pub contents: bool,
    /// Told how many more bytes are done; may be called from several threads.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Set to end early with [`Error::Interrupted`].
    pub stop: &'a AtomicBool,
}

impl std::fmt::Debug for CheckOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckOptions")
            .field("contents", &self.contents)
            .finish_non_exhaustive()
    }
}

/// Bytes that [`check`] will report as progress.
pub fn work(image: &Image, contents: bool) -> u64 {
    let stored: u64 = image
        .block_rows()
        .iter()
        .map(|b| u64::from(b.clen.get()))
        .sum();
    let plain = |c: &Content| {
        if c.size.get() > DECODE_MAX {
            0
        } else {
            c.size.get()
        }
    };
    let decoded = if contents {
        image.contents().iter().map(plain).sum()
    } else {
        0
    };
    stored.saturating_add(decoded)
}

/// Checks an open image. Damage is in the result, not an error.
///
/// # Errors
/// The caller asked to stop; the image file cannot be read.
pub fn check(image: &Image, options: &CheckOptions<'_>) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    let mut faults = BTreeMap::new();
    if image.compute_tree_id() != image.tree_id() {
        checked.faults.push(Fault {
            what: "the tree id does not match the metadata".into(),
            offset: None,
            block: None,
            paths: Vec::new(),
            more: 0,
        });
    }
    checked.faults.extend(gaps(image)?);
    let blocks = u32::try_from(image.block_rows().len()).expect("counted in u32");
    let bad_blocks: Vec<(u32, Error)> = (0..blocks)
        .into_par_iter()
        .filter_map(|block| {
            if options.stop.load(Ordering::Relaxed) {
                return None;
            }
            let result = image.stored(block).map(|_| ());
            (options.progress)(image.block_rows()[block as usize].clen.get().into());
            result.err().map(|error| (block, error))
        })
        .collect();
    checked.blocks = blocks.into();
    for (block, error) in bad_blocks {
        faults.insert(
            block,
            Found {
                error,
                contents: Vec::new(),
            },
        );
    }
    attribute(image, &mut faults);
    let mut own = Vec::new();
    if options.contents {
        let damaged: Vec<u32> = faults
            .values()
            .flat_map(|f| f.contents.iter().copied())
            .collect();
        let decoded = AtomicU64::new(0);
        own = all_contents(image, options, &damaged, &decoded, &mut checked.skipped);
        checked.contents = decoded.into_inner();
    }
    if options.stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    report(image, faults, own, &mut checked);
    Ok(checked)
}

/// Looks at the bytes between blocks and sections, which no hash covers: they are zero, or the image id would not say
/// all there is to say about the file.
fn gaps(image: &Image) -> Result<Vec<Fault>, Error> {
    let blocks = image
        .block_rows()
        .iter()
        .map(|b| (b.off.get(), u64::from(b.clen.get())));
    let sections = image.sections().into_iter().map(|(_, off, len)| (off, len));
    let mut faults = Vec::new();
    let mut buffer = vec![0; usize::try_from(GAP_MAX).expect("a small constant")];
    let mut at = DATA_START;
    let mut look = |start: u64, end: u64| -> Result<(), Error> {
        let what = match usize::try_from(end.saturating_sub(start)) {
            Ok(0) => return Ok(()),
            Ok(len) if len <= buffer.len() => {
                let gap = &mut buffer[..len];
                image
                    .file()
                    .read_exact_at(gap, start)
                    .map_err(|e| Error::io("read", "image", e))?;
                if gap.iter().all(|&b| b == 0) {
                    return Ok(());
                }
                "bytes that belong to nothing are not zero".to_owned()
            }
            _ => format!("a gap of {} bytes", end - start),
        };
        faults.push(Fault {
            what,
            offset: Some(start),
            block: None,
            paths: Vec::new(),
            more: 0,
        });
        Ok(())
    };
    for (off, len) in blocks.chain(sections) {
        look(at, off)?;
        at = at.max(off + len);
    }
    // What follows the section table is looked at when the image is opened.
    look(at, at.next_multiple_of(SECTION_ALIGN))?;
    Ok(faults)
}

/// A damaged block and the contents that need it.
struct Found {
    error: Error,
    contents: Vec<u32>,
}

/// Fills in which contents need each damaged block: their own, or the one they are a slice of.
fn attribute(image: &Image, faults: &mut BTreeMap<u32, Found>) {
    if faults.is_empty() {
        return;
    }
    let mut bad_contents: HashMap<u32, Vec<u32>> = HashMap::new();
    for (index, content) in (0..).zip(image.contents()) {
        let blocks = match Class::ALL[usize::from(content.class)] {
            Class::None | Class::Inline | Class::Sparse => continue,
            Class::Packed => content.first.get()..content.first.get() + 1,
            _ => content.first.get()..content.first.get() + content.count.get(),
        };
        for block in blocks {
            if let Some(found) = faults.get_mut(&block) {
                found.contents.push(index);
                bad_contents.entry(index).or_default().push(block);
            }
        }
    }
    for (index, content) in (0..).zip(image.contents()) {
        if content.class != Class::Sparse as u8 {
            continue;
        }
        let first = content.first.get() as usize;
        for segment in &image.segments()[first..first + content.count.get() as usize] {
            for block in bad_contents
                .get(&segment.content.get())
                .into_iter()
                .flatten()
            {
                let found = faults.get_mut(block).expect("attributed above");
                if found.contents.last() != Some(&index) {
                    found.contents.push(index);
                }
            }
        }
    }
}

/// Decodes the content of every file that no damaged block has spoilt; returns those that are wrong.
fn all_contents(
    image: &Image,
    options: &CheckOptions<'_>,
    damaged: &[u32],
    decoded: &AtomicU64,
    skipped: &mut u64,
) -> Vec<(u32, Error)> {
    let mut first_file: Vec<Option<Ino>> = vec![None; image.contents().len()];
    for ino in (image.dir_count()..image.inode_count()).filter_map(|i| image.inode_at(i)) {
        if let Some(content) = image.content_index(ino) {
            first_file[content as usize].get_or_insert(ino);
        }
    }
    for &content in damaged {
        first_file[content as usize] = None;
    }
    let mut files = Vec::new();
    for (content, ino) in (0..).zip(first_file) {
        match ino {
            Some(ino) if image.stat(ino).size > DECODE_MAX => *skipped += 1,
            Some(ino) => files.push((content, ino)),
            None => {}
        }
    }
    files
        .into_par_iter()
        .filter_map(|(content, ino)| {
            let result = one_content(image, ino, options);
            decoded.fetch_add(1, Ordering::Relaxed);
            result.err().map(|error| (content, error))
        })
        .collect()
}

/// Decodes one file and compares it with its hash; for servable and mappable files, checks what is promised of them.
fn one_content(image: &Image, ino: Ino, options: &CheckOptions<'_>) -> Result<(), Error> {
    let size = image.stat(ino).size;
    let mut part = vec![0; PART.min(usize::try_from(size).unwrap_or(PART))];
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < size && !options.stop.load(Ordering::Relaxed) {
        let n = image.read_at(ino, offset, &mut part)?;
        hasher.update(&part[..n]);
        offset += n as u64;
        (options.progress)(n as u64);
    }
    if options.stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    let content = image.content(ino).expect("a regular file");
    let wrong = |what: String| {
        let offset = match Class::ALL[usize::from(content.class)] {
            Class::None | Class::Inline | Class::Sparse => 0,
            _ => image.block_rows()[content.first.get() as usize].off.get(),
        };
        Err(Error::corrupt(offset, what))
    };
    if hasher.finalize() != content.hash {
        return wrong("the content does not have its hash".into());
    }
    image.extent(ino)?;
    if let Some(frame) = image.frame(ino)? {
        match window(frame) {
            Some(window) if window <= SERVABLE_WINDOW_MAX => {}
            Some(window) => {
                return wrong(format!("a servable frame has a window of {window} bytes"));
            }
            None => return wrong("a servable frame has a header that no client knows".into()),
        }
    }
    Ok(())
}

/// Window size of a zstd frame, from its header (RFC 8878, section 3.1.1.1).
fn window(frame: &[u8]) -> Option<u64> {
    let (&descriptor, rest) = frame
        .strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?
        .split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let byte = rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // A single segment's window is its content.
    let dictionary_len = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size_len = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let bytes = rest.get(dictionary_len..dictionary_len + size_len)?;
    let mut size = [0; 8];
    size[..size_len].copy_from_slice(bytes);
    // Two-byte sizes begin at 256 (RFC 8878, section 3.1.1.1.4).
    Some(u64::from_le_bytes(size) + if size_len == 2 { 256 } else { 0 })
}

/// Turns what was found into faults with the names of the files.
fn report(
    image: &Image,
    blocks: BTreeMap<u32, Found>,
    own: Vec<(u32, Error)>,
    checked: &mut Checked,
) {
    let mut faults: Vec<Fault> = Vec::new();
    let mut of_content: HashMap<u32, Vec<usize>> = HashMap::new();
    for (block, found) in blocks {
        for content in found.contents {
            of_content.entry(content).or_default().push(faults.len());
        }
        faults.push(fault(&found.error, Some(block)));
    }
    for (content, error) in own {
        of_content.entry(content).or_default().push(faults.len());
        faults.push(fault(&error, None));
    }
    if !faults.is_empty() {
        for_each_file(image, &mut |path, content| {
            for &index in of_content.get(&content).into_iter().flatten() {
                if faults[index].paths.len() < PATHS_MAX {
                    faults[index].paths.push(path.to_vec());
                } else {
                    faults[index].more += 1;
                }
            }
        });
    }
    faults.sort_by_key(|fault| fault.offset);
    checked.faults.append(&mut faults);
}

fn fault(error: &Error, block: Option<u32>) -> Fault {
    let (what, offset, in_block) = match error {
        Error::BadBlock {
            block,
            offset,
            what,
        } => ((*what).to_owned(), Some(*offset), Some(*block)),
        Error::Corrupt { what, offset } => (what.clone(), Some(*offset).filter(|&o| o > 0), None),
        other => (other.to_string(), None, None),
    };
    Fault {
        what,
        offset,
        block: block.or(in_block),
        paths: Vec::new(),
        more: 0,
    }
}

/// Visits every name of a regular file with its content.
fn for_each_file(image: &Image, visit: &mut dyn FnMut(&[u8], u32)) {
    let mut walk = image.walk(image.root());
    while let Some(entry) = walk.next() {
        if let Some(content) = image.content_index(entry.ino) {
            visit(walk.path(), content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn windows_are_read_from_frame_headers() {
        // Single segment, one-byte size 5.
        assert_eq!(window(&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 5]), Some(5));
        // Single segment, two-byte size 0 means 256.
        assert_eq!(window(&[0x28, 0xb5, 0x2f, 0xfd, 0x60, 0, 0]), Some(256));
        // Window descriptor: exponent 13 is 8 MiB, mantissa 1 an eighth more.
        assert_eq!(window(&[0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3]), Some(8 << 20));
        assert_eq!(
            window(&[0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3 | 1]),
            Some(9 << 20)
        );
        assert_eq!(window(&[0x28, 0xb5, 0x2f, 0xfd]), None);
        assert_eq!(window(b"nothing"), None);
        let frame = zstd::bulk::compress(&vec![b'x'; 300], 3).expect("compresses");
        assert_eq!(window(&frame), Some(300));
    }
}
