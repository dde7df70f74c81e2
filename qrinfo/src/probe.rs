use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, AttemptService, BlockHash, Request, dip24::CYCLES_BACK};

use crate::{
    peer::{Peer, ask},
    plan::{PlanError, Planner},
};

/// Why the first answerable cycle was not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Our headers do not reach far enough to ask for anything.
    #[error("no cycle can be asked for yet")]
    Plan(#[from] PlanError),
    /// The peer refused even the newest cycle: this chain has no rotated quorums, or the peer is not on our chain.
    #[error("the peer refuses even the newest cycle, {0}; it has no rotated quorums or is on another chain")]
    NothingAnswerable(u32),
    /// The peer failed otherwise.
    #[error("cannot find out which cycle is the first")]
    Peer(#[from] AttemptError),
}

/// The first cycle that a peer can answer: the first whose four cycles before have stored snapshots. Without the extra
/// share Dash Core asks for three from 23.1 on.
///
/// On mainnet and testnet it follows from the height at which rotation began, and is the first that all versions
/// answer. Other chains set their own, so the peer
/// is asked, halving the range each time: each refusal on the way costs one point of the hundred at which a node bans
/// us, and a chain of a million blocks takes at most sixteen.
///
/// # Errors
/// [`ProbeError`].
pub async fn first_answerable_cycle<S: AttemptService>(
    peer: &mut Peer<S>,
    planner: &Planner,
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> Result<u32, ProbeError> {
    let cycles = planner.network.cycles();
    let length = cycles.length();
    if let Some(height) = planner.network.dip24_height() {
        return Ok(cycles.end(height) + 1 + CYCLES_BACK * length);
    }
    // In cycles: everything below `refused` is refused, `answered` is answered.
    let mut refused = planner.lists_back();
    let mut answered = planner.tip / length;
    if !answers(peer, planner, answered * length, &hash_at).await? {
        return Err(ProbeError::NothingAnswerable(answered * length));
    }
    while answered - refused > 1 {
        let middle = refused + (answered - refused) / 2;
        match answers(peer, planner, middle * length, &hash_at).await? {
            true => answered = middle,
            false => refused = middle,
        }
    }
    Ok(answered * length)
}

async fn answers<S: AttemptService>(
    peer: &mut Peer<S>,
    planner: &Planner,
    cycle: u32,
    hash_at: &impl Fn(u32) -> Option<BlockHash>,
) -> Result<bool, ProbeError> {
    let plan = planner.plan(cycle, cycle, hash_at)?;
    for spec in plan {
        match ask(peer.id, &mut peer.service, Attempt::new(u64::from(cycle), Request::from(spec))).await {
            Ok(_) => {}
            Err(error) if error.kind() == AttemptErrorKind::Refused => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
