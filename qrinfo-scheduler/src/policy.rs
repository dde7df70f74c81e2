//! Which request goes to which peer.
//!
//! Everything follows from two estimates of each peer: when a request sent to it now would be done, and how many it
//! would have done before a given time. `docs/scheduling.md` says what each rule is worth.

use std::{collections::BTreeMap, time::Instant};

use qrinfo_core::PeerId;

use crate::{
    DispatchId, PeerHealth, Ticket, Window, budget::CopyBudget, peer::Forecast, queue::Queue, scheduler::Job,
    sizes::Sizes,
};

/// A copy that gains less is not worth its bytes, seconds.
const LEAST_GAIN: f64 = 0.02;

/// A copy must save this share of the time that the request still needs, because estimates err in proportion.
const LEAST_GAIN_OF_REST: f64 = 0.2;

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
    /// Those that refuse whatever they are asked, while there are others. A refusal comes quickly: by their numbers
    /// they would draw the load.
    unwilling: Vec<Member>,
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
    pub(crate) fn new(peers: &BTreeMap<PeerId, PeerHealth>, sizes: &Sizes, common_rate: f64, now: Instant) -> Self {
        let live = || peers.iter().filter(|(_, health)| health.is_live());
        let any_willing = live().any(|(_, health)| health.is_willing(now));
        let (mut members, mut unwilling) = (Vec::new(), Vec::new());
        for (&peer, health) in live() {
            let forecast = health.forecast(now, common_rate, sizes);
            let is_open = forecast.has_slot && health.takes_one(now);
            match health.is_willing(now) || !any_willing {
                true => &mut members,
                false => &mut unwilling,
            }
            .push(Member { peer, forecast, is_open });
        }
        members.sort_by(|a: &Member, b| a.forecast.done_at_risk().total_cmp(&b.forecast.done_at_risk()));
        Self { members, unwilling }
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
        if let Some(choice) = self.for_the_first(queue, jobs, window) {
            return Some(choice);
        }
        for member in self.open() {
            let done = member.forecast.done_at_risk();
            let by_all = self.completions_before(done, |_| true);
            let mut last = None;
            for (index, place) in queue.below(window.map(|window| window.end())).enumerate() {
                let Some(job) = jobs.get(&place.ticket) else { continue };
                if !job.allows(member.peer) {
                    continue;
                }
                let by_others = match job.attempt.avoid.is_empty() && job.copies.is_empty() {
                    true => by_all,
                    false => self.completions_before(done, |peer| job.allows(peer)),
                };
                if by_others >= waiting {
                    continue;
                }
                let choice = Some(Choice { ticket: place.ticket, peer: member.peer, aged: false });
                let Some(window) = window else { return choice };
                let late = done + member.forecast.transfer;
                let room = index as f64 + window.length as f64;
                // Whoever is soonest may be late: nobody would be less so.
                if by_others > 0.0
                    && self.completions_before(late, |peer| peer != member.peer && job.allows(peer)) >= room
                {
                    continue;
                }
                if by_others <= index as f64 {
                    return choice;
                }
                last = choice;
            }
            if last.is_some() {
                return last;
            }
        }
        None
    }

    /// The best peer for the request that is first in the queue.
    ///
    /// It goes before the peers choose, so that one which some peers have failed already is not kept waiting by those.
    fn for_the_first(&self, queue: &Queue, jobs: &BTreeMap<Ticket, Job>, window: Option<Window>) -> Option<Choice> {
        let ticket = queue.below(window.map(|window| window.end())).next()?.ticket;
        let job = jobs.get(&ticket)?;
        let member = self.open().find(|member| job.allows(member.peer))?;
        let by_others = self.completions_before(member.forecast.done_at_risk(), |peer| job.allows(peer));
        let held_back = match window {
            Some(_) => by_others > 0.0,
            None => by_others >= queue.len() as f64,
        };
        (!held_back).then_some(Choice { ticket, peer: member.peer, aged: false })
    }

    /// A request that all others have failed, to a peer that may refuse it too.
    pub(crate) fn last_resort(
        &self,
        queue: &Queue,
        jobs: &BTreeMap<Ticket, Job>,
        window: Option<Window>,
    ) -> Option<Choice> {
        if !self.unwilling.iter().any(|member| member.is_open) {
            return None;
        }
        let places = queue.below(window.map(|window| window.end()));
        places.filter_map(|place| Some((place.ticket, jobs.get(&place.ticket)?))).find_map(|(ticket, job)| {
            let hopeless = self.members.iter().all(|member| !job.allows(member.peer));
            let mut open = self.unwilling.iter().filter(|member| member.is_open);
            let member = open.find(|member| hopeless && job.allows(member.peer))?;
            Some(Choice { ticket, peer: member.peer, aged: false })
        })
    }

    /// A second copy of a request that everything would wait for.
    ///
    /// The others need until some time, the horizon, to do all that waits (under a window: all that it admits before
    /// the request is delivered). A request that will be done long after that is sent to another peer too, if it will
    /// be done much sooner there.
    pub(crate) fn second_copy(
        &self,
        queue: &Queue,
        jobs: &BTreeMap<Ticket, Job>,
        peers: &BTreeMap<PeerId, PeerHealth>,
        window: Option<Window>,
        budget: &CopyBudget,
    ) -> Option<Choice> {
        // While there is work, what a stall would cost is kept back: as many as the fullest peer holds.
        let admitted = match window {
            Some(window) => queue.below(Some(window.end())).count(),
            None => queue.len(),
        };
        let reserve = match admitted {
            0 => 0,
            _ => self.members.iter().map(|member| member.forecast.held.len()).max().unwrap_or(0),
        };
        if !budget.allows_one(reserve) {
            return None;
        }
        // No request has an earlier horizon than what is admitted now: where not even the last that is held will be done
        // after that, none will.
        let latest = self.members.iter().flat_map(|member| &member.forecast.held).map(|held| held.done);
        let latest = latest.fold(f64::NEG_INFINITY, f64::max);
        if self.completions_before(latest, |_| true) < admitted as f64 {
            return None;
        }
        let mut best: Option<(f64, Choice)> = None;
        for held in self.members.iter().flat_map(|member| &member.forecast.held) {
            let Some(ticket) = held.ticket else { continue };
            let Some(job) = jobs.get(&ticket) else { continue };
            if job.trusted_copies(peers) >= MAX_COPIES {
                continue;
            }
            let work = match window {
                Some(window) => {
                    let end = job.attempt.id.max(window.first).saturating_add(window.length);
                    queue.below(Some(end)).count()
                }
                None => queue.len(),
            } as f64;
            if self.completions_before(held.done, |_| true) < work {
                continue;
            }
            // Of all, not only of those that take one now: where the best is full for a moment, waiting for it is better
            // than a copy at a slow peer.
            let target = self
                .members
                .iter()
                .filter(|member| job.allows(member.peer))
                .map(|member| (member.forecast.done_with(held.size), member))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((done, Member { peer, is_open: true, .. })) = target else { continue };
            let gain = held.done - done.max(self.horizon(work));
            if gain > LEAST_GAIN
                && gain > LEAST_GAIN_OF_REST * held.done
                && best.as_ref().is_none_or(|(most, _)| gain > *most)
            {
                best = Some((gain, Choice { ticket, peer: *peer, aged: false }));
            }
        }
        best.map(|(_, choice)| choice)
    }

    /// When the peers will have done `work` more requests.
    fn horizon(&self, work: f64) -> f64 {
        if work < 1.0 {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        while self.completions_before(high, |_| true) < work && high < 1e6 {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..12 {
            let middle = (low + high) / 2.0;
            if self.completions_before(middle, |_| true) < work {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    fn open(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_open)
    }

    /// How many requests the peers that `may` take them will have done before `time`.
    fn completions_before(&self, time: f64, may: impl Fn(PeerId) -> bool) -> f64 {
        self.members
            .iter()
            .filter(|member| may(member.peer))
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

    pub(crate) fn trusted_copies(&self, peers: &BTreeMap<PeerId, PeerHealth>) -> usize {
        let trusted = |copy: &&DispatchId| peers.get(&copy.peer()).is_some_and(PeerHealth::is_trusted);
        self.copies.iter().filter(trusted).count()
    }
}
