//! The bound of a worker's memory that holds when its own books are wrong.
//!
//! Every instance is admitted against a budget before it runs, in the worker. Should the worker be broken, or the books, the front
//! looks from outside, and ends the worker before the machine runs out of memory for its neighbours.
//!
//! A control group would be more exact, and nobody who starts a server as an ordinary user, or in a container, may make one. `RLIMIT_AS` cannot
//! tell a slot, 4 GiB of addresses, from memory. Between two looks a worker can take what the machine gives in a fifth of a second.

use std::time::Duration;

use crate::setup::Setup;

/// How often is looked: 10 µs of processor time each.
const EVERY: Duration = Duration::from_millis(200);
/// What a worker has beside its instances: itself, decoded blocks, the snapshots of a few hosts.
const OVERHEAD_BYTES: u64 = 512 << 20;

/// What all instances at once may use, and two more: one that is being warmed, and one it is compared with.
pub(crate) fn budget(setup: &Setup) -> u64 {
    let limits = &setup.limits;
    let each = limits
        .memory_bytes
        .saturating_add(limits.scratch_bytes)
        .saturating_add(64 << 20);
    each.saturating_mul(u64::from(setup.concurrency) + 2)
}

/// What the process of a worker may have in memory: its budget, the image, of which every page may have been looked at, and itself.
pub(crate) fn bound(setup: &Setup, image_bytes: u64) -> u64 {
    budget(setup)
        .saturating_add(image_bytes)
        .saturating_add(OVERHEAD_BYTES)
}

/// Waits until a process has more than `bound` bytes in memory and swap, and says so; for ever when it ends before.
pub(crate) async fn outgrown(pid: Option<u32>, bound: u64) -> String {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Some(bytes) = pid.and_then(used)
            && bytes > bound
        {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            return format!(
                "it had {} MiB of memory, and may have {}",
                mib(bytes),
                mib(bound)
            );
        }
    }
}

/// Bytes of a process in memory, its own and shared ones, and in swap.
fn used(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some((kib("VmRSS:")? + kib("VmSwap:").unwrap_or(0)).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_grows_beyond_his_bound_is_noticed() {
        let own = Some(std::process::id());
        let held = vec![1_u8; 32 << 20];
        let before = used(std::process::id()).unwrap();
        assert!(before > held.len() as u64, "{before}");
        let said = outgrown(own, 32 << 20).await;
        assert!(said.ends_with("MiB of memory, and may have 32"), "{said}");
        let wait = EVERY * 3;
        let enough = tokio::time::timeout(wait, outgrown(own, before + (1 << 30))).await;
        assert!(enough.is_err());
        assert_eq!(
            held.iter().map(|&byte| usize::from(byte)).sum::<usize>(),
            held.len()
        );
        assert!(used(u32::MAX).is_none());
    }

    #[test]
    fn the_bound_fits_what_was_admitted() {
        let mut setup = Setup {
            concurrency: 8,
            ..Setup::default()
        };
        setup.limits.memory_bytes = 128 << 20;
        setup.limits.scratch_bytes = 64 << 20;
        assert_eq!(budget(&setup), 10 * (256 << 20));
        assert_eq!(bound(&setup, 1 << 20), budget(&setup) + (513 << 20));
        setup.limits.memory_bytes = u64::MAX;
        assert_eq!(bound(&setup, 1 << 20), u64::MAX);
    }
}
