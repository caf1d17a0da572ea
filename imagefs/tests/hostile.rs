//! Hostile images: one named test for each rule of the reader that a forger could break.
//!
//! Each case changes a sound image, makes all hashes right again, and expects the very rule that the change breaks.
//! The sound image is the accepted twin of them all ([`the_untouched_image_is_accepted`]).

use std::os::unix::fs::symlink;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use imagefs::format::{
    Attr, Block, Content, Dirent, Inode, NONE, Section, SectionKind, Segment, Slot, Superblock,
    Xattr,
};
use imagefs::rehash::rehash;
use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};
use imagefs::{Class, Error, Image};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An image with every class of content, a directory tree, links and attributes.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir_all(source.join("a/b/c")).unwrap();
    std::fs::create_dir(source.join("d")).unwrap();
    let text: Vec<u8> = (0..900_000u32)
        .flat_map(|i| i.to_string().into_bytes())
        .take(1_500_000)
        .collect();
    std::fs::write(source.join("a/large.txt"), &text).unwrap();
    for i in 0..20 {
        std::fs::write(
            source.join(format!("a/b/small-{i}.txt")),
            &text[i * 10_000..i * 10_000 + 30_000],
        )
        .unwrap();
    }
    std::fs::write(source.join("a/frame.css"), &text[..50_000]).unwrap();
    std::fs::write(
        source.join("program"),
        [b"\x7fELF".as_slice(), &text[..5000]].concat(),
    )
    .unwrap();
    let noise: Vec<u8> = (0..3000u32)
        .flat_map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes())
        .collect();
    std::fs::write(source.join("d/noise"), &noise).unwrap();
    std::fs::write(source.join("d/noise-2"), &noise[5..]).unwrap();
    // Not every file system has them; a_sound_attribute says so when they are missing.
    let _ = rustix::fs::setxattr(
        source.join("d"),
        "user.note",
        b"value",
        rustix::fs::XattrFlags::empty(),
    );
    std::fs::write(source.join("tiny"), b"tiny").unwrap();
    std::fs::hard_link(source.join("tiny"), source.join("d/tiny-too")).unwrap();
    symlink("../tiny", source.join("a/link")).unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &text[..4096], 1 << 20).unwrap();
    sparse.set_len(4 << 20).unwrap();
    let tree = scan(&source, &ScanOptions::default()).unwrap().tree;
    let classes = vec![("*.css".to_owned(), Class::Frame)];
    let out = dir.path().join("x.zapp");
    pack(
        tree,
        &PackOptions {
            classes,
            ..PackOptions::default()
        },
        &out,
        &|_| (),
        &AtomicBool::new(false),
    )
    .unwrap();
    std::fs::read(out).unwrap()
});

fn open(bytes: &[u8]) -> Result<Image, Error> {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    Image::from_file(file)
}

/// Reads everything, so that errors of contents show.
fn read_all(image: &Image) -> Result<(), Error> {
    let mut buf = vec![0; 100_000];
    for ino in (0..image.inode_count()).filter_map(|i| image.inode_at(i)) {
        if image.kind(ino) != imagefs::Kind::Regular {
            continue;
        }
        let mut at = 0;
        loop {
            let n = image.read_at(ino, at, &mut buf)?;
            if n == 0 {
                break;
            }
            at += n as u64;
        }
        image.extent(ino)?;
        image.frame(ino)?;
    }
    Ok(())
}

/// A changed copy of the sound image.
struct Forged(Vec<u8>);

impl Forged {
    fn new() -> Forged {
        Forged(SOUND.clone())
    }

    fn superblock(&mut self, change: impl FnOnce(&mut Superblock)) -> &mut Self {
        let (mut sb, _) = Superblock::read_from_prefix(&self.0).unwrap();
        change(&mut sb);
        self.0[..size_of::<Superblock>()].copy_from_slice(sb.as_bytes());
        self
    }

    fn sections(&mut self, change: impl FnOnce(&mut [Section])) -> &mut Self {
        let (sb, _) = Superblock::read_from_prefix(&self.0).unwrap();
        let start = usize::try_from(sb.sections_off.get()).unwrap();
        let end = start + 10 * size_of::<Section>();
        change(<[Section]>::mut_from_bytes(&mut self.0[start..end]).unwrap());
        self
    }

    fn rows<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
        &mut self,
        kind: SectionKind,
        change: impl FnOnce(&mut [T]),
    ) -> &mut Self {
        let mut range = 0..0;
        self.sections(|rows| {
            let row = &rows[kind as usize - 1];
            let start = usize::try_from(row.off.get()).unwrap();
            range = start..start + usize::try_from(row.len.get()).unwrap();
        });
        change(<[T]>::mut_from_bytes(&mut self.0[range]).unwrap());
        self
    }

    fn attrs(&mut self, change: impl FnOnce(&mut [Attr])) -> &mut Self {
        self.rows(SectionKind::Attrs, change)
    }

    fn inodes(&mut self, change: impl FnOnce(&mut [Inode])) -> &mut Self {
        self.rows(SectionKind::Inodes, change)
    }

    fn dirents(&mut self, change: impl FnOnce(&mut [Dirent])) -> &mut Self {
        self.rows(SectionKind::Dirents, change)
    }

    fn contents(&mut self, class: Class, change: impl FnOnce(&mut Content)) -> &mut Self {
        self.rows(SectionKind::Contents, |rows: &mut [Content]| {
            change(
                rows.iter_mut()
                    .find(|c| c.class == class as u8)
                    .expect("a content of that class"),
            );
        })
    }

    fn blocks(&mut self, change: impl FnOnce(&mut [Block])) -> &mut Self {
        self.rows(SectionKind::Blocks, change)
    }

    /// Replaces the stored bytes of the block of the zframe file, within their length.
    fn frame_bytes(&mut self, change: impl FnOnce(&mut [u8])) -> &mut Self {
        let mut first = 0;
        self.contents(Class::Frame, |c| first = c.first.get() as usize);
        let mut range = 0..0;
        self.blocks(|rows| {
            let start = usize::try_from(rows[first].off.get()).unwrap();
            range = start..start + rows[first].clen.get() as usize;
        });
        change(&mut self.0[range]);
        self
    }

    /// Requires that opening fails with this text, hashes being right.
    fn refused(&mut self, text: &str) {
        assert!(rehash(&mut self.0));
        self.refused_as_it_is(text);
    }

    fn refused_as_it_is(&self, text: &str) {
        match open(&self.0) {
            Ok(_) => panic!("accepted; expected: {text}"),
            Err(e) => assert!(e.to_string().contains(text), "{e}; expected: {text}"),
        }
    }

    /// Requires that it opens and that reading fails with this text.
    fn unreadable(&mut self, text: &str) {
        assert!(rehash(&mut self.0));
        let image = open(&self.0).expect("opens");
        let e = read_all(&image).expect_err(text);
        assert!(e.to_string().contains(text), "{e}; expected: {text}");
    }
}

#[test]
fn the_untouched_image_is_accepted() {
    let image = open(&SOUND).unwrap();
    read_all(&image).unwrap();
    assert_eq!(image.compute_tree_id(), image.tree_id());
    let mut again = SOUND.clone();
    assert!(rehash(&mut again));
    assert!(again == *SOUND, "rehashing a sound image changes nothing");
}

/// One test a case: its name, what is changed, and the refusal.
macro_rules! refused {
    ($($name:ident: $text:literal, $change:expr;)*) => {$(
        #[test]
        fn $name() {
            let mut forged = Forged::new();
            let change: fn(&mut Forged) = $change;
            change(&mut forged);
            forged.refused($text);
        }
    )*};
}

refused! {
    another_major_version_is_refused: "major version 2", |f| { f.superblock(|s| s.major = 2.into()); };
    an_unknown_incompat_feature_is_refused: "features 0x4", |f| { f.superblock(|s| s.incompat = 4.into()); };
    a_longer_image_len_is_refused: "the superblock says", |f| { f.superblock(|s| s.image_len = (s.image_len.get() + 4096).into()); };
    a_huge_image_len_is_refused: "the superblock says", |f| { f.superblock(|s| s.image_len = u64::MAX.into()); };
    a_changed_header_length_is_refused: "header length", |f| { f.superblock(|s| s.header_len = 512.into()); };
    reserved_bytes_of_the_superblock_are_refused: "reserved bytes of the superblock", |f| { f.superblock(|s| s.reserved[7] = 1); };
    reserved_bytes_before_the_data_are_refused: "reserved bytes before the data", |f| f.0[1024] = 1;
    a_probe_limit_over_the_format_is_refused: "probe length", |f| { f.superblock(|s| s.probe_max = 129.into()); };
    bytes_after_the_section_table_are_refused: "bytes after the section table", |f| *f.0.last_mut().unwrap() = 1;
    a_wrong_total_size_is_refused: "total size", |f| { f.superblock(|s| s.total_size = 1.into()); };

    a_section_of_another_kind_is_refused: "kind, flags", |f| { f.sections(|s| s[3].kind = 3.into()); };
    a_section_past_the_end_is_refused: "range", |f| { f.sections(|s| s[9].len = (1 << 40).into()); };
    a_section_length_that_wraps_is_refused: "range", |f| { f.sections(|s| s[9].len = u64::MAX.into()); };
    an_unaligned_section_is_refused: "position", |f| { f.sections(|s| s[5].off = (s[5].off.get() + 1).into()); };
    overlapping_sections_are_refused: "position", |f| { f.sections(|s| s[5].off = (s[5].off.get() - 64).into()); };
    a_section_inside_the_header_is_refused: "position", |f| { f.sections(|s| s[0].off = 0.into()); };
    a_section_with_part_of_a_row_is_refused: "length", |f| { f.sections(|s| s[1].len = (s[1].len.get() - 1).into()); };

    a_device_is_refused: "mode", |f| { f.attrs(|a| a[0].mode = 0o020_644.into()); };
    a_set_user_id_bit_is_refused: "mode", |f| { f.attrs(|a| a[0].mode = (a[0].mode.get() | 0o4000).into()); };
    nanoseconds_over_a_second_are_refused: "time or reserved", |f| { f.attrs(|a| a[0].mtime_ns = 1_000_000_000.into()); };
    attributes_out_of_range_are_refused: "range of extended attributes", |f| { f.attrs(|a| { a[0].xattr_first = 0.into(); a[0].xattr_count = 9.into(); }); };
    an_attribute_count_without_a_set_is_refused: "extended attributes", |f| { f.attrs(|a| { a[0].xattr_first = NONE.into(); a[0].xattr_count = 1.into(); }); };

    a_root_that_is_a_file_is_refused: "the root is not a directory", |f| { f.inodes(|i| { let file = i.last().unwrap().attr; i[0].attr = file; i[0].data = 0.into(); i[0].count = 1.into(); i[0].extra = 0.into(); for x in i.iter_mut() { x.attr = file; x.extra = 0.into(); x.data = 0.into(); x.count = 1.into(); } }); };
    an_inode_with_attributes_out_of_range_is_refused: "attributes", |f| { f.inodes(|i| i[3].attr = 999.into()); };
    a_directory_after_files_is_refused: "a directory after other files", |f| { f.inodes(|i| { let dir = i[0].attr; i.last_mut().unwrap().attr = dir; }); };
    entries_that_overlap_are_refused: "overlap or leave a gap", |f| { f.inodes(|i| i[1].data = 0.into()); };
    a_gap_between_entries_is_refused: "overlap or leave a gap", |f| { f.inodes(|i| i[1].data = (i[1].data.get() + 1).into()); };
    entries_outside_every_directory_are_refused: "outside every directory", |f| { f.inodes(|i| { i[3].count = (i[3].count.get() - 1).into(); i[4].data = (i[4].data.get() - 1).into(); }); };
    a_content_out_of_range_is_refused: "content or link count", |f| { f.inodes(|i| i.last_mut().unwrap().data = 9999.into()); };
    a_file_without_links_is_refused: "content or link count", |f| { f.inodes(|i| i.last_mut().unwrap().count = 0.into()); };
    a_wrong_link_count_is_refused: "link count", |f| { f.inodes(|i| { let x = i.last_mut().unwrap(); x.count = (x.count.get() + 1).into(); }); };

    a_name_with_a_slash_is_refused: "name", |f| { f.rows(SectionKind::Strings, |s: &mut [u8]| { let at = s.windows(7).position(|w| w == b"small-1").unwrap(); s[at] = b'/'; }); };
    a_name_with_a_nul_is_refused: "name", |f| { f.rows(SectionKind::Strings, |s: &mut [u8]| { let at = s.windows(7).position(|w| w == b"small-1").unwrap(); s[at] = 0; }); };
    an_empty_name_is_refused: "name", |f| { f.dirents(|d| d[0].name_len = 0.into()); };
    a_name_out_of_range_is_refused: "name", |f| { f.dirents(|d| d[0].name_off = (NONE - 1).into()); };
    a_name_over_255_bytes_is_refused: "name", |f| { f.dirents(|d| { d[0].name_off = 0.into(); d[0].name_len = 256.into(); }); };
    unsorted_names_are_refused: "not strictly sorted", |f| { f.dirents(|d| { let (a, b) = (d[0], d[1]); (d[0].name_off, d[0].name_len) = (b.name_off, b.name_len); (d[1].name_off, d[1].name_len) = (a.name_off, a.name_len); }); };
    the_same_name_twice_is_refused: "not strictly sorted", |f| { f.dirents(|d| (d[1].name_off, d[1].name_len) = (d[0].name_off, d[0].name_len)); };
    an_entry_of_another_directory_is_refused: "parent or reserved", |f| { f.dirents(|d| d[0].parent = 1.into()); };
    a_directory_in_itself_is_refused: "directory out of order", |f| { f.dirents(|d| { let at = d.iter().position(|x| x.inode.get() == 1).unwrap(); d[at].inode = 0.into(); }); };
    two_directories_in_each_other_are_refused: "directory out of order", |f| { f.dirents(|d| { let at = d.iter().position(|x| x.inode.get() == 3).unwrap(); d[at].inode = 1.into(); }); };
    a_directory_with_two_names_is_refused: "directory out of order", |f| { f.dirents(|d| { let at = d.iter().rposition(|x| x.inode.get() > 4).unwrap(); d[at].inode = 2.into(); }); };
    an_inode_out_of_range_is_refused: "inode out of order or out of range", |f| { f.dirents(|d| { let at = d.iter().position(|x| x.inode.get() > 4).unwrap(); d[at].inode = (NONE - 1).into(); }); };

    an_index_without_an_entry_is_refused: "path index", |f| { f.rows(SectionKind::PathIdx, |s: &mut [Slot]| { let at = s.iter().position(|x| x.dirent.get() != NONE).unwrap(); s[at] = Slot { tag: 0.into(), dirent: NONE.into() }; }); };
    an_index_entry_out_of_range_is_refused: "entry out of range", |f| { f.rows(SectionKind::PathIdx, |s: &mut [Slot]| { let at = s.iter().position(|x| x.dirent.get() != NONE).unwrap(); s[at].dirent = 4096.into(); }); };
    an_index_that_leads_to_another_file_is_refused: "entry in the wrong place", |f| { f.rows(SectionKind::PathIdx, |s: &mut [Slot]| { let used: Vec<usize> = (0..s.len()).filter(|&i| s[i].dirent.get() != NONE).collect(); let other = s[used[1]].dirent; s[used[0]].dirent = other; }); };
    a_full_index_is_refused: "no empty slot", |f| { f.rows(SectionKind::PathIdx, |s: &mut [Slot]| { for x in s { if x.dirent.get() == NONE { x.dirent = 0.into(); } } }); };
    a_tag_in_an_empty_slot_is_refused: "tag of an empty slot", |f| { f.rows(SectionKind::PathIdx, |s: &mut [Slot]| { let at = s.iter().position(|x| x.dirent.get() == NONE).unwrap(); s[at].tag = 1.into(); }); };

    an_unknown_class_is_refused: "class, size, blocks or slice", |f| { f.contents(Class::Raw, |c| c.class = 8); };
    a_size_over_the_limit_is_refused: "class, size, blocks or slice", |f| { f.contents(Class::Raw, |c| c.size = u64::MAX.into()); };
    a_size_that_differs_from_its_blocks_is_refused: "class, size, blocks or slice", |f| { f.contents(Class::Blocks, |c| c.size = (c.size.get() + 1).into()); };
    blocks_out_of_range_are_refused: "class, size, blocks or slice", |f| { f.contents(Class::Raw, |c| c.first = 4000.into()); };
    a_block_count_that_wraps_is_refused: "class, size, blocks or slice", |f| { f.contents(Class::Raw, |c| c.count = u32::MAX.into()); };
    a_slice_past_its_block_is_refused: "class, size, blocks or slice", |f| { f.contents(Class::Packed, |c| c.slice_off = (u32::MAX - 10).into()); };
    a_frame_with_a_dictionary_is_refused: "class, size, blocks or slice", |f| { f.contents(Class::Packed, |c| c.class = Class::Frame as u8); };
    an_unaligned_raw_file_is_refused: "class, size, blocks or slice", |f| { f.rows(SectionKind::Contents, |rows: &mut [Content]| rows.iter_mut().rfind(|c| c.class == Class::PackedRaw as u8).unwrap().class = Class::Raw as u8); };
    inline_bytes_out_of_range_are_refused: "class, size, blocks or slice", |f| { f.contents(Class::Inline, |c| c.first = (NONE - 1).into()); };
    two_files_that_claim_the_same_blocks_are_refused: "class, size, blocks or slice", |f| { f.rows(SectionKind::Contents, |rows: &mut [Content]| { let raw = rows.iter().position(|c| c.class == Class::Raw as u8).unwrap(); let other = rows.iter().position(|c| c.class == Class::PackedRaw as u8).unwrap(); let copy = rows[raw]; rows[other] = copy; }); };
    a_sparse_part_past_the_end_is_refused: "class, size, blocks or slice", |f| { f.rows(SectionKind::Segments, |s: &mut [Segment]| s[0].offset = (4 << 20).into()); };
    a_sparse_part_whose_offset_wraps_is_refused: "class, size, blocks or slice", |f| { f.rows(SectionKind::Segments, |s: &mut [Segment]| s[0].offset = u64::MAX.into()); };
    a_sparse_file_inside_itself_is_refused: "class, size, blocks or slice", |f| { let mut n = 0; f.rows(SectionKind::Contents, |rows: &mut [Content]| n = rows.iter().position(|c| c.class == Class::Sparse as u8).unwrap()); let n = u32::try_from(n).unwrap(); f.rows(SectionKind::Segments, |s: &mut [Segment]| s[0].content = n.into()); };

    a_block_past_the_data_is_refused: "position", |f| { f.blocks(|b| b.last_mut().unwrap().clen = (1 << 30).into()); };
    a_block_whose_end_wraps_is_refused: "position", |f| { f.blocks(|b| b.last_mut().unwrap().off = u64::MAX.into()); };
    blocks_that_overlap_are_refused: "position", |f| { f.blocks(|b| b[1].off = b[0].off); };
    an_empty_block_is_refused: "position", |f| { f.blocks(|b| b.last_mut().unwrap().clen = 0.into()); };
    an_unknown_codec_is_refused: "codec or length", |f| { f.blocks(|b| b.last_mut().unwrap().codec = 2.into()); };
    a_plain_size_over_the_limit_is_refused: "codec or length", |f| { f.blocks(|b| b.last_mut().unwrap().ulen = u32::MAX.into()); };
    a_dictionary_that_comes_later_is_refused: "dictionary", |f| { f.blocks(|b| { let n = u32::try_from(b.len()).unwrap(); b.last_mut().unwrap().dict = (n - 1).into(); }); };
    a_dictionary_out_of_range_is_refused: "dictionary", |f| { f.blocks(|b| b.last_mut().unwrap().dict = 4_000_000.into()); };
    a_raw_block_as_dictionary_is_refused: "dictionary", |f| { f.blocks(|b| b.last_mut().unwrap().dict = 0.into()); };
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    for bytes in [&b""[..], b"\x89", &[0; 4095], &[0; 8192]] {
        assert!(matches!(open(bytes), Err(Error::NotAnImage(_))));
    }
}

#[test]
fn a_magic_mangled_by_a_text_transfer_is_named() {
    let mut bytes = SOUND.clone();
    bytes[5..7].copy_from_slice(b"\n\x1a");
    assert!(matches!(open(&bytes), Err(Error::NotAnImage(what)) if what.contains("mangled")));
}

#[test]
fn unknown_compat_features_are_accepted() {
    let mut forged = Forged::new();
    forged.superblock(|s| s.compat = 0x8000.into());
    assert!(rehash(&mut forged.0));
    read_all(&open(&forged.0).unwrap()).unwrap();
}

#[test]
fn a_wrong_checksum_is_told_from_a_wrong_hash() {
    let mut forged = Forged::new();
    forged
        .superblock(|s| s.tree_id[0] ^= 1)
        .refused_as_it_is("checksum of the superblock");
    let mut forged = Forged::new();
    forged
        .inodes(|i| i[0].count = 0.into())
        .refused_as_it_is("hash of section inodes");
    let mut forged = Forged::new();
    forged
        .sections(|s| s[0].hash[0] ^= 1)
        .refused_as_it_is("image id");
}

#[test]
fn every_truncation_is_refused() {
    let len = SOUND.len();
    for cut in (0..64)
        .map(|i| len * i / 64)
        .chain([1, 255, 256, 4095, 4096, len - 1])
    {
        assert!(open(&SOUND[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn every_changed_byte_of_the_metadata_is_noticed() {
    let (sb, _) = Superblock::read_from_prefix(&SOUND[..]).unwrap();
    let end = usize::try_from(sb.sections_off.get()).unwrap() + 640;
    let mut start = 0;
    Forged::new().sections(|s| start = usize::try_from(s[0].off.get()).unwrap());
    for at in (0..256).chain((start..end).step_by(7)) {
        let mut bytes = SOUND.clone();
        bytes[at] ^= 0x10;
        // Padding between sections belongs to no section; it is the only place where nothing is said.
        let padding = open(&bytes).is_ok();
        assert!(!padding || SOUND[at] == 0, "byte {at}");
    }
}

#[test]
fn a_damaged_block_spoils_only_its_files() {
    let mut bytes = SOUND.clone();
    let mut forged = Forged::new();
    let mut at = 0;
    forged.contents(Class::PackedRaw, |c| at = c.first.get() as usize);
    forged.blocks(|b| at = usize::try_from(b[at].off.get()).unwrap());
    bytes[at] ^= 1;
    let image = open(&bytes).unwrap();
    let read = |path: &[u8]| image.bytes(image.lookup(path).unwrap()).map(|b| b.len());
    assert!(matches!(read(b"d/noise"), Err(Error::BadBlock { .. })));
    assert!(
        matches!(read(b"d/noise"), Err(Error::BadBlock { .. })),
        "and stays bad"
    );
    assert_eq!(read(b"program").unwrap(), 5004);
    assert_eq!(read(b"a/large.txt").unwrap(), 1_500_000);
}

#[test]
fn a_frame_that_does_not_decode_is_an_error() {
    Forged::new()
        .frame_bytes(|b| {
            let at = b.len() / 2;
            b[at..].fill(0xff);
        })
        .unreadable("frame");
}

#[test]
fn a_frame_of_another_size_is_an_error() {
    let mut forged = Forged::new();
    let mut first = 0;
    forged.contents(Class::Frame, |c| {
        first = c.first.get() as usize;
        c.size = 49_999.into();
    });
    forged.blocks(|b| b[first].ulen = 49_999.into());
    forged.superblock(|s| s.total_size = (s.total_size.get() - 1).into());
    forged.unreadable("declares another size");
}

#[test]
fn bytes_after_a_frame_are_an_error() {
    let small = zstd::bulk::compress(&[7; 50_000], 3).unwrap();
    Forged::new()
        .frame_bytes(|b| {
            b.fill(0);
            b[..small.len()].copy_from_slice(&small);
        })
        .unreadable("after the frame");
}

#[test]
fn a_bomb_ends_at_its_declared_size() {
    // 50,000 declared, a hundred times as much inside: the decoder has room for what was declared and no more.
    let mut bomb = zstd::bulk::compress(&vec![0; 5_000_000], 3).unwrap();
    let honest = zstd::bulk::compress(&[0; 50_000], 3).unwrap();
    bomb.truncate(honest.len().max(12));
    Forged::new()
        .frame_bytes(|b| {
            let n = bomb.len();
            b[..n].copy_from_slice(&bomb);
        })
        .unreadable("frame");
}

#[test]
fn bytes_that_show_through_a_raw_extent_are_an_error() {
    let mut forged = Forged::new();
    let mut first = 0;
    forged.contents(Class::Raw, |c| first = c.first.get() as usize);
    let mut end = 0;
    forged.blocks(|b| {
        end = usize::try_from(b[first].off.get()).unwrap() + b[first].clen.get() as usize
    });
    forged.0[end] = 1;
    forged.unreadable("after a raw file in its last page");
}

#[test]
fn threads_that_touch_a_bad_block_at_once_all_see_it() {
    let mut forged = Forged::new();
    let mut at = 0;
    forged.contents(Class::Frame, |c| at = c.first.get() as usize);
    forged.blocks(|b| at = usize::try_from(b[at].off.get()).unwrap());
    forged.0[at + 20] ^= 1;
    let image = open(&forged.0).unwrap();
    let ino = image.lookup(b"a/frame.css").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(matches!(image.bytes(ino), Err(Error::BadBlock { .. }))));
        }
    });
}

#[test]
fn threads_that_touch_a_good_block_at_once_hash_it_once() {
    let image = open(&SOUND).unwrap();
    let ino = image.lookup(b"a/frame.css").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(image.bytes(ino).unwrap().len(), 50_000));
        }
    });
    assert_eq!(image.blocks_hashed(), 1);
}

#[test]
fn ten_thousand_opens_leave_nothing_open() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, &SOUND).unwrap();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for _ in 0..2_000 {
        drop(Image::open(file.path()).unwrap());
    }
    assert!(descriptors() <= before + 8, "other tests may hold a few");
}

#[test]
fn attribute_rows_are_checked() {
    let cases: [fn(&mut Xattr); 3] = [
        |x| x.off = (NONE - 1).into(),
        |x| x.name_len = 0.into(),
        |x| x.value_len = 65_537.into(),
    ];
    for case in cases {
        let mut forged = Forged::new();
        let mut rows = 0;
        forged.rows(SectionKind::Xattrs, |xattrs: &mut [Xattr]| {
            rows = xattrs.len();
            xattrs.first_mut().map(case);
        });
        if rows == 0 {
            return println!("skipped: no user attributes on this file system");
        }
        forged.refused("extended attributes unsorted, too long, or out of range");
    }
}
