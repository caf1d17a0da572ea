//! A sound image and changed copies of it.

use std::os::unix::fs::symlink;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use imagefs::format::{Attr, Block, Content, Dirent, Inode, Section, SectionKind, Superblock};
use imagefs::rehash::rehash;
use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};
use imagefs::{Class, Error, Image};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An image with every class of content, a directory tree, links and attributes.
pub(crate) static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
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
    let classes = vec![
        ("*.css".to_owned(), Class::Frame),
        ("large.txt".to_owned(), Class::Blocks),
    ];
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

pub(crate) fn open(bytes: &[u8]) -> Result<Image, Error> {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    Image::from_file(file)
}

/// Reads everything, so that errors of contents show.
pub(crate) fn read_all(image: &Image) -> Result<(), Error> {
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
pub(crate) struct Forged(pub(crate) Vec<u8>);

impl Forged {
    pub(crate) fn new() -> Forged {
        Forged(SOUND.clone())
    }

    pub(crate) fn superblock(&mut self, change: impl FnOnce(&mut Superblock)) -> &mut Self {
        let (mut sb, _) = Superblock::read_from_prefix(&self.0).unwrap();
        change(&mut sb);
        self.0[..size_of::<Superblock>()].copy_from_slice(sb.as_bytes());
        self
    }

    pub(crate) fn sections(&mut self, change: impl FnOnce(&mut [Section])) -> &mut Self {
        let (sb, _) = Superblock::read_from_prefix(&self.0).unwrap();
        let start = usize::try_from(sb.sections_off.get()).unwrap();
        let end = start + 10 * size_of::<Section>();
        change(<[Section]>::mut_from_bytes(&mut self.0[start..end]).unwrap());
        self
    }

    pub(crate) fn rows<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
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

    pub(crate) fn attrs(&mut self, change: impl FnOnce(&mut [Attr])) -> &mut Self {
        self.rows(SectionKind::Attrs, change)
    }

    pub(crate) fn inodes(&mut self, change: impl FnOnce(&mut [Inode])) -> &mut Self {
        self.rows(SectionKind::Inodes, change)
    }

    pub(crate) fn dirents(&mut self, change: impl FnOnce(&mut [Dirent])) -> &mut Self {
        self.rows(SectionKind::Dirents, change)
    }

    pub(crate) fn contents(
        &mut self,
        class: Class,
        change: impl FnOnce(&mut Content),
    ) -> &mut Self {
        self.rows(SectionKind::Contents, |rows: &mut [Content]| {
            change(
                rows.iter_mut()
                    .find(|c| c.class == class as u8)
                    .expect("a content of that class"),
            );
        })
    }

    /// The first block of the first content of a class.
    pub(crate) fn first_block(&mut self, class: Class) -> usize {
        let mut first = 0;
        self.contents(class, |c| first = c.first.get() as usize);
        first
    }

    pub(crate) fn blocks(&mut self, change: impl FnOnce(&mut [Block])) -> &mut Self {
        self.rows(SectionKind::Blocks, change)
    }

    /// Replaces the stored bytes of the block of the zframe file, within their length.
    pub(crate) fn frame_bytes(&mut self, change: impl FnOnce(&mut [u8])) -> &mut Self {
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
    pub(crate) fn refused(&mut self, text: &str) {
        assert!(rehash(&mut self.0));
        self.refused_as_it_is(text);
    }

    pub(crate) fn refused_as_it_is(&self, text: &str) {
        match open(&self.0) {
            Ok(_) => panic!("accepted; expected: {text}"),
            Err(e) => assert!(e.to_string().contains(text), "{e}; expected: {text}"),
        }
    }

    /// Requires that it opens and that reading fails with this text.
    pub(crate) fn unreadable(&mut self, text: &str) {
        assert!(rehash(&mut self.0));
        let image = open(&self.0).expect("opens");
        let e = read_all(&image).expect_err(text);
        assert!(e.to_string().contains(text), "{e}; expected: {text}");
    }
}
