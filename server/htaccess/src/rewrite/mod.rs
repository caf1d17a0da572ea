//! `RewriteEngine`, `RewriteRule` and their kin, in the context of a directory.

mod parse;
pub(crate) mod template;

use std::sync::Arc;

use crate::expression::Condition as Expression;
use crate::pattern::Pattern;
use template::{Escaping, Template};

pub(crate) use parse::would_refuse;

/// What a section says about rewriting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewriting {
    pub(crate) enabled: Option<bool>,
    pub(crate) options: Option<Options>,
    pub(crate) base: Option<Vec<u8>>,
    /// The section's directory, `/` last; in `<Files>` and `<If>` a name that no path begins with, as in Apache.
    pub(crate) directory: Vec<u8>,
    pub(crate) rules: Vec<Arc<Rule>>,
    /// Conditions that wait for their rule.
    pub(crate) pending: Vec<Arc<Condition>>,
}

/// `RewriteOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) inherit: bool,
    pub(crate) inherit_before: bool,
    pub(crate) inherit_down: bool,
    pub(crate) inherit_down_before: bool,
    pub(crate) ignore_inherit: bool,
    pub(crate) allow_no_slash: bool,
    pub(crate) merge_base: bool,
}

/// A rule with its conditions.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) pattern: Pattern,
    pub(crate) negative: bool,
    pub(crate) conditions: Vec<Arc<Condition>>,
    pub(crate) target: Template,
    pub(crate) flags: Flags,
}

/// The flags of a rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// `-`, or a status: nothing is substituted.
    pub(crate) no_substitution: bool,
    /// `F`, `G`, `R=404`: the request ends with this status.
    pub(crate) ends: Option<u16>,
    /// `R`: a redirect by this status.
    pub(crate) redirect: Option<u16>,
    pub(crate) last: bool,
    pub(crate) end: bool,
    pub(crate) next: bool,
    /// `N=10`.
    pub(crate) rounds: Option<u32>,
    pub(crate) chain: bool,
    pub(crate) skip: usize,
    pub(crate) any_case: bool,
    pub(crate) no_escape: bool,
    pub(crate) no_subrequest: bool,
    pub(crate) pass_through: bool,
    pub(crate) proxy: bool,
    pub(crate) query_append: bool,
    pub(crate) query_discard: bool,
    pub(crate) query_last: bool,
    /// The substitution ended in `?`, or discards the query and has none: there is none afterwards.
    pub(crate) query_none: bool,
    pub(crate) discard_path_info: bool,
    pub(crate) allow_foreign_query: bool,
    pub(crate) keep_slashes: bool,
    pub(crate) escaping: Escaping,
    pub(crate) env: Vec<Template>,
    pub(crate) cookies: Vec<Template>,
    pub(crate) media_type: Option<Template>,
    pub(crate) handler: Option<Template>,
}

/// A condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) input: Template,
    pub(crate) test: Test,
    pub(crate) negative: bool,
    pub(crate) or_next: bool,
    pub(crate) no_vary: bool,
}

/// What a condition asks of its input.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Matches(Pattern),
    Expression(Expression),
    File,
    NotEmptyFile,
    Directory,
    Symlink,
    Executable,
    UrlAllowed,
    FileAllowed,
    /// Compares as text: by length first, as Apache does.
    Text(Order, Vec<u8>, bool),
    Number(Order, i64),
}

/// An order that a comparison accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Order {
    pub(crate) fn accepts(self, order: std::cmp::Ordering) -> bool {
        match self {
            Order::Less => order.is_lt(),
            Order::LessOrEqual => order.is_le(),
            Order::Equal => order.is_eq(),
            Order::GreaterOrEqual => order.is_ge(),
            Order::Greater => order.is_gt(),
        }
    }
}

impl Rewriting {
    /// For a section of a directory, or one that has none.
    pub(crate) fn new(directory: &[u8]) -> Rewriting {
        let mut directory = directory.to_vec();
        if !directory.ends_with(b"/") {
            directory.push(b'/');
        }
        Rewriting {
            directory,
            ..Rewriting::default()
        }
    }

    /// The same for another directory.
    pub(crate) fn moved_to(&self, directory: &[u8]) -> Rewriting {
        Rewriting {
            directory: Rewriting::new(directory).directory,
            ..self.clone()
        }
    }

    /// What holds below a section that itself lies below `self`.
    pub(crate) fn merged(&self, over: &Rewriting) -> Rewriting {
        let options = over.options.or(self.options);
        let own = options.unwrap_or_default();
        let down = self.options.unwrap_or_default();
        let base = match own.merge_base {
            true => over.base.clone().or_else(|| self.base.clone()),
            false => over.base.clone(),
        };
        let down_after = down.inherit_down && !own.ignore_inherit;
        let down_before = down.inherit_down_before && !own.ignore_inherit;
        let rules = if own.inherit || down_after {
            [over.rules.clone(), self.rules.clone()].concat()
        } else if own.inherit_before || down_before {
            [self.rules.clone(), over.rules.clone()].concat()
        } else {
            over.rules.clone()
        };
        Rewriting {
            enabled: over.enabled.or(self.enabled),
            options,
            base,
            directory: over.directory.clone(),
            rules,
            pending: Vec::new(),
        }
    }
}
