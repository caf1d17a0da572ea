//! Applications that are known by what lies in the image, and what they need to run from one that cannot change.

use imagefs::Image;

use crate::site::manifest::{Constant, Manifest};
use crate::site::read_only::ReadOnly;

/// A known application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Application {
    WordPress,
}

/// WordPress' screens and forms. Posts with a password work: signing in to one keeps nothing but a cookie. Plugins
/// read through `admin-ajax.php`.
const WORDPRESS: &str = r#"
screens = ["/wp-login.php", "/wp-signup.php", "/wp-activate.php", "/wp-admin/**", "/wp-cron.php", "/wp-mail.php",
           "/wp-trackback.php", "/xmlrpc.php"]
forms = ["/wp-comments-post.php", "/wp-json/**"]
except = ["/wp-login.php?action=postpass", "/wp-admin/admin-ajax.php"]
"#;

/// A site that cannot change has no clock of its own, updates and installs nothing, and there is no network to call.
const WORDPRESS_CONSTANTS: [&str; 4] = [
    "AUTOMATIC_UPDATER_DISABLED",
    "DISABLE_WP_CRON",
    "DISALLOW_FILE_MODS",
    "WP_HTTP_BLOCK_EXTERNAL",
];

impl Application {
    /// What lies in a directory of an image.
    pub(crate) fn of(image: &Image, root: &str) -> Option<Application> {
        let root = root.trim_matches('/');
        let version = format!("{root}/wp-includes/version.php");
        image
            .lookup(version.trim_start_matches('/').as_bytes())
            .map(|_| Application::WordPress)
    }

    /// Its name for the guest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Application::WordPress => "wordpress",
        }
    }

    /// Fills in what a manifest leaves open.
    pub(crate) fn fill_in(self, manifest: &mut Manifest) {
        match self {
            Application::WordPress => {
                let rules: ReadOnly =
                    toml::from_str(WORDPRESS).expect("the built-in rules are tested");
                manifest.read_only.or(rules);
                for name in WORDPRESS_CONSTANTS {
                    manifest
                        .constants
                        .entry(name.to_owned())
                        .or_insert(Constant::Bool(true));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Method;

    #[test]
    fn wordpress_is_filled_in_and_the_manifest_wins() {
        let text = "schema = 1\n[constants]\nDISABLE_WP_CRON = false\n[read_only]\nforms = []\n";
        let mut manifest = Manifest::parse(text).unwrap();
        Application::WordPress.fill_in(&mut manifest);
        assert_eq!(manifest.constants["DISABLE_WP_CRON"], Constant::Bool(false));
        assert_eq!(
            manifest.constants["DISALLOW_FILE_MODS"],
            Constant::Bool(true)
        );
        let refused = |method, path: &[u8]| {
            let rules = &manifest.read_only;
            rules.refuses(&method, &[path], None).is_some()
        };
        assert!(refused(Method::GET, b"/wp-login.php"));
        assert!(refused(Method::GET, b"/wp-admin/options.php"));
        assert!(!refused(Method::POST, b"/wp-admin/admin-ajax.php"));
        assert!(!refused(Method::POST, b"/wp-comments-post.php"));
    }
}
