//! Apache's expressions: conditions (`<If>`, `Require expr`, `RewriteCond expr`) and texts with variables in them
//! (`ErrorDocument`, `Redirect` with one argument).

mod parse;

use crate::glob::Style;
use crate::pattern::{Pattern, PatternError};
use crate::subnet::Subnet;
use crate::variable::Variable;

pub(crate) use parse::{condition, text};

/// Why an expression is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpressionError {
    /// It is not an expression.
    #[error("bad expression near byte {0}")]
    Syntax(usize),
    /// A variable, function or operator that is not known.
    #[error("unknown name in an expression: {0}")]
    Unknown(String),
    /// A regular expression in it.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Too many levels.
    #[error("expression too deep")]
    TooDeep,
}

/// A condition.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Constant(bool),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Compare(Comparison, Word, Word),
    In(Word, Vec<Word>),
    Matches {
        word: Word,
        pattern: Pattern,
        negative: bool,
    },
    Is(Test, Word),
    Glob(Word, Word, Style),
    Within(Word, Subnet),
    RemoteWithin(Subnet),
}

/// How two words compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) numbers: bool,
    pub(crate) less: bool,
    pub(crate) equal: bool,
    pub(crate) greater: bool,
}

/// An operator with one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Empty,
    NotEmpty,
    /// `-T`: not empty, `0`, `off`, `no` or `false`.
    True,
    Directory,
    Exists,
    File,
    NotEmptyFile,
    Symlink,
    Executable,
    /// `-F`: a file that may be asked for.
    FileAllowed,
    /// `-U`: a path that may be asked for.
    UrlAllowed,
}

/// A text, perhaps with variables.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    Text(Vec<u8>),
    Variable(Variable),
    Call(Function, Box<Word>),
    Group(usize),
    Join(Vec<Word>),
}

/// A function of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    RequestHeader,
    /// The same, but the answer does not say in `Vary` that it depends on it.
    RequestHeaderOnly,
    ResponseHeader,
    Env,
    ProcessEnv,
    Note,
    Lower,
    Upper,
    Escape,
    Unescape,
    Base64,
    Unbase64,
    Sha1,
    Md5,
    FileSize,
    FileText,
}

impl Condition {
    /// Whether it asks for the user, who may not have signed in yet.
    pub(crate) fn wants_user(&self) -> bool {
        let asks = |word: &Word| word.wants_user();
        match self {
            Condition::Constant(_) | Condition::RemoteWithin(_) => false,
            Condition::Not(inner) => inner.wants_user(),
            Condition::And(a, b) | Condition::Or(a, b) => a.wants_user() || b.wants_user(),
            Condition::Compare(_, a, b) | Condition::Glob(a, b, _) => asks(a) || asks(b),
            Condition::In(word, list) => asks(word) || list.iter().any(asks),
            Condition::Matches { word, .. }
            | Condition::Is(_, word)
            | Condition::Within(word, _) => asks(word),
        }
    }

    /// The patterns in it, for the quota.
    pub(crate) fn patterns(&self, found: &mut Vec<usize>) {
        match self {
            Condition::Not(inner) => inner.patterns(found),
            Condition::And(a, b) | Condition::Or(a, b) => {
                a.patterns(found);
                b.patterns(found);
            }
            Condition::Matches { pattern, .. } => found.push(pattern.size()),
            _ => {}
        }
    }
}

impl Word {
    fn wants_user(&self) -> bool {
        match self {
            Word::Variable(variable) => *variable == Variable::RemoteUser,
            Word::Call(_, word) => word.wants_user(),
            Word::Join(words) => words.iter().any(Word::wants_user),
            Word::Text(_) | Word::Group(_) => false,
        }
    }

    /// The text when nothing in it varies.
    pub(crate) fn constant(&self) -> Option<&[u8]> {
        match self {
            Word::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
