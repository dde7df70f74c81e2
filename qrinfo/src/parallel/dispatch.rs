use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use qrinfo_core::{AttemptErrorKind, PeerId, Timing};

use super::ParallelOptions;
use crate::peer::MAX_TIMEOUTS;

/// Requests under way at one peer, at most. Enough to hide a round trip; more would only wait at the peer, where no
/// other peer can take them over.
const MAX_DEPTH: usize = 6;

/// A peer that refused this many requests in a row is asked only for what no other can be asked for: each refusal is
/// held against us, and at a hundred a node bans us.
const MAX_REFUSALS: u32 = 4;

/// How much a new observation counts.
const WEIGHT: f64 = 0.3;

/// How an attempt ended, as far as the choice of the next peer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Answered(Timing),
    Refused,
    TimedOut,
    /// It came to nothing, and nothing is known against the peer.
    Cancelled,
    /// The peer cannot be asked any more.
    PeerLost,
}

impl Ended {
    pub(super) fn of(kind: AttemptErrorKind) -> Self {
        match kind {
            AttemptErrorKind::Refused => Self::Refused,
            AttemptErrorKind::Timeout => Self::TimedOut,
            _ => Self::Cancelled,
        }
    }
}

/// Decides which request goes to which peer, and when one is given up.
///
/// Each peer is taken for a queue that serves one request every `interval`, after a `latency`. A request goes to the
/// peer where it is expected to be done first, unless the faster peers would be through with everything by then.
#[derive(Debug)]
pub(super) struct Dispatcher {
    options: ParallelOptions,
    jobs: Vec<Job>,
    unsent: BTreeSet<usize>,
    peers: Vec<PeerRecord>,
    in_flight: usize,
    unsettled: usize,
    given_up: Vec<usize>,
}

#[derive(Debug, Default, Clone)]
struct Job {
    attempts: u32,
    refused_by: Vec<PeerId>,
    failed_at: Vec<PeerId>,
    settled: bool,
}

#[derive(Debug)]
struct PeerRecord {
    id: PeerId,
    in_flight: usize,
    /// Time from sending to the reply at an idle peer; `None` until the first reply.
    latency: Option<Duration>,
    /// Time from one reply to the next while there is work; `None` until two were under way.
    interval: Option<Duration>,
    /// When the request at the head of its queue got there.
    busy_since: Option<Instant>,
    timeouts: u32,
    /// Refusals since the last reply.
    refusals: u32,
}

impl Dispatcher {
    pub(super) fn new(jobs: usize, peers: impl IntoIterator<Item = PeerId>, options: ParallelOptions) -> Self {
        Self {
            options,
            jobs: vec![Job::default(); jobs],
            unsent: (0..jobs).collect(),
            peers: peers.into_iter().map(PeerRecord::new).collect(),
            in_flight: 0,
            unsettled: jobs,
            given_up: Vec::new(),
        }
    }

    /// The next request to send and its peer, or `None` while nothing may be sent. `next_delivery` is the request
    /// whose reply is delivered next; none is sent that lies a whole window behind it.
    pub(super) fn next(&mut self, next_delivery: usize, now: Instant) -> Option<(usize, PeerId)> {
        if self.in_flight >= self.options.max_concurrent.get() {
            return None;
        }
        let end = next_delivery.saturating_add(self.options.window.get());
        let (job, peer) = self.unsent.range(..end).find_map(|&job| Some((job, self.choose(job, now)?)))?;
        self.unsent.remove(&job);
        self.jobs[job].attempts += 1;
        self.in_flight += 1;
        let peer = &mut self.peers[peer];
        if peer.in_flight == 0 {
            peer.busy_since = Some(now);
        }
        peer.in_flight += 1;
        Some((job, peer.id))
    }

    /// Takes the end of an attempt, and says whether it was the peer's last.
    pub(super) fn settle(&mut self, job: usize, peer: PeerId, ended: Ended, now: Instant) -> bool {
        self.in_flight -= 1;
        let mut lost = false;
        if let Some(index) = self.peers.iter().position(|record| record.id == peer) {
            let record = &mut self.peers[index];
            record.in_flight -= 1;
            record.busy_since = Some(now);
            match &ended {
                Ended::Answered(timing) => record.answered(timing),
                Ended::Refused => {
                    record.timeouts = 0;
                    record.refusals += 1;
                }
                Ended::TimedOut => record.timeouts += 1,
                Ended::Cancelled | Ended::PeerLost => {}
            }
            lost = ended == Ended::PeerLost || record.timeouts >= MAX_TIMEOUTS;
            if lost {
                self.peers.remove(index);
            }
        }
        match ended {
            Ended::Answered(_) => self.finish(job),
            Ended::Refused => {
                // Each peer is asked once at most for what it refuses, so this needs no other bound.
                self.jobs[job].attempts -= 1;
                self.jobs[job].refused_by.push(peer);
            }
            Ended::TimedOut | Ended::Cancelled | Ended::PeerLost => self.jobs[job].failed_at.push(peer),
        }
        if !self.jobs[job].settled {
            self.unsent.insert(job);
        }
        self.give_up();
        lost
    }

    /// Requests that were given up since the last call.
    pub(super) fn take_given_up(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.given_up)
    }

    /// Whether every request had its chances: it was answered, or given up while there were peers to ask.
    pub(super) fn has_settled_all(&self) -> bool {
        self.unsettled == 0 && !self.peers.is_empty()
    }

    fn finish(&mut self, job: usize) {
        if !std::mem::replace(&mut self.jobs[job].settled, true) {
            self.unsettled -= 1;
            self.unsent.remove(&job);
        }
    }

    /// Gives up what was asked often enough, and what every peer that is left has refused.
    fn give_up(&mut self) {
        let hopeless: Vec<_> = self
            .unsent
            .iter()
            .copied()
            .filter(|&job| {
                let Job { attempts, refused_by, .. } = &self.jobs[job];
                *attempts >= self.options.max_attempts.max(1)
                    || self.peers.iter().all(|peer| refused_by.contains(&peer.id))
            })
            .collect();
        for job in hopeless {
            self.finish(job);
            self.given_up.push(job);
        }
    }

    /// The peer to send `job` to now, if there is one worth it.
    fn choose(&self, job: usize, now: Instant) -> Option<usize> {
        let Job { refused_by, failed_at, .. } = &self.jobs[job];
        let may = |peer: &PeerRecord| !refused_by.contains(&peer.id);
        // A peer that failed this request is asked again only where no other is left.
        let others_left = self.peers.iter().any(|peer| may(peer) && !failed_at.contains(&peer.id));
        let eligible = |peer: &PeerRecord| may(peer) && !(others_left && failed_at.contains(&peer.id));
        let willing = self.peers.iter().any(|peer| eligible(peer) && peer.refusals < MAX_REFUSALS);
        let (index, peer) = self
            .peers
            .iter()
            .enumerate()
            .filter(|(_, peer)| eligible(peer) && peer.has_slot())
            .filter(|(_, peer)| peer.refusals < MAX_REFUSALS || !willing)
            // A refusal comes quickly: it must not make its peer look fast.
            .min_by_key(|(_, peer)| (peer.refusals, peer.expected_wait(now)))?;
        // Those that refuse more are not waited for.
        let helps = |other: &PeerRecord| eligible(other) && other.refusals <= peer.refusals;
        (peer.expected_wait(now) <= self.time_for_rest(now, helps)).then_some(index)
    }

    /// How long the eligible peers would take for all that is unsent, each working to the end: a peer that would
    /// finish later is held back, the others take the rest.
    fn time_for_rest(&self, now: Instant, eligible: impl Fn(&PeerRecord) -> bool) -> Duration {
        // Of a peer without a reply nothing can be expected yet.
        let known = self.peers.iter().filter(|peer| peer.latency.is_some() && eligible(peer));
        let mut free: Vec<_> = known.map(|peer| (peer.expected_wait(now), peer.service_time())).collect();
        let mut last = Duration::MAX;
        for _ in 0..self.unsent.len() {
            let Some((done, service_time)) = free.iter_mut().min_by_key(|(done, _)| *done) else { break };
            last = *done;
            *done += (*service_time).max(Duration::from_micros(1));
        }
        last
    }
}

// === impl PeerRecord ===

impl PeerRecord {
    fn new(id: PeerId) -> Self {
        Self { id, in_flight: 0, latency: None, interval: None, busy_since: None, timeouts: 0, refusals: 0 }
    }

    /// Whether one more request would reach the peer before it runs out of work.
    fn has_slot(&self) -> bool {
        let depth = match (self.latency, self.interval) {
            (Some(latency), Some(interval)) => {
                (latency.as_secs_f64() / interval.as_secs_f64().max(1e-6)).ceil() as usize + 1
            }
            // Two are needed to see the interval.
            _ => 2,
        };
        self.in_flight < depth.clamp(2, MAX_DEPTH)
    }

    fn service_time(&self) -> Duration {
        self.interval.or(self.latency).unwrap_or_default()
    }

    /// How long until a request that is sent now is answered.
    fn expected_wait(&self, now: Instant) -> Duration {
        let latency = self.latency.unwrap_or_default();
        let Some(busy_since) = self.busy_since.filter(|_| self.in_flight > 0) else { return latency };
        let service_time = self.service_time();
        let head_done = now.saturating_duration_since(busy_since).min(service_time);
        let queue = service_time * u32::try_from(self.in_flight + 1).unwrap_or(u32::MAX);
        latency.max(queue - head_done)
    }

    fn answered(&mut self, timing: &Timing) {
        self.timeouts = 0;
        self.refusals = 0;
        match timing.head {
            // It waited behind another: what it took from there on is the peer's pace.
            Some(head) if head > timing.sent => {
                self.interval = Some(mix(self.interval, timing.done.saturating_duration_since(head)));
            }
            _ => self.latency = Some(mix(self.latency, timing.done.saturating_duration_since(timing.sent))),
        }
    }
}

fn mix(old: Option<Duration>, new: Duration) -> Duration {
    old.map_or(new, |old| old.mul_f64(1.0 - WEIGHT) + new.mul_f64(WEIGHT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(index: u16) -> PeerId {
        PeerId(([127, 0, 0, 1], index).into())
    }

    fn options(max_concurrent: usize, max_attempts: u32, window: usize) -> ParallelOptions {
        let non_zero = |value| std::num::NonZeroUsize::new(value).unwrap();
        ParallelOptions { max_concurrent: non_zero(max_concurrent), max_attempts, window: non_zero(window) }
    }

    fn drain(dispatcher: &mut Dispatcher, now: Instant) -> Vec<(usize, PeerId)> {
        std::iter::from_fn(|| dispatcher.next(0, now)).collect()
    }

    fn answered(now: Instant, sent: Duration, head: Duration, done: Duration) -> Ended {
        Ended::Answered(Timing {
            sent: now + sent,
            head: Some(now + head),
            first_byte: None,
            done: now + done,
            bytes: 1,
        })
    }

    #[test]
    fn neither_cap_nor_window_is_exceeded() {
        let now = tokio::time::Instant::now().into_std();
        let mut capped = Dispatcher::new(10, (1..=5).map(peer), options(3, 5, 64));
        assert_eq!(drain(&mut capped, now).len(), 3);
        let mut windowed = Dispatcher::new(10, (1..=5).map(peer), options(64, 5, 2));
        assert_eq!(drain(&mut windowed, now).iter().map(|(job, _)| *job).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn what_every_peer_refused_is_given_up_and_asked_of_no_peer_twice() {
        let now = tokio::time::Instant::now().into_std();
        let mut dispatcher = Dispatcher::new(1, [peer(1), peer(2)], options(8, 9, 64));
        let mut asked = Vec::new();
        while let Some((job, at)) = dispatcher.next(0, now) {
            asked.push(at);
            dispatcher.settle(job, at, Ended::Refused, now);
        }
        asked.sort();
        assert_eq!(asked, [peer(1), peer(2)]);
        assert_eq!(dispatcher.take_given_up(), [0]);
        assert!(dispatcher.has_settled_all());
    }

    #[test]
    fn a_silent_peer_is_left_after_two_timeouts() {
        let now = tokio::time::Instant::now().into_std();
        let mut dispatcher = Dispatcher::new(3, [peer(1), peer(2)], options(8, 5, 64));
        let sent = drain(&mut dispatcher, now);
        let sent = sent.into_iter().filter(|(_, at)| *at == peer(1));
        let lost: Vec<_> = sent.map(|(job, at)| dispatcher.settle(job, at, Ended::TimedOut, now)).collect();
        assert_eq!(lost, [false, true]);
        assert!(drain(&mut dispatcher, now).iter().all(|(_, at)| *at == peer(2)));
    }

    #[test]
    fn a_slow_peer_is_held_back_at_the_end() {
        let start = tokio::time::Instant::now().into_std();
        let second = Duration::from_secs;
        let mut dispatcher = Dispatcher::new(4, [peer(1), peer(2)], options(8, 5, 64));
        let sent = drain(&mut dispatcher, start);
        assert_eq!(sent.len(), 4);
        let jobs = |at| sent.iter().filter(move |(_, to)| *to == at).map(|(job, _)| *job).collect::<Vec<_>>();
        // Peer 1 serves one a second, peer 2 takes twenty; what peer 2 did not answer comes back.
        dispatcher.settle(jobs(peer(1))[0], peer(1), answered(start, second(0), second(0), second(1)), start);
        dispatcher.settle(jobs(peer(1))[1], peer(1), answered(start, second(0), second(1), second(2)), start);
        dispatcher.settle(jobs(peer(2))[0], peer(2), answered(start, second(0), second(0), second(20)), start);
        dispatcher.settle(jobs(peer(2))[1], peer(2), Ended::Cancelled, start);
        assert_eq!(drain(&mut dispatcher, start + second(20)), [(jobs(peer(2))[1], peer(1))]);
    }

    proptest! {
        /// Whatever peers do: every request is answered or given up, within its attempts; limits hold; no request is
        /// asked of a peer that refused it.
        #[test]
        fn every_request_ends_within_its_attempts(
            jobs in 1_usize..20,
            peers in 1_u16..5,
            cap in 1_usize..8,
            max_attempts in 1_u32..5,
            fates in proptest::collection::vec((0_usize..8, 0_u8..12), 400),
        ) {
            let start = tokio::time::Instant::now().into_std();
            let mut dispatcher = Dispatcher::new(jobs, (0..peers).map(peer), options(cap, max_attempts, 64));
            let mut out: Vec<(usize, PeerId, u64)> = Vec::new();
            let mut asked = vec![0; jobs];
            let mut refused = std::collections::HashSet::new();
            let mut done = std::collections::HashSet::new();
            for (tick, (pick, fate)) in (0_u64..).zip(fates) {
                let now = start + Duration::from_millis(tick * 10);
                while let Some((job, at)) = dispatcher.next(0, now) {
                    prop_assert!(!refused.contains(&(job, at)) && !done.contains(&job));
                    asked[job] += 1;
                    out.push((job, at, tick));
                    prop_assert!(out.len() <= cap && asked[job] <= max_attempts + u32::from(peers));
                    prop_assert!(out.iter().filter(|(_, to, _)| *to == at).count() <= MAX_DEPTH);
                }
                if out.is_empty() {
                    break;
                }
                let (job, at, sent) = out.remove(pick % out.len());
                let ended = match fate {
                    0 => Ended::TimedOut,
                    1 => Ended::PeerLost,
                    2 | 3 => Ended::Refused,
                    4 => Ended::Cancelled,
                    _ => answered(start, Duration::from_millis(sent * 10), Duration::from_millis(sent * 10), now - start),
                };
                if ended == Ended::Refused {
                    refused.insert((job, at));
                }
                if matches!(ended, Ended::Answered(_)) {
                    prop_assert!(done.insert(job));
                }
                dispatcher.settle(job, at, ended, now);
                for job in dispatcher.take_given_up() {
                    prop_assert!(done.insert(job));
                }
            }
            prop_assert!(out.is_empty(), "the run did not end");
            prop_assert!(done.len() == jobs || dispatcher.peers.is_empty());
        }
    }
}
