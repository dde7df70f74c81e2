//! The classes of failure.

use qrinfo_core::{
    AttemptErrorKind,
    retry::{Category, FailureClass},
};

use AttemptErrorKind::{
    Cancelled, Disconnected, False, Local, Malformed, NoPeer, NotSent, Overloaded, Refused, Timeout,
};

const KINDS: [AttemptErrorKind; 10] =
    [Timeout, Disconnected, Refused, NotSent, Malformed, False, Overloaded, NoPeer, Cancelled, Local];

/// No honest peer is blamed: a peer is at fault for what it sent, and for nothing else.
#[test]
fn a_peer_is_at_fault_for_what_it_sent_alone() {
    let faults: Vec<_> = KINDS.into_iter().filter(|kind| FailureClass::of(*kind).peers_fault).collect();
    assert_eq!(faults, [Malformed, False]);
}

/// A refusal comes from asking for the wrong thing, and fewer requests at a time would not help.
#[test]
fn congestion_is_what_too_many_requests_may_cause() {
    let congestion: Vec<_> = KINDS.into_iter().filter(|kind| FailureClass::of(*kind).congestion).collect();
    assert_eq!(congestion, [Timeout, Disconnected, Overloaded]);
}

#[test]
fn another_peer_does_not_help_against_our_own_failures() {
    let ours: Vec<_> = KINDS.into_iter().filter(|kind| !FailureClass::of(*kind).ask_elsewhere).collect();
    assert_eq!(ours, [NoPeer, Cancelled, Local]);
}

/// The limits are dash-spv's.
#[test]
fn each_kind_is_counted_in_its_category() {
    for (kind, category, limit) in [
        (Timeout, Category::Timeout, Some(5)),
        (Disconnected, Category::Network, Some(10)),
        (Refused, Category::Peer, None),
        (NotSent, Category::Peer, None),
        (Malformed, Category::Validation, Some(3)),
        (False, Category::Validation, Some(3)),
        (Overloaded, Category::Other, Some(3)),
        (NoPeer, Category::Network, Some(10)),
        (Cancelled, Category::Other, Some(3)),
        (Local, Category::Storage, Some(3)),
    ] {
        let class = FailureClass::of(kind);
        assert_eq!((class.category, class.category.limit()), (category, limit), "{kind}");
    }
}
