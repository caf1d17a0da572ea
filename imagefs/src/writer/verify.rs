//! Reads the finished image back and compares it with the source: every name, every attribute, every byte.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::layout::Layout;
use super::{Phase, Work};
use crate::error::{Error, printable};
use crate::reader::{Image, Kind, Stat};
use crate::tree::{Meta, Node, Tree};

/// # Errors
/// A difference: the source changed while it was packed, or the writer is at fault.
pub(super) fn compare(
    work: &Work<'_>,
    tree: &Tree,
    layout: &Layout,
    file: File,
) -> Result<(), Error> {
    let image = Image::from_file(file)?;
    if image.compute_tree_id() != image.tree_id() {
        return Err(Error::corrupt(96, "tree id of the new image"));
    }
    names(tree, &image)?;
    contents(work, layout, &image)
}

/// Every name of the tree is in the image with its metadata; the counts say that nothing else is.
fn names(tree: &Tree, image: &Image) -> Result<(), Error> {
    let differs = |path: &[u8]| Error::source(path, "the new image has it differently");
    let mut names = 0;
    let mut file_of = std::collections::HashMap::new();
    tree.walk(&mut |path, id, node| {
        names += 1;
        let ino = image.lookup(path).ok_or_else(|| differs(path))?;
        let stat = image.stat(ino);
        let same = same_meta(node.meta(), &stat)
            && match node {
                Node::Dir { entries, .. } => {
                    stat.kind == Kind::Directory && entries.len() == image.dir_len(ino) as usize
                }
                Node::File { size, .. } => stat.kind == Kind::Regular && stat.size == *size,
                Node::Symlink { target, .. } => image.read_link(ino) == Some(target),
            }
            && *file_of.entry(id).or_insert(ino) == ino
            && xattrs_equal(node.meta(), image, ino);
        if same { Ok(()) } else { Err(differs(path)) }
    })?;
    let in_image: usize = (0..image.dir_count())
        .filter_map(|i| image.inode_at(i))
        .map(|d| image.dir_len(d) as usize)
        .sum();
    if in_image != names {
        return Err(differs(b""));
    }
    Ok(())
}

fn same_meta(meta: &Meta, stat: &Stat) -> bool {
    (
        u32::from(meta.perm),
        meta.uid,
        meta.gid,
        meta.mtime,
        meta.mtime_ns,
    ) == (stat.mode, stat.uid, stat.gid, stat.mtime, stat.mtime_ns)
}

fn xattrs_equal(meta: &Meta, image: &Image, ino: crate::Ino) -> bool {
    let ours = meta
        .xattrs
        .iter()
        .flat_map(|set| set.iter())
        .map(|(name, value)| (&name[..], &value[..]));
    ours.eq(image.xattrs(ino))
}

/// Every content decodes to the bytes that were read first.
fn contents(work: &Work<'_>, layout: &Layout, image: &Image) -> Result<(), Error> {
    let total: u64 = layout.rows.iter().map(|&c| layout.contents[c].size).sum();
    let done = AtomicU64::new(0);
    work.pool.install(|| {
        image
            .contents()
            .par_iter()
            .zip(&layout.rows)
            .try_for_each(|(content, &plan)| {
                work.check_stop()?;
                let plan = &layout.contents[plan];
                if image.hash_content(content)? != plan.hash {
                    return Err(Error::Changed {
                        path: printable(&layout.files[plan.file].path),
                    });
                }
                let done = done.fetch_add(plan.size, Ordering::Relaxed) + plan.size;
                work.say(Phase::Verify, done, total, image.image_len());
                Ok(())
            })
    })
}
