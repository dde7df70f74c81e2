//! The choice of a request and its peer.
//!
//! Everything follows from two estimates of each peer: when a request sent to it now would be done, and how many it
//! would have done before a given time. `docs/scheduling.md` says what each rule is worth.

use std::{collections::BTreeMap, time::Instant};

use qrinfo_core::{PeerId, RequestId};

use super::{
    budget::CopyBudget,
    job::{Job, Jobs},
    types::Window,
};
use crate::{
    peer::{Forecast, PeerHealth, Sizes},
    queue::{Place, Queue},
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
    pub(crate) request: RequestId,
    pub(crate) peer: PeerId,
    /// Its age decided.
    pub(crate) aged: bool,
}

/// The peers that take requests, the earliest done first.
#[derive(Debug)]
pub(crate) struct Candidates {
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

// === impl Candidates ===

impl Candidates {
    pub(crate) fn new(peers: &BTreeMap<PeerId, PeerHealth>, sizes: &Sizes, common_rate: f64, now: Instant) -> Self {
        let live = || peers.iter().filter(|(_, health)| health.is_live());
        let any_willing = live().any(|(_, health)| health.is_willing(now));
        let (mut willing, mut unwilling) = (Vec::new(), Vec::new());
        for (&peer, health) in live() {
            let forecast = health.forecast(now, common_rate, sizes);
            let is_open = forecast.has_slot && health.takes_one(now);
            match health.is_willing(now) || !any_willing {
                true => &mut willing,
                false => &mut unwilling,
            }
            .push(Candidate { peer, forecast, is_open });
        }
        willing.sort_by(|a: &Candidate, b| a.forecast.done_at_risk().total_cmp(&b.forecast.done_at_risk()));
        Self { willing, unwilling }
    }

    /// The best peer for a request whose turn it is by age.
    pub(crate) fn overdue(&self, job: &Job) -> Option<Choice> {
        let candidate = self.open().find(|candidate| job.allows(candidate.peer))?;
        Some(Choice { request: job.attempt.id, peer: candidate.peer, aged: true })
    }

    /// A request that no trusted peer holds, to the peer that will be done first.
    ///
    /// A slower peer is held back where the others will have done all that waits before it would have done one.
    /// Under a window it takes a later request instead: the first that the others will not have reached by then.
    pub(crate) fn first_copy(&self, queue: &Queue, jobs: &Jobs, window: Option<Window>) -> Option<Choice> {
        if queue.is_empty() {
            return None;
        }
        let waiting = queue.len() as f64;
        if let Some(choice) = self.for_the_first(queue, jobs, window) {
            return Some(choice);
        }
        for candidate in self.open() {
            let done = candidate.forecast.done_at_risk();
            let by_all = self.completions_before(done, |_| true);
            let mut last = None;
            for (index, place) in queue.below(window.map(|window| window.end().0)).enumerate() {
                let Some(job) = job_at(jobs, place) else { continue };
                if !job.allows(candidate.peer) {
                    continue;
                }
                let by_others = match job.is_fresh() {
                    true => by_all,
                    false => self.completions_before(done, |peer| job.allows(peer)),
                };
                if by_others >= waiting {
                    continue;
                }
                let choice = Some(Choice { request: job.attempt.id, peer: candidate.peer, aged: false });
                let Some(window) = window else { return choice };
                let late = done + candidate.forecast.transfer;
                let room = index as f64 + window.length as f64;
                // The fastest peer is exempt: no other peer would finish earlier.
                if by_others > 0.0
                    && self.completions_before(late, |peer| peer != candidate.peer && job.allows(peer)) >= room
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
    fn for_the_first(&self, queue: &Queue, jobs: &Jobs, window: Option<Window>) -> Option<Choice> {
        let job = job_at(jobs, queue.below(window.map(|window| window.end().0)).next()?)?;
        let candidate = self.open().find(|candidate| job.allows(candidate.peer))?;
        let by_others = self.completions_before(candidate.forecast.done_at_risk(), |peer| job.allows(peer));
        let held_back = match window {
            Some(_) => by_others > 0.0,
            None => by_others >= queue.len() as f64,
        };
        (!held_back).then_some(Choice { request: job.attempt.id, peer: candidate.peer, aged: false })
    }

    /// A request that all others have failed, to a peer that may refuse it too.
    pub(crate) fn last_resort(&self, queue: &Queue, jobs: &Jobs, window: Option<Window>) -> Option<Choice> {
        if !self.unwilling.iter().any(|candidate| candidate.is_open) {
            return None;
        }
        let places = queue.below(window.map(|window| window.end().0));
        places.filter_map(|place| job_at(jobs, place)).find_map(|job| {
            let hopeless = self.willing.iter().all(|candidate| !job.allows(candidate.peer));
            let mut open = self.unwilling.iter().filter(|candidate| candidate.is_open);
            let candidate = open.find(|candidate| hopeless && job.allows(candidate.peer))?;
            Some(Choice { request: job.attempt.id, peer: candidate.peer, aged: false })
        })
    }

    /// A second copy of a request that everything would wait for.
    ///
    /// `horizon` is the time at which the peers will have completed everything in the queue (with a window: everything it
    /// admits first). A request expected later than that is duplicated if another peer would finish it much sooner.
    pub(crate) fn second_copy(
        &self,
        queue: &Queue,
        jobs: &Jobs,
        peers: &BTreeMap<PeerId, PeerHealth>,
        window: Option<Window>,
        budget: &CopyBudget,
    ) -> Option<Choice> {
        // While there is work, the cost of a stall is kept in reserve: as many copies as the fullest peer holds.
        let admitted = match window {
            Some(window) => queue.below(Some(window.end().0)).count(),
            None => queue.len(),
        };
        let reserve = match admitted {
            0 => 0,
            _ => self.willing.iter().map(|candidate| candidate.forecast.held.len()).max().unwrap_or(0),
        };
        if !budget.allows_one(reserve) {
            return None;
        }
        // No request has an earlier horizon than the admitted ones now: if not even the last one in flight will be done
        // after it, none will.
        let latest = self.willing.iter().flat_map(|candidate| &candidate.forecast.held).map(|held| held.done);
        let latest = latest.fold(f64::NEG_INFINITY, f64::max);
        if self.completions_before(latest, |_| true) < admitted as f64 {
            return None;
        }
        let mut best: Option<(f64, Choice)> = None;
        for held in self.willing.iter().flat_map(|candidate| &candidate.forecast.held) {
            let Some(job) = held.request.and_then(|id| jobs.get(&id)) else { continue };
            if job.trusted_copies(peers) >= MAX_COPIES {
                continue;
            }
            let work = match window {
                Some(window) => {
                    let end = job.attempt.id.0.max(window.first.0).saturating_add(window.length);
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
                .willing
                .iter()
                .filter(|candidate| job.allows(candidate.peer))
                .map(|candidate| (candidate.forecast.done_with(held.size), candidate))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((done, Candidate { peer, is_open: true, .. })) = target else { continue };
            let gain = held.done - done.max(self.horizon(work));
            if gain > LEAST_GAIN
                && gain > LEAST_GAIN_OF_REST * held.done
                && best.as_ref().is_none_or(|(most, _)| gain > *most)
            {
                best = Some((gain, Choice { request: job.attempt.id, peer: *peer, aged: false }));
            }
        }
        best.map(|(_, choice)| choice)
    }

    /// The time at which the peers will have done `work` more requests.
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

fn job_at<'j>(jobs: &'j Jobs, place: &Place) -> Option<&'j Job> {
    jobs.get(&RequestId(place.ticket.0))
}
