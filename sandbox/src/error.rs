//! What can go wrong between a program file and a running instance.

use std::fmt;
use std::io;

/// Why a program, an instance or a snapshot could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is no program this runtime loads, or its machine code is not proved confined.
    #[error("program refused")]
    Refused(#[from] verifier::ProgramError),
    /// The processor lacks something the program's policy relies on.
    #[error("this processor lacks {feature}, which verified programs may use")]
    Processor {
        /// Name of the feature.
        feature: &'static str,
    },
    /// Program, heap and stack do not fit the memory limit or the slot.
    #[error("the program does not fit: {writable} bytes writable of {limit} allowed")]
    DoesNotFit {
        /// Writable bytes of the program.
        writable: u64,
        /// The memory limit.
        limit: u64,
    },
    /// Arguments and environment do not fit the initial stack.
    #[error("arguments and environment take {bytes} bytes, of {max} allowed")]
    ArgumentsTooLong {
        /// Their size.
        bytes: usize,
        /// The largest size.
        max: usize,
    },
    /// The memory of all live instances would exceed the sandbox's budget, or there are no more
    /// mappings: try again when an instance has ended.
    #[error("no room for another instance: {what}")]
    Busy {
        /// What there is no more of.
        what: &'static str,
    },
    /// Something in this process makes running guests unsafe.
    #[error("this process cannot host guests: {reason}")]
    Host {
        /// What was found.
        reason: String,
    },
    /// A slot was not what it should be after its reset; it is not used again.
    #[error("a slot is not clean: {reason}")]
    Unclean {
        /// What was found.
        reason: String,
    },
    /// The instance is in no state to be frozen.
    #[error("cannot freeze: {reason}")]
    CannotFreeze {
        /// Why not.
        reason: Unfreezable,
    },
    /// The instance holds on to a tree that was bound for it alone, which a snapshot does not carry.
    #[error("cannot freeze: of the tree bound at {path:?} {by}")]
    BoundInUse {
        /// Where the tree is bound.
        path: String,
        /// What holds on to it.
        by: Hold,
    },
    /// The snapshot holds what a file cannot carry.
    #[error("cannot store the snapshot: {reason}")]
    CannotStore {
        /// What that is.
        reason: Unstorable,
    },
    /// A stored snapshot is not one of this program with these limits, or damaged.
    #[error("stored snapshot refused: {reason}")]
    Stored {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The bytes are no delta, or one that no instance can make.
    #[error("delta refused: {reason}, at byte {at}")]
    Delta {
        /// Where it was noticed.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A delta does not fit the files it is to be applied to; nothing was changed.
    #[error("cannot apply the change of {path:?}: {reason}")]
    CannotApply {
        /// Of what.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A path given for a mount or a channel cannot be used.
    #[error("bad guest path {path:?}: {reason}")]
    GuestPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More trees were mounted than can be told apart.
    #[error("more than {max} trees are mounted")]
    TooManyTrees {
        /// The most there can be.
        max: usize,
    },
    /// The system refused a call.
    #[error("{call}")]
    System {
        /// What was asked of it.
        call: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

/// How an instance holds on to a tree that was bound for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A file or directory of it is open.
    OpenFile,
    /// A file of it is mapped.
    Mapping,
    /// The current directory lies in it.
    WorkingDirectory,
    /// A file, a name or a fact of it has been changed.
    Change,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hold::OpenFile => "a file is open",
            Hold::Mapping => "a file is mapped",
            Hold::WorkingDirectory => "a directory is the current one",
            Hold::Change => "something has been changed",
        })
    }
}

/// Why an instance cannot be frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfreezable {
    /// A fiber's return stack is no part of a snapshot.
    #[error("a fiber is alive")]
    Fiber,
    /// What was derived from them would be the same in all clones.
    #[error("the guest has read random bytes and does not declare that it reseeds")]
    RandomBytes,
    /// An entry of the return stack follows no call of the text.
    #[error("the return stack is damaged")]
    ReturnStack,
    /// A page that the guest has written is not there any more.
    #[error("a page of the instance cannot be read")]
    Page,
}

/// What a snapshot holds that a file cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unstorable {
    /// It is the start of a program, which the program itself is enough for.
    #[error("it has not run")]
    Start,
    /// A file is mapped.
    #[error("it maps a file")]
    Mapping,
    /// Files are open.
    #[error("it holds files open")]
    OpenFiles,
    /// Files were made or changed.
    #[error("it has files of its own")]
    Files,
    /// What describes it is longer than any restored snapshot's may be.
    #[error("its description is too long")]
    Description,
}

impl Error {
    /// Names the call that failed.
    pub(crate) fn system(call: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::System { call, source }
    }
}
