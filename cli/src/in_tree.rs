//! The files of a site that is about to be packed, as an image of it would show them.

use imagefs::tree::{Node, NodeId, Tree};
use imagefs::{Error, Kind, writer};
use server::{Home, Look, follow};

/// A tree, by the paths of its files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InTree<'a> {
    pub(crate) tree: &'a Tree,
    /// Where its programs will see it, if that was said.
    pub(crate) at: Option<&'a str>,
}

impl InTree<'_> {
    /// The directories from the top to what a path leads to, and that itself, symlinks followed.
    fn resolve(&self, path: &[u8]) -> Option<Vec<(NodeId, Vec<u8>)>> {
        let target = |id| match self.tree.node(id) {
            Node::Symlink { target, .. } => Some(&target[..]),
            _ => None,
        };
        let home = Home::new(self.at.unwrap_or_default());
        follow(0, &home, path, |at, name| self.tree.child(at, name), target)
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let (id, _) = self.resolve(path.as_bytes())?.pop()?;
        Some(self.tree.node(id))
    }
}

impl Look for InTree<'_> {
    fn kind(&self, path: &str) -> Option<Kind> {
        Some(match self.node(path)? {
            Node::Dir { .. } => Kind::Directory,
            Node::File { .. } => Kind::Regular,
            Node::Symlink { .. } => Kind::Symlink,
        })
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let Some(Node::Dir { entries, .. }) = self.node(directory) else {
            return Vec::new();
        };
        let names = entries.keys().map(|name| String::from_utf8(name.to_vec()));
        names.filter_map(Result::ok).collect()
    }

    fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(stack) = self.resolve(path.as_bytes()) else {
            return Ok(None);
        };
        let names: Vec<&[u8]> = stack[1..].iter().map(|(_, name)| &name[..]).collect();
        writer::contents(self.tree, &names.join(&b'/'), max)
    }

    fn at(&self) -> Option<String> {
        self.at.map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imagefs::scan::{ScanOptions, scan};
    use std::os::unix::fs::symlink;

    #[test]
    fn symlinks_lead_where_they_would_in_an_image() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/file"), "text").unwrap();
        for (target, link) in [
            ("b/file", "a/link"),
            ("/a/b", "direct"),
            ("../../../a", "a/b/up"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
        ] {
            symlink(target, top.join(link)).unwrap();
        }
        let tree = scan(top, &ScanOptions::default()).unwrap().tree;
        let site = InTree {
            tree: &tree,
            at: None,
        };
        for path in [
            "a/b/file",
            "a/link",
            "direct/file",
            "a/b/up/link",
            "direct/../link",
        ] {
            assert_eq!(
                site.read(path, 4).unwrap().as_deref(),
                Some(&b"text"[..]),
                "{path}"
            );
        }
        assert_eq!(site.read("a/link", 3).unwrap(), None);
        assert_eq!(site.kind("direct"), Some(Kind::Directory));
        assert_eq!(site.names("direct"), ["file", "up"]);
        for path in ["loop", "dangling", "a/b/file/x", "none"] {
            assert_eq!(site.kind(path), None, "{path}");
        }
    }
}
