//! A discrete-event loop: one `Scheduler`, simulated peers, virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use qrinfo_core::{
    Attempt, AttemptErrorKind, BlockHash, Hash256, MnListDiffRequestSpec, PeerId, Reply, Timing,
    message::{Coinbase, CoinbasePayload, MnListDiff},
};
use qrinfo_scheduler::{DispatchId, Event, Scheduler, Settings, Ticket, Window};

use super::{
    model::{ModelPeer, Seen},
    scenario::{Run, Scenario},
};

/// Progress is reported at each of so many bytes.
const REPORT_EVERY: f64 = 16_384.0;

/// What one run came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Makespan / floor.
    pub score: f64,
    /// Sendings of a request that was with another peer already, or still.
    pub duplicates: usize,
    pub jobs: usize,
    pub highest_in_flight: usize,
    pub highest_depth: usize,
}

/// What the client is allowed to see.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The length of a reply, from its frame's header, with its first byte.
    pub lengths: bool,
    pub cap: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Progress(DispatchId, u64),
    Done(DispatchId),
    Wakeup,
}

struct Sent {
    at: f64,
    seen: Seen,
    refused: bool,
    bytes: f64,
}

pub fn peer_id(index: usize) -> PeerId {
    PeerId::Address(([10, 0, 0, index as u8 + 1], 9999).into())
}

/// The block that job `id` asks for.
pub fn hash(id: u64) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    BlockHash::from_bytes(bytes)
}

/// The job that asks for this block.
pub fn job_of(block_hash: &BlockHash) -> usize {
    block_hash.as_bytes().iter().take(8).rev().fold(0, |job, &byte| job << 8 | usize::from(byte))
}

pub fn attempt(id: u64) -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: hash(id) };
    Attempt::new(id, spec.into())
}

/// The least reply about this block.
pub fn reply(block_hash: BlockHash) -> Reply {
    let payload = CoinbasePayload {
        version: 1,
        height: 1,
        merkle_root_mn_list: Hash256::from_bytes([1; 32]),
        merkle_root_quorums: None,
        credit_pool: None,
    };
    Reply::MnListDiff(Box::new(MnListDiff {
        version: 1,
        base_block_hash: BlockHash::ZERO,
        block_hash,
        total_transactions: 1,
        merkle_hashes: Default::default(),
        merkle_flags: Default::default(),
        coinbase: Coinbase::new(payload),
        deleted_masternodes: Default::default(),
        new_masternodes: Default::default(),
        deleted_quorums: Default::default(),
        new_quorums: Default::default(),
        quorums_cl_sigs: Default::default(),
    }))
}

/// Runs one run to its end. `base` is time zero.
pub fn simulate(scenario: &Scenario, run: &Run, view: View, base: Instant) -> Outcome {
    Simulation::new(scenario, run, view, base).run()
}

struct Simulation<'a> {
    run: &'a Run,
    view: View,
    base: Instant,
    now: f64,
    scheduler: Scheduler,
    peers: Vec<ModelPeer>,
    agenda: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    happenings: u64,
    sent: BTreeMap<DispatchId, Sent>,
    tickets: BTreeMap<Ticket, Attempt>,
    sent_tickets: BTreeMap<Ticket, usize>,
    arrived: Vec<bool>,
    first: usize,
    finished: Option<f64>,
    outcome: Outcome,
    wakeup: Option<u64>,
}

impl<'a> Simulation<'a> {
    fn new(scenario: &Scenario, run: &'a Run, view: View, base: Instant) -> Self {
        let jobs = run.reply_bytes.len();
        let mut simulation = Self {
            run,
            view,
            base,
            now: 0.0,
            scheduler: Scheduler::new(Settings { cap: view.cap, ..Settings::default() }),
            peers: (0..run.peers.len()).map(|peer| scenario.peer(run, peer)).collect(),
            agenda: BinaryHeap::new(),
            happenings: 0,
            sent: BTreeMap::new(),
            tickets: BTreeMap::new(),
            sent_tickets: BTreeMap::new(),
            arrived: vec![false; jobs],
            first: 0,
            finished: None,
            outcome: Outcome { jobs, ..Outcome::default() },
            wakeup: None,
        };
        for (index, peer) in run.peers.iter().enumerate() {
            simulation.scheduler.peer_joined(peer_id(index), Duration::from_secs_f64(peer.rtt_us / 1e6));
        }
        for job in 0..jobs {
            simulation.submit(attempt(job as u64));
        }
        simulation.move_window();
        simulation
    }

    fn instant(&self, us: f64) -> Instant {
        self.base + Duration::from_secs_f64(us / 1e6)
    }

    fn submit(&mut self, attempt: Attempt) {
        let ticket = self.scheduler.submit(attempt.clone(), self.instant(self.now)).expect("room for all jobs");
        self.tickets.insert(ticket, attempt);
    }

    fn move_window(&mut self) {
        if let Some(length) = self.run.window {
            self.scheduler.set_window(Some(Window { first: self.first as u64, length }));
        }
    }

    fn plan(&mut self, at: f64, happening: Happening) {
        self.happenings += 1;
        self.agenda.push(Reverse((at.max(self.now).round() as u64, self.happenings, happening)));
    }

    fn run(mut self) -> Outcome {
        self.act();
        while self.finished.is_none() {
            let Some(Reverse((at, _, happening))) = self.agenda.pop() else {
                panic!("nothing is under way and {} jobs are missing", self.tickets.len());
            };
            if happening == Happening::Wakeup && self.wakeup != Some(at) {
                continue;
            }
            self.now = at as f64;
            self.report(happening);
            self.act();
        }
        self.outcome.score = self.finished.unwrap_or(f64::NAN) / self.run.floor_us;
        self.outcome
    }

    fn report(&mut self, happening: Happening) {
        let now = self.instant(self.now);
        match happening {
            Happening::Wakeup => {}
            Happening::Progress(id, bytes) => {
                let Some(sent) = self.sent.get(&id) else { return };
                let length = self.view.lengths.then_some(sent.bytes as u64);
                self.scheduler.progress(id, bytes, length, now);
                let next = bytes as f64 + REPORT_EVERY;
                if next < sent.bytes {
                    let at = sent.seen.when(next);
                    self.plan(at, Happening::Progress(id, next as u64));
                }
            }
            Happening::Done(id) => {
                let Some(sent) = self.sent.remove(&id) else { return };
                if sent.refused {
                    return self.scheduler.failed(id, AttemptErrorKind::Refused, now);
                }
                let (at, first_byte) = (self.instant(sent.at), self.instant(sent.seen.first_byte));
                let bytes = sent.bytes as u64;
                let timing =
                    Timing { peer: id.peer(), sent: at, head: None, first_byte: Some(first_byte), done: now, bytes };
                self.scheduler.replied(id, &timing);
            }
        }
    }

    /// Everything that follows at once: events, retries, sendings, the next wake-up.
    fn act(&mut self) {
        let now = self.instant(self.now);
        loop {
            while let Some(event) = self.scheduler.event() {
                self.on_event(event);
            }
            let Some(dispatch) = self.scheduler.next(now) else { break };
            let peer = (0..self.peers.len()).find(|&peer| peer_id(peer) == dispatch.id.peer()).expect("a known peer");
            let job = dispatch.attempt.id as usize;
            let cost = self.run.cost(peer, job);
            let seen = self.peers[peer].serve(cost, self.now);
            let copies = self.sent_tickets.entry(dispatch.ticket).or_default();
            self.outcome.duplicates += usize::from(*copies > 0);
            *copies += 1;
            self.sent.insert(dispatch.id, Sent { at: self.now, seen, refused: cost.refused, bytes: cost.bytes });
            if !cost.refused {
                self.plan(seen.first_byte, Happening::Progress(dispatch.id, 0));
            }
            self.plan(seen.done, Happening::Done(dispatch.id));
            self.outcome.highest_in_flight = self.outcome.highest_in_flight.max(self.scheduler.in_flight());
            let depth = self.scheduler.peer(&dispatch.id.peer()).map_or(0, |peer| peer.outstanding());
            self.outcome.highest_depth = self.outcome.highest_depth.max(depth);
        }
        let wakeup = self.scheduler.next_wakeup(now);
        let at = wakeup.map(|at| at.duration_since(self.base).as_micros() as u64);
        if at != self.wakeup || at.is_some_and(|at| at as f64 <= self.now) {
            self.wakeup = at;
            if let Some(at) = at {
                self.plan(at as f64, Happening::Wakeup);
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Replied(ticket, _) => {
                let attempt = self.tickets.remove(&ticket).expect("a request ends once");
                let job = attempt.id as usize;
                assert!(!std::mem::replace(&mut self.arrived[job], true), "job {job} came twice");
                while self.arrived.get(self.first) == Some(&true) {
                    self.first += 1;
                }
                self.move_window();
                if self.first == self.arrived.len() {
                    self.finished = Some(self.now);
                }
            }
            // What a retry layer does: at once, elsewhere.
            Event::Failed(ticket, id, AttemptErrorKind::Refused) => {
                let mut attempt = self.tickets.remove(&ticket).expect("a request ends once");
                attempt.avoid.push(id.peer());
                self.submit(attempt);
            }
            event => panic!("{event:?}"),
        }
    }
}
