//! Tests of the verifier from outside: cases written in assembly, comparison with a slow twin,
//! exhaustive encodings against a second decoder, execution of what was accepted, hostile ELF.

mod alike;
mod assemble;
mod cases;
mod elf;
mod enumerate;
mod naive;
mod places;
mod random;
mod second;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod soundness;
