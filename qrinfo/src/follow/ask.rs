//! One request, asked of one peer after the other until a reply is proven.

use std::{collections::BTreeMap, time::Duration};

use qrinfo_core::{AttemptErrorKind, PeerId, RecoveryEvent, Request, retry::RetryPolicy};
use qrinfo_correlate::PeerService;
use qrinfo_verify::{Verified, VerifyError};
use tokio::sync::broadcast;

use crate::{
    Delivered, LostPeer, OrderedSync, Peer, SequentialOptions, SequentialSync, SyncEvent, nodes::on_one_line,
    verify::Verifier,
};

/// The time for a request, all peers together. What happens meanwhile may have made it useless.
const TIME: Duration = Duration::from_secs(3 * 60);

/// The end of a request.
pub(super) struct Asked {
    pub(super) request: Request,
    /// The height of the block that it was asked by.
    pub(super) asked_by: u32,
    /// The proven reply. Without one the request may be made again later.
    pub(super) reply: Option<(Delivered, Verified)>,
    /// Peers that cannot be asked any more, and for faults, with the reason.
    pub(super) lost: Vec<LostPeer>,
    /// Peers that failed, with the number of refusals.
    pub(super) failed: BTreeMap<PeerId, u32>,
}

/// Asks these peers in turn.
pub(super) async fn ask(
    request: Request,
    asked_by: u32,
    peers: Vec<Peer<PeerService>>,
    mut verifier: Verifier,
) -> Asked {
    // After a timeout the follower decides again: more peers may have the block by then, and there may be a newer one.
    let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let options = SequentialOptions { retry, total_timeout: Some(TIME) };
    let mut sync = SequentialSync::new([request.clone()], peers, options);
    let mut events = sync.events();
    let mut reply = None;
    while let Some(delivered) = sync.next().await {
        match verifier.take(request.clone(), &delivered.reply).await {
            Ok(verified) => reply = Some((delivered, verified)),
            Err(VerifyError::False(falsehood)) => {
                tracing::warn!(peer = %delivered.timing.peer, why = on_one_line(&falsehood), "false reply");
                sync.reject_last(falsehood);
            }
            // No peer is to blame, and another one's reply would not help.
            Err(missing) => tracing::debug!(%request, %missing, "a reply cannot be judged"),
        }
    }
    Asked { request, asked_by, reply, failed: failures(&mut events), lost: sync.into_report().lost }
}

fn failures(events: &mut broadcast::Receiver<SyncEvent>) -> BTreeMap<PeerId, u32> {
    let mut failed = BTreeMap::new();
    loop {
        match events.try_recv() {
            Ok(SyncEvent::Recovery(RecoveryEvent::Decided { peer: Some(peer), error, .. })) => {
                *failed.entry(peer).or_default() += u32::from(error == AttemptErrorKind::Refused);
            }
            Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return failed,
        }
    }
}
