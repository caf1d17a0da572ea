//! Following a path through directories and symbolic links, whatever the files lie in.

use crate::site::home::Home;

/// Symlinks followed for one path, as in Linux (`path_resolution(7)`).
pub(crate) const SYMLINKS_MAX: u32 = 40;

/// The nodes from `top` to what `path` leads to, and that itself, each with its name; symlinks followed, and `..` above the top is
/// the top. Absolute symlinks are paths of programs, for which the top is at `home`. `child` finds a name in a directory, `target` says where a node leads that is a symlink.
///
/// `None` when something of the path is not there or not in the tree, or it has more than [`SYMLINKS_MAX`] symlinks.
pub fn follow<'t, N: Copy>(
    top: N,
    home: &Home,
    path: &[u8],
    child: impl Fn(N, &[u8]) -> Option<N>,
    target: impl Fn(N) -> Option<&'t [u8]>,
) -> Option<Vec<(N, Vec<u8>)>> {
    let names =
        |path: &[u8]| -> Vec<Vec<u8>> { path.split(|&b| b == b'/').rev().map(Vec::from).collect() };
    let mut stack = vec![(top, Vec::new())];
    let mut pending = names(path);
    let mut links = 0;
    while let Some(name) = pending.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                stack.truncate((stack.len() - 1).max(1));
                continue;
            }
            _ => {}
        }
        let next = child(stack.last().expect("the top stays").0, &name)?;
        let Some(target) = target(next) else {
            stack.push((next, name));
            continue;
        };
        links += 1;
        if links > SYMLINKS_MAX {
            return None;
        }
        let mut target = target;
        if target.starts_with(b"/") {
            stack.truncate(1);
            target = home.inside(target)?;
        }
        pending.extend(names(target));
    }
    Some(stack)
}
