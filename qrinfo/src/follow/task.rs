//! The task of a follower: it carries out what the plain structs decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    pin::Pin,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use qrinfo_core::{
    AttemptErrorKind, BlockHash, BlockHeader, Network, PeerId,
    message::{ChainLock, GetHeaders, Headers, InstantLock, Inventory, InventoryKind, MAX_HEADERS, PROTOCOL_VERSION},
    wire::{
        DecodeError, Wire,
        frame::{Command, Frame},
    },
};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use qrinfo_verify::{Level, ListSnapshot, ListStage, Lists};
use spv_headers::{
    HeaderBatch, HeaderError, HeaderSync, HeaderSyncConfig, HeaderSyncError, Heard, LeftPeer, TipHeaders, TipTracker,
    sync_headers,
};
use spv_peer::Connection;
use spv_pool::{Place, PoolEvent, PoolEvents};
use spv_store::{Store, StoreError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{broadcast, mpsc, watch},
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Degradation, FollowConfig, FollowError, FollowEvent, FollowState,
    archive::Archive,
    ask::{Asked, ask},
    chain::{Chain, entries},
    decide::{Decider, Facts, Step, is_complete},
    roster::{LeftBehind, PeerStep, Roster},
    tap::{Session, Tap},
    wanted::Wanted,
};
use crate::{
    Peer,
    book::{
        BookWriter, QuorumBook,
        locks::{LockEvent, LockIntake, Taken},
    },
    nodes::{Ledger, on_one_line},
    peer::peer_over,
    verify::Verifier,
};

/// Messages of peers that wait for the follower. A peer whose messages have no room is read no further.
const INBOX: usize = 64;

/// The time without peers after which a follower that starts says so.
const START: Duration = Duration::from_secs(15);

/// The time without a block after which something is wrong, on networks with a block every 2.5 minutes: 24 of them.
const NO_BLOCKS: Duration = Duration::from_secs(60 * 60);

/// Failures in a row after which a follower says that its peers do not answer.
const FAILURES: u32 = 3;

/// Blocks that are missing from which on many peers fetch them side by side, at the start.
const MANY: u32 = 4_000;

/// Headers to check from which on another thread does it.
const MANY_CHECKS: usize = 64;

/// The outside of a task.
pub(super) struct Outputs {
    pub(super) state: watch::Sender<FollowState>,
    pub(super) events: broadcast::Sender<FollowEvent>,
    pub(super) book: BookWriter,
    pub(super) handle: QuorumBook,
    pub(super) stop: CancellationToken,
}

/// A follower at work.
pub(super) struct Task<Io> {
    config: FollowConfig,
    store: Option<Store>,
    ledger: Ledger,
    pool: PoolEvents<Connection<Io>>,
    outputs: Outputs,
    chain: Chain,
    tracker: TipTracker,
    roster: Roster,
    decider: Decider,
    verifier: Verifier,
    /// The lists of blocks of the chain, genesis left out.
    lists: BTreeMap<u32, Lists>,
    archive: Archive,
    locks: LockIntake,
    /// Locks that are asked for.
    wanted: Wanted,
    links: BTreeMap<PeerId, Link>,
    next_session: u64,
    /// Messages of the peers.
    inbox: mpsc::Receiver<(Session, Frame)>,
    to_inbox: mpsc::Sender<(Session, Frame)>,
    /// Sessions that have ended.
    gone: mpsc::UnboundedReceiver<Session>,
    to_gone: mpsc::UnboundedSender<Session>,
    checks: JoinSet<(Session, Result<TipHeaders, HeaderError>)>,
    /// Peers whose headers are being checked.
    checking: BTreeSet<PeerId>,
    request: Option<BoxFuture<'static, Asked>>,
    /// The instant of the start, and of the last block.
    moved: Instant,
    has_had_peers: bool,
}

/// A connected peer.
struct Link {
    session: u64,
    service: PeerService,
    round_trip: Duration,
    orders: mpsc::UnboundedSender<Frame>,
    _place: Option<Place>,
}

// === impl Task ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<Io> {
    /// Opens what is stored.
    pub(super) fn open(
        config: FollowConfig,
        store: Option<Store>,
        ledger: Ledger,
        pool: PoolEvents<Connection<Io>>,
        outputs: Outputs,
    ) -> Result<Self, FollowError> {
        let network = config.network;
        let chain = Chain::open(&config, store.as_ref())?;
        let mut archive = Archive::default();
        let steps = store.as_ref().map_or(Ok(Vec::new()), Store::lists)?;
        let restored = archive.restore(network, steps, |hash| chain.blocks.find(hash));
        let mut stage = ListStage::new(network, config.level.max(Level::Roots));
        let mut decider = Decider::new(network);
        if let Some(newest) = restored.last() {
            decider.restore(newest.height());
        }
        restored.into_iter().for_each(|lists| stage.pin(lists));
        let blocks = chain.blocks.clone();
        let tracker = chain.tracker(&config);
        let (to_inbox, inbox) = mpsc::channel(INBOX);
        let (to_gone, gone) = mpsc::unbounded_channel();
        let mut task = Self {
            verifier: Verifier::new(stage, move |hash| blocks.find(hash)),
            tracker,
            config,
            store,
            ledger,
            pool,
            outputs,
            chain,
            roster: Roster::default(),
            decider,
            lists: BTreeMap::new(),
            archive,
            locks: LockIntake::default(),
            wanted: Wanted::default(),
            links: BTreeMap::new(),
            next_session: 0,
            inbox,
            to_inbox,
            gone,
            to_gone,
            checks: JoinSet::new(),
            checking: BTreeSet::new(),
            request: None,
            moved: Instant::now(),
            has_had_peers: false,
        };
        task.take_lists();
        Ok(task)
    }

    /// Follows until it is stopped, or the store fails.
    pub(super) async fn run(mut self) -> Result<(), FollowError> {
        let stop = self.outputs.stop.clone();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = self.follow() => ended,
        };
        // The nodes that were useful are asked first next time.
        let good: Vec<_> = self.links.keys().copied().filter(|peer| self.tracker.standing(*peer).is_some()).collect();
        self.ledger.remember(good).await?;
        ended
    }

    async fn follow(&mut self) -> Result<(), FollowError> {
        self.start().await?;
        loop {
            let wake = self.step().await?;
            let request = async {
                match &mut self.request {
                    Some(request) => request.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                event = self.pool.recv() => self.on_pool(event.ok_or(FollowError::NoPool)?),
                Some((session, frame)) = self.inbox.recv() => self.on_frame(session, frame),
                Some(session) = self.gone.recv() => self.on_gone(session),
                Some(Ok((session, checked))) = self.checks.join_next() => self.on_checked(session, checked),
                asked = request => {
                    self.request = None;
                    self.on_asked(asked).await?;
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Waits for the first peer. If much is missing, many peers fetch headers side by side first.
    async fn start(&mut self) -> Result<(), FollowError> {
        self.show();
        let connection = loop {
            let warn = self.moved + START;
            tokio::select! {
                event = self.pool.recv() => match event.ok_or(FollowError::NoPool)? {
                    PoolEvent::Ready(place, connection) => {
                        self.ledger.connected(place);
                        break connection;
                    }
                    event => self.on_pool(event),
                },
                () = sleep_until(warn), if Instant::now() < warn => self.show(),
            }
        };
        match connection.start_height() > self.chain.headers.tip().saturating_add(MANY) {
            true => self.fetch_headers(connection).await,
            false => {
                self.adopt(connection);
                Ok(())
            }
        }
    }

    /// Fetches headers from the first peer and those that join meanwhile.
    async fn fetch_headers(&mut self, first: Connection<Io>) -> Result<(), FollowError> {
        let ledger = self.ledger.clone();
        let pool = &mut self.pool;
        let more = stream::poll_fn(move |cx| pool.poll_recv(cx)).filter_map(|event| {
            let connection = match event {
                PoolEvent::Ready(place, connection) => {
                    ledger.connected(place);
                    Some(connection)
                }
                event => {
                    note(&ledger, event);
                    None
                }
            };
            std::future::ready(connection)
        });
        let connections = stream::once(std::future::ready(first)).chain(more);
        let (batches, mut kept) = mpsc::channel::<HeaderBatch>(4);
        let config = HeaderSyncConfig { wanted_peers: 2, ..HeaderSyncConfig::default() };
        let synced = sync_headers(
            Pin::from(Box::new(connections)),
            self.config.rules.clone(),
            self.chain.headers.clone(),
            config,
            batches,
        );
        let store = self.store.clone();
        let chain = &mut self.chain;
        let keep = async move {
            while let Some(batch) = kept.recv().await {
                store_headers(store.as_ref(), &batch).await?;
                chain.apply(&batch);
            }
            Ok::<(), FollowError>(())
        };
        let (synced, stored) = tokio::join!(synced, keep);
        stored?;
        self.chain.index();
        self.tracker = self.chain.tracker(&self.config);
        match synced {
            Ok(HeaderSync { peers, left, .. }) => {
                left.iter().for_each(|left| self.leave_synced(left));
                peers.into_iter().for_each(|peer| self.adopt(peer.connection));
            }
            Err(HeaderSyncError::NoPeers(left)) => left.iter().for_each(|left| self.leave_synced(left)),
            Err(HeaderSyncError::Timeout(_)) => {}
            Err(error) => return Err(FollowError::Headers(error)),
        }
        Ok(())
    }

    fn leave_synced(&self, left: &LeftPeer) {
        let why = on_one_line(&left.why);
        match left.event() {
            qrinfo_core::PeerEvent::Banned { peer, .. } => self.ledger.ban(peer, &why),
            _ => self.ledger.left(left.peer, &why),
        }
    }

    // --- events ---

    fn on_pool(&mut self, event: PoolEvent<Connection<Io>>) {
        match event {
            PoolEvent::Ready(place, connection) => {
                self.ledger.connected(place);
                self.adopt(connection);
            }
            event => note(&self.ledger, event),
        }
    }

    /// Starts to speak with a peer.
    fn adopt(&mut self, connection: Connection<Io>) {
        let (peer, announced) = (connection.peer(), connection.start_height());
        let round_trip = connection.greeting_time();
        self.next_session += 1;
        let session = (peer, self.next_session);
        let (tap, orders) = Tap::new(connection, session, self.to_inbox.clone());
        let (service, driver) = peer_over(peer, announced, tap, CorrelatorConfig::default());
        let gone = self.to_gone.clone();
        tokio::spawn(async move {
            let why = driver.await;
            tracing::debug!(%peer, %why, "peer ended");
            // After the follower's end there is no listener.
            let _ = gone.send(session);
        });
        let link =
            Link { session: session.1, service: service.service, round_trip, orders, _place: self.ledger.used(peer) };
        self.links.insert(peer, link);
        self.tracker.join(peer);
        self.roster.join(peer, announced, round_trip, now());
        self.decider.retry();
        self.has_had_peers = true;
    }

    fn on_gone(&mut self, (peer, session): Session) {
        if self.links.get(&peer).is_some_and(|link| link.session == session) {
            self.leave(peer, "the connection ended");
        }
    }

    fn leave(&mut self, peer: PeerId, why: &str) {
        self.forget(peer);
        self.ledger.left(peer, why);
    }

    fn ban(&mut self, peer: PeerId, why: &str) {
        // Its locks that wait may be true. If one is not, it is banned already.
        self.forget(peer);
        self.ledger.ban(peer, why);
    }

    fn forget(&mut self, peer: PeerId) {
        self.links.remove(&peer);
        self.tracker.leave(peer);
        self.roster.leave(peer);
        self.checking.remove(&peer);
        let questions = self.wanted.leave(peer, now());
        self.ask_for_locks(questions);
    }

    fn ask_for_locks(&self, questions: BTreeMap<PeerId, Inventory>) {
        questions.iter().for_each(|(peer, locks)| self.send(*peer, Command::GET_DATA, locks));
    }

    fn on_frame(&mut self, (peer, session): Session, frame: Frame) {
        if self.links.get(&peer).is_none_or(|link| link.session != session) {
            return;
        }
        let taken = match frame.command {
            Command::HEADERS => Headers::from_wire(frame.payload).map(|headers| self.on_headers(peer, headers)),
            Command::INV => Inventory::from_wire(frame.payload).map(|announced| self.on_inventory(peer, &announced)),
            Command::CHAIN_LOCK => ChainLock::from_wire(frame.payload).map(|lock| {
                self.wanted.received(&lock.hash());
                let taken = self.locks.take_chain_lock(lock, peer, &self.outputs.handle);
                self.on_lock(taken);
            }),
            Command::INSTANT_LOCK => InstantLock::from_wire(frame.payload).map(|lock| {
                self.wanted.received(&lock.hash());
                let taken = self.locks.take_instant_lock(lock, peer, &self.outputs.handle);
                self.on_lock(taken);
            }),
            _ => Ok(()),
        };
        if let Err(error) = taken {
            let why: DecodeError = error;
            self.ban(peer, &format!("sent a malformed {}: {why}", frame.command));
        }
    }

    fn on_headers(&mut self, peer: PeerId, headers: Headers) {
        if self.checking.contains(&peer) {
            // They may follow those that are being checked.
            return self.roster.ask(peer);
        }
        let is_answer = self.roster.is_asked(peer);
        match self.tracker.hear(headers.0) {
            Heard::Check(check) => {
                let session = (peer, self.links.get(&peer).map_or(0, |link| link.session));
                if check.len() < MANY_CHECKS {
                    return self.on_checked(session, check.run());
                }
                self.checking.insert(peer);
                self.checks.spawn_blocking(move || (session, check.run()));
            }
            Heard::Nothing => {
                self.tracker.forget(peer);
                let ((agreed, hash), lowest) = (self.tracker.agreed(), self.tracker.lowest());
                if agreed == lowest {
                    // A chain of one block.
                    self.tracker.announced(peer, &hash);
                    self.roster.heard(peer, false, now());
                } else {
                    self.roster.heard_nothing(peer, lowest, now());
                }
            }
            Heard::Elsewhere(headers) if is_answer => self.on_headers_below(peer, &headers),
            // They follow a block that it has not told of.
            Heard::Elsewhere(_) => self.roster.ask(peer),
        }
    }

    /// Finds the place of headers on the whole chain that do not follow a block of the tracker.
    fn on_headers_below(&mut self, peer: PeerId, headers: &[BlockHeader]) {
        match self.tracker.below(&self.chain.headers, headers) {
            Ok(Some(below)) => {
                self.tracker.forget(peer);
                let asks_on = below.next.is_none() && headers.len() >= MAX_HEADERS;
                self.roster.heard_below(peer, below, asks_on, now());
            }
            Ok(None) => self.leave(peer, &LeftBehind::Elsewhere.to_string()),
            Err(error) => self.ban(peer, &on_one_line(&error)),
        }
    }

    fn on_checked(&mut self, (peer, session): Session, checked: Result<TipHeaders, HeaderError>) {
        if self.links.get(&peer).is_none_or(|link| link.session != session) {
            return;
        }
        self.checking.remove(&peer);
        match checked {
            Ok(headers) => {
                let asks_on = self.tracker.take(peer, &headers);
                self.roster.heard(peer, asks_on, now());
            }
            Err(error) => self.ban(peer, &on_one_line(&error)),
        }
    }

    fn on_inventory(&mut self, peer: PeerId, announced: &Inventory) {
        let blocks = announced.0.iter().filter(|item| item.kind == InventoryKind::BLOCK);
        if let Some(block) = blocks.last() {
            let hash = BlockHash::from_bytes(*block.hash.as_bytes());
            match self.tracker.announced(peer, &hash) {
                true => self.roster.heard(peer, false, now()),
                false => self.roster.ask_about(peer, hash, now()),
            }
        }
        let wanted = self.wanted.announced(peer, &self.locks.wanted(announced), now());
        if !wanted.0.is_empty() {
            self.send(peer, Command::GET_DATA, &wanted);
        }
    }

    fn on_lock(&mut self, taken: Taken) {
        if let Taken::Event(event) = taken {
            self.on_lock_event(event);
        }
    }

    fn on_lock_event(&mut self, event: LockEvent) {
        match event {
            LockEvent::False { peer, error } => self.ban(peer, &on_one_line(&error)),
            LockEvent::ChainLocked { height, hash } => self.tell(FollowEvent::ChainLocked { height, hash }),
            LockEvent::InstantLocked { txid, inputs } => self.tell(FollowEvent::InstantLocked { txid, inputs }),
        }
    }

    async fn on_asked(&mut self, asked: Asked) -> Result<(), FollowError> {
        let Asked { request, asked_by, reply, lost, failed } = asked;
        for (peer, refusals) in failed {
            self.roster.failed(peer, refusals, now());
        }
        for lost in lost {
            let why = lost.why.to_string();
            match lost.why {
                AttemptErrorKind::Malformed | AttemptErrorKind::False => self.ban(lost.peer, &why),
                _ => self.leave(lost.peer, &why),
            }
        }
        let Some((delivered, verified)) = reply else {
            let (lists, facts) = (self.list_heights(), self.is_complete());
            let hash_at = |height| self.chain.headers.hash_at(height);
            let facts = Facts {
                tip: self.chain.headers.tip(),
                lists: &lists,
                is_complete: facts,
                hash_at: &hash_at,
                peers: &[],
            };
            self.decider.failed(&request, &facts, now());
            return Ok(());
        };
        self.ledger.useful(delivered.timing.peer);
        tracing::debug!(%request, bytes = delivered.timing.bytes, peer = %delivered.timing.peer, "proven");
        self.archive.learn(&delivered.reply);
        let before: BTreeSet<_> = self.lists.values().map(Lists::block_hash).collect();
        self.take_lists();
        let is_complete =
            verified.tip.as_ref().or(verified.lists.as_ref()).is_some_and(|lists| {
                is_complete(self.config.network, lists, |height| self.chain.headers.hash_at(height))
            });
        self.decider.proven(&request, asked_by, is_complete);
        let proven: Vec<_> =
            self.lists.values().filter(|lists| !before.contains(&lists.block_hash())).cloned().collect();
        proven.into_iter().for_each(|lists| self.tell(FollowEvent::Proven(lists)));
        self.store_lists().await
    }

    // --- what follows from them ---

    /// Carries out what is due. Returns the instant of the next look.
    async fn step(&mut self) -> Result<Instant, FollowError> {
        loop {
            self.roster.look_up(&mut self.tracker, now());
            while let Some(batch) = self.tracker.agree() {
                self.move_to(batch).await?;
            }
            self.go_back().await?;
            let steps = self.roster.steps(&self.tracker, now());
            if steps.is_empty() {
                break;
            }
            for (peer, step) in steps {
                match step {
                    PeerStep::Headers(announced) => self.ask_for_headers(peer, announced),
                    PeerStep::Announce => self.send_raw(peer, Command::SEND_HEADERS, Default::default()),
                    PeerStep::Leave(why) => self.leave(peer, &why.to_string()),
                }
            }
        }
        let questions = self.wanted.due(now());
        self.ask_for_locks(questions);
        let mut wake = self.roster.wake().into_iter().chain(self.wanted.wake()).min();
        if self.is_heard() {
            self.take_shipped_lists();
        }
        if self.request.is_none() && self.is_heard() {
            match self.next_step() {
                Step::Ask(request, asked_by) => {
                    let peers: Vec<_> = self.roster.with_block(asked_by, &self.tracker);
                    let peers: Vec<_> = peers.into_iter().filter_map(|peer| self.peer(peer)).collect();
                    // Without such a peer, the next one that tells its tip is asked.
                    if !peers.is_empty() {
                        self.decider.asked();
                        self.request = Some(ask(*request, asked_by, peers, self.verifier.clone()).boxed());
                    }
                }
                Step::Wait(until) => wake = Some(wake.map_or(until, |wake| wake.min(until))),
                Step::Rest => {}
            }
        }
        self.show();
        let late = if self.has_had_peers { self.moved + NO_BLOCKS } else { self.moved + START };
        let wake = wake.map_or(late, |wake| Instant::from_std(wake).min(late));
        Ok(if wake > Instant::now() { wake } else { Instant::now() + START })
    }

    /// Goes back below the blocks that the tracker knows, if most peers have. The chain stays until its blocks are replaced,
    /// or all peers have told that they do not have them.
    async fn go_back(&mut self) -> Result<(), FollowError> {
        if let Some(height) = self.roster.fork(&self.tracker, now()) {
            let height = height.max(self.chain.headers.start());
            let Some(tracker) = self.chain.tracker_at(&self.config, height, self.store.as_ref())? else {
                return Ok(());
            };
            tracing::info!(height, tip = self.chain.headers.tip(), "goes back");
            self.tracker = tracker;
            self.links.keys().for_each(|peer| self.tracker.join(*peer));
            self.roster.went_back(now());
        }
        let (agreed, _) = self.tracker.agreed();
        if agreed < self.chain.headers.tip() && self.is_heard() && self.roster.is_settled(&self.tracker) {
            self.move_to(HeaderBatch { first: agreed + 1, headers: Vec::new() }).await?;
        }
        Ok(())
    }

    fn next_step(&self) -> Step {
        let lists = self.list_heights();
        let peers: Vec<_> = self.links.keys().filter_map(|peer| Some(self.tracker.standing(*peer)?.shared)).collect();
        let hash_at = |height| self.chain.headers.hash_at(height);
        let facts = Facts {
            tip: self.chain.headers.tip(),
            lists: &lists,
            is_complete: self.is_complete(),
            hash_at: &hash_at,
            peers: &peers,
        };
        self.decider.next(&facts, now())
    }

    /// Moves the chain to the blocks that the peers agreed on.
    async fn move_to(&mut self, batch: HeaderBatch) -> Result<(), FollowError> {
        let Some(batch) = self.chain.unknown(batch) else { return Ok(()) };
        let fork = batch.first.saturating_sub(1);
        let left = self.chain.headers.tip().saturating_sub(fork);
        if !self.chain.apply(&batch) {
            return Ok(());
        }
        store_headers(self.store.as_ref(), &batch).await?;
        self.chain.index();
        self.moved = Instant::now();
        self.decider.retry();
        if left > 0 {
            tracing::info!(fork, left, "reorganized");
            self.decider.reorganized(fork);
            self.outputs.book.forget_above(fork);
            self.take_lists();
            self.store_lists().await?;
            self.tell(FollowEvent::Reorganized { fork, left });
        }
        let (height, hash) = (self.chain.headers.tip(), self.chain.headers.tip_hash());
        self.outputs.book.set_tip(height);
        self.tell(FollowEvent::Tip { height, hash });
        Ok(())
    }

    /// Takes over the lists of blocks of the chain that are kept.
    fn take_lists(&mut self) {
        let chain = &self.chain.headers;
        let is_ours = |lists: &&Lists| lists.height() > 0 && chain.hash_at(lists.height()) == Some(lists.block_hash());
        self.lists =
            self.verifier.stage().kept().filter(is_ours).map(|lists| (lists.height(), lists.clone())).collect();
        self.chain.pin(self.lists.values().map(Lists::block_hash));
        let chain = &self.chain.headers;
        let (blocks, book) = (&self.chain.blocks, &mut self.outputs.book);
        for lists in self.lists.values() {
            book.advance(lists, |hash| blocks.find(hash), |height| chain.hash_at(height));
        }
        for event in self.locks.advance(&self.outputs.handle) {
            self.on_lock_event(event);
        }
    }

    /// Starts from the lists of the settings, if there are none and the chain has their block.
    fn take_shipped_lists(&mut self) {
        let tip = self.chain.headers.tip();
        let is_needed = self.lists.is_empty() && tip > self.config.start.0;
        let Some(bytes) = self.config.lists.take_if(|_| is_needed) else { return };
        let height = ListSnapshot::decode(bytes.clone()).ok().and_then(|lists| lists.claimed_height());
        let blocks = self.chain.blocks.clone();
        let steps = vec![(height.unwrap_or(0), bytes)];
        let restored = self.archive.restore(self.config.network, steps, |hash| blocks.find(hash));
        match restored.is_empty() {
            true => tracing::warn!("the lists to start from are not proven by the chain; they are not used"),
            false => self.decider.start_at(tip),
        }
        restored.into_iter().for_each(|lists| self.verifier.stage().pin(lists));
        self.take_lists();
    }

    async fn store_lists(&mut self) -> Result<(), FollowError> {
        let change = self.archive.change(self.config.network, &self.lists);
        if let (Some(store), Some(change)) = (self.store.clone(), change) {
            joined(spawn_blocking(move || change.store(&store)).await)?;
        }
        Ok(())
    }

    fn ask_for_headers(&self, peer: PeerId, announced: u32) {
        let lowest = self.tracker.lowest();
        let locator = match self.roster.below(peer) {
            Some(shared) => self.chain.locator(shared).collect(),
            None => self.tracker.locator(peer, announced).into_iter().chain(self.chain.locator(lowest)).collect(),
        };
        let version = PROTOCOL_VERSION.unsigned_abs();
        self.send(peer, Command::GET_HEADERS, &GetHeaders { version, locator, stop: BlockHash::ZERO });
    }

    fn send(&self, peer: PeerId, command: Command, message: &impl Wire) {
        self.send_raw(peer, command, message.to_wire());
    }

    fn send_raw(&self, peer: PeerId, command: Command, payload: bytes::Bytes) {
        if let Some(link) = self.links.get(&peer) {
            // If the connection has ended, that is heard of.
            let _ = link.orders.send(Frame { command, payload });
        }
    }

    fn peer(&self, id: PeerId) -> Option<Peer<PeerService>> {
        let link = self.links.get(&id)?;
        let height = self.tracker.standing(id)?.shared;
        Some(Peer::new(id, link.service.clone(), height).with_round_trip(link.round_trip))
    }

    /// Returns `true` once two peers have told their tips, or the only one: the tip that was stored, or the checkpoint, is
    /// not agreed on before.
    fn is_heard(&self) -> bool {
        self.tracker.known() >= self.roster.len().clamp(1, 2)
    }

    fn list_heights(&self) -> BTreeSet<u32> {
        self.lists.keys().copied().collect()
    }

    fn is_complete(&self) -> bool {
        let newest = self.lists.values().next_back();
        newest.is_some_and(|lists| is_complete(self.config.network, lists, |height| self.chain.headers.hash_at(height)))
    }

    fn tell(&self, event: FollowEvent) {
        #[cfg(feature = "metrics")]
        match event {
            FollowEvent::Reorganized { .. } => crate::metrics::reorganized(),
            FollowEvent::ChainLocked { .. } => crate::metrics::locked("chain"),
            FollowEvent::InstantLocked { .. } => crate::metrics::locked("instant"),
            FollowEvent::Tip { .. } | FollowEvent::Proven(_) => {}
        }
        // There need not be a listener.
        let _ = self.outputs.events.send(event);
    }

    /// Shows the state to the outside.
    fn show(&self) {
        let state = self.state();
        #[cfg(feature = "metrics")]
        crate::metrics::followed(
            self.chain.headers.tip(),
            self.lists.keys().next_back().copied().unwrap_or(0),
            self.roster.len(),
            matches!(state, FollowState::Synced { .. }),
        );
        self.outputs.state.send_if_modified(|shown| {
            let is_same = match (&*shown, &state) {
                (FollowState::Degraded { reason: shown, .. }, FollowState::Degraded { reason, .. }) => shown == reason,
                (shown, state) => shown == state,
            };
            if !is_same {
                tracing::info!(?state, "follow");
                *shown = state;
            }
            !is_same
        });
    }

    fn state(&self) -> FollowState {
        let degraded = |reason| FollowState::Degraded { since: now(), reason };
        let tip = self.chain.headers.tip();
        let lists = self.lists.keys().next_back().copied().unwrap_or(0);
        let waits = self.moved.elapsed();
        let has_blocks_by_time = matches!(self.config.network, Network::Mainnet | Network::Testnet);
        match lists == tip && tip > 0 {
            _ if self.roster.len() == 0 && (self.has_had_peers || waits >= START) => degraded(Degradation::NoPeers),
            _ if has_blocks_by_time && waits >= NO_BLOCKS => degraded(Degradation::NoBlocks),
            true if self.is_heard() && self.tracker.agreed().0 == tip => FollowState::Synced { height: tip },
            false if self.decider.failures() >= FAILURES => degraded(Degradation::Unanswered),
            _ => FollowState::Syncing { lists, tip },
        }
    }
}

/// Tells the ledger about a node that cannot be used.
fn note<C>(ledger: &Ledger, event: PoolEvent<C>) {
    match event {
        PoolEvent::Failed(peer, error) => ledger.left(peer, &format!("cannot be used: {}", on_one_line(&error))),
        PoolEvent::Unresolved(host, error) => tracing::warn!(host, %error, "a host name does not resolve"),
        PoolEvent::Ready(..) | PoolEvent::Exhausted => {}
    }
}

async fn store_headers(store: Option<&Store>, batch: &HeaderBatch) -> Result<(), FollowError> {
    let Some(store) = store.cloned() else { return Ok(()) };
    let (first, headers) = (batch.first, entries(batch));
    joined(spawn_blocking(move || store.store_headers(first, &headers)).await)
}

/// The result of work on another thread. A runtime that shuts down drops the caller as well.
fn joined(result: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Result<(), FollowError> {
    match result {
        Ok(stored) => Ok(stored?),
        Err(error) => match error.try_into_panic() {
            Ok(panicked) => std::panic::resume_unwind(panicked),
            Err(_) => Ok(()),
        },
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
