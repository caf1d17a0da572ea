//! What keeps a guest's numbers from reading past the host's tables on a mispredicted branch
//! (review F7). The outer boundary against such attacks is the process; this is the inner one.

use std::arch::asm;

/// `index` when it is below `len`, otherwise 0, computed without a branch: a processor that runs
/// ahead of the bounds check before this still gets an index inside.
#[inline(always)]
pub(crate) fn clamp(index: usize, len: usize) -> usize {
    let kept: usize;
    // SAFETY: arithmetic on registers. In assembly because a compiler that sees the bounds check
    // would take the mask away.
    unsafe {
        asm!(
            "cmpq {len}, {index}",
            "sbbq {mask}, {mask}",
            "andq {index}, {mask}",
            index = in(reg) index,
            len = in(reg) len,
            mask = out(reg) kept,
            options(att_syntax, pure, nomem, nostack)
        );
    }
    kept
}

/// Waits until everything before this is certain: the checks, and the dispatch that led here. It
/// stands where traps begin to touch guest memory or the descriptor table, and not in front of every
/// trap, where it would be half of the cost of those that touch nothing.
#[inline(always)]
pub(crate) fn barrier() {
    // SAFETY: waits; touches nothing.
    unsafe { asm!("lfence", options(nostack, preserves_flags)) };
}

#[cfg(test)]
mod tests {
    use super::clamp;

    #[test]
    fn index_outside_becomes_the_first() {
        for len in [1, 7, 512, usize::MAX] {
            for index in [0, 1, 6, 7, 8, 511, 512, 513, 1 << 63, usize::MAX] {
                let wanted = if index < len { index } else { 0 };
                assert_eq!(clamp(index, len), wanted, "{index} of {len}");
            }
        }
        assert_eq!(clamp(5, 0), 0);
    }
}
