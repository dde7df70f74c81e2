use std::convert::Infallible;

use futures_util::{Stream, StreamExt, stream};
use qrinfo_core::PeerId;
use qrinfo_recovery::{FailureWatch, FailureWatchLayer, RecoveryEvent, RecoveryHandle};
use tokio::sync::broadcast;
use tower::{Layer, discover::Change};

use super::tally::{Tallied, Tally};
use crate::Peer;

/// What is done to peers before the scheduler takes them.
pub(super) type Schedulable<S> = FailureWatch<Tallied<S>>;

/// Peers as the scheduler takes them: counted and watched. Recovery is told as they pass.
pub(super) fn schedulable<S: Send + 'static>(
    peers: impl Stream<Item = Change<PeerId, Peer<S>>> + Send + Unpin + 'static,
    watch: FailureWatchLayer,
    recovery: RecoveryHandle,
    tally: Tally,
    events: broadcast::Sender<RecoveryEvent>,
) -> impl Stream<Item = Result<Change<PeerId, qrinfo_scheduler::Peer<Schedulable<S>>>, Infallible>> + Send + Unpin {
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
            // Under the same name it is the same peer.
            Change::Insert(id, _) if recovery.is_banned(id) => Change::Remove(id),
            Change::Insert(id, Peer { service, round_trip, reports, start_height, .. }) => {
                let connection = recovery.peer_joined(id, start_height);
                let (recovery, tally, events) = (recovery.clone(), tally.clone(), events.clone());
                let service = watch.layer(Tallied::new(service, (id, connection), recovery, tally, events));
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
