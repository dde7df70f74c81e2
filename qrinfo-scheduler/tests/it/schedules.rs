//! Thousands of seeded schedules in which peers join, leave, refuse, stall and time out and requests are cancelled,
//! with every promise of the scheduler checked at every step.
//!
//! `SPV_TEST_SCHEDULES` sets how many (10,000 take seconds in release), `SPV_TEST_SCHEDULE` replays one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    env,
    time::{Duration, Instant},
};

use fastrand::Rng;
use qrinfo_core::{
    Attempt, AttemptErrorKind, LeaveReason, PeerEvent, PeerId, RequestId, RequestPriority, SendId, Timing,
};
use qrinfo_scheduler::{Event, MAX_DEPTH, MAX_POINTS, Rate, Scheduler, Settings, Window};
use spv_testkit::{LinkModel, Transit};

use crate::support::{Cost, HEIGHT, attempt, peer_id, us};

const JOBS: usize = 40;
const HEAD_TIMEOUT: f64 = 5e6;
/// After so long a connection is closed.
const SLOT_TIMEOUT: f64 = 60e6;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Wakeup,
    Join(usize),
    Leave(usize),
    Submit(usize),
    Cancel(usize),
    Retry(usize),
    Progress(SendId),
    TimedOut(SendId),
    Done(SendId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Planned,
    Waiting,
    Delivered,
    Ended,
}

struct Copy {
    job: usize,
    sent: f64,
    transit: Transit,
    cost: Cost,
    reported: u64,
}

#[derive(Debug, Clone)]
struct Server {
    round_trip: f64,
    compute: f64,
    rate: f64,
    refuses: f64,
    stall: Option<(f64, u32)>,
    link: Option<LinkModel>,
    /// On this connection.
    refusals: u32,
    is_banned: bool,
    sent: Vec<f64>,
}

struct Schedule {
    rng: Rng,
    base: Instant,
    now: f64,
    scheduler: Scheduler,
    settings: Settings,
    window: Option<u64>,
    servers: Vec<Server>,
    agenda: BinaryHeap<Reverse<(u64, u64, Step)>>,
    steps: u64,
    wakeup: Option<u64>,
    copies: BTreeMap<SendId, Copy>,
    attempts: Vec<Attempt>,
    fates: Vec<Fate>,
    tries: Vec<u32>,
    first: usize,
}

fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.f64() < probability
}

impl Schedule {
    fn new(seed: u64, base: Instant) -> Self {
        let mut rng = Rng::with_seed(seed);
        let settings = Settings {
            cap: [1, 2, 3, 8, 64][rng.usize(..5)],
            capacity: JOBS * 2,
            ageing: Duration::from_secs(rng.u64(1..60)),
            rate: chance(&mut rng, 0.2).then(|| Rate::per_second(rng.u32(2..50), rng.u32(1..5))),
            peer_rate: chance(&mut rng, 0.2).then(|| Rate::per_second(rng.u32(2..50), rng.u32(1..5))),
            adaptive: chance(&mut rng, 0.5),
            sequential_for: Duration::from_secs(rng.u64(1..60)),
        };
        let refusing = chance(&mut rng, 0.4);
        let servers: Vec<Server> = (0..rng.usize(1..6))
            .map(|_| Server {
                round_trip: rng.f64() * 3e5,
                compute: 1e3 + rng.f64() * 2e5,
                rate: 0.01 + rng.f64() * 4.0,
                refuses: if refusing { rng.f64() * [0.1, 0.5, 1.0][rng.usize(..3)] } else { 0.0 },
                stall: chance(&mut rng, 0.3).then(|| (rng.f64() * 1e7, rng.u32(2..100))),
                link: None,
                refusals: 0,
                is_banned: false,
                sent: Vec::new(),
            })
            .collect();
        let mut schedule = Self {
            base,
            now: 0.0,
            scheduler: Scheduler::new(settings.clone()),
            settings,
            window: chance(&mut rng, 0.4).then(|| rng.u64(1..20)),
            servers,
            agenda: BinaryHeap::new(),
            steps: 0,
            wakeup: None,
            copies: BTreeMap::new(),
            attempts: Vec::new(),
            fates: vec![Fate::Planned; JOBS],
            tries: vec![0; JOBS],
            first: 0,
            rng,
        };
        schedule.plan_everything();
        schedule.move_window();
        schedule
    }

    fn plan_everything(&mut self) {
        for server in 0..self.servers.len() {
            let mut at = if chance(&mut self.rng, 0.5) { 0.0 } else { self.rng.f64() * 5e6 };
            self.plan(at, Step::Join(server));
            while chance(&mut self.rng, 0.3) {
                at += self.rng.f64() * 5e6;
                self.plan(at, Step::Leave(server));
                at += self.rng.f64() * 5e6;
                self.plan(at, Step::Join(server));
            }
        }
        for job in 0..JOBS {
            let at = if chance(&mut self.rng, 0.7) { 0.0 } else { self.rng.f64() * 1e7 };
            let priority = match self.rng.usize(..10) {
                0 => RequestPriority::Critical,
                1 => RequestPriority::High,
                2 => RequestPriority::Low,
                _ => RequestPriority::Normal,
            };
            let deadline = chance(&mut self.rng, 0.05).then(|| self.instant(at + self.rng.clone().f64() * 2e7));
            self.attempts.push(Attempt { priority, deadline, ..attempt(job as u64) });
            self.plan(at, Step::Submit(job));
            if chance(&mut self.rng, 0.1) {
                let at = at + self.rng.f64() * 1e7;
                self.plan(at, Step::Cancel(job));
            }
        }
    }

    fn instant(&self, us: f64) -> Instant {
        self.base + Duration::from_micros(us as u64)
    }

    fn micros(&self, at: Instant) -> f64 {
        at.duration_since(self.base).as_secs_f64() * 1e6
    }

    fn plan(&mut self, at: f64, step: Step) {
        self.steps += 1;
        self.agenda.push(Reverse((at.max(self.now).round() as u64, self.steps, step)));
    }

    fn move_window(&mut self) {
        while self.fates.get(self.first).is_some_and(|fate| matches!(fate, Fate::Delivered | Fate::Ended)) {
            self.first += 1;
        }
        if let Some(length) = self.window {
            self.scheduler.set_window(Some(Window { first: RequestId(self.first as u64), length }));
        }
    }

    fn run(mut self) {
        let mut wakeups = 0;
        while !self.fates.iter().all(|fate| matches!(fate, Fate::Delivered | Fate::Ended)) {
            let next = self.agenda.pop();
            let Some(Reverse((at, _, step))) = next else {
                panic!(
                    "nothing happens any more at {}, and this is left: {:?} {:#?}",
                    self.now, self.fates, self.scheduler
                )
            };
            self.now = at as f64;
            if step == Step::Wakeup && self.wakeup.take_if(|wakeup| *wakeup == at).is_none() {
                continue;
            }
            wakeups = if step == Step::Wakeup { wakeups + 1 } else { 0 };
            assert!(wakeups < 1_000, "the scheduler wakes up and nothing comes of it");
            self.step(step);
            self.act();
            self.check();
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.instant(self.now);
        match step {
            Step::Wakeup => {}
            Step::Join(server) => {
                let Server { round_trip, stall, .. } = self.servers[server];
                self.copies.retain(|id, _| id.peer != peer_id(server));
                let link = LinkModel::new(us(round_trip));
                self.servers[server].link = Some(match stall {
                    Some((at, factor)) => link.slow(self.instant(at), factor),
                    None => link,
                });
                self.servers[server].sent.clear();
                self.servers[server].refusals = 0;
                let joined = self.scheduler.peer_joined(peer_id(server), HEIGHT, us(round_trip), now);
                assert_eq!(joined, !self.servers[server].is_banned, "a banned peer is not taken");
                if !joined {
                    self.servers[server].link = None;
                }
            }
            Step::Leave(server) => {
                self.servers[server].link = None;
                self.copies.retain(|id, _| id.peer != peer_id(server));
                self.scheduler.peer_left(peer_id(server), LeaveReason::Disconnected, now);
                if !self.agenda.iter().any(|Reverse((_, _, step))| matches!(step, Step::Join(_))) {
                    // A peer has to stay, or nothing need ever end.
                    self.plan(self.now + 1e6, Step::Join(server));
                }
            }
            Step::Submit(job) | Step::Retry(job) => self.submit(job),
            Step::Cancel(job) => {
                if self.fates[job] == Fate::Waiting {
                    self.scheduler.cancel(RequestId(job as u64));
                    self.fates[job] = Fate::Ended;
                    self.move_window();
                }
            }
            Step::Progress(id) => {
                let Some(copy) = self.copies.get_mut(&id) else { return };
                self.scheduler.progress(id, copy.reported, Some(copy.cost.bytes), now);
                copy.reported += 16_384;
                if copy.reported < copy.cost.bytes {
                    let link = self.servers[index(id.peer)].link.as_ref().expect("a peer that is there");
                    let at = link.arrival(copy.transit, copy.cost.transfer, copy.reported, copy.cost.bytes);
                    let at = self.micros(at);
                    self.plan(at, Step::Progress(id));
                }
            }
            Step::TimedOut(id) => {
                if self.copies.contains_key(&id) {
                    self.scheduler.timed_out(id, now);
                }
            }
            Step::Done(id) => self.done(id, now),
        }
    }

    fn submit(&mut self, job: usize) {
        // Its plan may have moved on, or it was cancelled while it waited for its retry.
        if self.fates[job] != Fate::Planned {
            return;
        }
        self.scheduler.submit(self.attempts[job].clone(), self.instant(self.now)).expect("room");
        self.fates[job] = Fate::Waiting;
    }

    fn done(&mut self, id: SendId, now: Instant) {
        let Some(copy) = self.copies.remove(&id) else { return };
        if copy.cost.refused {
            self.servers[index(id.peer)].refusals += 1;
            self.scheduler.failed(id, AttemptErrorKind::Refused, now);
            return self.replace_the_last(index(id.peer));
        }
        if chance(&mut self.rng, 0.005) {
            return self.scheduler.failed(id, AttemptErrorKind::False, now);
        }
        let timing = Timing {
            peer: id.peer,
            sent: self.instant(copy.sent),
            head: None,
            first_byte: Some(copy.transit.first_byte),
            done: now,
            bytes: copy.cost.bytes,
        };
        self.scheduler.replied(id, &timing);
    }

    fn act(&mut self) {
        let now = self.instant(self.now);
        loop {
            while let Some(event) = self.scheduler.event() {
                self.on_event(event);
            }
            let Some(dispatch) = self.scheduler.next(now) else { break };
            self.send(dispatch.send, &dispatch.attempt);
        }
        // The last question may have found a deadline passed.
        while let Some(event) = self.scheduler.event() {
            self.on_event(event);
        }
        if let Some(at) = self.scheduler.next_wakeup(now) {
            assert!(at >= now);
            let at = (at.duration_since(self.base).as_micros() as u64).max(self.now as u64 + 1);
            if self.wakeup != Some(at) {
                self.wakeup = Some(at);
                self.plan(at as f64, Step::Wakeup);
            }
        }
    }

    fn send(&mut self, id: SendId, attempt: &Attempt) {
        let job = attempt.id.0 as usize;
        let index = index(id.peer);
        assert_eq!(attempt.send, Some(id));
        assert_eq!(self.fates[job], Fate::Waiting, "sent, though no caller waits for it");
        assert!(!self.attempts[job].avoid.contains(&id.peer), "sent to a peer that it avoids");
        assert!(self.copies.iter().all(|(other, copy)| other.peer != id.peer || copy.job != job || {
            // A copy that timed out there may be followed by one of the retry.
            self.tries[job] > 0
        }));
        if let Some(length) = self.window {
            assert!(attempt.id.0 < self.first as u64 + length, "sent from beyond the window");
        }
        assert!(self.scheduler.cap() <= self.settings.cap && self.scheduler.cap() > 0);
        assert!(self.settings.adaptive || self.scheduler.cap() == self.settings.cap);
        assert!(self.scheduler.counted_in_flight() <= self.settings.cap, "above the cap");
        let health = self.scheduler.peer(&id.peer).expect("sent to a peer that is there");
        assert!(health.outstanding() <= health.depth_limit() && health.depth_limit() <= MAX_DEPTH, "above its depth");
        assert!(health.points() < MAX_POINTS, "sent to a peer that has its points");

        let now = self.instant(self.now);
        let size = 1e4 + self.rng.f64().powi(4) * 3e6;
        let server = &mut self.servers[index];
        if let Some(Rate { interval, burst }) = self.settings.peer_rate {
            server.sent.push(self.now);
            if let Some(before) = server.sent.len().checked_sub(burst as usize + 1) {
                let least = interval.as_micros() as f64 - 2.0;
                assert!(self.now - server.sent[before] >= least, "above its rate");
            }
        }
        let refused = self.rng.f64() < server.refuses;
        let spread = 0.2 + 2.0 * self.rng.f64();
        let (compute, transfer) = (us(server.compute * spread), us(size / server.rate));
        let cost = Cost { compute, transfer, bytes: size as u64, refused };
        let transit = cost.serve(server.link.as_mut().expect("a peer that is there"), now);
        self.copies.insert(id, Copy { job, sent: self.now, transit, cost, reported: 0 });
        let (first_byte, done) = (self.micros(transit.first_byte), self.micros(transit.last_byte));
        if !refused {
            self.plan(first_byte, Step::Progress(id));
        }
        if done > self.now + HEAD_TIMEOUT {
            self.plan(self.now + HEAD_TIMEOUT, Step::TimedOut(id));
        }
        if done > self.now + SLOT_TIMEOUT {
            self.plan(self.now + SLOT_TIMEOUT, Step::Leave(index));
        }
        self.plan(done, Step::Done(id));
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Replied(id, _) => {
                let job = self.ends(id);
                self.fates[job] = Fate::Delivered;
                self.move_window();
            }
            Event::Expired(id) => {
                let job = self.ends(id);
                assert!(self.attempts[job].deadline.is_some_and(|deadline| deadline <= self.instant(self.now)));
                self.fates[job] = Fate::Ended;
                self.move_window();
            }
            Event::Failed(id, send, kind) => {
                let job = self.ends(id);
                self.retry(job, Some(send.peer), kind);
            }
            Event::NoPeerLeft(id) => {
                let job = self.ends(id);
                self.retry(job, None, AttemptErrorKind::Local);
            }
            Event::Peer(event) => self.on_peer_event(event),
            Event::SlowedDown { .. } => assert!(self.settings.adaptive),
            event => panic!("{event:?}"),
        }
    }

    /// A request ends once, and only while its caller waits.
    fn ends(&self, id: RequestId) -> usize {
        assert_eq!(self.fates[id.0 as usize], Fate::Waiting);
        id.0 as usize
    }

    fn on_peer_event(&mut self, event: PeerEvent) {
        let PeerEvent::Banned { peer, .. } = event else { return };
        let index = index(peer);
        self.copies.retain(|id, _| id.peer != peer);
        self.servers[index].link = None;
        self.servers[index].is_banned = true;
        self.replace_the_last(index);
    }

    /// Another server takes the place of the last one that can be asked, or nothing need ever end.
    fn replace_the_last(&mut self, index: usize) {
        let can_be_asked = |server: &Server| server.link.is_some() && server.refusals < MAX_POINTS;
        let will_join = |Reverse((_, _, step)): &Reverse<(u64, u64, Step)>| match step {
            Step::Join(server) => !self.servers[*server].is_banned,
            _ => false,
        };
        if !self.servers.iter().any(can_be_asked) && !self.agenda.iter().any(will_join) {
            let mut server = self.servers[index].clone();
            (server.refuses, server.refusals, server.is_banned) = (0.0, 0, false);
            self.servers.push(server);
            self.plan(self.now + 1e6, Step::Join(self.servers.len() - 1));
        }
    }

    fn retry(&mut self, job: usize, avoid: Option<PeerId>, kind: AttemptErrorKind) {
        self.tries[job] += 1;
        if self.tries[job] > 8 {
            self.fates[job] = Fate::Ended;
            return self.move_window();
        }
        self.fates[job] = Fate::Planned;
        match (avoid, kind) {
            (Some(peer), _) => self.attempts[job].avoid.push(peer),
            (None, _) => self.attempts[job].avoid.clear(),
        }
        let backoff = self.rng.f64() * 1e6;
        self.plan(self.now + backoff, Step::Retry(job));
    }

    fn check(&mut self) {
        assert_eq!(self.scheduler.slots_in_use(), self.copies.len(), "slots in use are requests at peers");
        let waiting = self.fates.iter().filter(|fate| matches!(fate, Fate::Waiting)).count();
        assert_eq!(self.scheduler.unfinished(), waiting, "nothing is lost, nothing is kept");
        assert!(self.scheduler.waiting() <= waiting);
        for (index, server) in self.servers.iter().enumerate() {
            assert!(server.refusals <= MAX_POINTS, "our requests had it ban us");
            if let Some(health) = self.scheduler.peer(&peer_id(index)) {
                assert!(health.points() == server.refusals && server.link.is_some() && !server.is_banned);
            }
        }
    }
}

fn index(peer: PeerId) -> usize {
    (0..).find(|&index| peer_id(index) == peer).expect("a known peer")
}

#[test]
fn every_promise_holds_at_every_step() {
    let base = tokio::time::Instant::now().into_std();
    if let Some(seed) = env::var("SPV_TEST_SCHEDULE").ok().and_then(|seed| seed.parse().ok()) {
        return Schedule::new(seed, base).run();
    }
    let schedules = env::var("SPV_TEST_SCHEDULES").ok().and_then(|n| n.parse().ok());
    for seed in 0..schedules.unwrap_or(if cfg!(debug_assertions) { 1_000 } else { 10_000 }) {
        let outcome = std::panic::catch_unwind(|| Schedule::new(seed, base).run());
        assert!(outcome.is_ok(), "replay with SPV_TEST_SCHEDULE={seed}");
    }
}
