//! The decisions about failures.

mod class;
mod congestion;
mod policy;
mod state;
mod state_prop;

use std::time::{Duration, Instant};

use qrinfo_core::{AttemptError, AttemptErrorKind, KnownPeer, PeerId, PeerTable};

pub(crate) fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the decisions have no clock, so any instant will do")]
    Instant::now()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn peer(number: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, number], 9999).into())
}

fn table(numbers: impl IntoIterator<Item = u8>) -> PeerTable {
    PeerTable::new(numbers.into_iter().map(|number| (peer(number), KnownPeer { height: 1_000, is_spent: false })))
}

fn failure(kind: AttemptErrorKind, number: u8) -> AttemptError {
    AttemptError::new(kind).at(peer(number))
}
