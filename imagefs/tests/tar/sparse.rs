//! Sparse files in every format GNU tar ever wrote, and maps that contradict themselves.

use imagefs::tar::TarError;

use crate::bench::{Block, Tar, contents, node};

/// Old GNU format: map in the header and one extension block.
fn old_sparse(entries: &[(u64, u64)], real: u64, stored: u64) -> Tar {
    let entry = |&(offset, len): &(u64, u64)| format!("{offset:011o}\0{len:011o}\0").into_bytes();
    let (head, rest) = entries.split_at(entries.len().min(4));
    let head: Vec<u8> = head.iter().flat_map(entry).collect();
    let mut block = Block::gnu(b'S', b"sparse", stored)
        .with(386, &head)
        .with(483, format!("{real:011o}\0").as_bytes());
    block.0[482] = u8::from(!rest.is_empty());
    let mut tar = Tar::new().block(block);
    let chunks: Vec<&[(u64, u64)]> = rest.chunks(21).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut bytes: Vec<u8> = chunk.iter().flat_map(entry).collect();
        bytes.resize(512, 0);
        bytes[504] = u8::from(index + 1 < chunks.len());
        tar.bytes.extend_from_slice(&bytes);
    }
    tar
}

#[test]
fn sparse_files_of_every_format_are_the_same_file() {
    let parts = [(1000, 512), (4096, 3), (9000, 0)];
    let data: Vec<u8> = (0..515_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut wanted = vec![0; 9000];
    wanted[1000..1512].copy_from_slice(&data[..512]);
    wanted[4096..4099].copy_from_slice(&data[512..]);
    let mut map = b"3\n1000\n512\n4096\n3\n9000\n0\n".to_vec();
    map.resize(512, 0);
    let in_body = [map, data.clone()].concat();
    let stored = data.len() as u64;
    for (name, tar) in [
        ("old", old_sparse(&parts, 9000, stored).body(&data)),
        (
            "0.0",
            Tar::new()
                .pax(
                    b'x',
                    &[
                        ("GNU.sparse.size", b"9000"),
                        ("GNU.sparse.numblocks", b"3"),
                        ("GNU.sparse.offset", b"1000"),
                        ("GNU.sparse.numbytes", b"512"),
                        ("GNU.sparse.offset", b"4096"),
                        ("GNU.sparse.numbytes", b"3"),
                        ("GNU.sparse.offset", b"9000"),
                        ("GNU.sparse.numbytes", b"0"),
                    ],
                )
                .file(b"sparse", &data),
        ),
        (
            "0.1",
            Tar::new()
                .pax(
                    b'x',
                    &[
                        ("GNU.sparse.size", b"9000"),
                        ("GNU.sparse.numblocks", b"3"),
                        ("GNU.sparse.name", b"sparse"),
                        ("GNU.sparse.map", b"1000,512,4096,3,9000,0"),
                    ],
                )
                .file(b"GNUSparseFile.1/sparse", &data),
        ),
        (
            "1.0",
            Tar::new()
                .pax(
                    b'x',
                    &[
                        ("GNU.sparse.major", b"1"),
                        ("GNU.sparse.minor", b"0"),
                        ("GNU.sparse.name", b"sparse"),
                        ("GNU.sparse.realsize", b"9000"),
                    ],
                )
                .file(b"GNUSparseFile.1/sparse", &in_body),
        ),
    ] {
        let archive = tar.file(b"after", b"x").read().expect(name);
        assert!(contents(node(&archive.tree, "sparse")) == wanted, "{name}");
        assert_eq!(contents(node(&archive.tree, "after")), b"x", "{name}");
    }
}

#[test]
fn sparse_file_without_any_data_is_a_hole() {
    let archive = old_sparse(&[(5 << 30, 0)], 5 << 30, 0)
        .read()
        .expect("valid");
    assert!(list_sizes(&archive.tree, "sparse") == 5 << 30);
}

fn list_sizes(tree: &imagefs::tree::Tree, path: &str) -> u64 {
    match node(tree, path) {
        imagefs::tree::Node::File { size, .. } => *size,
        other => panic!("{other:?}"),
    }
}

#[test]
fn old_sparse_maps_continue_over_extension_blocks() {
    let parts: Vec<(u64, u64)> = (0..60).map(|n| (n * 1000, 10)).collect();
    let archive = old_sparse(&parts, 60_000, 600)
        .body(&[b'd'; 600])
        .file(b"after", b"x")
        .read()
        .expect("valid");
    let content = contents(node(&archive.tree, "sparse"));
    assert_eq!(content.iter().filter(|&&byte| byte == b'd').count(), 600);
    assert_eq!(content[59_009], b'd');
    assert_eq!(contents(node(&archive.tree, "after")), b"x");
}

#[test]
fn sparse_maps_that_contradict_themselves_are_refused() {
    for (parts, real, stored) in [
        (&[(512, 512), (0, 512)][..], 4096, 1024),
        (&[(0, 512), (100, 512)], 4096, 1024),
        (&[(0, 512)], 100, 512),
        (&[(0, 512)], 4096, 100),
        (&[(0, 10)], 4096, 512),
        (&[(0o77777777777, 0o77777777777)], 4096, 512),
    ] {
        let result = old_sparse(parts, real, stored).body(&[1; 1024]).read();
        assert!(
            matches!(result, Err(TarError::Sparse { .. })),
            "{parts:?}: {result:?}"
        );
    }
    for records in [
        &[
            ("GNU.sparse.major", &b"2"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"9"),
        ][..],
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")],
        &[("GNU.sparse.map", b"0,1")],
        &[
            ("GNU.sparse.size", b"100"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.map", b"0,1"),
        ],
        &[("GNU.sparse.size", b"100"), ("GNU.sparse.offset", b"0")],
    ] {
        let result = Tar::new()
            .pax(b'x', records)
            .file(b"f", b"1\n0\n1\n")
            .read();
        assert!(
            matches!(result, Err(TarError::Sparse { .. })),
            "{records:?}: {result:?}"
        );
    }
    for records in [
        &[("GNU.sparse.map", &b"0,1,2"[..])][..],
        &[("GNU.sparse.map", b"0,-1")],
        &[("GNU.sparse.numbytes", b"1")],
        &[("GNU.sparse.offset", b"1"), ("GNU.sparse.offset", b"1")],
        &[("GNU.sparse.unheard", b"1")],
        &[("SCHILY.realsize", b"1")],
    ] {
        let result = Tar::new().pax(b'x', records).file(b"f", b"1").read();
        assert!(
            matches!(result, Err(TarError::Pax { .. })),
            "{records:?}: {result:?}"
        );
    }
}

#[test]
fn sparse_maps_in_bodies_cannot_run_away() {
    for body in [
        &b"99999999999\n"[..],
        b"1\n0\n",
        b"x\n",
        b"",
        b"-1\n",
        &[b'1'; 600],
        b"4194305\n0\n1\n",
    ] {
        let records = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"9"),
        ];
        let result = Tar::new().pax(b'x', &records).file(b"f", body).read();
        assert!(
            matches!(result, Err(TarError::Sparse { .. })),
            "{}: {result:?}",
            body.escape_ascii()
        );
    }
    // A map on something that has no content.
    let result = Tar::new()
        .pax(
            b'x',
            &[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,0")],
        )
        .dir(b"d")
        .read();
    assert!(matches!(result, Err(TarError::Sparse { .. })), "{result:?}");
}
