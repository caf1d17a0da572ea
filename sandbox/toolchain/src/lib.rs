//! The guest compiler: stock GCC assembly in, sandboxed programs out. Not trusted: the verifier judges what it makes.
//!
//! - [`mod@rewrite`] turns the assembly text of one file into sandboxed assembly;
//! - [`cc`] is the compiler driver `zapp cc` and `zapp c++`, a drop-in `CC` and `CXX`;
//! - [`guest`] builds guests from Debian's sources and keeps them in a cache: the C library, the C++ library, PHP.
//!
//! It leaves out: exceptions and languages other than C and C++, shared objects, threads, unwinding, AVX.

#![forbid(unsafe_code)]

pub mod cc;
mod depth;
pub mod error;
mod finish;
mod flags;
pub mod guest;
mod operand;
mod parse;
pub mod process;
pub mod rewrite;
mod unit;

pub use finish::merge_nops;
