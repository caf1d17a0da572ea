//! Any bytes as a tar archive. Invariants:
//! - reading ends, in a tree or a typed error, without panic;
//! - names in the tree are plain, and no file is stored beyond what the archive held;
//! - reading the same bytes again gives the same tree and the same notes.
//!
//! The mutator puts checksums right again, so that what lies behind them is reached.
#![no_main]

use std::collections::BTreeMap;

use imagefs::tar::{ReadOptions, read};
use imagefs::tree::{Node, Source, Tree};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| {
    let options = ReadOptions {
        spool_dir: spool_dir(),
        members_max: 10_000,
        bytes_max: 16 << 20,
        skip_special: true,
        ..ReadOptions::default()
    };
    let Ok(archive) = read(bytes, &options) else {
        return;
    };
    let (seen, stored) = check(&archive.tree);
    let compressed = bytes.starts_with(&[0x1f, 0x8b])
        || bytes.get(1..3) == Some(&[0xb5, 0x2f])
        || bytes.get(1..3) == Some(&[0x2a, 0x4d]);
    assert!(
        compressed || stored <= bytes.len() as u64,
        "{stored} bytes from {}",
        bytes.len()
    );
    let again = read(bytes, &options).expect("what was read can be read again");
    assert_eq!(archive.notes, again.notes);
    assert!(seen == check(&again.tree).0);
});

fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
        let size = fuzzer_mutate(data, size, max_size);
        for block in data[..size].chunks_exact_mut(512) {
            if block[257..262] == *b"ustar" {
                seal(block);
            }
        }
        size
    }
);

/// Memory, where there is such a place: the spool file is written in every run.
fn spool_dir() -> std::path::PathBuf {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Walks a tree; what it holds as text, and how many bytes are stored for it.
fn check(tree: &Tree) -> (Vec<String>, u64) {
    let mut seen = Vec::new();
    let mut files = BTreeMap::new();
    // A path may be too long for an image; that is found when it is packed.
    let _ = tree.walk(&mut |path, id, node| {
        for part in path.split(|&byte| byte == b'/') {
            assert!(
                !part.is_empty()
                    && part != b"."
                    && part != b".."
                    && part.len() <= 255
                    && !part.contains(&0)
            );
        }
        assert!(node.meta().perm <= 0o1777 && node.meta().mtime_ns < 1_000_000_000);
        let what = match node {
            Node::Dir { .. } => "dir".to_owned(),
            Node::Symlink { target, .. } => format!("{target:?}"),
            Node::File {
                size,
                source: Source::Bytes(bytes),
                ..
            } => {
                assert_eq!(*size, bytes.len() as u64);
                format!("{bytes:?}")
            }
            Node::File {
                size,
                source: Source::Stored { offset, data, file },
                ..
            } => {
                let mut end = 0;
                for part in data.iter().flat_map(|parts| parts.iter()) {
                    assert!(part.start >= end && part.start < part.end && part.end <= *size);
                    end = part.end;
                }
                let stored = data.as_ref().map_or(*size, |parts| {
                    parts.iter().map(|part| part.end - part.start).sum()
                });
                assert!(offset + stored <= file.metadata().expect("open file").len());
                files.insert(id, stored);
                format!("{size} {offset} {data:?}")
            }
            Node::File {
                source: Source::Disk(_),
                ..
            } => panic!("an archive has no files on disk"),
        };
        seen.push(format!("{path:?} {id} {:?} {what}", node.meta()));
        Ok(())
    });
    (seen, files.values().sum())
}
