//! The `.htaccess` files of a site that is packed: what of them will not be done is said now, and not found out by a visitor.

use anyhow::{Context, bail};
use imagefs::tree::{Node, Tree};
use imagefs::writer;
use server::{Class, HTACCESS, Input, Manifest};

use crate::in_tree::InTree;

/// What to do about directives that would have denied something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Unknown {
    /// They are an error
    Refuse,
    /// They are named, and not obeyed
    Ignore,
}

/// The largest file that is read; larger ones are refused with what they are.
const BYTES_MAX: u64 = 1 << 20;

/// Names each directive that is not understood, with its file and line.
///
/// # Errors
/// When one of them would have denied something, unless that is ignored; when there is more than an image may have.
pub(crate) fn check(site: &InTree<'_>, unknown: Unknown) -> anyhow::Result<()> {
    let inputs = inputs(site.tree)?;
    if inputs.is_empty() {
        return Ok(());
    }
    let findings = server::findings(&Manifest::of(site)?, &inputs, site)?;
    let mut denying = 0;
    for finding in findings {
        if finding.class == Class::Harmless {
            continue;
        }
        eprintln!("zapp: {finding}");
        denying += usize::from(finding.class == Class::WouldDeny);
    }
    if denying > 0 && unknown == Unknown::Refuse {
        bail!(
            "{denying} directives of {HTACCESS} files would deny something and cannot be obeyed: say so in zapp.toml \
             (site.deny), or pack with --htaccess ignore"
        );
    }
    Ok(())
}

/// The directories that have such a file, and what it holds.
fn inputs(tree: &Tree) -> anyhow::Result<Vec<Input>> {
    let mut paths = Vec::new();
    tree.walk(&mut |path, _, node| {
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
        if name == HTACCESS.as_bytes() && matches!(node, Node::File { .. }) {
            paths.push(path.to_vec());
        }
        Ok(())
    })?;
    let mut inputs = Vec::new();
    for path in paths {
        let shown = || String::from_utf8_lossy(&path).into_owned();
        let bytes = writer::contents(tree, &path, BYTES_MAX).with_context(shown)?;
        let bytes = bytes.with_context(|| format!("{}: larger than 1 MiB", shown()))?;
        let above = &path[..path.len() - HTACCESS.len()];
        let directory = above.strip_suffix(b"/").unwrap_or(above);
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        inputs.push(([slash, directory].concat(), bytes));
    }
    Ok(inputs)
}
