//! Waiting for files: every open file is always ready, so that with none to look at these calls are ways to sleep.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer};

/// Most descriptors in a set (`FD_SETSIZE`).
const SET_MAX: i32 = 1024;

/// Longer than any guest lives.
const FOR_EVER_NS: u64 = u64::MAX;

impl Running<'_> {
    #[inline(never)]
    pub(super) fn poll_files(&mut self, arguments: Arguments) -> Answer {
        const ENTRY: usize = 8;
        let count = usize::try_from(arguments.b).unwrap_or(usize::MAX);
        if count > usize::try_from(self.limits.files).expect("u32 fits usize") {
            return errno(libc::EINVAL);
        }
        let mut entries = vec![0; count * ENTRY];
        self.region.copy_in(pointer(arguments.a), &mut entries)?;
        let mut ready = 0;
        for entry in entries.chunks_exact_mut(ENTRY) {
            let fd = i32::from_le_bytes(entry[..4].try_into().expect("four bytes"));
            let wanted = i16::from_le_bytes([entry[4], entry[5]]);
            let found = match self.state.files.get(fd) {
                _ if fd < 0 => 0,
                Ok(_) => wanted & (libc::POLLIN | libc::POLLOUT),
                Err(_) => libc::POLLNVAL,
            };
            entry[6..8].copy_from_slice(&found.to_le_bytes());
            ready += u64::from(found != 0);
        }
        self.region.copy_out(pointer(arguments.a), &entries)?;
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
        if pointer(arguments.e) != 0 {
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
        let pause = match pointer(arguments.e) {
            0 => FOR_EVER_NS,
            time => self.timespec_in(time)?,
        };
        self.select_for(arguments, pause)
    }

    fn select_for(&mut self, arguments: Arguments, pause_ns: u64) -> Answer {
        let count = int(arguments.a);
        if !(0..=SET_MAX).contains(&count) {
            return errno(libc::EINVAL);
        }
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
        for word in 0..failing.len() {
            let place = pointer(arguments.d) + u32::try_from(word * 8).expect("at most 128");
            self.words_out(place, [0])?;
        }
        Ok(ready)
    }

    /// A claimed `fd_set`, whose descriptors are all open.
    fn set_in(&self, count: i32, start: u64) -> Result<Vec<u64>, Stop> {
        let words = usize::try_from(count).expect("checked").div_ceil(64);
        let mut bytes = vec![[0; 8]; if pointer(start) == 0 { 0 } else { words }];
        self.region
            .copy_in(pointer(start), bytes.as_flattened_mut())?;
        let mut set: Vec<u64> = bytes.into_iter().map(u64::from_le_bytes).collect();
        let beyond = words * 64 - usize::try_from(count).expect("checked");
        if let Some(last) = set.last_mut() {
            *last = *last << beyond >> beyond;
        }
        for fd in 0..count {
            let index = usize::try_from(fd).expect("checked");
            if set
                .get(index / 64)
                .is_some_and(|word| word >> (index % 64) & 1 != 0)
            {
                self.state.files.get(fd)?;
            }
        }
        Ok(set)
    }
}
