//! Names that are known: modules, and directives that are not acted upon.

use crate::finding::Class;
use crate::text::{Words, number};

/// The version that `<IfVersion>` compares with.
const VERSION: [i64; 3] = [2, 4, 66];

/// Modules whose directives are understood, or may be passed over without harm. PHP counts as a module, under each of its
/// names: what a file says about it is meant for a server that runs it.
const MODULES: [&str; 34] = [
    "access_compat",
    "alias",
    "auth_basic",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_groupfile",
    "authz_host",
    "authz_user",
    "autoindex",
    "brotli",
    "core",
    "deflate",
    "dir",
    "env",
    "expires",
    "filter",
    "headers",
    "http",
    "log_config",
    "mime",
    "negotiation",
    "php",
    "php5",
    "php7",
    "php8",
    "rewrite",
    "setenvif",
    "so",
    "ssl",
    "unixd",
    "version",
    "socache_shmcb",
    "reqtimeout",
];

/// Whether a module counts as loaded: `mod_rewrite.c`, `rewrite_module`.
pub(super) fn has_module(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let bare = lower
        .strip_prefix(b"mod_")
        .and_then(|name| name.strip_suffix(b".c"))
        .or_else(|| lower.strip_suffix(b"_module"))
        .or_else(|| lower.strip_suffix(b".c"))
        .unwrap_or(b"");
    MODULES.iter().any(|known| known.as_bytes() == bare)
}

/// `<IfVersion >= 2.4>`.
pub(super) fn is_version(argument: &[u8]) -> Result<bool, String> {
    let mut words = Words::new(argument);
    let first = words.next().ok_or("a version is missing")?;
    let (sign, version) = match words.next() {
        Some(version) => (first, version),
        None => {
            let is_sign = |b: &&u8| b"!=<>~".contains(*b);
            let len = first.iter().take_while(is_sign).count();
            (first[..len].to_vec(), first[len..].to_vec())
        }
    };
    let (negative, sign) = match sign.strip_prefix(b"!") {
        Some(sign) => (true, sign),
        None => (false, sign.as_slice()),
    };
    let mut order = std::cmp::Ordering::Equal;
    for (part, own) in version.split(|&b| b == b'.').zip(VERSION) {
        order = order.then(own.cmp(&number(part)));
    }
    let holds = match sign {
        b"" | b"=" | b"==" => order.is_eq(),
        b">" => order.is_gt(),
        b">=" => order.is_ge(),
        b"<" => order.is_lt(),
        b"<=" => order.is_le(),
        _ => return Err("an operator that is not understood".to_owned()),
    };
    Ok(holds != negative)
}

/// Directives that change nothing which a client or a script can see, beginnings of names at the end.
const HARMLESS: [&str; 42] = [
    "addalt",
    "addaltbyencoding",
    "addaltbytype",
    "adddescription",
    "addicon",
    "addiconbyencoding",
    "addiconbytype",
    "addinputfilter",
    "addoutputfilter",
    "addoutputfilterbytype",
    "allowencodedslashes",
    "bufferedlogs",
    "cachenegotiateddocs",
    "cgipassauth",
    "contentdigest",
    "defaulticon",
    "enablemmap",
    "enablesendfile",
    "fileetag",
    "forcelanguagepriority",
    "headername",
    "hostnamelookups",
    "indexheadinsert",
    "indexignore",
    "indexignorereset",
    "indexoptions",
    "indexorderdefault",
    "indexstylesheet",
    "languagepriority",
    "loglevel",
    "multiviewsmatch",
    "readmename",
    "removeinputfilter",
    "removeoutputfilter",
    "serversignature",
    "servertokens",
    "setinputfilter",
    "setoutputfilter",
    "ssloptions",
    "usecanonicalname",
    "usecanonicalphysicalport",
    "xbithack",
];

const HARMLESS_BEGINNINGS: [&str; 7] = [
    "brotli",
    "deflate",
    "filter",
    "modpagespeed",
    "pagespeed",
    "rlimit",
    "ssi",
];

/// Directives that restrict access in a way that is not done here.
const RESTRICTING: [&str; 8] = [
    "allowmethods",
    "limitxmlrequestbody",
    "secaction",
    "secrule",
    "sslrequire",
    "sslverifyclient",
    "sslverifydepth",
    "traceenable",
];

const RESTRICTING_BEGINNINGS: [&str; 4] = ["auth", "anonymous", "require", "lua"];

/// Beginnings of names that have a meaning elsewhere: `suPHP_ConfigPath`, `SecRuleEngine`, `CheckSpelling`.
const IGNORED_BEGINNINGS: [&str; 9] = [
    "action",
    "cache",
    "check",
    "cookie",
    "passenger",
    "sec",
    "session",
    "substitute",
    "suphp",
];

/// How much it matters that a directive is not acted upon.
pub(super) fn class(name: &[u8], arguments: &[u8]) -> Class {
    let starts = |list: &[&str]| list.iter().any(|known| name.starts_with(known.as_bytes()));
    let is = |list: &[&str]| list.iter().any(|known| known.as_bytes() == name);
    if is(&RESTRICTING) || starts(&RESTRICTING_BEGINNINGS) {
        Class::WouldDeny
    } else if is(&HARMLESS) || starts(&HARMLESS_BEGINNINGS) {
        Class::Harmless
    } else if starts(&IGNORED_BEGINNINGS) || !restricts(name, arguments) {
        Class::Ignored
    } else {
        Class::WouldDeny
    }
}

/// Whether a line looks as if it refused something: by its name, or, for a name that may be misspelt, by its arguments.
pub(super) fn restricts(name: &[u8], arguments: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [b"deny", b"allow", b"order", b"require", b"auth", b"satisfy"];
    if NAMES.iter().any(|known| name.starts_with(known)) {
        return true;
    }
    let lower = arguments.to_ascii_lowercase();
    let mut words = Words::new(&lower);
    match words.next().as_deref() {
        Some(b"from") => true,
        Some(b"all" | b"not") => words
            .next()
            .is_some_and(|w| w == b"denied" || w == b"granted"),
        Some(b"engine") => name.starts_with(b"php"),
        Some(b"deny,allow" | b"allow,deny") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_both_of_their_names() {
        for name in [
            "mod_rewrite.c",
            "rewrite_module",
            "mod_php7.c",
            "php_module",
            "mod_php.c",
        ] {
            assert!(has_module(name.as_bytes()), "{name}");
        }
        for name in [
            "mod_security.c",
            "rewrite",
            "LiteSpeed",
            "mod_access.c",
            "mod_.c",
            "",
        ] {
            assert!(!has_module(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn versions_are_compared() {
        for (text, holds) in [
            (">= 2.4", true),
            (">=2.4.0", true),
            ("< 2.4", false),
            ("<2.3", false),
            ("!>= 2.4", false),
            ("2.4", true),
            ("= 2.2", false),
            ("> 2.2.14", true),
        ] {
            assert_eq!(is_version(text.as_bytes()), Ok(holds), "{text}");
        }
        assert!(is_version(b"~ /x/").is_err());
    }

    #[test]
    fn what_is_not_acted_upon_has_a_class() {
        for (name, arguments, expected) in [
            ("serversignature", "off", Class::Harmless),
            ("deflatecompressionlevel", "9", Class::Harmless),
            ("foobar", "on", Class::Ignored),
            ("suphp_configpath", "/x", Class::Ignored),
            ("secfilterengine", "off", Class::Ignored),
            ("secrule", "ARGS x", Class::WouldDeny),
            ("authldapurl", "x", Class::WouldDeny),
            ("requires", "all denied", Class::WouldDeny),
            ("dney", "from all", Class::WouldDeny),
            ("reqire", "all denied", Class::WouldDeny),
            ("sslrequire", "x", Class::WouldDeny),
            ("php_admin_flag", "engine off", Class::WouldDeny),
        ] {
            let found = class(name.as_bytes(), arguments.as_bytes());
            assert_eq!(found, expected, "{name} {arguments}");
        }
    }
}
