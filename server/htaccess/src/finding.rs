//! What a `.htaccess` file says that is not done here.

use std::fmt;

/// How much it matters that a directive is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It would change nothing that a client or a script can see.
    Harmless,
    /// It has a meaning, but not for who may see what.
    Ignored,
    /// It would have denied or restricted access, or have switched something off that could be run.
    WouldDeny,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Harmless => "harmless",
            Class::Ignored => "ignored",
            Class::WouldDeny => "would deny",
        })
    }
}

/// One directive that is not understood, or not as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path of the file.
    pub file: String,
    /// Its line, from 1; the first one of a continued line.
    pub line: u32,
    /// How much it matters.
    pub class: Class,
    /// The directive's name as it stands there.
    pub directive: String,
    /// What is the matter.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            file,
            line,
            directive,
            message,
            ..
        } = self;
        write!(f, "{file}:{line}: {directive}: {message}")
    }
}
