//! A parallel sync of a plan beside the follower, and the rules that its events keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    time::Duration,
};

use futures_util::future::join_all;
use qrinfo::{
    Delivered, OrderedSync, ParallelOptions, ParallelSync, Peer, SyncEvent, SyncReport, adopt, plan::Planner,
    verify::Verifier,
};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerEvent, PeerId,
    RecoveryEvent, Request, RequestId, SendId,
};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_recovery::RecoverySettings;
use qrinfo_verify::{CheckLayer, Level, ListStage, VerifyError};
use spv_testkit::Chain;
use tokio::{
    sync::broadcast,
    time::{Instant, sleep},
};
use tower::{Layer, util::BoxCloneService};

use crate::{chains::START, client::blame, day::rng, log::Log, network::Network};

/// The first cycle of the plan.
const FIRST: u32 = 6 * 24;

/// The number of short steps.
const STEPS: u32 = 140;

/// The longest time for a sync while nothing is wrong: a few round trips and one timeout.
const BOUND: Duration = Duration::from_secs(45);

/// The longest time for a sync whatever the nodes do: that of one request at a time at all nodes.
const LONGEST: Duration = Duration::from_secs(3 * 3_600);

/// The longest time for which a peer is waited for that gives no sign: a timeout, doubled.
const QUIET: Duration = Duration::from_secs(60);

type Service = BoxCloneService<Attempt, Answer, AttemptError>;

/// A sync and its observer.
struct OneShot {
    network: Network,
    log: Log,
    blameless: BTreeSet<PeerId>,
    prompt: BTreeSet<PeerId>,
    plan: Vec<Request>,
    /// The index of the next reply, without those that were taken back.
    next: usize,
    delivered: BTreeSet<usize>,
    ended: BTreeSet<SendId>,
    gave_up: BTreeSet<RequestId>,
    banned: BTreeSet<PeerId>,
    /// Sendings that were not heard to have timed out, with their requests.
    awaited: BTreeMap<SendId, RequestId>,
    answered: BTreeSet<RequestId>,
    /// The last sign of each peer that it works on a request, or the last change of what it is to work on.
    heard: BTreeMap<PeerId, Instant>,
}

/// The start of a sync.
#[derive(Debug, Clone)]
pub(crate) enum When {
    /// Some time within the next minute.
    Later,
    /// Now, with a plan for a chain of which a block has just been replaced.
    Reorganized(Chain),
    /// Now, while nothing is wrong.
    Calm,
}

/// Syncs once. While nothing is wrong, everything comes within a bound.
pub(crate) async fn sync(network: Network, seed: u64, when: When, log: Log) {
    let is_calm = matches!(when, When::Calm);
    let mut rng = rng(seed, if is_calm { "calm sync" } else { "sync" });
    if let When::Later = when {
        sleep(Duration::from_millis(rng.u64(0..60_000))).await;
    }
    let has_steps = !is_calm && rng.u8(0..4) == 0;
    let plan = match when {
        When::Reorganized(chain) => plan(&chain, has_steps, &mut rng),
        When::Later | When::Calm => plan(&network.now(), has_steps, &mut rng),
    };
    // One peer alone answers in order, so that nothing would wait for its turn.
    let depth = if has_steps { 1 } else { [1, 3, 64][rng.usize(0..3)] };
    let peers = connect(&network, depth).await;
    log.event(format!("sync of {} nodes", peers.len()));
    let options = ParallelOptions {
        max_concurrent: NonZeroUsize::new(rng.usize(1..9)).unwrap_or(NonZeroUsize::MIN),
        adaptive: rng.bool(),
        // On a small device, where a true reply may be longer; or below, at and above the longest reply of a liar.
        window_bytes: match has_steps || rng.bool() {
            true => rng.u64(1_000..16_000) << rng.u8(0..4),
            false => [250_000, 400_000, 550_000, 8 << 20][rng.usize(0..4)],
        },
        recovery: RecoverySettings { seed, ..RecoverySettings::default() },
        ..ParallelOptions::default()
    };
    let mut one_shot = OneShot {
        blameless: network.blameless(),
        prompt: network.prompt(),
        network,
        log,
        plan: plan.clone(),
        next: 0,
        delivered: BTreeSet::new(),
        ended: BTreeSet::new(),
        gave_up: BTreeSet::new(),
        banned: BTreeSet::new(),
        awaited: BTreeMap::new(),
        answered: BTreeSet::new(),
        heard: BTreeMap::new(),
    };
    let (has_peers, start) = (!peers.is_empty(), Instant::now());
    let sync = ParallelSync::new(plan, peers, options);
    let report = one_shot.watch(sync).await;
    one_shot.at_end(&report);
    let took = start.elapsed();
    one_shot.log.event(format!("sync {} in {took:?} {:?}", report.outcome, report.stats));
    one_shot.log.check(took < LONGEST || one_shot.network.may_jump(), || format!("a sync took {took:?}"));
    if is_calm && has_peers {
        one_shot.log.check(report.outcome.is_complete() && took <= BOUND, || {
            format!("a sync of honest nodes ended {} after {took:?}", report.outcome)
        });
    }
}

/// Connects to all nodes. Each holds at most `depth` requests.
async fn connect(network: &Network, depth: usize) -> Vec<Peer<Service>> {
    let depth = NonZeroUsize::new(depth).unwrap_or(NonZeroUsize::MIN);
    let config = CorrelatorConfig { depth, ..CorrelatorConfig::default() };
    let connections = join_all(network.nodes().iter().map(|node| network.connect(node.name()))).await;
    let wrap = |service| {
        let network = network.clone();
        BoxCloneService::new(CheckLayer::new(move |hash: &_| network.find(hash)).layer(service))
    };
    let adopted = connections.into_iter().flatten().map(|connection| adopt(connection, config));
    adopted.map(|peer| peer.map(wrap)).collect()
}

/// Requests for cycles, and one for the whole list of the newest block, among many for short steps if `has_steps`.
fn plan(chain: &Chain, has_steps: bool, rng: &mut fastrand::Rng) -> Vec<Request> {
    let planner = Planner { anchor: Some(START - 8), ..Planner::new(chain.network(), START) };
    let hash_at = |height| chain.block(height).map(|block| block.hash);
    let cycles = planner.plan(FIRST, START, hash_at).unwrap_or_default().into_iter().map(Request::from);
    let diff = |base_block_hash, block_hash| MnListDiffRequestSpec { base_block_hash, block_hash }.into();
    let steps = START - if has_steps { STEPS } else { 0 }..START;
    let mut plan: Vec<_> = steps.filter_map(|height| Some(diff(hash_at(height)?, hash_at(height + 1)?))).collect();
    let list = hash_at(chain.tip()).map(|tip| diff(BlockHash::ZERO, tip));
    let long: Vec<_> = list.into_iter().chain(cycles).collect();
    let mut places: Vec<_> = long.iter().map(|_| rng.usize(0..=plan.len())).collect();
    places.sort_unstable();
    for (place, request) in places.into_iter().zip(long).rev() {
        plan.insert(place, request);
    }
    plan
}

// === impl OneShot ===

impl OneShot {
    async fn watch(&mut self, mut sync: ParallelSync) -> SyncReport {
        let network = self.network.clone();
        let stage = ListStage::new(self.network.history().network(), Level::Roots);
        let mut verifier = Verifier::new(stage, move |hash| network.find(hash));
        let mut events = sync.events();
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Ok(event) => self.on_event(event),
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        self.log.violation(format!("the sync told {count} events at once"));
                    }
                    Err(broadcast::error::RecvError::Closed) => {}
                },
                next = sync.next() => match next {
                    Some(delivered) => {
                        if let Some(why) = self.judge(&mut verifier, delivered).await {
                            sync.reject_last(why);
                        }
                    }
                    None => break,
                },
            }
        }
        while let Ok(event) = events.try_recv() {
            self.on_event(event);
        }
        for lists in verifier.stage().kept().filter(|lists| lists.height() > 0) {
            let is_true = self.network.history().has(lists);
            self.log.check(is_true, || format!("the lists of block {} in a sync are false", lists.height()));
        }
        sync.into_report()
    }

    async fn judge(&mut self, verifier: &mut Verifier, delivered: Delivered) -> Option<qrinfo_verify::Falsehood> {
        let Delivered { index, reply, timing } = delivered;
        self.log.event(format!("delivered {index} by {}, {} bytes", timing.peer, timing.bytes));
        let is_in_order = index >= self.next && !self.delivered.contains(&index);
        self.log.check(is_in_order, || format!("reply {index} was delivered after {}", self.next));
        let request = self.plan.get(index).cloned()?;
        match verifier.take(request, &reply).await {
            Ok(verified) => {
                self.delivered.insert(index);
                self.next = index + 1;
                let lists = verified.lists.iter().chain(&verified.tip).filter(|lists| lists.height() > 0);
                for lists in lists {
                    let is_true = self.network.history().has(lists);
                    self.log
                        .check(is_true, || format!("the lists of block {} were proven, and are false", lists.height()));
                }
                None
            }
            Err(VerifyError::False(why)) => {
                self.log.event(format!("false {index} by {}: {why}", timing.peer));
                self.blamed(timing.peer, &why);
                Some(why)
            }
            Err(error) => {
                self.log.event(format!("not judged {index}: {error}"));
                self.delivered.insert(index);
                self.next = index + 1;
                None
            }
        }
    }

    fn on_event(&mut self, event: SyncEvent) {
        match event {
            SyncEvent::Peer(PeerEvent::Ended { send, outcome, .. }) => {
                // Schedulers of one process number their sends apart.
                let number = send.seq & u64::from(u32::MAX);
                let outcome = outcome.map(|timing| timing.bytes);
                self.log.event(format!("ended {} {number} {outcome:?}", send.peer));
                let request = self.awaited.remove(&send);
                match outcome {
                    Ok(_) => self.answered.extend(request),
                    // A request that was answered by another peer is not waited for any more.
                    Err(_) if request.is_some_and(|request| !self.answered.contains(&request)) => self.waited(send),
                    Err(_) => {}
                }
                self.heard.insert(send.peer, Instant::now());
                self.log.check(self.ended.insert(send), || format!("sending {send:?} ended twice"));
            }
            SyncEvent::Peer(PeerEvent::Progress { send, received, length, .. }) => {
                self.heard.insert(send.peer, Instant::now());
                self.log.check(!self.ended.contains(&send), || format!("progress of {send:?} behind its end"));
                self.log.check(length.is_none_or(|length| received <= length), || {
                    format!("{received} bytes of {length:?} were received of {send:?}")
                });
            }
            SyncEvent::Peer(PeerEvent::Banned { peer, why }) => {
                self.log.event(format!("banned {peer}: {why:?}"));
                self.blamed(peer, format!("{why:?}"));
                self.log.check(self.banned.insert(peer), || format!("{peer} was banned twice"));
            }
            SyncEvent::Recovery(RecoveryEvent::GaveUp { request, why }) => {
                self.log.event(format!("gave up {request:?}: {why}"));
                self.log.check(self.gave_up.insert(request), || format!("request {request:?} was given up twice"));
            }
            SyncEvent::Recovery(RecoveryEvent::Decided { request, peer, error, strategy }) => {
                self.log.event(format!("decided {request:?} {peer:?} {error:?} {strategy:?}"));
                if let (Some(peer), AttemptErrorKind::False | AttemptErrorKind::Malformed) = (peer, error) {
                    self.blamed(peer, format!("{error:?}"));
                }
            }
            SyncEvent::Peer(PeerEvent::TimedOut { send, .. }) => {
                self.log.event(format!("timed out {}", send.peer));
                self.awaited.remove(&send);
                self.waited(send);
                self.log.check(!self.prompt.contains(&send.peer), || {
                    format!("{} timed out, which answers or refuses at once", send.peer)
                });
                self.heard.insert(send.peer, Instant::now());
            }
            SyncEvent::Peer(PeerEvent::Sent { send, request, is_copy, .. }) => {
                self.log.event(format!("sent {request:?} to {}, copy {is_copy}", send.peer));
                self.awaited.insert(send, request);
                self.heard.insert(send.peer, Instant::now());
            }
            SyncEvent::Peer(PeerEvent::Stalled { peer, .. }) => self.log.event(format!("stalled {peer}")),
            other => self.log.event(format!("{other:?}")),
        }
    }

    /// Checks the time for which a peer was waited for that gave no sign, before the end of the wait is noted.
    fn waited(&self, send: SendId) {
        let quiet = self.heard.get(&send.peer).map_or(Duration::ZERO, Instant::elapsed);
        let is_late = quiet > QUIET && !self.network.may_jump();
        self.log.check(!is_late, || format!("{} was waited for in silence for {quiet:?}", send.peer));
    }

    fn at_end(&self, report: &SyncReport) {
        let missing: BTreeSet<_> = report.outcome.missing().iter().map(|missing| missing.index).collect();
        for index in 0..self.plan.len() {
            let ends = usize::from(missing.contains(&index)) + usize::from(self.delivered.contains(&index));
            self.log.check(ends == 1, || format!("request {index} ended {ends} times"));
        }
        for lost in &report.lost {
            if matches!(lost.why, AttemptErrorKind::False | AttemptErrorKind::Malformed) {
                self.blamed(lost.peer, format!("{:?}", lost.why));
            }
        }
    }

    fn blamed(&self, peer: PeerId, why: impl std::fmt::Display) {
        self.log.check(!self.blameless.contains(&peer), || blame(peer, why));
    }
}
