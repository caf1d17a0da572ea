//! Waiting for files: every open file is always ready, so that with none to look at these calls are ways to sleep.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer};
use crate::address::size;

/// Most descriptors in a set (`FD_SETSIZE`).
const SET_MAX: u32 = 1024;

/// Longer than any guest lives.
const FOR_EVER_NS: u64 = u64::MAX;

impl Running<'_> {
    #[inline(never)]
    pub(super) fn poll_files(&mut self, arguments: Arguments) -> Answer {
        const ENTRY: usize = 8;
        let count = usize::try_from(arguments.b).unwrap_or(usize::MAX);
        if count > size(self.limits.files.into()) {
            return errno(libc::EINVAL);
        }
        let mut entries = vec![[0; ENTRY]; count];
        self.region
            .copy_in(pointer(arguments.a), entries.as_flattened_mut())?;
        let mut ready = 0;
        for entry in &mut entries {
            let [a, b, c, d, low, high, ..] = *entry;
            let fd = i32::from_le_bytes([a, b, c, d]);
            let wanted = i16::from_le_bytes([low, high]);
            let found = match self.state.files.get(fd) {
                _ if fd < 0 => 0,
                Ok(_) => wanted & (libc::POLLIN | libc::POLLOUT),
                Err(_) => libc::POLLNVAL,
            };
            entry[6..8].copy_from_slice(&found.to_le_bytes());
            ready += u64::from(found != 0);
        }
        self.region
            .copy_out(pointer(arguments.a), entries.as_flattened())?;
        let timeout = int(arguments.c);
        if ready == 0 && timeout > 0 {
            let pause = u64::from(timeout.unsigned_abs()) * 1_000_000;
            self.sleep(pause)?;
        }
        Ok(ready)
    }

    /// `select` with a `struct timeval`.
    #[inline(never)]
    pub(super) fn select(&mut self, arguments: Arguments) -> Answer {
        let mut pause = FOR_EVER_NS;
        if !pointer(arguments.e).is_null() {
            let mut bytes = [[0; 8]; 2];
            self.region
                .copy_in(pointer(arguments.e), bytes.as_flattened_mut())?;
            let [seconds, micros] = bytes.map(i64::from_le_bytes);
            let part = |value: i64, unit: u64| {
                u64::try_from(value)
                    .map(|value| value.saturating_mul(unit))
                    .map_err(|_| Errno(libc::EINVAL))
            };
            pause = part(seconds, 1_000_000_000)?.saturating_add(part(micros, 1_000)?);
        }
        self.select_for(arguments, pause)
    }

    /// `pselect6` with a `struct timespec`; there are no signals to mask.
    #[inline(never)]
    pub(super) fn pselect(&mut self, arguments: Arguments) -> Answer {
        let time = pointer(arguments.e);
        let pause = match time.is_null() {
            true => FOR_EVER_NS,
            false => self.timespec_in(time)?,
        };
        self.select_for(arguments, pause)
    }

    fn select_for(&mut self, arguments: Arguments, pause_ns: u64) -> Answer {
        let count = u32::try_from(int(arguments.a))
            .ok()
            .filter(|count| *count <= SET_MAX)
            .ok_or(Errno(libc::EINVAL))?;
        let reading = self.set_in(count, arguments.b)?;
        let writing = self.set_in(count, arguments.c)?;
        let failing = self.set_in(count, arguments.d)?;
        let ready =
            [&reading, &writing].map(|set| set.iter().map(|word| word.count_ones()).sum::<u32>());
        let ready = u64::from(ready[0]) + u64::from(ready[1]);
        if ready == 0 {
            self.sleep(pause_ns)?;
        }
        // Nothing is ever exceptional; what was asked to be read or written stays in its set.
        let nothing = vec![[0; 8]; failing.len()];
        self.region
            .copy_out(pointer(arguments.d), nothing.as_flattened())?;
        Ok(ready)
    }

    /// A claimed `fd_set`, whose first `count` descriptors are all open.
    fn set_in(&self, count: u32, start: u64) -> Result<Vec<u64>, Stop> {
        let words = size(count.div_ceil(u64::BITS).into());
        let is_none = pointer(start).is_null();
        let mut bytes = vec![[0; 8]; if is_none { 0 } else { words }];
        self.region
            .copy_in(pointer(start), bytes.as_flattened_mut())?;
        let mut set: Vec<u64> = bytes.into_iter().map(u64::from_le_bytes).collect();
        let beyond = count.next_multiple_of(u64::BITS) - count;
        if let Some(last) = set.last_mut() {
            *last = *last << beyond >> beyond;
        }
        for (fd, word) in (0..).step_by(64).zip(&set) {
            for bit in (0..64).filter(|bit| word >> bit & 1 != 0) {
                self.state.files.get(fd + bit)?;
            }
        }
        Ok(set)
    }
}
