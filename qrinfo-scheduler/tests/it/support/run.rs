//! A run of a scenario: one `Scheduler`, simulated peers, and an agenda of what happens next.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use qrinfo_core::{Attempt, AttemptErrorKind, RequestId, SendId, Timing};
use qrinfo_scheduler::{Event, Scheduler, Settings, Window};
use spv_testkit::{LinkModel, Scenario, Transit, scenario::Run};

use super::{Cost, HEIGHT, attempt, peer_id};

/// The number of bytes after which progress is reported.
const REPORT_EVERY: u64 = 16_384;

/// The figures of one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub makespan: Duration,
    /// The sum of the times at which the requests ended.
    pub arrivals: Duration,
    /// Replies that the peers sent.
    pub replies: usize,
    pub highest_in_flight: usize,
    pub highest_depth: usize,
    /// The most misbehaviour points that were caused at one peer.
    pub points: u32,
}

/// The client's knowledge and limits.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// It sees the length of a reply with its first byte, as in its frame's header.
    pub lengths: bool,
    pub cap: usize,
}

/// The link of a run's peer; `start` is time zero.
pub fn link(scenario: &Scenario, run: &Run, peer: usize, start: Instant) -> LinkModel {
    let round_trip = Duration::from_micros(run.peers[peer].rtt_us);
    let link = LinkModel::new(round_trip).send_buffer(scenario.send_buffer_bytes);
    match run.stall.filter(|stall| stall.peer == peer) {
        Some(stall) => link.slow(start + Duration::from_micros(stall.at_us), stall.factor),
        None => link,
    }
}

/// The cost of a run's job at one of its peers.
pub fn cost(run: &Run, peer: usize, job: usize) -> Cost {
    Cost {
        compute: Duration::from_micros(run.peers[peer].compute_us[job]),
        transfer: Duration::from_micros(run.peers[peer].transfer_us[job]),
        bytes: run.reply_bytes[job],
        refused: run.refused.get(peer).is_some_and(|refused| refused.contains(&job)),
    }
}

/// Runs one run to its end. `start` is time zero.
pub fn simulate(scenario: &Scenario, run: &Run, view: View, start: Instant) -> Outcome {
    Simulation::new(scenario, run, view, start).run()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Progress(SendId, u64),
    Done(SendId),
    Wakeup,
}

struct Sent {
    at: Instant,
    transit: Transit,
    cost: Cost,
}

struct Simulation<'a> {
    run: &'a Run,
    view: View,
    start: Instant,
    now: Instant,
    scheduler: Scheduler,
    links: Vec<LinkModel>,
    agenda: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    happenings: u64,
    sent: BTreeMap<SendId, Sent>,
    waiting: BTreeMap<RequestId, Attempt>,
    arrived: Vec<bool>,
    first: usize,
    outcome: Outcome,
    wakeup: Option<Instant>,
}

impl<'a> Simulation<'a> {
    fn new(scenario: &Scenario, run: &'a Run, view: View, start: Instant) -> Self {
        let mut simulation = Self {
            run,
            view,
            start,
            now: start,
            scheduler: Scheduler::new(Settings { cap: view.cap, ..Settings::default() }),
            links: (0..run.peers.len()).map(|peer| link(scenario, run, peer, start)).collect(),
            agenda: BinaryHeap::new(),
            happenings: 0,
            sent: BTreeMap::new(),
            waiting: BTreeMap::new(),
            arrived: vec![false; run.jobs()],
            first: 0,
            outcome: Outcome::default(),
            wakeup: None,
        };
        for (index, peer) in run.peers.iter().enumerate() {
            simulation.scheduler.peer_joined(peer_id(index), HEIGHT, Duration::from_micros(peer.rtt_us), start);
        }
        for job in 0..run.jobs() {
            simulation.submit(attempt(job as u64));
        }
        simulation.move_window();
        simulation
    }

    fn submit(&mut self, attempt: Attempt) {
        self.scheduler.submit(attempt.clone(), self.now).expect("room for all jobs");
        self.waiting.insert(attempt.id, attempt);
    }

    fn move_window(&mut self) {
        if let Some(length) = self.run.window {
            let first = RequestId(self.first as u64);
            self.scheduler.set_window(Some(Window { first, length: length as u64 }));
        }
    }

    fn plan(&mut self, at: Instant, happening: Happening) {
        self.happenings += 1;
        self.agenda.push(Reverse((at.max(self.now), self.happenings, happening)));
    }

    fn run(mut self) -> Outcome {
        self.act();
        while self.first < self.arrived.len() {
            let Some(Reverse((at, _, happening))) = self.agenda.pop() else {
                panic!("nothing is in flight and {} jobs are missing", self.waiting.len());
            };
            if happening == Happening::Wakeup && self.wakeup != Some(at) {
                continue;
            }
            self.now = at;
            self.report(happening);
            self.act();
        }
        self.outcome.makespan = self.now - self.start;
        let half_trip = |send: SendId| Duration::from_micros(self.run.peers[index(send)].rtt_us) / 2;
        let on_their_way = self
            .sent
            .iter()
            .filter(|(send, sent)| !sent.cost.refused && sent.transit.last_byte <= self.now + half_trip(**send));
        self.outcome.replies += on_their_way.count();
        self.outcome.points = self.scheduler.peers().map(|(_, peer)| peer.points()).max().unwrap_or(0);
        self.outcome
    }

    fn report(&mut self, happening: Happening) {
        match happening {
            Happening::Wakeup => {}
            Happening::Progress(send, bytes) => self.progress(send, bytes),
            Happening::Done(send) => self.done(send),
        }
    }

    fn progress(&mut self, send: SendId, bytes: u64) {
        let Some(Sent { transit, cost, .. }) = self.sent.get(&send) else { return };
        self.scheduler.progress(send, bytes, self.view.lengths.then_some(cost.bytes), self.now);
        let next = bytes + REPORT_EVERY;
        if next < cost.bytes {
            let at = self.links[index(send)].arrival(*transit, cost.transfer, next, cost.bytes);
            self.plan(at, Happening::Progress(send, next));
        }
    }

    fn done(&mut self, send: SendId) {
        let Some(Sent { at, transit, cost }) = self.sent.remove(&send) else { return };
        if cost.refused {
            return self.scheduler.failed(send, AttemptErrorKind::Refused, self.now);
        }
        let first_byte = Some(transit.first_byte);
        self.outcome.replies += 1;
        let timing = Timing { peer: send.peer, sent: at, head: None, first_byte, done: self.now, bytes: cost.bytes };
        self.scheduler.replied(send, &timing);
    }

    /// Does everything that follows at once: events, retries, sendings, the next wake-up.
    fn act(&mut self) {
        loop {
            while let Some(event) = self.scheduler.event() {
                self.on_event(event);
            }
            let Some(dispatch) = self.scheduler.next(self.now) else { break };
            self.send(dispatch.send, dispatch.attempt.id);
        }
        let wakeup = self.scheduler.next_wakeup(self.now);
        if wakeup != self.wakeup || wakeup.is_some_and(|at| at <= self.now) {
            self.wakeup = wakeup;
            if let Some(at) = wakeup {
                self.plan(at, Happening::Wakeup);
            }
        }
    }

    fn send(&mut self, send: SendId, request: RequestId) {
        let peer = index(send);
        let cost = cost(self.run, peer, request.0 as usize);
        let transit = cost.serve(&mut self.links[peer], self.now);
        self.sent.insert(send, Sent { at: self.now, transit, cost });
        if !cost.refused {
            self.plan(transit.first_byte, Happening::Progress(send, 0));
        }
        self.plan(transit.last_byte, Happening::Done(send));
        self.outcome.highest_in_flight = self.outcome.highest_in_flight.max(self.scheduler.slots_in_use());
        let depth = self.scheduler.peer(&send.peer).map_or(0, |peer| peer.outstanding());
        self.outcome.highest_depth = self.outcome.highest_depth.max(depth);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Replied(id, _) => {
                self.waiting.remove(&id).expect("a request ends once");
                self.outcome.arrivals += self.now - self.start;
                let job = id.0 as usize;
                assert!(!std::mem::replace(&mut self.arrived[job], true), "job {job} came twice");
                while self.arrived.get(self.first) == Some(&true) {
                    self.first += 1;
                }
                self.move_window();
            }
            // A retry layer does this: at once, at another peer.
            Event::Failed(id, send, AttemptErrorKind::Refused) => {
                let mut attempt = self.waiting.remove(&id).expect("a request ends once");
                attempt.avoid.push(send.peer);
                self.submit(attempt);
            }
            Event::Peer(_) => {}
            event => panic!("{event:?}"),
        }
    }
}

fn index(send: SendId) -> usize {
    (0..).find(|&peer| peer_id(peer) == send.peer).expect("a known peer")
}
