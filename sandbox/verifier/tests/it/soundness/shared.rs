//! Memory that the tracing process and the traced one both see.
#![expect(
    unsafe_code,
    reason = "the mapping is made and read by raw calls, because the child has nothing else"
)]

use std::ptr;

/// A mapping shared with the child.
pub(super) struct Shared {
    pub(super) fd: i32,
    pub(super) at: *mut u8,
    pub(super) len: usize,
}

impl Shared {
    pub(super) fn new(len: usize) -> Shared {
        // SAFETY: plain system calls; the mapping is fresh and at least `len` long.
        unsafe {
            let fd = libc::memfd_create(c"soundness".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0, "memfd_create failed");
            let length = i64::try_from(len).expect("small");
            assert_eq!(libc::ftruncate(fd, length), 0, "ftruncate failed");
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let at = libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0);
            assert_ne!(at, libc::MAP_FAILED, "mmap failed");
            Shared {
                fd,
                at: at.cast(),
                len,
            }
        }
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len, "inside the mapping");
        // SAFETY: the range was checked; only this process writes there through this pointer.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.add(at), bytes.len()) }
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        assert!(at + 8 <= self.len, "inside the mapping");
        // SAFETY: the range was checked; the child is stopped while its memory is read.
        unsafe { ptr::read_volatile(self.at.add(at).cast::<u64>()) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: unmaps and closes what `new` made.
        unsafe {
            libc::munmap(self.at.cast(), self.len);
            libc::close(self.fd);
        }
    }
}
