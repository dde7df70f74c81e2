use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    future::ready,
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::{
    FutureExt, SinkExt, Stream, StreamExt,
    stream::{self, FuturesUnordered},
};
use qrinfo_core::{
    AttemptErrorKind, BlockHash, LeaveReason, Network, PeerEvent, PeerId,
    message::{GetHeaders, HEADERS2_PROTOCOL_VERSION, Headers, Headers2, NODE_HEADERS_COMPRESSED, PROTOCOL_VERSION},
    wire::{
        DecodeError, Wire,
        frame::{Command, Frame, FrameEvent},
    },
};
use spv_peer::{Connection, PeerError, fence};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    HeaderChain, HeaderError,
    check::CheckedHeader,
    machine::{Action, Ask, Checked, DropReason, Facts, Machine, Raw, Standing},
    rules::HeaderRules,
};

/// The time between two checks for late peers.
const TICK: Duration = Duration::from_millis(20);

/// The sync ends with what is there when no peer has sent 16 KiB of headers for this long. The least that a peer may
/// send is far more.
const SILENCE: Duration = Duration::from_secs(20);

/// Questions that may wait to be sent to one peer. It has fewer.
const ORDERS: usize = 8;

/// Answers that may wait to be looked at, of all peers.
const EVENTS: usize = 16;

/// The time in which a peer's connection is handed back when all is done. One that does not read is closed.
const HAND_BACK: Duration = Duration::from_millis(100);

/// The time in which a peer answers a ping before it is asked for headers a second time.
const FENCE: Duration = Duration::from_secs(3);

/// The settings of a header sync.
///
/// ```
/// use spv_headers::HeaderSyncConfig;
///
/// let config = HeaderSyncConfig { wanted_peers: 2, ..HeaderSyncConfig::default() };
/// assert_eq!(config.settle.as_secs(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderSyncConfig {
    /// The time after which the sync ends with what is there. Default: 10 min; all headers of mainnet take two at
    /// 1 MB/s. It ends earlier when no peer has sent any headers for 20 s.
    pub total_time: Duration,
    /// The time for which further peers are waited for, after the first one has told its tip. Default: 1 s.
    pub settle: Duration,
    /// The number of peers with known tips after which no further ones are waited for. Default: 4.
    pub wanted_peers: usize,
    /// A block with a verified ChainLock: the chain with it is chosen, whatever peers say. Default: none.
    pub chain_lock: Option<BlockHash>,
}

/// Headers for the store: from `first` on they are the chain. Stored ones at these heights and above are to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderBatch {
    /// The height of the first header.
    pub first: u32,
    /// The headers. May be empty: then the chain ends below `first`.
    pub headers: Vec<CheckedHeader>,
}

/// The chain that peers agree on, and the peers.
#[derive(Debug)]
#[non_exhaustive]
pub struct HeaderSync<Io> {
    /// The chain to work with.
    pub chain: HeaderChain,
    /// Peers that can be asked further, each with its place in relation to the chain: those with the most of it first,
    /// and of these the nearest.
    pub peers: Vec<SyncedPeer<Io>>,
    /// Peers that cannot be asked.
    pub left: Vec<LeftPeer>,
}

/// A peer that told its tip.
#[derive(Debug)]
pub struct SyncedPeer<Io> {
    /// The session. An answer to a question about headers may still come; it is to be passed over.
    pub connection: Connection<Io>,
    /// The peer's place in relation to the chain. It has no blocks of the chain above `shared`.
    pub standing: Standing,
}

/// A peer that cannot be asked further.
#[derive(Debug)]
pub struct LeftPeer {
    /// The peer.
    pub peer: PeerId,
    /// The reason.
    pub why: PeerProblem,
}

/// The reason for which a peer can no longer be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerProblem {
    /// The connection failed.
    #[error("connection failed during header sync")]
    Peer(#[from] PeerError),
    /// The connection ended.
    #[error("peer closed the connection during header sync")]
    Closed,
    /// The peer did not tell its tip in time. It may be slow.
    #[error("peer sent no headers in time")]
    Silent,
    /// The peer announced blocks and says that it has no headers of them.
    #[error("peer has no headers")]
    NoHeaders,
    /// The peer sent something that is no message with headers.
    #[error("peer sent malformed headers")]
    Malformed(#[from] DecodeError),
    /// The peer sent headers that cannot be right.
    #[error("peer sent headers that are not accepted")]
    Headers(#[from] HeaderError),
}

/// Error of a header sync that found no chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderSyncError {
    /// No peer told its tip: all left, for these reasons, or none came.
    #[error("no peer is left that sends headers; add more peers")]
    NoPeers(Vec<LeftPeer>),
    /// No peer told its tip in the time that is given, or none sent anything for so long.
    #[error("no peer told its tip within {0:?}; add more peers, or allow more time")]
    Timeout(Duration),
    /// The headers are not taken any more: the receiver of the batches is gone. Not the fault of a peer.
    #[error("cannot keep the headers: their receiver is gone")]
    NotKept,
}

/// Something that happened at a peer.
enum Event {
    Progress,
    Headers(Raw),
}

type Drivers<Io> =
    FuturesUnordered<Pin<Box<dyn Future<Output = (PeerId, Result<Connection<Io>, PeerProblem>)> + Send>>>;

/// The peers, as the runtime has them.
struct Peers<Io> {
    drivers: Drivers<Io>,
    orders: BTreeMap<PeerId, mpsc::Sender<Frame>>,
    events: mpsc::Sender<(PeerId, Event)>,
    left: Vec<LeftPeer>,
}

/// Fetches headers from many peers at once and finds the chain that they agree on.
///
/// Starts with the first peer of `connections`; further ones join while it runs, and the stream may end at any time.
/// Up to the newest checkpoint of `rules`, segments are fetched from different peers side by side; above it one
/// peer goes on at a time, and another one is asked as soon as it is late. Then every peer tells its tip. The chain is
/// the one with `config.chain_lock`, else the one that the most peers are on, however far behind; ties go to the
/// greater work. A peer on another branch, or behind, is at no fault.
///
/// Checked headers go to `keep` in order, while the sync goes on; the channel's bound holds the sync back. Headers are
/// checked by X11, by their links, and on mainnet and testnet by the targets that follow from the headers before.
///
/// # Errors
/// [`HeaderSyncError`]. What went wrong with single peers is in [`HeaderSync::left`], or in the error if none is left.
pub async fn sync_headers<Io>(
    connections: impl Stream<Item = Connection<Io>>,
    rules: impl Into<HeaderRules>,
    start: HeaderChain,
    config: HeaderSyncConfig,
    keep: mpsc::Sender<HeaderBatch>,
) -> Result<HeaderSync<Io>, HeaderSyncError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let rules = rules.into();
    let synced = sync_once(connections, rules.clone(), start, config, &keep).await?;
    let Some(lower) = synced.chain.lower_start() else { return Ok(synced) };
    // The chain left a longer one, and what was known of its newest blocks went with it: they are fetched again, from the
    // peers that are on it.
    let (on, off): (Vec<_>, Vec<_>) = synced.peers.into_iter().partition(|peer| peer.standing.is_on_chain());
    let mut silent: BTreeSet<_> = on.iter().map(|peer| peer.connection.peer()).collect();
    let again =
        stream::iter(on).map(|peer| fence(peer.connection, FENCE)).buffer_unordered(usize::MAX).filter_map(ready);
    let mut again = sync_once(again, rules, lower, config, &keep).await?;
    again.peers.iter().for_each(|peer| _ = silent.remove(&peer.connection.peer()));
    again.left.iter().for_each(|left| _ = silent.remove(&left.peer));
    again.peers.extend(off);
    again.left.extend(silent.into_iter().map(|peer| LeftPeer { peer, why: PeerProblem::Silent }));
    again.left.extend(synced.left);
    Ok(again)
}

async fn sync_once<Io>(
    connections: impl Stream<Item = Connection<Io>>,
    HeaderRules { rules, checkpoints, waypoints }: HeaderRules,
    start: HeaderChain,
    config: HeaderSyncConfig,
    keep: &mpsc::Sender<HeaderBatch>,
) -> Result<HeaderSync<Io>, HeaderSyncError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut machine = Machine::new(rules, start, checkpoints, waypoints, config.chain_lock);
    let mut connections = pin!(connections);
    let (events, mut happened) = mpsc::channel(EVENTS);
    let mut peers = Peers { drivers: FuturesUnordered::new(), orders: BTreeMap::new(), events, left: Vec::new() };
    let mut checks: JoinSet<Checked> = JoinSet::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (end, mut all_joined) = (Instant::now() + config.total_time, false);
    let mut heard = Instant::now();
    loop {
        let mut to_check = Vec::new();
        while let Some(action) = machine.next(now()) {
            match action {
                Action::Ask(ask) => peers.ask(ask),
                Action::Check(check) => to_check.push(check),
                Action::Deliver { first, headers } => {
                    send_batch(keep, first, headers).await?;
                    heard = Instant::now();
                }
                Action::Drop { peer, why } => peers.leave(peer, PeerProblem::from(why)),
            }
        }
        // Questions leave first: checks may take all cores.
        peers.send(&mut machine);
        for check in to_check {
            checks.spawn_blocking(move || check.run(&rules));
        }
        let are_enough = machine.tips() >= config.wanted_peers && machine.is_unanimous();
        if machine.is_done(now(), config.settle, all_joined || are_enough) {
            break;
        }
        if all_joined && peers.orders.is_empty() && checks.is_empty() {
            break;
        }
        if Instant::now() >= end {
            if machine.tips() == 0 {
                return Err(HeaderSyncError::Timeout(config.total_time));
            }
            break;
        }
        if heard.elapsed() >= SILENCE {
            if machine.tips() == 0 {
                return Err(HeaderSyncError::Timeout(SILENCE));
            }
            break;
        }
        let mut is_silent = false;
        tokio::select! {
            biased;
            Some(checked) = checks.join_next(), if !checks.is_empty() => if let Ok(checked) = checked {
                machine.checked(checked, now());
            },
            Some((peer, event)) = happened.recv() => match event {
                Event::Progress => machine.progress(peer, now()),
                Event::Headers(raw) => machine.answer(peer, raw, now()),
            },
            Some((peer, result)) = peers.drivers.next(), if !peers.drivers.is_empty() => {
                peers.ended(peer, result, &mut machine);
            },
            connection = connections.next(), if !all_joined => match connection {
                Some(connection) => if let Some((peer, facts)) = peers.join(connection) {
                    machine.join(peer, facts, now());
                },
                None => all_joined = true,
            },
            _ = tick.tick() => is_silent = !peers.orders.is_empty(),
        }
        if !is_silent {
            heard = Instant::now();
        }
    }
    if machine.tips() == 0 {
        return Err(HeaderSyncError::NoPeers(peers.left));
    }
    let (agreement, actions) = machine.agree(now());
    for action in actions {
        if let Action::Deliver { first, headers } = action {
            send_batch(keep, first, headers).await?;
        }
    }
    drop(happened);
    let (peers, left) = peers.hand_back(&agreement.standings).await;
    Ok(HeaderSync { chain: agreement.chain, peers, left })
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn send_batch(
    keep: &mpsc::Sender<HeaderBatch>,
    first: u32,
    headers: Vec<CheckedHeader>,
) -> Result<(), HeaderSyncError> {
    keep.send(HeaderBatch { first, headers }).await.map_err(|_| HeaderSyncError::NotKept)
}

/// Carries questions to a peer and its answers back, until no more questions can come.
async fn drive<Io: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<Io>,
    mut orders: mpsc::Receiver<Frame>,
    events: mpsc::Sender<(PeerId, Event)>,
) -> Result<Connection<Io>, PeerProblem> {
    let peer = connection.peer();
    loop {
        let event = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(frame) => {
                    connection.send(frame).await?;
                    continue;
                }
                None => return Ok(connection),
            },
            event = connection.next() => event.ok_or(PeerProblem::Closed)??,
        };
        let event = match event {
            FrameEvent::Frame(Frame { command: Command::HEADERS, payload }) => {
                Event::Headers(Raw::Plain(Headers::from_wire(payload)?.0))
            }
            FrameEvent::Frame(Frame { command: Command::HEADERS2, payload }) => {
                Event::Headers(Raw::Compressed(Headers2::from_wire(payload)?))
            }
            FrameEvent::Partial(partial) if matches!(partial.command, Command::HEADERS | Command::HEADERS2) => {
                Event::Progress
            }
            _ => continue,
        };
        // When the sync has ended, the next order says so.
        let _ = events.send((peer, event)).await;
    }
}

// === impl HeaderSyncConfig ===

impl Default for HeaderSyncConfig {
    fn default() -> Self {
        Self { total_time: Duration::from_secs(600), settle: Duration::from_secs(1), wanted_peers: 4, chain_lock: None }
    }
}

// === impl LeftPeer ===

impl LeftPeer {
    /// The event for the ledger of peers: a ban for what no honest peer sends. One that has none of the blocks that it was
    /// told sends those after its block 0: our genesis block or checkpoint may be wrong.
    pub fn event(&self) -> PeerEvent {
        let peer = self.peer;
        let left = |why| PeerEvent::Left { peer, why };
        match self.why {
            PeerProblem::Headers(HeaderError::Unconnected(block)) if Network::any_has_genesis(&block) => {
                left(LeaveReason::Disconnected)
            }
            PeerProblem::Malformed(_) => PeerEvent::Banned { peer, why: AttemptErrorKind::Malformed },
            PeerProblem::Headers(_) => PeerEvent::Banned { peer, why: AttemptErrorKind::False },
            PeerProblem::Silent => left(LeaveReason::Unanswered),
            PeerProblem::Peer(_) | PeerProblem::Closed | PeerProblem::NoHeaders => left(LeaveReason::Disconnected),
        }
    }
}

// === impl PeerProblem ===

impl From<DropReason> for PeerProblem {
    fn from(why: DropReason) -> Self {
        match why {
            DropReason::False(error) => Self::Headers(error),
            DropReason::NoHeaders => Self::NoHeaders,
        }
    }
}

// === impl Peers ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Peers<Io> {
    /// Starts to carry messages of a peer; a second connection to a peer is closed.
    fn join(&mut self, connection: Connection<Io>) -> Option<(PeerId, Facts)> {
        let peer = connection.peer();
        if self.orders.contains_key(&peer) || self.left.iter().any(|left| left.peer == peer) {
            return None;
        }
        let facts = Facts {
            height: connection.start_height(),
            round_trip: connection.greeting_time(),
            is_compressing: connection.peer_version().services & NODE_HEADERS_COMPRESSED != 0
                && connection.protocol_version() >= HEADERS2_PROTOCOL_VERSION,
        };
        let (orders, receiver) = mpsc::channel(ORDERS);
        let driven = drive(connection, receiver, self.events.clone());
        self.drivers.push(Box::pin(async move { (peer, driven.await) }));
        self.orders.insert(peer, orders);
        Some((peer, facts))
    }

    fn ask(&mut self, Ask { peer, locator, stop, is_compressed }: Ask) {
        let payload = GetHeaders { version: PROTOCOL_VERSION.unsigned_abs(), locator, stop }.to_wire();
        let command = if is_compressed { Command::GET_HEADERS2 } else { Command::GET_HEADERS };
        if let Some(orders) = self.orders.get(&peer) {
            // There is room: a peer has few questions at a time. One that leaves is told by its driver.
            let _ = orders.try_send(Frame { command, payload });
        }
    }

    /// Sends the questions that wait, as far as the connections take them at once.
    fn send(&mut self, machine: &mut Machine) {
        while let Some(Some((peer, result))) = self.drivers.next().now_or_never() {
            self.ended(peer, result, machine);
        }
    }

    fn ended(&mut self, peer: PeerId, result: Result<Connection<Io>, PeerProblem>, machine: &mut Machine) {
        if let Err(why) = result {
            self.leave(peer, why);
        }
        machine.leave(peer);
    }

    fn leave(&mut self, peer: PeerId, why: PeerProblem) {
        if self.orders.remove(&peer).is_some() {
            self.left.push(LeftPeer { peer, why });
        }
    }

    /// Ends the drivers. Gives the connections of peers that can be asked further.
    async fn hand_back(mut self, standings: &BTreeMap<PeerId, Standing>) -> (Vec<SyncedPeer<Io>>, Vec<LeftPeer>) {
        let mut open: Vec<PeerId> = std::mem::take(&mut self.orders).into_keys().collect();
        let (mut synced, mut left) = (Vec::new(), self.left);
        while let Ok(Some((peer, result))) = timeout(HAND_BACK, self.drivers.next()).await {
            let was_open = open.iter().position(|open| *open == peer).map(|index| open.swap_remove(index));
            match (was_open, result, standings.get(&peer)) {
                (None, ..) => {}
                (Some(_), Ok(connection), Some(&standing)) => synced.push(SyncedPeer { connection, standing }),
                (Some(_), Ok(_), None) => left.push(LeftPeer { peer, why: PeerProblem::Silent }),
                (Some(_), Err(why), _) => left.push(LeftPeer { peer, why }),
            }
        }
        synced.sort_by_key(|peer: &SyncedPeer<Io>| (Reverse(peer.standing.shared), peer.connection.greeting_time()));
        left.extend(open.into_iter().map(|peer| LeftPeer { peer, why: PeerProblem::Silent }));
        (synced, left)
    }
}
