//! Patterns of paths, as the manifest writes them.
//!
//! `/wp-admin/**` is anchored at the root of the site, `*.sqlite` is a name at any depth. `*` stays within one name, `**`
//! crosses slashes, and `/data/**` means `/data` itself as well.

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

/// A pattern of paths of the site.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern {
    text: String,
    matcher: GlobMatcher,
    /// The directory of a pattern that ends with `/**`.
    directory: Option<GlobMatcher>,
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        if !text.starts_with('/') && text.contains('/') {
            return Err(format!(
                "pattern `{text}` must begin with a slash or hold none"
            ));
        }
        let glob = |text: &str| {
            GlobBuilder::new(text)
                .literal_separator(true)
                .build()
                .map(|glob| glob.compile_matcher())
                .map_err(|e| e.to_string())
        };
        let directory = match text.strip_suffix("/**") {
            None | Some("") => None,
            Some(directory) => Some(glob(directory)?),
        };
        let anchored = if text.starts_with('/') {
            text.clone()
        } else {
            format!("/**/{text}")
        };
        Ok(Pattern {
            matcher: glob(&anchored)?,
            directory,
            text,
        })
    }
}

impl Pattern {
    /// Whether a path of the site, `/` first and without trailing slash, fits.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(path);
        self.matcher.is_match(path) || self.directory.as_ref().is_some_and(|d| d.is_match(path))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_paths() {
        for (pattern, path, fits) in [
            ("/a", "/a", true),
            ("/a", "/a/b", false),
            ("/data/**", "/data", true),
            ("/data/**", "/data/x/y", true),
            ("/data/**", "/database", false),
            ("*.sqlite", "/x.sqlite", true),
            ("*.sqlite", "/a/b/x.sqlite", true),
            ("*.sqlite", "/a.sqlite/b", false),
            ("/.ht*", "/.htaccess", true),
            ("/.ht*", "/a/.htaccess", false),
            ("/wp-*.php", "/wp-login.php", true),
            ("/wp-*.php", "/wp-admin/x.php", false),
            ("/wp-admin/**/*.php", "/wp-admin/x.php", true),
            ("/wp-admin/**/*.php", "/wp-admin/a/b/x.php", true),
            ("/**", "/anything/at/all", true),
        ] {
            let matched = Pattern::try_from(pattern.to_owned())
                .unwrap()
                .matches(path.as_bytes());
            assert_eq!(matched, fits, "{pattern} on {path}");
        }
        assert!(Pattern::try_from("a/b".to_owned()).is_err());
        assert!(Pattern::try_from("[".to_owned()).is_err());
    }

    #[test]
    fn names_that_are_not_utf8_fit_too() {
        let pattern = Pattern::try_from("*.db".to_owned()).unwrap();
        assert!(pattern.matches(b"/\xff.db"));
    }
}
