//! Which request goes to which peer.
//!
//! Everything follows from two estimates of each peer: when a request sent to it now would be done, and how many it
//! would have done before a given time. `docs/scheduling.md` says what each rule is worth.

use std::{
    collections::BTreeMap,
    time::Instant,
};

use qrinfo_core::PeerId;

use crate::{
    DispatchId, PeerHealth, Ticket, Window,
    budget::CopyBudget,
    peer::Forecast,
    queue::Queue,
    scheduler::Job,
    sizes::Sizes,
};

/// A copy that gains less is not worth its bytes, seconds.
const LEAST_GAIN: f64 = 0.02;

/// In the tail a copy must save this share of the time that the request still needs.
const LEAST_GAIN_OF_REST: f64 = 0.3;

/// Copies of a request at peers that are trusted with it.
const MAX_COPIES: usize = 2;

/// A request and the peer for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) ticket: Ticket,
    pub(crate) peer: PeerId,
    /// Whether its age decided.
    pub(crate) aged: bool,
}

/// The peers that take requests, the soonest done first.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    peer: PeerId,
    forecast: Forecast,
    /// Whether it takes one now.
    is_open: bool,
}

// === impl Crew ===

impl Crew {
    pub(crate) fn new(
        peers: &BTreeMap<PeerId, PeerHealth>,
        sizes: &Sizes,
        common_rate: f64,
        now: Instant,
    ) -> Self {
        let mut members: Vec<Member> = peers
            .iter()
            .filter(|(_, health)| health.is_live())
            .map(|(&peer, health)| {
                let forecast = health.forecast(now, common_rate, sizes);
                let is_open = forecast.has_slot && health.conforms_at(now) <= now;
                Member { peer, forecast, is_open }
            })
            .collect();
        members.sort_by(|a, b| a.forecast.done_at_risk().total_cmp(&b.forecast.done_at_risk()));
        Self { members }
    }

    /// The best peer for a request whose turn it is by age.
    pub(crate) fn overdue(&self, ticket: Ticket, job: &Job) -> Option<Choice> {
        let member = self.open().find(|member| job.allows(member.peer))?;
        Some(Choice { ticket, peer: member.peer, aged: true })
    }

    /// A request that nobody trusted has yet, to the peer that will be done soonest.
    ///
    /// A slower peer is held back where the others will have done all that waits before it would have done one.
    /// Under a window it takes a later request instead: the first that the others will not have reached by then.
    pub(crate) fn first_copy(
        &self,
        queue: &Queue,
        jobs: &BTreeMap<Ticket, Job>,
        window: Option<Window>,
    ) -> Option<Choice> {
        if queue.is_empty() {
            return None;
        }
        let waiting = queue.len() as f64;
        let end = window.map(|window| window.end());
        let eligible = match end {
            Some(end) => queue.below(Some(end)).count(),
            None => queue.len(),
        };
        for member in self.open() {
            let done = member.forecast.done_at_risk();
            let by_all = self.completions_before(done, member, |_| true);
            let skip = match window {
                Some(_) => (by_all as usize).min(eligible.saturating_sub(1)),
                None => 0,
            };
            for (index, place) in queue.below(end).enumerate().skip(skip) {
                let Some(job) = jobs.get(&place.ticket) else { continue };
                if !job.allows(member.peer) {
                    continue;
                }
                let by_others = match job.attempt.avoid.is_empty() && job.copies.is_empty() {
                    true => by_all,
                    false => self.completions_before(done, member, |peer| job.allows(peer)),
                };
                if by_others >= waiting {
                    continue;
                }
                if let Some(window) = window {
                    let late = done + member.forecast.transfer;
                    let room = index as f64 + window.length as f64;
                    if self.completions_before(late, member, |peer| job.allows(peer)) >= room {
                        continue;
                    }
                }
                return Some(Choice { ticket: place.ticket, peer: member.peer, aged: false });
            }
        }
        None
    }

    /// A second copy of a request that its peer will be late with.
    ///
    /// Only when no request waits that could be sent instead: in the tail, or with the window full.
    pub(crate) fn second_copy(
        &self,
        queue: &Queue,
        jobs: &BTreeMap<Ticket, Job>,
        peers: &BTreeMap<PeerId, PeerHealth>,
        window: Option<Window>,
        budget: &CopyBudget,
    ) -> Option<Choice> {
        let tail = queue.is_empty();
        if !budget.allows_one() || !tail && window.is_none() {
            return None;
        }
        let mut late: Vec<(Ticket, &Job, f64)> = self
            .members
            .iter()
            .flat_map(|member| &member.forecast.held)
            .filter_map(|&(_, ticket, done)| Some((ticket, jobs.get(&ticket)?, done)))
            .filter(|(_, job, _)| job.trusted_copies(peers) < MAX_COPIES)
            .collect();
        if tail {
            late.sort_by(|a, b| b.2.total_cmp(&a.2));
        } else {
            late.sort_by_key(|(ticket, job, _)| (job.attempt.id, *ticket));
        }
        for (ticket, job, done) in late {
            let Some(member) =
                self.open().find(|member| member.forecast.held.len() < 2 && job.allows(member.peer))
            else {
                continue;
            };
            let gain = done - member.forecast.done;
            if gain > LEAST_GAIN && (!tail || gain > LEAST_GAIN_OF_REST * done) {
                return Some(Choice { ticket, peer: member.peer, aged: false });
            }
        }
        None
    }

    fn open(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_open)
    }

    /// How many requests the others among the peers that `may` take them will have done before `time`.
    fn completions_before(&self, time: f64, but: &Member, may: impl Fn(PeerId) -> bool) -> f64 {
        self.members
            .iter()
            .filter(|member| member.peer != but.peer && may(member.peer))
            .map(|member| member.forecast.completions_before(time))
            .sum()
    }
}

// === impl Job ===

impl Job {
    /// Whether this peer may be asked: it has not failed the request and does not hold it.
    fn allows(&self, peer: PeerId) -> bool {
        !self.attempt.avoid.contains(&peer) && self.copies.iter().all(|copy| copy.peer() != peer)
    }

    fn trusted_copies(&self, peers: &BTreeMap<PeerId, PeerHealth>) -> usize {
        let trusted = |copy: &&DispatchId| peers.get(&copy.peer()).is_some_and(PeerHealth::is_trusted);
        self.copies.iter().filter(trusted).count()
    }
}
