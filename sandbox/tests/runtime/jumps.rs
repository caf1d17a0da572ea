//! setjmp, longjmp and fibers: jumps that only the host can make, and only where they may go.

use crate::support::snapshot;
use sandbox::{Finished, Instance, Limits, Mounts, Outcome};

fn jumps(kind: &str) -> Finished {
    let snapshot = snapshot("jumps", &Limits::default(), &Mounts::new());
    Instance::builder(&snapshot)
        .args(["jumps", kind])
        .build()
        .expect("room")
        .run()
}

#[test]
fn longjmp_returns_a_second_time_from_setjmp() {
    let finished = jumps("l");
    assert_eq!(finished.report.outcome, Outcome::Exited { status: 42 });
}

#[test]
fn a_million_records_in_one_frame_are_one() {
    assert_eq!(jumps("m").report.outcome, Outcome::Exited { status: 0 });
}

#[test]
fn longjmp_to_a_function_that_has_returned_ends_the_guest() {
    let outcome = jumps("d").report.outcome;
    assert!(
        matches!(&outcome, Outcome::Misuse { what } if what.contains("longjmp")),
        "{outcome:?}"
    );
}

#[test]
fn longjmp_to_a_number_from_nowhere_ends_the_guest() {
    let outcome = jumps("n").report.outcome;
    assert!(
        matches!(&outcome, Outcome::Misuse { what } if what.contains("longjmp")),
        "{outcome:?}"
    );
}

#[test]
fn fibers_hand_values_to_and_fro() {
    assert_eq!(jumps("f").report.outcome, Outcome::Exited { status: 36 });
}

#[test]
fn fiber_that_returns_ends_the_guest() {
    assert!(matches!(jumps("r").report.outcome, Outcome::Misuse { .. }));
}

#[test]
fn fibers_that_cannot_be_are_refused() {
    // The guest counts refusals: unaligned entry, entry outside the text, switch to nothing, to
    // itself, to a freed fiber; freeing the current one.
    assert_eq!(jumps("b").report.outcome, Outcome::Exited { status: 6 });
}

#[test]
fn endless_fibers_end_at_their_limit() {
    // The guest makes fibers until it is refused, and answers whether that came in good time.
    assert_eq!(jumps("e").report.outcome, Outcome::Exited { status: 1 });
}
