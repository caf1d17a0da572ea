//! One request and its answer, whatever protocol carries them.

pub(crate) mod body;
pub(crate) mod buffers;
pub(crate) mod files;
mod frames;
pub(crate) mod gate;
pub(crate) mod guest_answer;
pub(crate) mod instances;
pub(crate) mod peers;
pub(crate) mod proxy;
mod range;
mod refusal;
pub(crate) mod request;
