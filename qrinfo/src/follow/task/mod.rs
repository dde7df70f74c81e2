//! The task of a follower: it carries out what the plain structs decide.

mod headers;
mod inventory;
mod lists;
mod peers;
mod show;
mod start;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
};

use futures_util::future::BoxFuture;
use qrinfo_core::{
    PeerId,
    message::{ChainLock, Headers, InstantLock, Inventory},
    wire::{
        DecodeError, Wire,
        frame::{Command, Frame},
    },
};
use qrinfo_verify::{Level, ListStage, Lists};
use spv_headers::{HeaderError, TipHeaders, TipTracker};
use spv_peer::Connection;
use spv_pool::PoolEvents;
use spv_store::{Store, StoreError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{peers::Link, show::NO_BLOCKS, start::START};
use super::{
    FollowConfig, FollowError, FollowEvent, FollowState,
    archive::Archive,
    ask::Asked,
    chain::Chain,
    decide::Decider,
    roster::{PeerStep, Roster},
    tap::Session,
    wanted::Wanted,
};
use crate::{
    book::{BookWriter, QuorumBook, locks::LockIntake},
    nodes::Ledger,
    verify::Verifier,
};

/// Messages of peers that wait for the follower. A peer whose messages have no room is read no further.
const INBOX: usize = 64;

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
        if self.is_heard() {
            self.take_shipped_lists();
        }
        let next_request = self.ask_next();
        self.show();
        let late = self.moved + if self.has_had_peers { NO_BLOCKS } else { START };
        let late = Some(late).filter(|late| *late > Instant::now()).map(Instant::into_std);
        let wakes = [self.roster.wake(now()), self.wanted.wake(), next_request, late].into_iter().flatten();
        Ok(wakes.min().map_or_else(|| Instant::now() + START, Instant::from_std))
    }
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
