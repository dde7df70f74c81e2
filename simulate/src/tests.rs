//! Days that have shown faults of the library.

use std::collections::BTreeSet;

use crate::run::once;

/// A peer with headers without end was asked for them again and again.
#[test]
fn a_peer_with_endless_headers_is_asked_once_a_block() {
    holds(19);
}

/// A request was kept for three minutes by the one peer that had told of its block first.
#[test]
fn a_peer_that_floods_does_not_hold_the_request() {
    holds(283);
}

fn holds(seed: u64) {
    let violations = once(seed, &BTreeSet::new()).records.violations;
    assert!(violations.is_empty(), "{violations:?}");
}
