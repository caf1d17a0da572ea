//! The core's own directives: options, error documents, types and handlers that are forced, settings of PHP.

use std::collections::BTreeMap;

use super::flag;
use crate::expression::{self, Word};
use crate::outcome::is_known_status;
use crate::text::{number, show};
use crate::uri;

/// `Options`, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(u8);

impl Options {
    const INDEXES: u8 = 1;
    const INCLUDES: u8 = 2;
    const FOLLOW: u8 = 4;
    const OWNER: u8 = 8;
    const EXEC_CGI: u8 = 16;
    const MULTI_VIEWS: u8 = 32;
    const ALL: u8 = Options::INDEXES | Options::INCLUDES | Options::FOLLOW | Options::EXEC_CGI;

    /// What holds where no file says anything: links are followed, nothing is listed.
    pub(crate) const DEFAULT: Options = Options(Options::FOLLOW);

    pub(crate) fn lists(self) -> bool {
        self.0 & Options::INDEXES != 0
    }

    pub(crate) fn follows_symlinks(self) -> bool {
        self.0 & (Options::FOLLOW | Options::OWNER) != 0
    }
}

/// What a section changes about the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OptionChange {
    all: Option<u8>,
    add: u8,
    remove: u8,
}

/// What answers in place of an error.
#[derive(Clone, Debug)]
pub(crate) enum ErrorDocument {
    /// The server's own page.
    Default,
    /// A text, a path or a URL; which one is seen when it is evaluated.
    Custom { text: bool, word: Word },
}

/// A character set that is added to texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    Off,
    Named(Vec<u8>),
}

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Core {
    options: OptionChange,
    errors: BTreeMap<u16, ErrorDocument>,
    pub(crate) default_charset: Option<Charset>,
    pub(crate) forced_type: Option<Vec<u8>>,
    pub(crate) handler: Option<Word>,
    /// `None` is the default: scripts take what follows their name, files do not.
    pub(crate) accept_path_info: Option<Option<bool>>,
    pub(crate) body_max: Option<u64>,
    /// `SSLRequireSSL`.
    pub(crate) https_only: Option<bool>,
    php: Vec<(String, String)>,
    pub(crate) php_off: Option<bool>,
}

impl Core {
    pub(crate) fn merged(&self, over: &Core) -> Core {
        let options = match over.options.all {
            Some(_) => over.options,
            None => OptionChange {
                all: self.options.all,
                add: self.options.add & !over.options.remove | over.options.add,
                remove: self.options.remove & !over.options.add | over.options.remove,
            },
        };
        let mut errors = self.errors.clone();
        errors.extend(
            over.errors
                .iter()
                .map(|(status, page)| (*status, page.clone())),
        );
        let mut php = self.php.clone();
        for setting in &over.php {
            php.retain(|(name, _)| *name != setting.0);
            php.push(setting.clone());
        }
        Core {
            options,
            errors,
            default_charset: over
                .default_charset
                .clone()
                .or(self.default_charset.clone()),
            forced_type: over.forced_type.clone().or(self.forced_type.clone()),
            handler: over.handler.clone().or(self.handler.clone()),
            accept_path_info: over.accept_path_info.or(self.accept_path_info),
            body_max: over.body_max.or(self.body_max),
            https_only: over.https_only.or(self.https_only),
            php,
            php_off: over.php_off.or(self.php_off),
        }
    }

    /// The options that hold.
    pub(crate) fn options(&self) -> Options {
        let all = self.options.all.unwrap_or(Options::DEFAULT.0);
        Options(all & !self.options.remove | self.options.add)
    }

    /// What answers in place of an error.
    pub(crate) fn error_document(&self, status: u16) -> Option<&ErrorDocument> {
        self.errors.get(&status)
    }

    /// Settings of php.ini.
    pub(crate) fn php(&self) -> &[(String, String)] {
        &self.php
    }

    /// `Options [+|-]name…`. Gives the names that are not acted upon.
    pub(crate) fn set_options(&mut self, words: &[Vec<u8>]) -> Result<Vec<&'static str>, String> {
        let change = &mut self.options;
        let mut relative = false;
        let mut remarks = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let (sign, name) = match word.split_first() {
                Some((sign @ (b'+' | b'-'), name)) => (Some(*sign), name),
                _ => (None, word.as_slice()),
            };
            let lower = name.to_ascii_lowercase();
            let is_set = matches!(lower.as_slice(), b"none" | b"all");
            if sign.is_some() && index > 0 && !relative && !follows_set(&words[index - 1]) {
                return Err("either all options have + or -, or none".to_owned());
            }
            if sign.is_none() && relative {
                return Err("either all options have + or -, or none".to_owned());
            }
            if is_set && (index > 0 || sign.is_some()) {
                return Err(format!("{} must stand first and alone", show(name)));
            }
            relative |= sign.is_some();
            if index == 0 && sign.is_none() {
                *change = OptionChange {
                    all: Some(0),
                    ..OptionChange::default()
                };
            }
            let bits = option(&lower).ok_or_else(|| format!("illegal option {}", show(name)))?;
            match sign {
                Some(b'-') => {
                    change.remove |= bits;
                    change.add &= !bits;
                    change.all = change.all.map(|all| all & !bits);
                }
                Some(_) => {
                    change.add |= bits;
                    change.remove &= !bits;
                    change.all = change.all.map(|all| all | bits);
                }
                None => change.all = Some(change.all.unwrap_or(0) | bits),
            }
            if sign != Some(b'-') {
                if bits & Options::MULTI_VIEWS != 0 {
                    remarks.push("MultiViews");
                }
                if bits & Options::INCLUDES != 0 && lower != b"all" {
                    remarks.push("Includes");
                }
            }
        }
        Ok(remarks)
    }

    /// `ErrorDocument status document`.
    pub(crate) fn set_error_document(
        &mut self,
        status: &[u8],
        document: &[u8],
    ) -> Result<(), String> {
        let code = u16::try_from(number(status)).unwrap_or_default();
        if !is_known_status(code) {
            return Err(format!("unsupported status {}", show(status)));
        }
        let is_text =
            document.contains(&b' ') || !(document.starts_with(b"/") || uri::is_url(document));
        if code == 401 && !is_text && uri::is_url(document) {
            return Err("a full URL cannot answer 401".to_owned());
        }
        let page = match document.eq_ignore_ascii_case(b"default") {
            true => ErrorDocument::Default,
            false => ErrorDocument::Custom {
                text: is_text,
                word: expression::text(document).map_err(|e| e.to_string())?,
            },
        };
        self.errors.insert(code, page);
        Ok(())
    }

    /// `AddDefaultCharset on|off|name`.
    pub(crate) fn set_default_charset(&mut self, word: &[u8]) {
        self.default_charset = Some(match flag(word) {
            Ok(false) => Charset::Off,
            Ok(true) => Charset::Named(b"iso-8859-1".to_vec()),
            Err(_) => Charset::Named(word.to_vec()),
        });
    }

    /// `AcceptPathInfo on|off|default`.
    pub(crate) fn set_accept_path_info(&mut self, word: &[u8]) -> Result<(), String> {
        self.accept_path_info = Some(match word.eq_ignore_ascii_case(b"default") {
            true => None,
            false => Some(flag(word)?),
        });
        Ok(())
    }

    /// `SetHandler name`.
    pub(crate) fn set_handler(&mut self, word: &[u8]) -> Result<(), String> {
        let word = match word.strip_prefix(b"proxy:") {
            // Not an expression as far as it concerns us.
            Some(_) => Word::Text(word.to_vec()),
            None => expression::text(word).map_err(|e| e.to_string())?,
        };
        self.handler = Some(word);
        Ok(())
    }

    /// `php_value name value` and `php_flag name on|off`.
    pub(crate) fn set_php(
        &mut self,
        name: &[u8],
        value: &[u8],
        is_flag: bool,
    ) -> Result<(), String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let (Ok(name), Ok(value)) = (text(name), text(value)) else {
            return Err("not UTF-8".to_owned());
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(is_name) || value.contains(['\0', '\n', '\r']) {
            return Err("not a setting of php.ini".to_owned());
        }
        let is_on = ["on", "1", "yes", "true"]
            .iter()
            .any(|on| value.eq_ignore_ascii_case(on));
        if name.eq_ignore_ascii_case("engine") {
            self.php_off = Some(!is_on);
            return Ok(());
        }
        let value = match (is_flag, is_on) {
            (false, _) if value.eq_ignore_ascii_case("none") => String::new(),
            (false, _) => value,
            (true, true) => "1".to_owned(),
            (true, false) => "0".to_owned(),
        };
        self.php.retain(|(known, _)| *known != name);
        self.php.push((name, value));
        Ok(())
    }
}

fn follows_set(word: &[u8]) -> bool {
    [&b"none"[..], b"all"]
        .iter()
        .any(|set| word.eq_ignore_ascii_case(set))
}

fn option(lower: &[u8]) -> Option<u8> {
    Some(match lower {
        b"indexes" => Options::INDEXES,
        b"includes" | b"includesnoexec" => Options::INCLUDES,
        b"followsymlinks" => Options::FOLLOW,
        b"symlinksifownermatch" => Options::OWNER,
        b"execcgi" => Options::EXEC_CGI,
        b"multiviews" => Options::MULTI_VIEWS,
        b"runscripts" => Options::MULTI_VIEWS | Options::EXEC_CGI,
        b"none" => 0,
        b"all" => Options::ALL,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(lines: &[&str]) -> Options {
        let mut core = Core::default();
        for line in lines {
            let mut over = Core::default();
            let words = crate::text::Words::new(line.as_bytes()).all();
            over.set_options(&words).unwrap();
            core = core.merged(&over);
        }
        core.options()
    }

    #[test]
    fn options_are_merged_as_apache_does() {
        assert!(!options(&[]).lists() && options(&[]).follows_symlinks());
        assert!(options(&["Indexes"]).lists());
        assert!(!options(&["Indexes"]).follows_symlinks());
        assert!(options(&["+Indexes"]).follows_symlinks());
        assert!(!options(&["+Indexes", "-Indexes"]).lists());
        assert!(options(&["-Indexes", "+Indexes"]).lists());
        assert!(!options(&["All", "None"]).follows_symlinks());
        assert!(options(&["None", "+FollowSymLinks"]).follows_symlinks());
        assert!(!options(&["+Indexes", "FollowSymLinks"]).lists());
    }

    #[test]
    fn options_of_two_kinds_are_refused() {
        for line in [
            "Indexes +ExecCGI",
            "+Indexes ExecCGI",
            "-All",
            "Indexes None",
            "Magic",
        ] {
            let words = crate::text::Words::new(line.as_bytes()).all();
            assert!(Core::default().set_options(&words).is_err(), "{line}");
        }
    }

    #[test]
    fn settings_of_php_are_checked() {
        let mut core = Core::default();
        core.set_php(b"memory_limit", b"64M", false).unwrap();
        core.set_php(b"display_errors", b"Off", true).unwrap();
        core.set_php(b"engine", b"0", true).unwrap();
        let expected = [("memory_limit", "64M"), ("display_errors", "0")];
        let found: Vec<_> = core
            .php()
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(core.php_off, Some(true));
        assert!(core.set_php(b"a b", b"1", false).is_err());
        assert!(core.set_php(b"a", b"1\nx=2", false).is_err());
    }
}
