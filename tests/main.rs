//! End-to-end tests through the `zapp` binary, one module for each subject.
//!
//! They need no network. Those that need root, `/dev/fuse` or a program that is not installed print that they were
//! skipped. `ZAPP_TEST_FULL=1` runs them on whole trees where a sample is taken otherwise.

mod support;

mod exit_codes;
