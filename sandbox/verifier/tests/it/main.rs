//! Tests of the verifier from outside: cases written in assembly, comparison with a slow twin,
//! exhaustive encodings against a second decoder, execution of what was accepted, hostile ELF.

mod assemble;
mod cases;
mod naive;
