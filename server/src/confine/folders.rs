//! Which folders the front goes on reading and writing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;

/// Symbolic links on the way to an image; the kernel follows no more.
const LINKS_MAX: usize = 40;

/// The folders of the libraries that this process is made of: a worker is the same binary. Folders and not files, because an
/// upgrade of the system replaces them while the server runs.
pub(crate) fn of_libraries() -> anyhow::Result<BTreeSet<PathBuf>> {
    let maps = std::fs::read("/proc/self/maps").context("/proc/self/maps")?;
    let own = std::env::current_exe().ok();
    Ok(libraries(&maps)
        .filter(|path| Some(*path) != own.as_deref())
        .filter_map(Path::parent)
        .filter(|folder| folder.is_dir())
        .map(Path::to_owned)
        .collect())
}

/// The files of executable mappings in a list as `/proc/self/maps` has it (proc_pid_maps(5)).
fn libraries(maps: &[u8]) -> impl Iterator<Item = &Path> {
    maps.split(|&byte| byte == b'\n').filter_map(|line| {
        let rights = line.split(|&byte| byte == b' ').nth(1)?;
        let path = &line[line.iter().position(|&byte| byte == b'/')?..];
        let path = Path::new(OsStr::from_bytes(path));
        rights.contains(&b'x').then_some(path)
    })
}

/// Where an image may come to lie: its folder, for it is replaced by a rename; and for each symbolic link on the way, the folder of
/// what it points to, for with a link that is set anew (`current -> releases/7`) the next one lies beside that.
pub(crate) fn of_image(image: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::from([parent(image).to_owned()]);
    let mut to_walk = image.to_owned();
    for _ in 0..LINKS_MAX {
        let Some((link, target, rest)) = first_link(&to_walk) else {
            break;
        };
        let target = parent(&link).join(target);
        folders.insert(parent(&target).to_owned());
        to_walk = target.join(rest);
        folders.insert(parent(&to_walk).to_owned());
    }
    folders
}

/// The first symbolic link on a path, what it points to, and the rest of the path.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf, PathBuf)> {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        walked.push(part);
        if matches!(part, Component::Normal(_))
            && let Ok(target) = std::fs::read_link(&walked)
        {
            return Some((walked, target, parts.as_path().to_owned()));
        }
    }
    None
}

/// How the log's file is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// In this folder, where it may be made anew.
    Folder(PathBuf),
    /// It is no file: a terminal, or a pipe.
    Device,
}

/// Where the log is opened again after somebody has moved it away.
pub(crate) fn of_log(log: &Path) -> Log {
    match log.metadata() {
        Ok(meta) if !meta.is_file() => Log::Device,
        _ => Log::Folder(parent(log).to_owned()),
    }
}

/// The folder of a file.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn folders_of_links_and_of_what_they_point_to() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let at = |path: &str| root.join(path);
        for folder in ["releases/7", "site", "elsewhere"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        symlink("releases/7", at("current")).unwrap();
        symlink("../elsewhere/x.zapp", at("releases/7/site.zapp")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let folders = |path: &str| of_image(&at(path));
        let set = |paths: &[&str]| paths.iter().map(|path| at(path)).collect::<BTreeSet<_>>();
        assert_eq!(folders("site/a.zapp"), set(&["site"]));
        assert_eq!(
            folders("current/a.zapp"),
            set(&["current", "releases", "releases/7"])
        );
        let beside = "releases/7/../elsewhere";
        assert_eq!(
            folders("current/site.zapp"),
            set(&["current", "releases", "releases/7", beside])
        );
        // Ends, and asks for nothing above.
        assert!(
            folders("loop")
                .iter()
                .all(|folder| folder.starts_with(root))
        );
        assert_eq!(of_image(Path::new("a.zapp")), [PathBuf::from(".")].into());
    }

    #[test]
    fn libraries_are_what_can_be_executed() {
        let maps = b"5600-5700 r-xp 00000000 08:01 12 /opt/z app\n\
            7f00-7f01 r--p 00000000 08:01 13 /usr/lib/locale/C.utf8\n\
            7f02-7f03 r-xp 00000000 08:01 14 /usr/lib/libc.so.6\n\
            7f04-7f05 rw-p 00000000 00:00 0\n\
            7f06-7f07 r-xp 00000000 00:00 0 [vdso]\n";
        let found: Vec<_> = libraries(maps).collect();
        assert_eq!(
            found,
            [Path::new("/opt/z app"), Path::new("/usr/lib/libc.so.6")]
        );
    }

    #[test]
    fn a_log_is_made_anew_unless_it_is_a_device() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("log");
        assert_eq!(of_log(&file), Log::Folder(root.path().to_owned()));
        std::fs::write(&file, "").unwrap();
        assert_eq!(of_log(&file), Log::Folder(root.path().to_owned()));
        assert_eq!(of_log(Path::new("/dev/null")), Log::Device);
    }
}
