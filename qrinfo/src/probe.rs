use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, AttemptService, BlockHash, CYCLES_BACK, Request};
use tokio::time::{Instant, sleep_until};

use crate::{
    peer::{Peer, ask},
    plan::{PlanError, Planner},
};

/// Questions that the peers may refuse: each costs a misbehaviour point of the hundred at which a node disconnects. A
/// search with fewer refusals needs more answers: a chain of a million blocks takes at most 30 questions.
const REFUSALS: u32 = 4;

/// The time for the other peers after one has refused. A silent peer must not hold up the search for its whole timeout.
const GRACE: Duration = Duration::from_secs(2);

/// The reason for which the first answerable cycle was not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Our headers do not reach far enough to ask for anything.
    #[error("no cycle can be asked for yet; sync more headers")]
    Plan(#[from] PlanError),
    /// Every peer refused even the newest cycle: this chain has no rotated quorums, or no peer is on our chain.
    #[error("every peer refuses even the newest cycle, {0}; the chain has no rotated quorums, or no peer is on it")]
    NothingAnswerable(u32),
    /// Every peer failed otherwise.
    #[error("no peer answers which cycle is the first; connect to other peers")]
    Peers(#[from] AttemptError),
    /// There is no peer to ask.
    #[error("no peer to ask for the first cycle; connect to a peer")]
    NoPeer,
}

/// The search for the first answerable cycle, as a plain struct. Cycles are counted from genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Search {
    /// Every cycle up to this one is refused.
    refused: u32,
    /// This cycle is answered.
    answered: u32,
    /// Refusals that may still be caused.
    refusals: u32,
}

/// Finds the first cycle that can be answered: the first whose cycles before have stored snapshots.
///
/// On mainnet and testnet it follows from the height at which rotation began. Other chains have a height of their own,
/// so all peers are asked for each candidate. One reply makes a cycle answerable. It is not answerable if every peer
/// refuses it, or is silent for 2 s after another one refused; a peer that was silent for so long is not waited for again.
/// At most five refusals are caused at a peer.
///
/// # Errors
/// [`ProbeError`].
pub async fn first_answerable_cycle<S: AttemptService + Clone>(
    peers: &[Peer<S>],
    planner: &Planner,
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> Result<u32, ProbeError> {
    let cycles = planner.network.cycles();
    let length = cycles.length();
    if let Some(height) = planner.network.dip24_height() {
        return Ok(cycles.end(cycles.start_of(height)) + 1 + CYCLES_BACK * length);
    }
    let newest = planner.tip / length;
    let mut peers: Vec<&Peer<S>> = peers.iter().collect();
    let mut is_answered = async |cycle: u32| is_answered(&mut peers, planner, cycle * length, &hash_at).await;
    if !is_answered(newest).await? {
        return Err(ProbeError::NothingAnswerable(newest * length));
    }
    let mut search = Search { refused: planner.lists_back(), answered: newest, refusals: REFUSALS };
    while let Some(cycle) = search.next() {
        search.told(cycle, is_answered(cycle).await?);
    }
    Ok(search.answered * length)
}

/// Returns `true` if any of the peers answers for the cycle of a height, `false` if all refuse. All are asked at once.
///
/// This tells a chain that a peer works with from headers that it only has: a node answers for blocks that it has
/// validated.
///
/// # Errors
/// [`ProbeError`], also if no peer answers at all.
pub async fn is_answerable<S: AttemptService + Clone>(
    peers: &[Peer<S>],
    planner: &Planner,
    height: u32,
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> Result<bool, ProbeError> {
    is_answered(&mut peers.iter().collect(), planner, height, &hash_at).await
}

/// Returns `true` if any peer answers the cycle of this height. Peers that are silent while others refuse are taken away.
async fn is_answered<S: AttemptService + Clone>(
    peers: &mut Vec<&Peer<S>>,
    planner: &Planner,
    height: u32,
    hash_at: &impl Fn(u32) -> Option<BlockHash>,
) -> Result<bool, ProbeError> {
    let spec =
        planner.plan(height, height, hash_at)?.into_iter().next().ok_or(ProbeError::NothingAnswerable(height))?;
    let request = Request::from(spec);
    let mut asked: FuturesUnordered<_> = peers
        .iter()
        .map(|peer| {
            let (id, mut service) = (peer.id, peer.service.clone());
            let attempt = Attempt::new(u64::from(height), request.clone());
            async move { (id, ask(id, &mut service, attempt).await) }
        })
        .collect();
    let mut silent: BTreeSet<_> = peers.iter().map(|peer| peer.id).collect();
    let (mut refused_at, mut failure) = (None, None);
    loop {
        let grace = refused_at.map(|at: Instant| at + GRACE);
        let answer = tokio::select! {
            answer = asked.next() => answer,
            () = sleep_until(grace.unwrap_or_else(Instant::now)), if grace.is_some() => None,
        };
        match answer {
            Some((_, Ok(_))) => return Ok(true),
            Some((peer, Err(error))) if error.kind() == AttemptErrorKind::Refused => {
                refused_at.get_or_insert_with(Instant::now);
                silent.remove(&peer);
            }
            Some((peer, Err(error))) => {
                failure = Some(error);
                silent.remove(&peer);
            }
            None if refused_at.is_some() => {
                drop(asked);
                peers.retain(|peer| !silent.contains(&peer.id));
                return Ok(false);
            }
            None => return Err(failure.map_or(ProbeError::NoPeer, ProbeError::Peers)),
        }
    }
}

// === impl Search ===

impl Search {
    /// The next cycle to ask for, or `None` when `answered` is the first.
    ///
    /// With `r` refusals left and `q` questions, at most as many cycles can be told apart as there are ways to place the
    /// refusals among the questions. The question splits the range accordingly: low enough that the answers alone would
    /// find the first cycle, high enough that a refusal leaves no more than the rest of the questions can tell apart.
    fn next(&self) -> Option<u32> {
        let open = self.answered.checked_sub(self.refused + 1).filter(|open| *open > 0)?;
        if self.refusals == 0 {
            return Some(self.answered - 1);
        }
        let mut questions = 1;
        while reach(questions, self.refusals) < u64::from(open) {
            questions += 1;
        }
        // If it is refused, the cycles above it are searched with one question and one refusal less.
        let above = reach(questions - 1, self.refusals.saturating_sub(1)).min(u64::from(open - 1));
        Some(self.answered - 1 - u32::try_from(above).unwrap_or(open - 1))
    }

    fn told(&mut self, cycle: u32, is_answered: bool) {
        match is_answered {
            true => self.answered = cycle,
            false => {
                self.refused = cycle;
                self.refusals = self.refusals.saturating_sub(1);
            }
        }
    }
}

/// Cycles below an answered one among which `questions` with at most `refusals` find the first answered one.
fn reach(questions: u32, refusals: u32) -> u64 {
    let (mut sum, mut term) = (0_u64, 1_u64);
    for place in 1..=refusals.min(questions) {
        term = term * u64::from(questions - place + 1) / u64::from(place);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches with a known first cycle, and counts questions and refusals.
    fn search(newest: u32, first: u32) -> (u32, u32, u32) {
        let mut search = Search { refused: 4, answered: newest, refusals: REFUSALS };
        let (mut questions, mut refusals) = (0, 0);
        while let Some(cycle) = search.next() {
            assert!((search.refused + 1..search.answered).contains(&cycle), "{search:?} asks {cycle}");
            questions += 1;
            refusals += u32::from(cycle < first);
            search.told(cycle, cycle >= first);
        }
        (search.answered, questions, refusals)
    }

    #[test]
    fn every_first_cycle_is_found_with_few_refusals() {
        for newest in 5..150 {
            for first in 5..=newest {
                let (found, questions, refusals) = search(newest, first);
                assert_eq!(found, first, "of {newest}");
                assert!(refusals <= REFUSALS + 1 && questions <= 12, "{newest} {first}: {questions}, {refusals}");
            }
        }
    }

    #[test]
    fn a_long_chain_takes_few_questions() {
        for first in [5, 1_000, 20_832, 41_666] {
            let (found, questions, refusals) = search(41_666, first);
            assert_eq!(found, first);
            assert!(questions <= 40 && refusals <= REFUSALS + 1, "{questions}, {refusals}");
        }
    }
}
