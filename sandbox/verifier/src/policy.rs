//! What a verdict is relative to: bundle size, traps, processor features, and the layout of a slot.
//!
//! ```text
//! slot offset  0          0xF000        0x10000                            2^32-0x10000   2^32
//!              | unmapped | call table  | guest: thread area, text, data … | unmapped     |
//! ```

use crate::allow;

/// Bytes at either end of a slot that belong to no guest mapping. Also the lowest address a
/// rip-relative operand may name. Shrinking it below the widest access plus a page would let an
/// access at the edge of one slot reach the next.
pub const ZONE: u32 = 0x1_0000;

/// Where guest mappings end: the last [`ZONE`] of the 4 GiB is unmapped.
pub const SLOT_END: u64 = (1 << 32) - ZONE as u64;

/// Offset of the call table, one read-only page of gate addresses, eight bytes each.
pub const CALL_TABLE: u32 = 0xF000;

/// Entries that fit the call table's page.
pub const CALL_TABLE_ENTRIES: u32 = 512;

/// Longest text accepted: bounds the time and the memory one verification takes.
pub const TEXT_MAX: u32 = 256 << 20;

/// Page size of the processor.
pub const PAGE: u32 = 4096;

/// Changes whenever the rules change in a way that the allow-list does not show.
const RULES_VERSION: u32 = 1;

/// Size of a bundle: indirect branches reach only multiples of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bundle {
    /// 16 bytes.
    B16,
    /// 32 bytes, the size the toolchain uses.
    B32,
    /// 64 bytes.
    B64,
}

impl Bundle {
    /// The size in bytes.
    #[must_use]
    pub const fn size(self) -> u32 {
        match self {
            Bundle::B16 => 16,
            Bundle::B32 => 32,
            Bundle::B64 => 64,
        }
    }

    /// The immediate byte of `andl $-size, %eX`, which clears the low bits of a branch target.
    #[must_use]
    pub const fn mask_byte(self) -> u8 {
        match self {
            Bundle::B16 => 0xF0,
            Bundle::B32 => 0xE0,
            Bundle::B64 => 0xC0,
        }
    }
}

/// Processor features beyond x86-64-v2 that a policy admits. The loader must find them in CPUID:
/// an older processor runs the same bytes with another result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// BMI1's `tzcnt`, which GCC writes as `rep bsf`.
    pub tzcnt: bool,
    /// ABM's `lzcnt`, which is `rep bsr` to older processors.
    pub lzcnt: bool,
}

/// What the verifier holds a text to. The rules themselves are no part of it: they cannot be
/// switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    bundle: Bundle,
    traps: u32,
    features: Features,
}

impl Policy {
    /// The policy of the toolchain's programs: 32-byte bundles, one trap, x86-64-v2 and `tzcnt`.
    pub const DEFAULT: Policy = Policy {
        bundle: Bundle::B32,
        traps: 1,
        features: Features {
            tzcnt: true,
            lzcnt: false,
        },
    };

    /// A policy with `traps` usable entries in the call table; none if the table has fewer.
    #[must_use]
    pub const fn new(bundle: Bundle, traps: u32, features: Features) -> Option<Policy> {
        if traps > CALL_TABLE_ENTRIES {
            return None;
        }
        Some(Policy {
            bundle,
            traps,
            features,
        })
    }

    /// The bundle size.
    #[must_use]
    pub const fn bundle(&self) -> Bundle {
        self.bundle
    }

    /// How many entries of the call table a guest may call.
    #[must_use]
    pub const fn traps(&self) -> u32 {
        self.traps
    }

    /// What the processor must offer beyond x86-64-v2.
    #[must_use]
    pub const fn features(&self) -> Features {
        self.features
    }

    /// Names everything a verdict depends on besides the bytes: version of the rules, allow-list,
    /// layout of the slot, and this policy's own values.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_derive_key("zapp verifier policy");
        for number in [
            RULES_VERSION,
            self.bundle.size(),
            self.traps,
            u32::from(self.features.tzcnt) | u32::from(self.features.lzcnt) << 1,
            ZONE,
            CALL_TABLE,
        ] {
            hash.update(&number.to_le_bytes());
        }
        hash.update(env!("CARGO_PKG_VERSION").as_bytes());
        for facts in allow::table() {
            hash.update(&facts.to_le_bytes());
        }
        hash.finalize().into()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy::DEFAULT
    }
}
