//! A process with a handler that would run on a guest's return stack cannot host guests (review E5 a).
//!
//! Dispositions belong to the process, so each case is a child: the test's own file, started again.

use crate::tests::support;
use crate::{Config, Error, Instance, Limits, Mounts, Outcome, Sandbox};
use std::process::Command;

const CHILD: &str = "ZAPP_HANDLER_CHILD";

extern "C" fn nothing(_: libc::c_int) {}

fn install_without_stack() {
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

/// The child's part.
#[test]
fn handler_child() {
    match std::env::var(CHILD).as_deref() {
        Ok("before") => {
            install_without_stack();
            let error = Sandbox::new(Config::default()).expect_err("a bad handler");
            assert!(matches!(error, Error::Host { .. }), "{error}");
        }
        Ok("after") => {
            let snapshot = support::snapshot("hello", &Limits::default(), &Mounts::new());
            let run = || {
                let instance = Instance::builder(&snapshot).build().expect("room");
                instance.run().report.outcome
            };
            assert_eq!(run(), Outcome::Exited { status: 7 });
            install_without_stack();
            let outcome = std::thread::scope(|scope| scope.spawn(run).join());
            let outcome = outcome.expect("no panic");
            let told = matches!(&outcome, Outcome::HostBug { what } if what.contains("SA_ONSTACK"));
            assert!(told, "{outcome:?}");
        }
        _ => return,
    }
    println!("the child has looked");
}

#[test]
fn handlers_without_alternate_stack_are_noticed_at_start_and_on_new_threads() {
    for case in ["before", "after"] {
        let output = Command::new(std::env::current_exe().expect("a test has a file"))
            .args([
                "--exact",
                "sys::tests::handlers::handler_child",
                "--nocapture",
            ])
            .env(CHILD, case)
            .output()
            .expect("the test's own file can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.contains("the child has looked"),
            "{case}: {text}"
        );
    }
}
