//! Applies the rules of a directory to a request: `mod_rewrite`'s fix-up.

mod condition;
mod template;

use std::sync::Arc;

use crate::engine::Engine;
use crate::hit::Hit;
use crate::limits::{Exhausted, ROUNDS_MAX};
use crate::rewrite::{Rewriting, Rule};
use crate::uri;
use template::Context;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// Nothing.
    Untouched,
    /// It ends with this status, because rules say so.
    Ended(u16),
    /// It is refused with this status, because rules cannot be applied, or not to an end.
    Refused(u16),
    /// It is sent elsewhere.
    Redirect { status: u16, location: Vec<u8> },
    /// It starts again with this path and query.
    Internal(Vec<u8>),
}

/// What became of a list of rules.
enum Listed {
    Unchanged,
    Changed {
        no_escape: bool,
        passed_through: bool,
    },
    Ended(u16),
    Refused(u16),
}

/// What became of a rule.
enum Applied {
    NoMatch,
    /// It matched and substituted nothing.
    Kept,
    Substituted,
    Refused(u16),
}

impl Engine<'_> {
    /// Applies the rules that hold for a request.
    pub(crate) fn rewrite(&mut self, hit: &mut Hit) -> Result<Rewritten, Exhausted> {
        let Some(rules) = hit.section.rewriting.clone() else {
            return Ok(Rewritten::Untouched);
        };
        if rules.enabled != Some(true) || hit.rewriting_ended {
            return Ok(Rewritten::Untouched);
        }
        // The directory's own name without its slash: the client is sent to the name with it first.
        let directory = &rules.directory[..rules.directory.len() - 1];
        let allow_no_slash = rules.options.is_some_and(|o| o.allow_no_slash);
        if hit.filename == directory && !allow_no_slash {
            return Ok(Rewritten::Untouched);
        }
        if !hit.section.options().follows_symlinks() {
            return Ok(Rewritten::Refused(403));
        }
        let original = (hit.filename.clone(), hit.query.clone());
        let listed = self.apply_rules(&rules, hit)?;
        // As Apache: a URL that is passed through is taken for a path, which it is not.
        let (no_escape, passed_through) = match listed {
            Listed::Changed {
                no_escape,
                passed_through,
            } => (no_escape, passed_through),
            _ => (false, false),
        };
        let absolute = uri::absolute(&hit.filename).filter(|_| !passed_through);
        let will_escape = absolute.is_some() && !no_escape;
        let is_raw = |b: &u8| *b <= b' ' || *b == 0x7f;
        let has_raw_query = hit.query.as_ref().is_some_and(|q| q.iter().any(is_raw));
        match listed {
            Listed::Unchanged => {
                hit.filename = original.0;
                return Ok(Rewritten::Untouched);
            }
            _ if has_raw_query && !will_escape => return Ok(Rewritten::Refused(403)),
            Listed::Ended(status) => return Ok(Rewritten::Ended(status)),
            Listed::Refused(status) => return Ok(Rewritten::Refused(status)),
            Listed::Changed { .. } => {}
        }
        if hit.filename.starts_with(b"proxy:") {
            return Ok(Rewritten::Refused(403));
        }
        match absolute {
            Some((scheme, _)) => Ok(redirect(&rules, scheme, no_escape, &original.1, hit)),
            None => Ok(self.internal(&rules, original.0, hit)),
        }
    }

    /// The new path and query of a request that stays here.
    fn internal(&self, rules: &Rewriting, original: Vec<u8>, hit: &mut Hit) -> Rewritten {
        if !hit.filename.starts_with(b"/") {
            return Rewritten::Refused(400);
        }
        if hit.filename == original {
            return Rewritten::Untouched;
        }
        let url = match &rules.base {
            Some(base) => replace_prefix(&hit.filename, &rules.directory, base),
            None => {
                let root = &self.rules.document_root;
                let below = hit.filename.strip_prefix(root.as_slice());
                below
                    .filter(|rest| rest.starts_with(b"/"))
                    .unwrap_or(&hit.filename)
                    .to_vec()
            }
        };
        // As Apache: for whoever looks ahead, no file has this name.
        hit.filename = [b"redirect:", url.as_slice()].concat();
        Rewritten::Internal(match &hit.query {
            Some(query) => [url.as_slice(), b"?", query].concat(),
            None => url,
        })
    }

    fn apply_rules(&mut self, rules: &Rewriting, hit: &mut Hit) -> Result<Listed, Exhausted> {
        let mut context = Context {
            directory: rules.directory.clone(),
            base: rules.base.clone(),
            ..Context::default()
        };
        let mut changed = Listed::Unchanged;
        let mut round = 1;
        let mut index = 0;
        while let Some(rule) = rules.rules.get(index) {
            index += 1;
            let flags = &rule.flags;
            if hit.is_subrequest() && (flags.no_subrequest || flags.redirect.is_some()) {
                continue;
            }
            context.vary.clear();
            let applied = self.apply_rule(rule, hit, &mut context)?;
            if matches!(applied, Applied::NoMatch) {
                index += chained(&rules.rules[index - 1..]);
                continue;
            }
            for name in context.vary.drain(..) {
                hit.varies_by(&name);
            }
            match applied {
                Applied::Refused(status) => return Ok(Listed::Refused(status)),
                _ if flags.ends.is_some() => {
                    return Ok(Listed::Ended(flags.ends.expect("just asked")));
                }
                Applied::Substituted => {
                    changed = Listed::Changed {
                        no_escape: flags.no_escape,
                        passed_through: false,
                    };
                }
                _ => {}
            }
            if flags.pass_through {
                changed = Listed::Changed {
                    no_escape: false,
                    passed_through: true,
                };
                break;
            }
            if flags.end {
                hit.rewriting_ended = true;
                break;
            }
            if flags.proxy || flags.last {
                break;
            }
            if flags.next {
                round += 1;
                if round >= flags.rounds.unwrap_or(ROUNDS_MAX).min(ROUNDS_MAX) {
                    return Err(Exhausted::Rounds);
                }
                index = 0;
                changed = match changed {
                    // As Apache: what an earlier round changed stays changed.
                    Listed::Unchanged => Listed::Unchanged,
                    other => other,
                };
                continue;
            }
            index = index.saturating_add(flags.skip);
        }
        Ok(changed)
    }

    fn apply_rule(
        &mut self,
        rule: &Arc<Rule>,
        hit: &mut Hit,
        context: &mut Context,
    ) -> Result<Applied, Exhausted> {
        let mut uri = [hit.filename.as_slice(), &hit.path_info].concat();
        if uri.starts_with(&context.directory) {
            uri.drain(..context.directory.len());
        }
        context.uri = uri;
        let groups = if rule.negative {
            if rule.pattern.is_match(&context.uri, &mut self.budget)? {
                return Ok(Applied::NoMatch);
            }
            None
        } else {
            match rule.pattern.find(&context.uri, &mut self.budget)? {
                Some(groups) => Some(groups),
                None => return Ok(Applied::NoMatch),
            }
        };
        context.condition = None;
        context.rule = groups;
        if !self.conditions_hold(&rule.conditions, hit, context)? {
            return Ok(Applied::NoMatch);
        }
        // What conditions asked for decides; what is only copied does not.
        let vary = std::mem::take(&mut context.vary);
        let applied = self.apply_match(rule, hit, context);
        context.vary = vary;
        applied
    }

    /// Applies a rule whose pattern and conditions have matched.
    fn apply_match(
        &mut self,
        rule: &Arc<Rule>,
        hit: &mut Hit,
        context: &mut Context,
    ) -> Result<Applied, Exhausted> {
        let flags = &rule.flags;
        let mut target = Vec::new();
        if !flags.no_substitution {
            let escaping = Some(&flags.escaping);
            let expanded = self.expand(&rule.target, hit, context, escaping, flags.query_last)?;
            if expanded.foreign_query && !flags.allow_foreign_query {
                return Ok(Applied::Refused(403));
            }
            target = expanded.text;
        }
        self.set_variables(rule, hit, context)?;
        if flags.no_substitution {
            self.force_type(rule, hit, context)?;
            return Ok(Applied::Kept);
        }
        let is_relative = !target.starts_with(b"/") && uri::absolute(&target).is_none();
        if is_relative {
            target.splice(0..0, context.directory.iter().copied());
        }
        hit.filename = target;
        if flags.discard_path_info {
            hit.path_info.clear();
        }
        split_query(rule, hit);
        if flags.proxy {
            hit.filename.splice(0..0, *b"proxy:");
            return Ok(Applied::Substituted);
        }
        if let Some(status) = flags.redirect {
            if uri::absolute(&hit.filename).is_none() {
                let slash = if hit.filename.starts_with(b"/") {
                    ""
                } else {
                    "/"
                };
                let head = [self.origin().as_slice(), slash.as_bytes()].concat();
                hit.filename.splice(0..0, head);
            }
            hit.status = status;
            return Ok(Applied::Substituted);
        }
        if let Some(path) = self.own_path(&hit.filename) {
            hit.filename = path;
        }
        if uri::absolute(&hit.filename).is_some() {
            hit.status = 302;
            return Ok(Applied::Substituted);
        }
        let literal_slashes = rule.target.starts_with(b"//");
        if !(flags.keep_slashes || is_relative || literal_slashes) {
            let slashes = hit.filename.iter().take_while(|&&b| b == b'/').count();
            hit.filename.drain(..slashes.saturating_sub(1));
        }
        self.force_type(rule, hit, context)?;
        Ok(Applied::Substituted)
    }

    fn set_variables(
        &mut self,
        rule: &Rule,
        hit: &mut Hit,
        context: &mut Context,
    ) -> Result<(), Exhausted> {
        for variable in &rule.flags.env {
            let text = self.expand(variable, hit, context, None, false)?.text;
            if let Some(name) = text.strip_prefix(b"!") {
                hit.env.unset(name);
                continue;
            }
            let colon = text.iter().position(|&b| b == b':');
            let (name, value) = match colon {
                Some(at) => (&text[..at], &text[at + 1..]),
                None => (text.as_slice(), &b""[..]),
            };
            self.budget.spend(hit.env.len())?;
            hit.env.set(name, value);
        }
        for cookie in &rule.flags.cookies {
            let text = self.expand(cookie, hit, context, None, false)?.text;
            self.add_cookie(&text);
        }
        Ok(())
    }

    fn force_type(
        &mut self,
        rule: &Rule,
        hit: &mut Hit,
        context: &mut Context,
    ) -> Result<(), Exhausted> {
        let escaping = Some(&rule.flags.escaping);
        if let Some(media_type) = &rule.flags.media_type {
            let text = self.expand(media_type, hit, context, escaping, false)?.text;
            if !text.is_empty() {
                hit.forced_type = Some(text.to_ascii_lowercase());
            }
        }
        if let Some(handler) = &rule.flags.handler {
            let text = self.expand(handler, hit, context, escaping, false)?.text;
            if !text.is_empty() {
                hit.forced_handler = Some(text.to_ascii_lowercase());
            }
        }
        Ok(())
    }

    /// The path of a URL that leads to this very host.
    fn own_path(&self, url: &[u8]) -> Option<Vec<u8>> {
        let scheme = self.request.scheme().len();
        let head = url.get(..scheme + 3)?;
        let same = head[..scheme].eq_ignore_ascii_case(self.request.scheme().as_bytes());
        if !same || &head[scheme..] != b"://" {
            return None;
        }
        let rest = &url[scheme + 3..];
        let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if !self.request.is_own_host(host) {
            return None;
        }
        Some(if path.is_empty() {
            b"/".to_vec()
        } else {
            path.to_vec()
        })
    }
}

/// How many rules after the first are skipped with it, being chained to it.
fn chained(rules: &[Arc<Rule>]) -> usize {
    rules.iter().take_while(|rule| rule.flags.chain).count()
}

/// Takes the query out of a substitution.
fn split_query(rule: &Rule, hit: &mut Hit) {
    let flags = &rule.flags;
    if flags.query_none {
        hit.query = None;
        return;
    }
    let skip = match uri::absolute(&hit.filename) {
        Some((_, false)) => {
            hit.query = None;
            return;
        }
        Some((scheme, true)) => scheme,
        None => 0,
    };
    if flags.query_discard {
        hit.query = None;
    }
    let path = &hit.filename[skip..];
    let at = match flags.query_last {
        true => path.iter().rposition(|&b| b == b'?'),
        false => path.iter().position(|&b| b == b'?'),
    };
    let Some(at) = at else {
        return;
    };
    let query = hit.filename.split_off(skip + at)[1..].to_vec();
    if !flags.query_append {
        hit.query = Some(query);
    } else if !query.is_empty() {
        let old = hit.query.take().unwrap_or_default();
        hit.query = Some([query.as_slice(), b"&", &old].concat());
    }
    match &mut hit.query {
        Some(query) if query.is_empty() => hit.query = None,
        Some(query) if query.ends_with(b"&") => {
            query.pop();
        }
        _ => {}
    }
}

/// A redirect to a URL: the directory in it becomes the base, it is escaped, and gets its query.
fn redirect(
    rules: &Rewriting,
    scheme: usize,
    no_escape: bool,
    old_query: &Option<Vec<u8>>,
    hit: &mut Hit,
) -> Rewritten {
    let mut url = std::mem::take(&mut hit.filename);
    if let Some(base) = &rules.base
        && let Some(slash) = url[scheme..].iter().position(|&b| b == b'/')
    {
        let start = scheme + slash + 1;
        let directory = rules
            .directory
            .strip_prefix(b"/")
            .unwrap_or(&rules.directory);
        let replaced = replace_prefix(&url[start..], directory, &base[1..]);
        url.truncate(start);
        url.extend(replaced);
    }
    if !no_escape {
        url = uri::escape_absolute(&url, scheme);
    }
    if let Some(query) = &hit.query {
        url.push(b'?');
        let as_it_is = no_escape || old_query.as_ref() == Some(query);
        match as_it_is {
            true => url.extend_from_slice(query),
            false => url.extend(uri::escape_path(query)),
        }
    }
    let status = match std::mem::replace(&mut hit.status, 200) {
        status @ 300..=399 => status,
        _ => 302,
    };
    Rewritten::Redirect {
        status,
        location: url,
    }
}

/// Replaces a directory (with its slash) at the beginning of a path.
fn replace_prefix(path: &[u8], directory: &[u8], base: &[u8]) -> Vec<u8> {
    let bare = directory.strip_suffix(b"/").unwrap_or(directory);
    let Some(rest) = path
        .strip_prefix(bare)
        .and_then(|rest| rest.strip_prefix(b"/"))
    else {
        return path.to_vec();
    };
    let mut out = base.to_vec();
    if !out.is_empty() && !out.ends_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(rest);
    out
}
