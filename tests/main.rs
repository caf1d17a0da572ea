//! End-to-end tests through the `zapp` binary, one module for each subject.
//!
//! They need no network once the guest programs, PHP's sources and the WordPress fixture are in the cache. Those that need
//! root, `/dev/fuse` or a program that is not installed print that they were skipped. `ZAPP_TEST_FULL=1` runs them on whole trees, and races for a minute, where a sample is taken otherwise.

mod client;
mod php;
mod support;

mod browser;
mod damage;
mod dependencies;
mod exit_codes;
mod extract;
mod guest;
mod guest_php;
mod import;
mod mount;
mod pack;
mod pack_php;
mod pack_warm;
mod pages;
mod php_cli;
mod php_elsewhere;
mod php_openssl;
mod phpt;
mod roundtrip;
mod run;
mod serve;
mod serve_bootstrap;
mod serve_buffers;
mod serve_confined;
mod serve_guest;
mod serve_home;
mod serve_hosts;
mod serve_http;
mod serve_http2;
mod serve_isolation;
mod serve_live;
mod serve_log;
mod serve_php;
mod serve_site;
mod serve_target;
mod serve_warm;
mod serve_wordpress;
mod site_php;
mod soak;
mod sqlite;
