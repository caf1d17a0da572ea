//! Reads the directives of rewriting.

use std::sync::Arc;

use super::template::Template;
use super::{Condition, Flags, Options, Order, Rewriting, Rule, Test};
use crate::expression;
use crate::pattern::Pattern;
use crate::text::{is_space, number, show};

/// What reading a rule found out.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Sizes of its patterns.
    pub(crate) patterns: Vec<usize>,
    /// What will not be done as asked.
    pub(crate) remark: Option<&'static str>,
}

impl Rewriting {
    /// `RewriteEngine on|off`.
    pub(crate) fn set_engine(&mut self, on: bool) {
        self.enabled = Some(on);
    }

    /// `RewriteBase /path/`.
    pub(crate) fn set_base(&mut self, base: &[u8]) -> Result<(), String> {
        match base.first() {
            Some(b'/') => {
                self.base = Some(base.to_vec());
                Ok(())
            }
            _ => Err("the argument is not a valid URL path".to_owned()),
        }
    }

    /// `RewriteOptions name…`.
    pub(crate) fn set_options(&mut self, words: &[Vec<u8>]) -> Result<(), String> {
        let mut options: Options = self.options.unwrap_or_default();
        for word in words {
            let lower = word.to_ascii_lowercase();
            match lower.as_slice() {
                b"inherit" => options.inherit = true,
                b"inheritbefore" => options.inherit_before = true,
                b"inheritdown" => options.inherit_down = true,
                b"inheritdownbefore" => options.inherit_down_before = true,
                b"ignoreinherit" => options.ignore_inherit = true,
                b"allownoslash" => options.allow_no_slash = true,
                b"mergebase" => options.merge_base = true,
                // They concern the server's context, or aliases.
                b"allowanyuri"
                | b"ignorecontextinfo"
                | b"legacyprefixdocroot"
                | b"unsafeprefixstat" => {}
                _ if lower.starts_with(b"maxredirects=") => {}
                _ => return Err(format!("unknown option {}", show(word))),
            }
        }
        self.options = Some(options);
        Ok(())
    }

    /// `RewriteCond text pattern [flags]`.
    pub(crate) fn add_condition(&mut self, line: &[u8]) -> Result<Noted, String> {
        let (input, pattern, flags) = arguments(line).ok_or("bad arguments")?;
        let mut any_case = false;
        let mut or_next = false;
        let mut no_vary = false;
        for (name, _) in flags_of(flags.as_deref())? {
            match name.to_ascii_lowercase().as_slice() {
                b"nc" | b"nocase" => any_case = true,
                b"or" | b"ornext" => or_next = true,
                b"nv" | b"novary" => no_vary = true,
                _ => return Err(format!("unknown flag {}", show(&name))),
            }
        }
        let is_expression = input.eq_ignore_ascii_case(b"expr");
        let (mut negative, pattern) = match pattern.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, pattern.as_slice()),
        };
        let test = if is_expression {
            let condition = expression::condition(pattern).map_err(|e| e.to_string())?;
            Test::Expression(condition)
        } else if let Some((test, inverted)) = plain_test(pattern, any_case) {
            negative ^= inverted;
            test
        } else {
            Test::Matches(Pattern::new(pattern, any_case).map_err(|e| e.to_string())?)
        };
        let mut noted = Noted::default();
        match &test {
            Test::Matches(pattern) => noted.patterns.push(pattern.size()),
            Test::Expression(condition) => condition.patterns(&mut noted.patterns),
            _ => {}
        }
        let input = Template::parse(&input);
        if input.has_map() {
            noted.remark = Some(NO_MAPS);
        }
        self.pending.push(Arc::new(Condition {
            input,
            test,
            negative,
            or_next,
            no_vary,
        }));
        Ok(noted)
    }

    /// `RewriteRule pattern substitution [flags]`. The conditions before it are its own, even when it is not understood.
    pub(crate) fn add_rule(&mut self, line: &[u8]) -> Result<Noted, String> {
        let conditions = std::mem::take(&mut self.pending);
        let (pattern, mut target, flags) = arguments(line).ok_or("bad arguments")?;
        let mut set = Flags::default();
        for (name, value) in flags_of(flags.as_deref())? {
            set.add(&name, &value)?;
        }
        let (negative, pattern) = match pattern.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, pattern.as_slice()),
        };
        let pattern = Pattern::new(pattern, set.any_case).map_err(|e| e.to_string())?;
        set.no_substitution |= target == b"-";
        if target.ends_with(b"?") {
            if set.query_append {
                set.query_last = true;
            } else {
                set.query_none = true;
                target.pop();
            }
        } else if set.query_discard && !target.contains(&b'?') {
            set.query_none = true;
        }
        let target = Template::parse(&target);
        let remark = if target.has_map() {
            Some(NO_MAPS)
        } else if set.proxy {
            Some("nothing is proxied: such a request is answered with 403")
        } else {
            None
        };
        let noted = Noted {
            patterns: vec![pattern.size()],
            remark,
        };
        self.rules.push(Arc::new(Rule {
            pattern,
            negative,
            conditions,
            target,
            flags: set,
        }));
        Ok(noted)
    }

    /// Forgets conditions whose rule will not come, so that it does not apply without them.
    pub(crate) fn poison(&mut self) {
        self.pending.push(Arc::new(Condition {
            input: Template::default(),
            test: Test::Number(Order::Less, i64::MIN),
            negative: false,
            or_next: false,
            no_vary: true,
        }));
    }
}

const NO_MAPS: &str =
    "maps are defined in the server's configuration, and there is none: the default is taken";

/// Whether the flags of a rule would end a request with an error: what is lost when the rule is not understood.
pub(crate) fn would_refuse(line: &[u8]) -> bool {
    let Some((_, _, Some(flags))) = arguments(line) else {
        return false;
    };
    let Ok(flags) = flags_of(Some(&flags)) else {
        return true;
    };
    flags.iter().any(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let is_redirect = name == b"r" || name == b"redirect";
        matches!(name.as_slice(), b"f" | b"forbidden" | b"g" | b"gone")
            || is_redirect && number(value) >= 400
    })
}

/// What a rule or condition is given: two arguments, and perhaps flags.
type Arguments = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// A flag and its value.
type Flag = (Vec<u8>, Vec<u8>);

/// Two or three arguments: quoted or not, `\` keeps a space inside, and stays.
fn arguments(line: &[u8]) -> Option<Arguments> {
    let mut rest = line;
    let mut next = || {
        let start = rest.iter().take_while(|&&b| is_space(b)).count();
        rest = &rest[start..];
        let quote = match rest.first() {
            Some(&quote @ (b'"' | b'\'')) => Some(quote),
            Some(_) => None,
            None => return None,
        };
        let body = &rest[usize::from(quote.is_some())..];
        let mut len = 0;
        while let Some(&byte) = body.get(len) {
            if quote.map_or(is_space(byte), |quote| byte == quote) {
                break;
            }
            let is_escaped = byte == b'\\' && body.get(len + 1).is_some_and(|&b| is_space(b));
            len += 1 + usize::from(is_escaped);
        }
        let len = len.min(body.len());
        rest = body.get(len + 1..).unwrap_or_default();
        Some(body[..len].to_vec())
    };
    let (first, second) = (next()?, next()?);
    Some((first, second, next()))
}

/// `[a,b=c]` as pairs.
fn flags_of(text: Option<&[u8]>) -> Result<Vec<Flag>, String> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    let inner = text
        .strip_prefix(b"[")
        .and_then(|text| text.strip_suffix(b"]"))
        .ok_or("flags are not in brackets")?;
    let mut flags = Vec::new();
    for flag in inner.split(|&b| b == b',') {
        let flag = crate::text::trim(flag);
        if flag.is_empty() {
            continue;
        }
        let (name, value) = match flag.iter().position(|&b| b == b'=') {
            Some(at) => (&flag[..at], &flag[at + 1..]),
            None => (flag, &b""[..]),
        };
        flags.push((name.to_vec(), value.to_vec()));
    }
    Ok(flags)
}

/// A test that is no pattern, and whether it is inverted.
fn plain_test(pattern: &[u8], any_case: bool) -> Option<(Test, bool)> {
    let test = match pattern {
        b"-f" => Test::File,
        b"-s" => Test::NotEmptyFile,
        b"-d" => Test::Directory,
        b"-x" => Test::Executable,
        b"-h" | b"-L" | b"-l" => Test::Symlink,
        b"-U" => Test::UrlAllowed,
        b"-F" => Test::FileAllowed,
        _ if pattern.len() < 2 => return None,
        [b'-', first, second, rest @ ..] if !rest.is_empty() => {
            let (order, inverted) = match [*first, *second] {
                [b'l', b't'] => (Order::Less, false),
                [b'l', b'e'] => (Order::LessOrEqual, false),
                [b'g', b't'] => (Order::Greater, false),
                [b'g', b'e'] => (Order::GreaterOrEqual, false),
                [b'e', b'q'] => (Order::Equal, false),
                [b'n', b'e'] => (Order::Equal, true),
                _ => return None,
            };
            return Some((Test::Number(order, number(rest)), inverted));
        }
        _ => return text_test(pattern, any_case).map(|test| (test, false)),
    };
    Some((test, false))
}

fn text_test(pattern: &[u8], any_case: bool) -> Option<Test> {
    let (order, text) = match pattern {
        [b'<', b'=', text @ ..] => (Order::LessOrEqual, text),
        [b'>', b'=', text @ ..] => (Order::GreaterOrEqual, text),
        [b'<', text @ ..] => (Order::Less, text),
        [b'>', text @ ..] => (Order::Greater, text),
        [b'=', b'"', b'"'] => (Order::Equal, &b""[..]),
        [b'=', text @ ..] => (Order::Equal, text),
        _ => return None,
    };
    Some(Test::Text(order, text.to_vec(), any_case))
}

impl Flags {
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        let lower = name.to_ascii_lowercase();
        match lower.as_slice() {
            b"b" | b"backrefescaping" => {
                self.escaping.groups = true;
                if !value.is_empty() {
                    self.escaping.only = Some(value.to_vec());
                }
            }
            b"bne" if value.is_empty() => return Err("the flag BNE wants characters".to_owned()),
            b"bne" => self.escaping.not = Some(value.to_vec()),
            b"bnp" | b"backrefernoplus" => self.escaping.no_plus = true,
            b"bctls" => {
                self.escaping.controls = true;
                self.escaping.groups = true;
            }
            b"c" | b"chain" => self.chain = true,
            b"co" | b"cookie" => self.cookies.push(Template::parse(value)),
            b"dpi" | b"discardpath" => self.discard_path_info = true,
            b"e" | b"env" => self.env.push(Template::parse(value)),
            b"end" => self.end = true,
            b"f" | b"forbidden" => self.refuse(403),
            b"g" | b"gone" => self.refuse(410),
            b"h" | b"handler" => self.handler = Some(Template::parse(value)),
            b"l" | b"last" => self.last = true,
            b"n" | b"next" => {
                self.next = true;
                if !value.is_empty() {
                    self.rounds = Some(u32::try_from(number(value)).unwrap_or_default());
                }
            }
            b"nc" | b"nocase" => self.any_case = true,
            b"ne" | b"noescape" => self.no_escape = true,
            b"ns" | b"nosubreq" => self.no_subrequest = true,
            b"p" | b"proxy" => self.proxy = true,
            b"pt" | b"passthrough" => self.pass_through = true,
            b"qsa" | b"qsappend" => self.query_append = true,
            b"qsd" | b"qsdiscard" => self.query_discard = true,
            b"qsl" | b"qslast" => self.query_last = true,
            b"r" | b"redirect" => self.redirect(value)?,
            b"s" | b"skip" => self.skip = usize::try_from(number(value)).unwrap_or_default(),
            b"t" | b"type" => self.media_type = Some(Template::parse(value)),
            b"unc" => self.keep_slashes = true,
            b"unsafeallow3f" => self.allow_foreign_query = true,
            b"unsafeprefixstat" => {}
            _ => return Err(format!("unknown flag {}", show(name))),
        }
        Ok(())
    }

    fn refuse(&mut self, status: u16) {
        self.ends = Some(status);
        self.no_substitution = true;
    }

    fn redirect(&mut self, value: &[u8]) -> Result<(), String> {
        let status = match value.to_ascii_lowercase().as_slice() {
            b"permanent" => 301,
            b"seeother" => 303,
            [b'0'..=b'9', ..] => u16::try_from(number(value)).unwrap_or_default(),
            _ => 302,
        };
        if !crate::outcome::is_known_status(status) {
            return Err(format!("invalid status {} of the flag R", show(value)));
        }
        match status {
            300..=399 => self.redirect = Some(status),
            _ => {
                self.redirect = Some(302);
                self.refuse(status);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_mod_rewrite_does() {
        for (line, expected) in [
            ("^a$ /b [L]", Some(("^a$", "/b", Some("[L]")))),
            (r#""^a b$" "/c d""#, Some(("^a b$", "/c d", None))),
            (r"^a\ b$ -", Some((r"^a\ b$", "-", None))),
            (r"^a\\b c", Some((r"^a\\b", "c", None))),
            ("only", None),
        ] {
            let found = arguments(line.as_bytes());
            let expected = expected.map(|(a, b, c): (&str, &str, Option<&str>)| {
                (a.into(), b.into(), c.map(|c| c.as_bytes().to_vec()))
            });
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn a_rule_that_refuses_is_known_by_its_flags() {
        for (line, refuses) in [
            ("x - [F]", true),
            ("x - [NC,F,L]", true),
            ("x - [R=404]", true),
            ("x - [R=301]", false),
            ("x - [G]", true),
            ("x y [L]", false),
            ("x y", false),
        ] {
            assert_eq!(would_refuse(line.as_bytes()), refuses, "{line}");
        }
    }
}
