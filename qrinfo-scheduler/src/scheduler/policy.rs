//! The choice of a request and its peer.
//!
//! Everything follows from two estimates of each peer: when a request sent to it now would be done, and how many it
//! would have done before a given time. `docs/scheduling.md` says what each rule is worth.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use qrinfo_core::{PeerId, RequestId};

use super::{
    budget::CopyBudget,
    job::{Job, Jobs},
    types::Window,
};
use crate::{
    peer::{Forecast, Held, PeerHealth, Sizes},
    queue::{Place, Queue},
    seconds,
};

/// A copy that gains less is not worth its bytes, seconds.
const LEAST_GAIN: f64 = 0.02;

/// A copy must save this share of the time that the request still needs, because estimates err in proportion.
const LEAST_GAIN_OF_REST: f64 = 0.2;

/// The same under a window: while it waits for its first request, the peers have nothing else to do.
const LEAST_GAIN_OF_REST_UNDER_A_WINDOW: f64 = 0.15;

/// A copy that saves this share of the time that its request has waited is sent even beyond the budget: everything would
/// take so much longer without it.
const GREAT_GAIN_OF_WAIT: f64 = 0.7;

/// Copies of a request at peers that are trusted with it; one more at the end of a plan.
const MAX_COPIES: usize = 2;

/// The most requests that a peer holds before it has shown data.
const MAX_TRIAL: usize = 8;

/// A peer that has shown no data may hold this part, a half, of what each of the others would have without it: it may be
/// a slow one.
const TRIAL_SHARE: usize = 2;

/// A request and the peer for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) request: RequestId,
    pub(crate) peer: PeerId,
    /// Its age decided.
    pub(crate) aged: bool,
}

/// The requests of which one is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'s> {
    pub(crate) queue: &'s Queue,
    pub(crate) jobs: &'s Jobs,
    pub(crate) window: Option<Window>,
}

/// The peers that take requests, the earliest done first.
#[derive(Debug)]
pub(crate) struct Candidates<'s> {
    work: Work<'s>,
    peers: &'s BTreeMap<PeerId, PeerHealth>,
    now: Instant,
    willing: Vec<Candidate>,
    /// Peers that refuse most requests, while there are others. A refusal comes quickly: by their figures they would draw
    /// the load.
    unwilling: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    peer: PeerId,
    forecast: Forecast,
    /// It takes one now.
    is_open: bool,
}

// === impl Work ===

impl<'s> Work<'s> {
    fn end(&self) -> Option<u64> {
        self.window.map(|window| window.end().0)
    }

    /// The requests that may be sent, in the order of the queue.
    fn waiting(&self) -> impl Iterator<Item = &'s Job> {
        let jobs = self.jobs;
        self.queue.below(self.end()).filter_map(move |place| job_at(jobs, place))
    }

    /// Those of them that a peer has failed.
    fn failed(&self) -> impl Iterator<Item = &'s Job> {
        let jobs = self.jobs;
        self.queue.failed_below(self.end()).filter_map(move |place| job_at(jobs, place))
    }

    /// The number of requests that go before everything waits for `job`: all, or under a window those that it admits
    /// while `job` is its first.
    fn before(&self, job: &Job) -> usize {
        match self.window {
            Some(window) => {
                let end = job.attempt.id.0.max(window.first.0).saturating_add(window.length);
                self.queue.below(Some(end)).count()
            }
            None => self.queue.len(),
        }
    }

    /// The number of requests that each of so many peers may hold before it has shown data.
    fn trial(&self, peers: usize) -> usize {
        let length = self.window.map_or(usize::MAX, |window| usize::try_from(window.length).unwrap_or(usize::MAX));
        let share = self.jobs.len().min(length).checked_div(TRIAL_SHARE * peers.saturating_sub(1));
        share.map_or(MAX_TRIAL, |share| share.clamp(1, MAX_TRIAL))
    }
}

// === impl Candidates ===

impl<'s> Candidates<'s> {
    pub(crate) fn new(
        work: Work<'s>,
        peers: &'s BTreeMap<PeerId, PeerHealth>,
        sizes: &Sizes,
        common_rate: f64,
        now: Instant,
    ) -> Self {
        let live = || peers.iter().filter(|(_, health)| health.is_live());
        let is_willing = |health: &PeerHealth| health.is_willing(work.jobs.len(), now);
        let any_willing = live().any(|(_, health)| is_willing(health));
        let trial = work.trial(peers.len());
        let (mut willing, mut unwilling) = (Vec::new(), Vec::new());
        for (&peer, health) in live() {
            let forecast = health.forecast(now, common_rate, sizes, trial);
            let is_open = forecast.has_slot && health.takes_one(now);
            match is_willing(health) || !any_willing {
                true => &mut willing,
                false => &mut unwilling,
            }
            .push(Candidate { peer, forecast, is_open });
        }
        willing.sort_by(|a: &Candidate, b| a.forecast.done_at_risk().total_cmp(&b.forecast.done_at_risk()));
        Self { work, peers, now, willing, unwilling }
    }

    /// The best peer for a request whose turn it is by age.
    pub(crate) fn overdue(&self, ageing: Duration) -> Option<Choice> {
        let ticket = self.work.queue.overdue(self.work.end(), ageing, self.now)?;
        let job = self.work.jobs.get(&RequestId(ticket.0))?;
        let candidate = self.open().find(|candidate| job.allows(candidate.peer))?;
        Some(Choice { aged: true, ..candidate.takes(job) })
    }

    /// A request that no trusted peer holds, to the peer that will be done first.
    ///
    /// A slower peer is held back where the others will have done all that waits before it would have done one.
    /// Under a window it takes a later request instead: the first that the others will not have reached by then.
    pub(crate) fn first_copy(&self) -> Option<Choice> {
        if self.work.queue.is_empty() {
            return None;
        }
        self.for_the_first().or_else(|| self.open().find_map(|candidate| self.for_the_peer(candidate)))
    }

    /// The best peer for the request that is first in the queue.
    ///
    /// It goes before the peers choose, so that one which some peers have failed already is not kept waiting by those.
    fn for_the_first(&self) -> Option<Choice> {
        let job = self.work.waiting().next()?;
        let candidate = self.open().find(|candidate| job.allows(candidate.peer))?;
        let by_others = self.completions_before(candidate.forecast.done_at_risk(), |peer| job.allows(peer));
        let held_back = match self.work.window {
            Some(_) => by_others > 0.0,
            None => by_others >= self.work.queue.len() as f64,
        };
        (!held_back).then(|| candidate.takes(job))
    }

    /// The best request for a peer.
    fn for_the_peer(&self, candidate: &Candidate) -> Option<Choice> {
        let done = candidate.forecast.done_at_risk();
        let by_all = self.completions_before(done, |_| true);
        let all = self.work.queue.len() as f64;
        let mut last = None;
        for (index, job) in self.work.waiting().enumerate() {
            if !job.allows(candidate.peer) {
                continue;
            }
            let by_others = match job.is_fresh() {
                true => by_all,
                false => self.completions_before(done, |peer| job.allows(peer)),
            };
            if by_others >= all {
                continue;
            }
            let Some(window) = self.work.window else { return Some(candidate.takes(job)) };
            let late = done + candidate.forecast.transfer;
            let room = index as f64 + window.length as f64;
            // The fastest peer is exempt: no other peer would finish earlier.
            if by_others > 0.0
                && self.completions_before(late, |peer| peer != candidate.peer && job.allows(peer)) >= room
            {
                continue;
            }
            last = Some(candidate.takes(job));
            if by_others <= index as f64 {
                break;
            }
        }
        last
    }

    /// A request that all others have failed, to a peer that may refuse it too.
    pub(crate) fn last_resort(&self) -> Option<Choice> {
        if !self.unwilling.iter().any(|candidate| candidate.is_open) {
            return None;
        }
        let is_hopeless = |job: &&Job| self.willing.iter().all(|candidate| !job.allows(candidate.peer));
        self.work.failed().filter(is_hopeless).find_map(|job| {
            let mut open = self.unwilling.iter().filter(|candidate| candidate.is_open);
            Some(open.find(|candidate| job.allows(candidate.peer))?.takes(job))
        })
    }

    /// A second copy of a request that everything would wait for.
    ///
    /// A request is late if the peers will have completed everything in the queue (with a window: everything it admits
    /// first) before it. A late one is duplicated if another peer would finish it much sooner.
    pub(crate) fn second_copy(&self, budget: &CopyBudget) -> Option<Choice> {
        let held = || self.willing.iter().flat_map(|candidate| &candidate.forecast.held);
        // If not even the last one will be done after the requests that may be sent now, none is late.
        let latest = held().map(|held| held.done).fold(f64::NEG_INFINITY, f64::max);
        let admitted = match self.work.window {
            Some(_) => self.work.queue.below(self.work.end()).count(),
            None => self.work.queue.len(),
        };
        if self.completions_before(latest, |_| true) < admitted as f64 {
            return None;
        }
        // With fewer requests left than peers, a copy takes nothing from another request.
        let within_budget = budget.allows_one() || self.work.jobs.len() <= self.peers.len();
        let copies = held().filter_map(|held| {
            let job = self.work.jobs.get(&held.request?)?;
            let (gain, choice) = self.copy_of(job, held)?;
            let is_great = gain > GREAT_GAIN_OF_WAIT * seconds(job.place.since, self.now);
            (within_budget || is_great).then_some((gain, choice))
        });
        copies.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, choice)| choice)
    }

    /// The copy that is worth most for one request, and the time that it saves, seconds.
    fn copy_of(&self, job: &Job, held: &Held) -> Option<(f64, Choice)> {
        // Where half of the peers would be idle, a third one costs nothing.
        let few_left = 2 * self.work.jobs.len() <= self.peers.len();
        if job.trusted_copies(self.peers) >= MAX_COPIES + usize::from(few_left) {
            return None;
        }
        let before = self.work.before(job) as f64;
        if self.completions_before(held.done, |_| true) < before {
            return None;
        }
        // Of all, not only of those that take one now: where the best is full for a moment, waiting for it is better than
        // a copy at a slow peer.
        let allowed = self.willing.iter().filter(|candidate| job.allows(candidate.peer));
        let (done, candidate) = allowed
            .map(|candidate| (candidate.forecast.done_with(held.size), candidate))
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        let gain = held.done - done.max(self.horizon(before));
        let least = match self.work.window {
            Some(_) => LEAST_GAIN_OF_REST_UNDER_A_WINDOW,
            None => LEAST_GAIN_OF_REST,
        };
        (candidate.is_open && gain > LEAST_GAIN && gain > least * held.done).then(|| (gain, candidate.takes(job)))
    }

    /// The time at which the peers will have done so many more requests.
    fn horizon(&self, requests: f64) -> f64 {
        if requests < 1.0 {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        while self.completions_before(high, |_| true) < requests && high < 1e6 {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..12 {
            let middle = (low + high) / 2.0;
            if self.completions_before(middle, |_| true) < requests {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    fn open(&self) -> impl Iterator<Item = &Candidate> {
        self.willing.iter().filter(|candidate| candidate.is_open)
    }

    /// Requests that the peers that `may` take them will have done before `time`.
    fn completions_before(&self, time: f64, may: impl Fn(PeerId) -> bool) -> f64 {
        self.willing
            .iter()
            .filter(|candidate| may(candidate.peer))
            .map(|candidate| candidate.forecast.completions_before(time))
            .sum()
    }
}

// === impl Candidate ===

impl Candidate {
    fn takes(&self, job: &Job) -> Choice {
        Choice { request: job.attempt.id, peer: self.peer, aged: false }
    }
}

fn job_at<'j>(jobs: &'j Jobs, place: &Place) -> Option<&'j Job> {
    jobs.get(&RequestId(place.ticket.0))
}
