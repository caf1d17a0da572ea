//! CPU time and memory of a process and everything that descends from it, as `/proc` tells: nanoseconds for threads that
//! live (`/proc/PID/task/TID/schedstat`, the kernel's `sched-stats.rst`), clock ticks for children that have ended
//! (proc_pid_stat(5)).

use std::collections::HashMap;
use std::fs;

/// Clock ticks a second, `sysconf(_SC_CLK_TCK)`: 100 on every Linux there is.
const TICKS: f64 = 100.0;

struct Stat {
    parent: u32,
    /// Of children that have ended and were waited for.
    ended_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // After the name: state, ppid, …; cutime and cstime are 14th and 15th.
    let ended_ticks = (13..15).map(number).sum::<Option<u64>>()?;
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ended_ticks,
    })
}

/// Nanoseconds that the threads of a process have run.
fn running(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let ran = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(threads.filter_map(ran).sum())
}

/// A process and its descendants.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("/proc is there").flatten();
    let parents: HashMap<u32, u32> = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let belongs = |mut pid: u32| loop {
        if pid == root {
            return true;
        }
        match parents.get(&pid) {
            Some(parent) if *parent != 0 => pid = *parent,
            _ => return false,
        }
    };
    parents
        .keys()
        .copied()
        .filter(|pid| belongs(*pid))
        .collect()
}

/// Seconds of CPU time of a family so far, its dead and waited-for members included.
pub(crate) fn cpu_seconds(root: u32) -> f64 {
    let family = family(root);
    let ended: u64 = family
        .iter()
        .filter_map(|pid| stat(*pid))
        .map(|stat| stat.ended_ticks)
        .sum();
    let ran: u64 = family.iter().filter_map(|pid| running(*pid)).sum();
    ran as f64 / 1e9 + ended as f64 / TICKS
}

/// Proportional memory of a family in MiB.
pub(crate) fn memory_mib(root: u32) -> u64 {
    let pss = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    family(root).into_iter().filter_map(pss).sum::<u64>() / 1024
}
