use std::convert::Infallible;

use futures_util::{Stream, StreamExt, stream};
use qrinfo_core::PeerId;
use qrinfo_recovery::RecoveryHandle;
use tower::discover::Change;

use crate::Peer;

/// Peers as the scheduler takes them. Recovery is told as they pass.
pub(super) fn schedulable<S: Send + 'static>(
    peers: impl Stream<Item = Change<PeerId, Peer<S>>> + Send + Unpin + 'static,
    recovery: RecoveryHandle,
) -> impl Stream<Item = Result<Change<PeerId, qrinfo_scheduler::Peer<S>>, Infallible>> + Send + Unpin {
    let at_the_end = recovery.clone();
    let end = stream::poll_fn(move |_| {
        at_the_end.no_more_peers();
        std::task::Poll::Ready(None)
    });
    let peers = peers.map(move |change| {
        Ok(match change {
            Change::Remove(id) => {
                recovery.peer_left(id);
                Change::Remove(id)
            }
            Change::Insert(id, Peer { service, round_trip, reports, start_height, .. }) => {
                recovery.peer_joined(id, start_height);
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
    });
    peers.chain(end)
}
