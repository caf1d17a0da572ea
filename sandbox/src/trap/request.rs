//! `accept` and `respond`.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, pointer};
use crate::request::{HEADER_BYTES_MAX, Response};

impl Running<'_> {
    #[inline(never)]
    pub(super) fn accept(&mut self, arguments: Arguments) -> Answer {
        match self.exchange.request.take() {
            Some(request) => {
                Ok(request.deliver(self.outside, self.region, arguments.a, arguments.b)?)
            }
            None => Err(Stop::Accept),
        }
    }

    #[inline(never)]
    pub(super) fn respond(&mut self, arguments: Arguments) -> Answer {
        let len = usize::try_from(arguments.b).unwrap_or(usize::MAX);
        if len > HEADER_BYTES_MAX {
            return errno(libc::E2BIG);
        }
        if self.exchange.response.is_some() {
            return errno(libc::EALREADY);
        }
        let mut bytes = vec![0; len];
        self.region.copy_in(pointer(arguments.a), &mut bytes)?;
        let response = Response::decode(&bytes).ok_or(Errno(libc::EINVAL))?;
        self.exchange.response = Some(response);
        Ok(0)
    }
}
