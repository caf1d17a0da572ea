//! What a `.htaccess` file says, or a block of it: one part for each module of Apache.
//!
//! Parts are shared, so that merging a deeper section onto those above copies pointers only; as in Apache, a part is
//! there only when a directive of its module is.

use std::sync::Arc;

use crate::expression::Condition;
use crate::glob::{self, Style};
use crate::limits::{Budget, Exhausted};
use crate::module::access::Access;
use crate::module::alias::Redirects;
use crate::module::authentication::Authentication;
use crate::module::authorization::Authorization;
use crate::module::core::{Core, Options};
use crate::module::environment::{Conditional, Fixed};
use crate::module::expires::Expires;
use crate::module::headers::Headers;
use crate::module::index::Index;
use crate::module::mime::Mime;
use crate::pattern::Pattern;
use crate::rewrite::Rewriting;

/// A section, or several merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    pub(crate) core: Option<Arc<Core>>,
    pub(crate) access: Option<Arc<Access>>,
    pub(crate) authorization: Option<Arc<Authorization>>,
    pub(crate) authentication: Option<Arc<Authentication>>,
    pub(crate) rewriting: Option<Arc<Rewriting>>,
    pub(crate) redirects: Option<Arc<Redirects>>,
    pub(crate) mime: Option<Arc<Mime>>,
    pub(crate) headers: Option<Arc<Headers>>,
    pub(crate) fixed: Option<Arc<Fixed>>,
    pub(crate) conditional: Option<Arc<Conditional>>,
    pub(crate) expires: Option<Arc<Expires>>,
    pub(crate) index: Option<Arc<Index>>,
    pub(crate) files: Vec<Arc<FilesSection>>,
    pub(crate) ifs: Vec<Arc<IfSection>>,
    /// The sections it was merged from, in order: two requests with the same ones have passed the same checks.
    pub(crate) identity: Vec<u32>,
}

/// `<Files>` or `<FilesMatch>`.
#[derive(Clone, Debug)]
pub(crate) struct FilesSection {
    pub(crate) names: Names,
    pub(crate) section: Section,
}

/// Which names a `<Files>` is for.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    One(Vec<u8>),
    Glob(Vec<u8>),
    Matching(Pattern),
}

/// Where a section stands in `<If>`, `<ElseIf>`, `<Else>`.
#[derive(Clone, Debug)]
pub(crate) enum Branch {
    If(Condition),
    ElseIf(Condition),
    Else,
}

/// `<If>`, `<ElseIf>` or `<Else>`.
#[derive(Clone, Debug)]
pub(crate) struct IfSection {
    pub(crate) branch: Branch,
    pub(crate) section: Section,
}

impl Names {
    /// `<Files name>`.
    pub(crate) fn of(name: Vec<u8>) -> Names {
        match glob::is_pattern(&name) {
            true => Names::Glob(name),
            false => Names::One(name),
        }
    }

    pub(crate) fn include(&self, name: &[u8], budget: &mut Budget) -> Result<bool, Exhausted> {
        match self {
            Names::One(wanted) => {
                budget.spend(1)?;
                Ok(wanted == name)
            }
            Names::Glob(pattern) => {
                budget.spend(1 + pattern.len().saturating_mul(name.len()) / 8)?;
                let style = Style {
                    paths: true,
                    ..Style::default()
                };
                Ok(glob::matches(pattern, name, style))
            }
            Names::Matching(pattern) => pattern.is_match(name, budget),
        }
    }
}

/// The part of a section, made when it is not there; shared parts are copied first.
pub(crate) fn part<T: Clone + Default>(slot: &mut Option<Arc<T>>) -> &mut T {
    Arc::make_mut(slot.get_or_insert_default())
}

fn merge<T>(
    base: &Option<Arc<T>>,
    over: &Option<Arc<T>>,
    merged: impl Fn(&T, &T) -> T,
) -> Option<Arc<T>> {
    match (base, over) {
        (Some(base), Some(over)) => Some(Arc::new(merged(base, over))),
        (base, over) => over.clone().or_else(|| base.clone()),
    }
}

fn join<T>(base: &[Arc<T>], over: &[Arc<T>]) -> Vec<Arc<T>> {
    base.iter().chain(over).cloned().collect()
}

impl Section {
    /// What holds when another section is laid over this one.
    pub(crate) fn merged(&self, over: &Section) -> Section {
        Section {
            core: merge(&self.core, &over.core, Core::merged),
            // The one module without a way to merge: a deeper section replaces it.
            access: over.access.clone().or_else(|| self.access.clone()),
            authorization: merge(
                &self.authorization,
                &over.authorization,
                Authorization::merged,
            ),
            authentication: merge(
                &self.authentication,
                &over.authentication,
                Authentication::merged,
            ),
            rewriting: merge(&self.rewriting, &over.rewriting, Rewriting::merged),
            redirects: merge(&self.redirects, &over.redirects, Redirects::merged),
            mime: match &over.mime {
                // What a section gives and takes away at once is taken away.
                Some(own) => Some(Arc::new(match &self.mime {
                    Some(base) => base.merged(own),
                    None => Mime::default().merged(own),
                })),
                None => self.mime.clone(),
            },
            headers: merge(&self.headers, &over.headers, Headers::merged),
            fixed: merge(&self.fixed, &over.fixed, Fixed::merged),
            conditional: merge(&self.conditional, &over.conditional, Conditional::merged),
            expires: merge(&self.expires, &over.expires, Expires::merged),
            index: merge(&self.index, &over.index, Index::merged),
            files: join(&self.files, &over.files),
            ifs: join(&self.ifs, &over.ifs),
            identity: [self.identity.as_slice(), &over.identity].concat(),
        }
    }

    /// The options that hold.
    pub(crate) fn options(&self) -> Options {
        match &self.core {
            Some(core) => core.options(),
            None => Options::DEFAULT,
        }
    }
}
