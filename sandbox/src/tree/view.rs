//! One instance's view: the mounted trees, and over them what the instance has made, changed and
//! removed. Plain data, so that a snapshot can carry it and a reset can be checked against it.
//!
//! A file of a tree that is opened for writing gets a private copy that shares the unwritten pages;
//! it keeps its identity, so every name and every open descriptor sees the same bytes. New files may
//! appear in any directory. Everything counts against the scratch limit.

use super::scratch::ScratchFile;
use super::{Device, Kind, Metadata, Mounts, Node};
use crate::abi::Errno;
use crate::error::Error;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// What an inode, a name or an open file costs against the scratch limit (review F11).
const RECORD_BYTES: u64 = 512;

/// Permissions, and the three bits above them, which mean nothing to anybody here.
const MODE_BITS: u32 = 0o7777;

/// The changes of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    root: Node,
    /// Names made or removed (`None`) in a directory.
    changed: HashMap<Node, BTreeMap<Vec<u8>, Option<Node>>>,
    inodes: Vec<Option<Inode>>,
    /// Private copies of tree files.
    copies: HashMap<Node, ScratchFile>,
    /// Facts of tree files that the instance has changed.
    altered: HashMap<Node, Altered>,
    /// The directory each tree is mounted in.
    mount_parents: Vec<Node>,
    page_bytes: u64,
    records: u64,
    peak_bytes: u64,
    pub(crate) cwd: Node,
    pub(crate) cwd_path: Vec<u8>,
    pub(crate) umask: u32,
}

/// A scratch file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inode {
    content: Content,
    mode: u32,
    links: u32,
    /// Open descriptions; a file without a name lives until the last is closed.
    open: u32,
    modified_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Regular(ScratchFile),
    Directory { parent: Node },
    Symlink { target: Vec<u8> },
}

/// What an instance sees of a tree's file in place of what the tree says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Altered {
    mode: Option<u32>,
    modified_ns: Option<i64>,
}

impl View {
    /// The view at the start of a program: the trees, `/dev`, and an empty `/tmp`.
    pub(crate) fn new(mounts: &Mounts) -> Result<View, Error> {
        let nowhere = Node::Scratch(0);
        let mut view = View {
            root: nowhere,
            changed: HashMap::new(),
            inodes: Vec::new(),
            copies: HashMap::new(),
            altered: HashMap::new(),
            mount_parents: vec![nowhere; mounts.len()],
            page_bytes: 0,
            records: 0,
            peak_bytes: 0,
            cwd: nowhere,
            cwd_path: b"/".to_vec(),
            umask: 0o022,
        };
        let at_root = mounts.paths().find(|(_, path)| *path == b"/");
        view.root = match at_root {
            Some((tree, _)) => Node::Base(tree, mounts.tree(tree).root()),
            None => view.new_directory(nowhere, 0o755, 0),
        };
        view.cwd = view.root;
        view.opened(view.root);
        let root = view.root;
        if let (Some((tree, _)), Node::Base(..)) = (at_root, root) {
            view.mount_parents[usize::from(tree)] = root;
        }
        if let Node::Scratch(number) = root {
            view.inode_mut(number).content = Content::Directory { parent: root };
        }
        for name in [&b"dev"[..], b"tmp"] {
            let directory = view.new_directory(root, 0o777, 0);
            view.set(root, name, Some(directory));
            if name == b"dev" {
                for (name, device) in Device::ALL {
                    view.set(directory, name, Some(Node::Device(device)));
                }
            }
        }
        for (tree, path) in mounts.paths().filter(|(_, path)| *path != b"/") {
            view.mount(mounts, tree, path)?;
        }
        if let Some(path) = mounts.start_path() {
            view.start_in(mounts, path)?;
        }
        view.records = 0;
        Ok(view)
    }

    /// The view of a program that has changed nothing and gone to a directory.
    pub(crate) fn resumed(mounts: &Mounts, cwd: &[u8], umask: u32) -> Result<View, Error> {
        let mut view = View::new(mounts)?;
        view.start_in(mounts, cwd)?;
        view.umask = umask & 0o777;
        Ok(view)
    }

    /// True when [`View::resumed`] makes the same.
    pub(crate) fn is_resumed(&self, mounts: &Mounts) -> bool {
        View::resumed(mounts, &self.cwd_path, self.umask).is_ok_and(|mut fresh| {
            fresh.peak_bytes = self.peak_bytes;
            fresh == *self
        })
    }

    /// Goes back to an earlier state of the same view, but stays in the present directory.
    pub(crate) fn go_back(&mut self, earlier: &View) {
        let (cwd, cwd_path) = (self.cwd, std::mem::take(&mut self.cwd_path));
        let umask = self.umask;
        *self = View {
            cwd_path,
            umask,
            ..earlier.clone()
        };
        self.opened(cwd);
        self.closed(self.cwd);
        self.cwd = cwd;
    }

    /// Makes a directory the current one before the program starts.
    fn start_in(&mut self, mounts: &Mounts, path: &[u8]) -> Result<(), Error> {
        let bad = |reason| Error::GuestPath {
            path: path.escape_ascii().to_string(),
            reason,
        };
        let found = self.walk(mounts, self.root, path, true);
        let directory = found.ok().and_then(|walked| walked.node);
        let directory = directory.ok_or_else(|| bad("there is no such directory"))?;
        self.change_directory(mounts, directory)
            .map_err(|_| bad("it is no directory"))
    }

    /// Makes a directory the current one. It stays so even when its name is removed.
    pub(crate) fn change_directory(&mut self, mounts: &Mounts, node: Node) -> Result<(), Errno> {
        if self.kind(mounts, node) != Kind::Directory {
            return Err(Errno(libc::ENOTDIR));
        }
        let path = self.path_of(mounts, node)?;
        self.opened(node);
        self.closed(self.cwd);
        self.cwd = node;
        self.cwd_path = path;
        Ok(())
    }

    fn mount(&mut self, mounts: &Mounts, tree: u8, path: &[u8]) -> Result<(), Error> {
        let bad = |reason| Error::GuestPath {
            path: path.escape_ascii().to_string(),
            reason,
        };
        let names: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|n| !n.is_empty())
            .collect();
        let Some((last, directories)) = names.split_last() else {
            return Err(bad("the root is mounted once"));
        };
        if path[0] != b'/' || names.iter().any(|name| matches!(*name, b"." | b"..")) {
            return Err(bad("mount points are absolute and plain"));
        }
        let mut at = self.root;
        for name in directories {
            at = match self.lookup(mounts, at, name) {
                Some(node) if self.kind(mounts, node) == Kind::Directory => node,
                Some(_) => return Err(bad("a file is in the way")),
                None => {
                    let made = self.new_directory(at, 0o755, 0);
                    self.set(at, name, Some(made));
                    made
                }
            };
        }
        self.set(at, last, Some(Node::Base(tree, mounts.tree(tree).root())));
        self.mount_parents[usize::from(tree)] = at;
        Ok(())
    }

    pub(crate) fn root(&self) -> Node {
        self.root
    }

    /// What `name` is in `directory`.
    pub(crate) fn lookup(&self, mounts: &Mounts, directory: Node, name: &[u8]) -> Option<Node> {
        if let Some(changed) = self.changed.get(&directory)
            && let Some(node) = changed.get(name)
        {
            return *node;
        }
        match directory {
            Node::Base(tree, number) => mounts
                .tree(tree)
                .child(number, name)
                .map(|child| Node::Base(tree, child)),
            _ => None,
        }
    }

    /// The directory above `directory`.
    pub(crate) fn parent(&self, mounts: &Mounts, directory: Node) -> Node {
        match directory {
            Node::Base(tree, number) if number == mounts.tree(tree).root() => {
                self.mount_parents[usize::from(tree)]
            }
            Node::Base(tree, number) => Node::Base(tree, mounts.tree(tree).parent(number)),
            Node::Scratch(number) => match self.inode(number).map(|inode| &inode.content) {
                Some(Content::Directory { parent }) => *parent,
                _ => self.root,
            },
            Node::Device(_) => self.root,
        }
    }

    /// What a node is.
    pub(crate) fn kind(&self, mounts: &Mounts, node: Node) -> Kind {
        match node {
            Node::Base(tree, number) => mounts.tree(tree).kind(number),
            Node::Scratch(number) => match self.inode(number).map(|inode| &inode.content) {
                Some(Content::Directory { .. }) => Kind::Directory,
                Some(Content::Symlink { .. }) => Kind::Symlink,
                _ => Kind::Regular,
            },
            Node::Device(_) => Kind::Device,
        }
    }

    /// Facts about a node.
    pub(crate) fn metadata(&self, mounts: &Mounts, node: Node) -> Metadata {
        match node {
            Node::Base(tree, number) => {
                let mut facts = mounts.tree(tree).metadata(number);
                if let Some(copy) = self.copies.get(&node) {
                    facts.size = copy.size();
                }
                if let Some(altered) = self.altered.get(&node) {
                    facts.mode = altered.mode.unwrap_or(facts.mode);
                    facts.modified_ns = altered.modified_ns.unwrap_or(facts.modified_ns);
                }
                facts
            }
            Node::Scratch(number) => self.inode(number).map_or(Metadata::none(), Inode::metadata),
            Node::Device(_) => Metadata {
                kind: Kind::Device,
                mode: 0o666,
                links: 1,
                ..Metadata::none()
            },
        }
    }

    /// Where a symbolic link points.
    pub(crate) fn read_link<'a>(&'a self, mounts: &'a Mounts, node: Node) -> Option<Cow<'a, [u8]>> {
        match node {
            Node::Base(tree, number) => mounts.tree(tree).read_link(number),
            Node::Scratch(number) => match &self.inode(number)?.content {
                Content::Symlink { target } => Some(Cow::Borrowed(target)),
                _ => None,
            },
            Node::Device(_) => None,
        }
    }

    /// Reads a regular file.
    pub(crate) fn read_at(
        &self,
        mounts: &Mounts,
        node: Node,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let result = match node {
            Node::Base(tree, number) => {
                let base = |at: u64, part: &mut [u8]| mounts.tree(tree).read_at(number, at, part);
                match self.copies.get(&node) {
                    Some(copy) => copy.read_at(offset, buffer, base),
                    None => mounts.tree(tree).read_at(number, offset, buffer),
                }
            }
            Node::Scratch(number) => match self.inode(number).map(|inode| &inode.content) {
                Some(Content::Regular(file)) => file.read_at(offset, buffer, |_, _| Ok(0)),
                _ => Err(libc::EISDIR),
            },
            Node::Device(_) => Err(libc::EINVAL),
        };
        result.map_err(Errno)
    }

    /// Writes to a regular file; a tree's file gets its private copy now if it has none.
    pub(crate) fn write_at(
        &mut self,
        mounts: &Mounts,
        node: Node,
        offset: u64,
        bytes: &[u8],
        limit: u64,
        now_ns: i64,
    ) -> Result<(), Errno> {
        let end = offset
            .checked_add(bytes.len() as u64)
            .ok_or(Errno(libc::EFBIG))?;
        if end > super::scratch::FILE_SIZE_MAX {
            return Err(Errno(libc::EFBIG));
        }
        let used = self.bytes();
        let file = self.file_mut(mounts, node, now_ns)?;
        let before = file.bytes();
        let grow = file
            .new_pages(offset, bytes.len() as u64)
            .saturating_mul(4096);
        if used.saturating_add(grow) > limit {
            return Err(Errno(libc::ENOSPC));
        }
        let result = match node {
            Node::Base(tree, number) => file.write_at(offset, bytes, |at, part| {
                mounts.tree(tree).read_at(number, at, part)
            }),
            _ => file.write_at(offset, bytes, |_, _| Ok(0)),
        };
        let after = file.bytes();
        self.account(before, after);
        result.map_err(Errno)
    }

    /// Sets the length of a regular file.
    pub(crate) fn truncate(
        &mut self,
        mounts: &Mounts,
        node: Node,
        size: u64,
        now_ns: i64,
    ) -> Result<(), Errno> {
        if size > super::scratch::FILE_SIZE_MAX {
            return Err(Errno(libc::EFBIG));
        }
        let file = self.file_mut(mounts, node, now_ns)?;
        let before = file.bytes();
        file.truncate(size);
        let after = file.bytes();
        self.account(before, after);
        Ok(())
    }

    /// True when the node's bytes may differ from the tree's: it must not be mapped (review F17).
    pub(crate) fn is_copied(&self, node: Node) -> bool {
        self.copies.contains_key(&node) || !matches!(node, Node::Base(..))
    }

    /// Makes a file in `directory`, which has no such name.
    pub(crate) fn create(
        &mut self,
        directory: Node,
        name: &[u8],
        mode: u32,
        limits: &Room,
    ) -> Result<Node, Errno> {
        self.check_room(limits)?;
        let content = Content::Regular(ScratchFile::default());
        let node = self.new_inode(content, mode, limits.now_ns);
        self.set(directory, name, Some(node));
        Ok(node)
    }

    /// Makes a directory.
    pub(crate) fn make_directory(
        &mut self,
        directory: Node,
        name: &[u8],
        mode: u32,
        limits: &Room,
    ) -> Result<(), Errno> {
        self.check_room(limits)?;
        let node = self.new_directory(directory, mode, limits.now_ns);
        self.set(directory, name, Some(node));
        Ok(())
    }

    /// Makes a symbolic link in `directory`, which has no such name.
    pub(crate) fn make_symlink(
        &mut self,
        directory: Node,
        name: &[u8],
        target: &[u8],
        room: &Room,
    ) -> Result<(), Errno> {
        self.check_room(room)?;
        let len = target.len() as u64;
        if self.bytes() + 2 * RECORD_BYTES + len > room.bytes {
            return Err(Errno(libc::ENOSPC));
        }
        let target = target.to_vec();
        let node = self.new_inode(Content::Symlink { target }, 0o777, room.now_ns);
        self.account(0, len);
        self.set(directory, name, Some(node));
        Ok(())
    }

    /// Gives a file that is no directory one more name, in a directory that has no such name.
    pub(crate) fn link(
        &mut self,
        directory: Node,
        name: &[u8],
        node: Node,
        room: &Room,
    ) -> Result<(), Errno> {
        self.check_room(room)?;
        if let Node::Scratch(number) = node {
            self.inode_mut(number).links += 1;
        }
        self.set(directory, name, Some(node));
        Ok(())
    }

    /// Removes the name of a file or of an empty directory.
    pub(crate) fn remove(&mut self, mounts: &Mounts, directory: Node, name: &[u8], node: Node) {
        self.hide(mounts, directory, name);
        self.drop_link(node);
    }

    /// Gives `node` a new name, in place of `target` if something has it.
    pub(crate) fn rename(
        &mut self,
        mounts: &Mounts,
        from: (Node, &[u8]),
        to: (Node, &[u8]),
        node: Node,
        target: Option<Node>,
    ) {
        self.hide(mounts, from.0, from.1);
        self.set(to.0, to.1, Some(node));
        if let Node::Scratch(number) = node
            && let Content::Directory { parent } = &mut self.inode_mut(number).content
        {
            *parent = to.0;
        }
        if let Some(target) = target {
            self.drop_link(target);
        }
    }

    /// Changes permission bits.
    pub(crate) fn set_mode(&mut self, node: Node, mode: u32, room: &Room) -> Result<(), Errno> {
        let mode = mode & MODE_BITS;
        match node {
            Node::Scratch(number) => self.inode_mut(number).mode = mode,
            Node::Base(..) => self.altered(node, room)?.mode = Some(mode),
            Node::Device(_) => return Err(Errno(libc::EPERM)),
        }
        Ok(())
    }

    /// Changes the modification time.
    pub(crate) fn set_modified(
        &mut self,
        node: Node,
        modified_ns: i64,
        room: &Room,
    ) -> Result<(), Errno> {
        match node {
            Node::Scratch(number) => self.inode_mut(number).modified_ns = modified_ns,
            Node::Base(..) => self.altered(node, room)?.modified_ns = Some(modified_ns),
            Node::Device(_) => return Err(Errno(libc::EPERM)),
        }
        Ok(())
    }

    /// The facts of a tree's file that are the instance's own.
    fn altered(&mut self, node: Node, room: &Room) -> Result<&mut Altered, Errno> {
        if !self.altered.contains_key(&node) {
            self.check_room(room)?;
            self.records += 1;
        }
        Ok(self.altered.entry(node).or_default())
    }

    /// Counts an open description of a scratch file.
    pub(crate) fn opened(&mut self, node: Node) {
        if let Node::Scratch(number) = node {
            self.inode_mut(number).open += 1;
        }
    }

    /// Counts one fewer, and frees a file that has no name left.
    pub(crate) fn closed(&mut self, node: Node) {
        if let Node::Scratch(number) = node {
            self.inode_mut(number).open -= 1;
            self.free_if_unused(number);
        }
    }

    /// True when `directory` shows nothing.
    pub(crate) fn is_empty(&self, mounts: &Mounts, directory: Node) -> bool {
        let mut found = false;
        self.list(mounts, directory, |_, _, _| found = true);
        !found
    }

    /// Calls `each` with name, node and kind of everything in `directory`.
    pub(crate) fn list(
        &self,
        mounts: &Mounts,
        directory: Node,
        mut each: impl FnMut(&[u8], Node, Kind),
    ) {
        let changed = self.changed.get(&directory);
        if let Node::Base(tree, number) = directory {
            for index in 0.. {
                let Some(entry) = mounts.tree(tree).entry(number, index) else {
                    break;
                };
                if changed.is_none_or(|changed| !changed.contains_key(&*entry.name)) {
                    each(&entry.name, Node::Base(tree, entry.node), entry.kind);
                }
            }
        }
        for (name, node) in changed.into_iter().flatten() {
            if let Some(node) = node {
                each(name, *node, self.kind(mounts, *node));
            }
        }
    }

    /// The absolute path of a directory.
    pub(crate) fn path_of(&self, mounts: &Mounts, directory: Node) -> Result<Vec<u8>, Errno> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = directory;
        while at != self.root {
            let parent = self.parent(mounts, at);
            let mut found = None;
            self.list(mounts, parent, |name, node, _| {
                if node == at {
                    found = Some(name.to_vec());
                }
            });
            names.push(found.ok_or(Errno(libc::ENOENT))?);
            at = parent;
            if names.iter().map(Vec::len).sum::<usize>() > super::walk::PATH_MAX {
                return Err(Errno(libc::ENAMETOOLONG));
            }
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(path)
    }

    /// Bytes that count against the scratch limit.
    pub(crate) fn bytes(&self) -> u64 {
        self.page_bytes + self.records * RECORD_BYTES
    }

    /// The most there ever were.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.max(self.bytes())
    }

    /// Bytes of files that the instance made in directories of a tree, where a program means them to stay.
    pub(crate) fn made_in_trees(&self) -> u64 {
        let in_trees = self.changed.iter().filter(|(at, _)| self.is_in_tree(**at));
        let nodes = in_trees.flat_map(|(_, names)| names.values().flatten());
        nodes
            .map(|node| match node {
                Node::Scratch(number) => match self.inode(*number).map(|inode| &inode.content) {
                    Some(Content::Regular(file)) => file.bytes().min(file.size()),
                    _ => 0,
                },
                _ => 0,
            })
            .sum()
    }

    /// Whether a directory lies in a tree, or was made below one; `/tmp` and `/dev` do not count.
    fn is_in_tree(&self, mut directory: Node) -> bool {
        let top = self.changed.get(&self.root);
        let is_own = |node| {
            [&b"tmp"[..], b"dev"]
                .iter()
                .any(|name| top.is_some_and(|top| top.get(*name) == Some(&Some(node))))
        };
        loop {
            match directory {
                Node::Base(..) => return true,
                Node::Device(_) => return false,
                node if node == self.root || is_own(node) => return false,
                Node::Scratch(number) => match self.inode(number).map(|inode| &inode.content) {
                    Some(Content::Directory { parent }) => directory = *parent,
                    _ => return false,
                },
            }
        }
    }

    fn check_room(&self, room: &Room) -> Result<(), Errno> {
        if self.bytes() + 2 * RECORD_BYTES > room.bytes || self.records / 2 >= room.files {
            return Err(Errno(libc::ENOSPC));
        }
        Ok(())
    }

    fn account(&mut self, before: u64, after: u64) {
        self.page_bytes = self.page_bytes + after - before;
        self.peak_bytes = self.peak_bytes.max(self.bytes());
    }

    fn file_mut(
        &mut self,
        mounts: &Mounts,
        node: Node,
        now_ns: i64,
    ) -> Result<&mut ScratchFile, Errno> {
        match node {
            Node::Base(tree, number) => {
                let size = mounts.tree(tree).metadata(number).size;
                let records = &mut self.records;
                let altered = self.altered.entry(node).or_insert_with(|| {
                    *records += 1;
                    Altered::default()
                });
                altered.modified_ns = Some(now_ns);
                Ok(self.copies.entry(node).or_insert_with(|| {
                    *records += 1;
                    ScratchFile::over(size)
                }))
            }
            Node::Scratch(number) => {
                let inode = self.inode_mut(number);
                inode.modified_ns = now_ns;
                match &mut inode.content {
                    Content::Regular(file) => Ok(file),
                    Content::Directory { .. } => Err(Errno(libc::EISDIR)),
                    Content::Symlink { .. } => Err(Errno(libc::EINVAL)),
                }
            }
            Node::Device(_) => Err(Errno(libc::EINVAL)),
        }
    }

    fn inode(&self, number: u32) -> Option<&Inode> {
        self.inodes
            .get(usize::try_from(number).expect("u32 fits usize"))?
            .as_ref()
    }

    fn inode_mut(&mut self, number: u32) -> &mut Inode {
        self.inodes[usize::try_from(number).expect("u32 fits usize")]
            .as_mut()
            .expect("a scratch node lives while a name or a descriptor leads to it")
    }

    fn new_directory(&mut self, parent: Node, mode: u32, now_ns: i64) -> Node {
        self.new_inode(Content::Directory { parent }, mode, now_ns)
    }

    fn new_inode(&mut self, content: Content, mode: u32, modified_ns: i64) -> Node {
        let inode = Inode {
            content,
            mode: mode & MODE_BITS,
            links: 1,
            open: 0,
            modified_ns,
        };
        self.records += 1;
        let index = self
            .inodes
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.inodes.len());
        if index == self.inodes.len() {
            self.inodes.push(None);
        }
        self.inodes[index] = Some(inode);
        Node::Scratch(u32::try_from(index).expect("bounded by the limit on files"))
    }

    fn set(&mut self, directory: Node, name: &[u8], node: Option<Node>) {
        self.records += 1;
        if self
            .changed
            .entry(directory)
            .or_default()
            .insert(name.to_vec(), node)
            .is_some()
        {
            self.records -= 1;
        }
    }

    /// Makes a name disappear: forgotten, or marked as removed when a tree has it.
    /// Whether a tree has this name, whatever the instance has made of it.
    pub(crate) fn tree_has(&self, mounts: &Mounts, directory: Node, name: &[u8]) -> bool {
        match directory {
            Node::Base(tree, number) => mounts.tree(tree).child(number, name).is_some(),
            _ => false,
        }
    }

    fn hide(&mut self, mounts: &Mounts, directory: Node, name: &[u8]) {
        if self.tree_has(mounts, directory, name) {
            self.set(directory, name, None);
        } else if let Some(changed) = self.changed.get_mut(&directory) {
            if changed.remove(name).is_some() {
                self.records -= 1;
            }
            if changed.is_empty() {
                self.changed.remove(&directory);
            }
        }
    }

    fn drop_link(&mut self, node: Node) {
        if let Node::Scratch(number) = node {
            let inode = self.inode_mut(number);
            inode.links = inode.links.saturating_sub(1);
            self.free_if_unused(number);
        }
    }

    fn free_if_unused(&mut self, number: u32) {
        let inode = self.inode_mut(number);
        if inode.links > 0 || inode.open > 0 {
            return;
        }
        let freed = match &inode.content {
            Content::Regular(file) => file.bytes(),
            Content::Directory { .. } => 0,
            Content::Symlink { target } => target.len() as u64,
        };
        self.account(freed, 0);
        self.records -= 1;
        self.changed.remove(&Node::Scratch(number));
        self.inodes[usize::try_from(number).expect("u32 fits usize")] = None;
    }
}

/// What may be added to a view, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) now_ns: i64,
}

impl Inode {
    fn metadata(&self) -> Metadata {
        let (kind, size) = match &self.content {
            Content::Regular(file) => (Kind::Regular, file.size()),
            Content::Directory { .. } => (Kind::Directory, 0),
            Content::Symlink { target } => (Kind::Symlink, target.len() as u64),
        };
        Metadata {
            kind,
            mode: self.mode,
            links: self.links,
            uid: 0,
            gid: 0,
            size,
            modified_ns: self.modified_ns,
        }
    }
}

impl Metadata {
    pub(crate) fn none() -> Metadata {
        let kind = Kind::Regular;
        Metadata {
            kind,
            mode: 0,
            links: 0,
            uid: 0,
            gid: 0,
            size: 0,
            modified_ns: 0,
        }
    }
}
