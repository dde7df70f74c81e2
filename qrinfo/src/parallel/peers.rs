use std::convert::Infallible;

use futures_util::{Stream, StreamExt};
use qrinfo_core::PeerId;
use tower::discover::Change;

use crate::Peer;

/// Peers as the scheduler takes them.
pub(super) fn schedulable<S>(
    peers: impl Stream<Item = Change<PeerId, Peer<S>>> + Unpin,
) -> impl Stream<Item = Result<Change<PeerId, qrinfo_scheduler::Peer<S>>, Infallible>> + Unpin {
    peers.map(|change| {
        Ok(match change {
            Change::Remove(id) => Change::Remove(id),
            Change::Insert(id, Peer { service, round_trip, reports, .. }) => {
                let peer = qrinfo_scheduler::Peer::new(service, round_trip);
                Change::Insert(
                    id,
                    match reports {
                        Some(reports) => peer.with_reports(reports),
                        None => peer,
                    },
                )
            }
        })
    })
}
