//! Stored bytes that are not what the tables say.

use imagefs::{Class, Error};

use crate::forge::{Forged, SOUND, open};

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
