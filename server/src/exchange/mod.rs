//! One request and its answer, whatever protocol carries them.

mod account;
pub(crate) mod body;
pub(crate) mod buffers;
mod call;
pub(crate) mod files;
mod frames;
pub(crate) mod gate;
pub(crate) mod guest_answer;
pub(crate) mod instances;
pub(crate) mod live;
mod page;
pub(crate) mod peers;
mod range;
mod refusal;
mod reply;
pub(crate) mod request;
mod routing;
mod rules;
mod said;
pub(crate) mod status;
mod upload;
mod validators;
mod visit;
