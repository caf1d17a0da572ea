//! Fibers: return stacks beside the program's own.

use crate::abi::Errno;
use crate::address::PageAligned;
use crate::budget::{Budget, Mappings};
use crate::ledger::{Held, Ledger, Room};
use crate::sys::stack::ReturnStack;

/// Pages of the return stack of a fiber: 8,192 nested calls.
const STACK_PAGES: u32 = 16;

/// Mappings of such a stack: itself, and a page without access on both sides.
const STACK_MAPPINGS: u64 = 3;

/// The return stack of a fiber. It is charged to the scratch limit, and its mappings to the process's share, before it
/// is made.
#[derive(Debug)]
pub(crate) struct Fiber {
    stack: ReturnStack,
    held: Held,
    #[expect(dead_code, reason = "gives the mappings back when the fiber is gone")]
    mappings: Mappings,
}

impl Fiber {
    /// The share of the process's mappings that a fiber needs, if there is one.
    pub(crate) fn mappings(budget: &Budget) -> Option<Mappings> {
        budget.take_mappings(STACK_MAPPINGS).ok()
    }

    /// A fiber's stack, when there is room for it.
    pub(crate) fn new(
        mappings: Mappings,
        ledger: &mut Ledger,
        room: &Room,
    ) -> Result<Fiber, Errno> {
        let pages = PageAligned::of_pages(STACK_PAGES);
        let full = Errno(libc::ENOMEM);
        let held = ledger.hold(pages.get(), room).map_err(|_| full)?;
        match ReturnStack::new(pages) {
            Ok(stack) => Ok(Fiber {
                stack,
                held,
                mappings,
            }),
            Err(_) => {
                ledger.give_back(held);
                Err(full)
            }
        }
    }

    pub(crate) fn stack(&self) -> &ReturnStack {
        &self.stack
    }

    /// Unmaps the stack and gives back what it cost.
    pub(crate) fn free(self, ledger: &mut Ledger) {
        let Fiber { held, .. } = self;
        ledger.give_back(held);
    }
}
