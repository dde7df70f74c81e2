//! The follower of a day, and its observer.

use std::{path::PathBuf, time::Duration};

use qrinfo::{
    follow::{FollowConfig, FollowEvent, FollowState, Follower, follow, stored_lists},
    nodes::Ledger,
};
use qrinfo_core::{BlockHash, PeerId};
use qrinfo_verify::{Level, Lists};
use spv_headers::HeaderRules;
use spv_pool::{Plan, PlanConfig, Source, start};
use spv_store::{Store, StoreError};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    disk::Disk,
    kind::Kind,
    log::{self, Log},
    network::Network,
};

/// The time at the start of each day, in seconds since 1970.
const UNIX: u64 = 1_800_000_000;

/// A running follower with its disk.
pub(crate) struct Client {
    follower: Follower,
    ledger: Ledger,
    pub(crate) disk: Disk,
    network: Network,
    observers: [JoinHandle<()>; 3],
    log: Log,
}

// === impl Client ===

impl Client {
    /// Starts a follower over what is on the disk. It was synced to `reported` before.
    pub(crate) fn start(network: &Network, disk: Disk, reported: u32, log: &Log) -> Result<Self, StoreError> {
        let store = Store::open_on(disk.clone(), network.history().network(), PathBuf::new())?;
        check_store(network, &store, log);
        let tip = store.tip_height()?.unwrap_or(0);
        log.check(tip >= reported, || format!("headers up to {reported} were stored, and {tip} is left"));
        let lists = store.lists()?.last().map_or(0, |(height, _)| *height);
        log.check(lists >= reported, || format!("lists of block {reported} were stored, and {lists} is left"));
        let (pool, ledger) = pool(network, &store);
        let chain = network.history().network();
        let mut config = FollowConfig::new(chain);
        config.rules = HeaderRules::from(chain).hash(crate::chains::hash);
        config.start = (0, chain.genesis_hash());
        config.level = Level::Roots;
        let follower = match follow(pool, ledger.clone(), Some(store), config) {
            Ok(follower) => follower,
            Err(error) => {
                log.violation(format!("what is stored cannot be used: {error}"));
                return Err(StoreError::InUse(PathBuf::new()));
            }
        };
        log.event("started");
        network.follower_runs(true);
        let observers = [
            tokio::spawn(observe_events(follower.events(), network.clone(), log.clone())),
            tokio::spawn(observe_state(follower.state.clone(), network.clone(), log.clone())),
            tokio::spawn(observe_start(follower.state.clone(), network.clone(), log.clone())),
        ];
        Ok(Self { follower, ledger, disk, network: network.clone(), observers, log: log.clone() })
    }

    /// Ends the follower as a crash does, and returns its disk.
    pub(crate) async fn kill(self) -> Disk {
        self.check_blame();
        self.network.follower_runs(false);
        self.observers.iter().for_each(JoinHandle::abort);
        let disk = self.disk.after_kill();
        drop(self.follower);
        tokio::task::yield_now().await;
        disk
    }

    /// The height that it is synced to, on a day on which no block leaves the chain.
    pub(crate) fn reported(&self) -> u32 {
        match self.state() {
            FollowState::Synced { height } if !self.network.may_go_back() => height,
            _ => 0,
        }
    }

    /// Returns `true` if the follower has ended, which only a failed store may do to it.
    pub(crate) fn has_ended(&self) -> bool {
        self.follower.state.has_changed().is_err()
    }

    /// The error that ended the follower.
    pub(crate) async fn end(self) -> (Disk, String) {
        self.check_blame();
        self.observers.iter().for_each(JoinHandle::abort);
        let disk = self.disk.after_kill();
        let error = match self.follower.ended().await {
            Ok(()) => "no error".to_owned(),
            Err(error) => qrinfo::nodes::on_one_line(&error),
        };
        (disk, error)
    }

    /// Waits for the lists of the newest block.
    pub(crate) async fn synced(&mut self, within: Duration) -> bool {
        let (start, chain) = (Instant::now(), self.network.now());
        let wanted = FollowState::Synced { height: chain.tip() };
        let is_there = timeout(within, self.follower.state.wait_for(|state| *state == wanted)).await;
        self.log.event(format!("converged in {:?}", start.elapsed()));
        matches!(is_there, Ok(Ok(_)))
    }

    pub(crate) fn state(&self) -> FollowState {
        self.follower.state.borrow().clone()
    }

    /// Checks that the book answers for every quorum and masternode of the newest block.
    pub(crate) fn check_book(&self) {
        let (chain, book) = (self.network.now(), &self.follower.book);
        let Some(block) = chain.block(chain.tip()) else { return };
        let Some(lists) = self.network.history().lists(block.hash) else { return };
        for quorum in lists.quorums().iter() {
            let known = book.public_key(quorum.llmq_type, &quorum.quorum_hash).found();
            let is_right = known.is_some_and(|known| known.public_key == quorum.quorum_public_key);
            self.log.check(is_right, || {
                format!("the book lacks quorum {} of type {}", quorum.quorum_hash, quorum.llmq_type)
            });
        }
        let masternodes = book.masternodes(chain.tip()).found();
        let is_right = masternodes.is_some_and(|list| list.merkle_root() == lists.masternodes().merkle_root());
        self.log.check(is_right, || "the book has other masternodes than the newest block".to_owned());
    }

    pub(crate) fn check_blame(&self) {
        for peer in self.network.blameless() {
            self.log.check(!self.ledger.is_banned(peer), || {
                let why = self.ledger.all_left().remove(&peer).unwrap_or_default();
                format!("{peer} was banned without a proven fault: {why}")
            });
        }
        for (peer, why) in self.ledger.all_left() {
            self.log.event(format!("left {peer}: {why}"));
        }
    }
}

type Pool = spv_pool::PoolEvents<spv_peer::Connection<tokio::io::DuplexStream>>;

fn pool(network: &Network, store: &Store) -> (Pool, Ledger) {
    let now = Instant::now().into_std();
    let settings = PlanConfig { target: 8, ..PlanConfig::new(network.history().network(), 7) };
    let mut plan = Plan::new(settings, now, UNIX);
    network.nodes().iter().for_each(|node| plan.add(node.name(), Source::Named, now));
    let over = network.clone();
    let (pool, events) = start(plan, move |dial| {
        let network = over.clone();
        async move {
            let mut connection = network.dial(dial.peer).await?;
            if let Some(addresses) = dial.addresses {
                connection.send_addresses_to(addresses);
                if dial.asks_for_addresses {
                    use futures_util::SinkExt;
                    use qrinfo_core::wire::frame::{Command, Frame};
                    connection.feed(Frame { command: Command::GET_ADDR, payload: Default::default() }).await?;
                }
            }
            Ok(connection)
        }
    });
    (events, Ledger::new(pool, Some(store.clone()), log::of_client))
}

/// Checks that nothing false is stored.
fn check_store(network: &Network, store: &Store, log: &Log) {
    let history = network.history();
    let mut known = Vec::new();
    let visited = store.visit_headers(|height, _, hash| {
        known.push((height, hash));
        true
    });
    log.check(visited.is_ok(), || "stored headers cannot be read".to_owned());
    let may_lie = network.nodes().iter().any(|node| node.had(Kind::WrongChain) || node.had(Kind::EndlessHeaders));
    for (height, hash) in known {
        let is_true = history.is_true(&hash) || may_lie;
        log.check(is_true, || format!("the stored block {hash} at {height} is on no chain"));
    }
    match stored_lists(store, history.network()) {
        Ok(Some((height, lists))) => {
            log.event(format!("stored lists {height}"));
            let headers = |hash: &BlockHash| {
                let height = store.height_of(hash).ok()??;
                let merkle_root = store.header(height).ok()??.merkle_root();
                Some(qrinfo_verify::KnownBlock { height, merkle_root })
            };
            let is_true = lists.verify(headers).is_ok_and(|lists| history.has(&lists));
            log.check(is_true, || format!("the stored lists of block {height} are false"));
        }
        Ok(None) => {}
        Err(error) => log.violation(format!("stored lists cannot be read: {error}")),
    }
}

async fn observe_events(mut events: broadcast::Receiver<FollowEvent>, network: Network, log: Log) {
    // The blocks of before this start may have been false.
    let mut was_false = true;
    loop {
        match events.recv().await {
            Ok(event) => on_event(event, &mut was_false, &network, &log),
            Err(broadcast::error::RecvError::Lagged(count)) => log.violation(format!("{count} events at once")),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Checks an event. `was_false` says whether the tip before it was one of liars: a chain that was left for it may be long.
fn on_event(event: FollowEvent, was_false: &mut bool, network: &Network, log: &Log) {
    match event {
        FollowEvent::Tip { height, hash } => {
            log.event(format!("tip {height} {hash}"));
            *was_false = !network.history().is_true(&hash);
            log.check(!*was_false || network.may_lie(), || {
                format!("the agreed block {hash} at {height} is on no chain")
            });
            log.check(height <= network.highest() || network.may_lie(), || {
                format!("the agreed block is at {height}, and the tip at {}", network.highest())
            });
        }
        FollowEvent::Reorganized { fork, left } => {
            log.event(format!("reorganized {fork} {left}"));
            log.check(left <= 100 || *was_false || network.may_lie(), || format!("a reorganization of {left} blocks"));
        }
        FollowEvent::Proven(lists) => on_lists(&lists, network, log),
        other => log.event(format!("{other:?}")),
    }
}

fn on_lists(lists: &Lists, network: &Network, log: &Log) {
    log.event(format!("proven {} {}", lists.height(), lists.block_hash()));
    network.proven(lists.height());
    log.check(network.history().has(lists), || format!("the lists of block {} are false", lists.height()));
}

async fn observe_state(mut state: watch::Receiver<FollowState>, network: Network, log: Log) {
    loop {
        let shown = state.borrow_and_update().clone();
        match shown {
            FollowState::Degraded { reason, .. } => log.event(format!("degraded: {reason}")),
            _ => log.event(shown.to_string()),
        }
        if let FollowState::Synced { height } = shown {
            let is_true = height <= network.highest() || network.may_lie();
            network.proven(height);
            log.check(is_true, || format!("synced to {height}, and the tip is at {}", network.highest()));
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Checks that a follower that starts is synced in time, where the honest nodes can be reached.
async fn observe_start(mut state: watch::Receiver<FollowState>, network: Network, log: Log) {
    let (start, bound) = (Instant::now(), network.start_bound());
    let is_synced = |state: &FollowState| matches!(state, FollowState::Synced { .. });
    let reached = state.wait_for(is_synced).await.is_ok();
    if reached && let Some(bound) = bound {
        let took = start.elapsed();
        log.check(took <= bound, || format!("a follower was synced {took:?} after its start, and {bound:?} is enough"));
    }
}

/// Names a peer and what it is blamed for.
pub(crate) fn blame(peer: PeerId, why: impl std::fmt::Display) -> String {
    format!("{peer} is blamed without a proven fault: {why}")
}
