//! What is bounded, and by how much. Images are hostile: their files may be written to cost as much as they can, so every
//! count has a ceiling when files are read, and every request a budget of steps when they are applied.

/// `.htaccess` files of a site. Real sites have a handful; Drupal with all its modules has about forty.
pub const FILES_MAX: usize = 4096;
/// Bytes of one file. Block lists of addresses reach some 100 KiB.
pub const FILE_BYTES_MAX: usize = 256 << 10;
/// Bytes of all files together.
pub const TOTAL_BYTES_MAX: usize = 4 << 20;
/// Bytes of a line after continuations were joined.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Lines that are directives, in all files together.
pub const DIRECTIVES_MAX: usize = 32 << 10;
/// Sections within sections.
pub const NESTING_MAX: usize = 16;
/// Regular expressions of all files together.
pub const PATTERNS_MAX: usize = 4096;
/// Bytes of one regular expression.
pub const PATTERN_BYTES_MAX: usize = 8 << 10;
/// Size of one compiled regular expression: bytes and classes of bytes it names, repetitions written out.
pub const PATTERN_SIZE_MAX: usize = 16 << 10;
/// Size of all compiled regular expressions together. One unit takes about 100 bytes of memory.
pub const PATTERN_SIZE_TOTAL_MAX: usize = 256 << 10;
/// Groups within groups of a regular expression.
pub const PATTERN_NESTING_MAX: usize = 50;
/// Levels of an expression (`<If>`, `Require expr`, …). Apache stops evaluation at 20 levels.
pub const EXPRESSION_NESTING_MAX: usize = 20;
/// Bytes of a file of passwords or groups.
pub const PASSWORD_FILE_BYTES_MAX: usize = 1 << 20;
/// The dearest bcrypt hash that is checked: about 0.2 s.
pub const BCRYPT_COST_MAX: u32 = 12;
/// The dearest SHA-crypt hash that is checked: about 0.1 s.
pub const SHA_CRYPT_ROUNDS_MAX: u32 = 100_000;

/// Steps of one request, its internal redirects and subrequests included. A step is about a byte compared; a WordPress
/// page takes about a thousand. The worst that rules can make of them is a second.
pub const STEPS_MAX: u64 = 10_000_000;
/// Steps of a request that is decided where nothing may wait: 20 ms in the worst case.
pub const STEPS_SOON_MAX: u64 = 200_000;
/// Internal redirects in a row, and subrequests within subrequests: Apache's `LimitInternalRecursion`.
pub const REDIRECTS_MAX: u32 = 10;
/// Bytes that a substitution or an expression may become: twice Apache's `LimitRequestLine`.
pub const EXPANSION_BYTES_MAX: usize = 16_380;
/// Rounds of one rule set by the flag `N`, as in Apache.
pub const ROUNDS_MAX: u32 = 10_000;

/// Why reading `.htaccess` files was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// More of something than a site may have.
    #[error("{file}: more than {max} {what}")]
    Limit {
        /// The file that was being read.
        file: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        max: usize,
    },
}

/// Why a request could not be decided: its rules cost too much. It is answered with 500, as Apache does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exhausted {
    /// [`STEPS_MAX`].
    #[error("the rules took more than {STEPS_MAX} steps")]
    Steps,
    /// [`REDIRECTS_MAX`].
    #[error("more than {REDIRECTS_MAX} internal redirects or subrequests")]
    Redirects,
    /// [`EXPANSION_BYTES_MAX`].
    #[error("a substitution became longer than {EXPANSION_BYTES_MAX} bytes")]
    Expansion,
    /// [`ROUNDS_MAX`].
    #[error("a rule with the flag N went round too often")]
    Rounds,
}

/// The steps that a request may still take.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    pub(crate) fn new(steps: u64) -> Budget {
        Budget { left: steps }
    }

    /// Takes steps, or says that there are none left.
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(steps).ok_or(Exhausted::Steps)?;
        Ok(())
    }

    /// Steps left.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }
}

/// What is left of the ceilings while files are read.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    directives: usize,
    patterns: usize,
    pattern_size: usize,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            directives: DIRECTIVES_MAX,
            patterns: PATTERNS_MAX,
            pattern_size: PATTERN_SIZE_TOTAL_MAX,
        }
    }
}

impl Quota {
    pub(crate) fn directive(&mut self, file: &str) -> Result<(), LoadError> {
        take(&mut self.directives, 1, file, "directives", DIRECTIVES_MAX)
    }

    pub(crate) fn pattern(&mut self, size: usize, file: &str) -> Result<(), LoadError> {
        let what = "regular expressions";
        take(&mut self.patterns, 1, file, what, PATTERNS_MAX)?;
        let what = "bytes and classes in regular expressions";
        take(
            &mut self.pattern_size,
            size,
            file,
            what,
            PATTERN_SIZE_TOTAL_MAX,
        )
    }
}

fn take(
    left: &mut usize,
    count: usize,
    file: &str,
    what: &'static str,
    max: usize,
) -> Result<(), LoadError> {
    *left = left.checked_sub(count).ok_or_else(|| LoadError::Limit {
        file: file.to_owned(),
        what,
        max,
    })?;
    Ok(())
}
