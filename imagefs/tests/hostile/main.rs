//! Hostile images: one named test for each rule of the reader that a forger could break.
//!
//! Each case changes a sound image, makes all hashes right again, and expects the very rule that the change breaks.
//! The sound image is the accepted twin of them all ([`the_untouched_image_is_accepted`]).

mod contents;
mod forge;

use imagefs::format::{Content, NONE, SectionKind, Segment, Slot, Superblock, Xattr};
use imagefs::rehash::rehash;
use imagefs::{Class, Error, Image};
use zerocopy::FromBytes;

use forge::{Forged, SOUND, open, read_all};

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
    another_major_version_is_refused: "major version 3", |f| { f.superblock(|s| s.major = 3.into()); };
    an_image_of_version_1_is_to_be_packed_again: "major version 1; this is for 2: pack it again", |f| { f.superblock(|s| s.major = 1.into()); };
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
    a_slice_that_claims_to_be_a_frame_is_refused: "class, size, blocks or slice", |f| { f.contents(Class::Packed, |c| c.class = Class::Frame as u8); };
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
    a_frame_over_16_mib_is_refused: "codec or length", |f| { let first = f.first_block(Class::Frame); f.blocks(|b| b[first].ulen = ((16 << 20) + 1).into()); };
    a_shared_block_over_4_mib_is_refused: "class, size, blocks or slice", |f| { let first = f.first_block(Class::Packed); f.blocks(|b| b[first].ulen = ((4 << 20) + 1).into()); };
    blocks_of_a_file_over_4_mib_are_refused: "class, size, blocks or slice", |f| { let (first, size) = (f.first_block(Class::Blocks), (4 << 20) + 1); f.contents(Class::Blocks, |c| { c.size = size.into(); c.count = 1.into(); }); f.blocks(|b| b[first].ulen = u32::try_from(size).unwrap().into()); };
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
