//! Where a site lives: its programs see the image's files below this path, and whatever names a file by an absolute path
//! (symlinks, `.htaccess` files, a site's own database) means it so. Paths of the image itself, which manifests and commands
//! have, begin at its top.

/// The path of a site's top before its programs, without a slash at the end: nothing where it is `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home(String);

impl Home {
    /// The home at an absolute path.
    #[must_use]
    pub fn new(path: &str) -> Home {
        Home(path.trim_end_matches('/').to_owned())
    }

    /// The path, `/` at least.
    #[must_use]
    pub fn path(&self) -> &str {
        match self.0.as_str() {
            "" => "/",
            path => path,
        }
    }

    /// What an absolute path of a program is in the image, if it is the image's.
    #[must_use]
    pub fn inside<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let rest = path.strip_prefix(self.0.as_bytes())?;
        (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
    }

    /// What a path of the image is before programs.
    #[must_use]
    pub fn outside(&self, path: &str) -> String {
        let slash = match path.is_empty() || path.starts_with('/') {
            true => "",
            false => "/",
        };
        format!("{}{slash}{path}", self.0)
    }
}

/// What is wrong with a path as a home.
#[must_use]
pub fn misfit(path: &str) -> Option<&'static str> {
    let names = || path.split('/').skip(1).filter(|name| !name.is_empty());
    if !path.starts_with('/') {
        return Some("must begin with a slash");
    }
    if path.len() > 1024 || path.contains(['\0', '\n']) || names().any(|n| n == "." || n == "..") {
        return Some("must be a plain path");
    }
    let is_taken = |name| name == "tmp" || name == "dev";
    (names().next().is_some_and(is_taken)).then_some("/tmp and /dev are every instance's own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_programs_are_paths_of_the_image() {
        let home = Home::new("/var/www/html/");
        assert_eq!(home.path(), "/var/www/html");
        assert_eq!(home.inside(b"/var/www/html/a/b"), Some(&b"/a/b"[..]));
        assert_eq!(home.inside(b"/var/www/html"), Some(&b""[..]));
        for other in ["/var/www/html2/a", "/var/www", "/a", "a"] {
            assert_eq!(home.inside(other.as_bytes()), None, "{other}");
        }
        assert_eq!(home.outside("/public"), "/var/www/html/public");
        assert_eq!(home.outside("a"), "/var/www/html/a");
        let top = Home::new("/");
        assert_eq!((top.path(), &*top.outside("/a")), ("/", "/a"));
        assert_eq!(top.inside(b"/a"), Some(&b"/a"[..]));
    }

    #[test]
    fn a_home_is_a_plain_path_that_nothing_else_has() {
        for path in ["/", "/site", "/var/www/my site", "/home/a/tmp"] {
            assert_eq!(misfit(path), None, "{path}");
        }
        for path in ["", "site", "/a/../b", "/tmp", "/tmp/site", "/dev/", "/a\nb"] {
            assert!(misfit(path).is_some(), "{path}");
        }
    }
}
