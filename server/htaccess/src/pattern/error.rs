//! Why an expression is not understood.

/// Why an expression is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// PCRE would refuse it as well.
    #[error("bad regular expression: {0}")]
    Syntax(&'static str),
    /// PCRE would understand it.
    #[error("{0} in a regular expression is not understood")]
    Unsupported(&'static str),
    /// Its size is beyond a limit.
    #[error("regular expression too large: {0}")]
    TooLarge(&'static str),
}
