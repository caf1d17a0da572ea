//! What rules may ask about files.

/// What kind of thing lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
    /// Whether anybody may execute it.
    pub executable: bool,
    /// Whether a symbolic link led to it.
    pub linked: bool,
}

impl Stat {
    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// A directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// The files of a site. Paths are absolute, begin with the document root where they lie below it, and are normalised:
/// no `//`, `.` or `..`; a directory's may end in `/`.
pub trait Files {
    /// What lies at a path, symbolic links followed.
    fn stat(&self, path: &[u8]) -> Option<Stat>;

    /// Whether the last name of a path is a symbolic link.
    fn is_symlink(&self, _path: &[u8]) -> bool {
        false
    }

    /// The path without symbolic links.
    fn real_path(&self, _path: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// What a file contains, unless it is larger than `max`. Asked while rules are read, for files of passwords and groups.
    fn read(&self, _path: &[u8], _max: usize) -> Option<Vec<u8>> {
        None
    }
}
