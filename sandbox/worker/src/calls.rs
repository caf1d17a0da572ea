//! Allow-lists of system calls, as seccomp filters.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// `EPERM`.
const REFUSED: u32 = 1;

/// What a process may ask of the kernel, by the numbers of x86-64 (`asm/unistd_64.h`). Everything else fails with `EPERM`.
#[derive(Clone, Debug, Default)]
pub struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

/// What an argument of a call must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Argument `.0`, counted from 0, is `.1`.
    Is(u8, u64),
    /// The bits `.1` of argument `.0` are `.2`.
    Bits(u8, u64, u64),
}

impl Argument {
    fn condition(self) -> anyhow::Result<SeccompCondition> {
        let (index, operator, value) = match self {
            Argument::Is(index, value) => (index, SeccompCmpOp::Eq, value),
            Argument::Bits(index, mask, value) => (index, SeccompCmpOp::MaskedEq(mask), value),
        };
        Ok(SeccompCondition::new(
            index,
            SeccompCmpArgLen::Qword,
            operator,
            value,
        )?)
    }
}

impl Calls {
    /// Allows calls whatever their arguments.
    #[must_use]
    pub fn allow(mut self, numbers: &[i64]) -> Calls {
        self.0
            .extend(numbers.iter().map(|&number| (number, Vec::new())));
        self
    }

    /// Allows a call when one of these holds, beside what was allowed of it before.
    ///
    /// # Errors
    /// Where there is no such argument.
    pub fn allow_when(mut self, number: i64, any: &[Argument]) -> anyhow::Result<Calls> {
        let rules = self.0.entry(number).or_default();
        for argument in any {
            rules.push(SeccompRule::new(vec![argument.condition()?])?);
        }
        Ok(self)
    }

    /// The filter, for [`seccompiler::apply_filter`].
    ///
    /// # Errors
    /// When it has too many rules.
    pub fn filter(self) -> anyhow::Result<BpfProgram> {
        let filter = SeccompFilter::new(
            self.0,
            SeccompAction::Errno(REFUSED),
            SeccompAction::Allow,
            TargetArch::x86_64,
        )?;
        Ok(filter.try_into()?)
    }
}

/// A filter that has something to say about a few calls only.
///
/// # Errors
/// When it has too many rules.
pub fn exception(numbers: &[i64], action: SeccompAction) -> anyhow::Result<BpfProgram> {
    let rules = numbers.iter().map(|&number| (number, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}
