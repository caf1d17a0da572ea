//! Values of a manifest that its types alone cannot refuse.

use hyper::header::{HeaderName, HeaderValue};

use super::{Constant, Manifest, ManifestError, SiteSection};
use crate::site::home;
use crate::site::path::Host;

fn bad(key: &'static str, what: impl Into<String>) -> ManifestError {
    let what = what.into();
    ManifestError::Value { key, what }
}

const SLASH: &str = "must begin with a slash";

impl Manifest {
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        self.site.check()?;
        self.site.check_files()?;
        if let Some((name, _)) = self
            .constants
            .iter()
            .find(|(name, value)| !is_name(name) || !is_plain(value))
        {
            return Err(bad(
                "constants",
                format!("`{name}` is no name, or its text holds one of \" \\ $ or a line break"),
            ));
        }
        if (self.read_only.page.as_ref()).is_some_and(|page| !page.starts_with('/')) {
            return Err(bad("read_only.page", SLASH));
        }
        if self.warmup.urls.iter().any(|url| !url.starts_with('/')) {
            return Err(bad("warmup.urls", SLASH));
        }
        let is_bad_name = |name: &String| name.contains('=');
        if self.php.keys().any(is_bad_name) || self.php_lines().iter().any(|l| l.contains('\n')) {
            return Err(bad("php", "a line of php.ini cannot hold a line break"));
        }
        Ok(())
    }
}

impl SiteSection {
    fn check(&self) -> Result<(), ManifestError> {
        if let Some(what) = home::misfit(&self.at) {
            return Err(bad("site.at", what));
        }
        if !self.root.starts_with('/') {
            return Err(bad("site.root", SLASH));
        }
        let front = self.front_controller.as_ref();
        if front.is_some_and(|path| !path.is_empty() && !path.starts_with('/')) {
            return Err(bad("site.front_controller", SLASH));
        }
        if (self.front_controllers.values()).any(|path| !path.starts_with('/')) {
            return Err(bad("site.front_controllers", SLASH));
        }
        if (self.index.iter()).any(|name| name.is_empty() || name.contains('/')) {
            return Err(bad("site.index", "holds names, not paths"));
        }
        for host in &self.hosts {
            Host::parse(host)
                .map_err(|_| bad("site.hosts", format!("`{host}` is no host name")))?;
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), ManifestError> {
        for (name, value) in self.headers.values().flatten() {
            let name_ok = HeaderName::from_bytes(name.as_bytes());
            if name_ok.is_err() || HeaderValue::from_str(value).is_err() {
                let what = format!("`{name}: {value}` is no header");
                return Err(bad("site.headers", what));
            }
        }
        let is_other = |status: u16| !(400..600).contains(&status);
        if (self.errors.keys()).any(|status| status.parse().is_ok_and(is_other)) {
            return Err(bad("site.errors", "holds status codes from 400 to 599"));
        }
        Ok(())
    }
}

/// Whether a text is the name of a PHP constant.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    bytes.next().is_some_and(starts) && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a value stays one where it is written into a line of php.ini.
fn is_plain(value: &Constant) -> bool {
    match value {
        Constant::Text(text) => !text.contains(['"', '\\', '$', '\n', '\r', '\0']),
        _ => true,
    }
}
