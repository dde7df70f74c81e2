use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
};

use qrinfo_core::{PeerId, wire::frame::Frame};
use spv_peer::{PeerError, known_nodes};
use tokio::{
    net::lookup_host,
    sync::mpsc,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::debug;

use crate::{Dial, Place, Plan, PoolHandle, handle::Command, plan::Step};

/// The number of events that may wait for a reader. Meanwhile no attempt starts, so their number is bounded by the
/// attempts under way.
const EVENTS: usize = 1;

/// Messages with addresses that wait to be read; what comes beyond is dropped.
const ADDRESS_MESSAGES: usize = 8;

/// An event of a pool.
#[derive(Debug)]
pub enum PoolEvent<C> {
    /// A peer is connected. Its place is kept until the [`Place`] is dropped.
    Ready(Place, C),
    /// A peer could not be connected to. It is tried again later.
    Failed(PeerId, PeerError),
    /// A host name could not be resolved.
    Unresolved(String, io::Error),
    /// No node is connected, every candidate has failed, and no host name is being resolved. Retries go on, each
    /// after its backoff; a caller that does not want to wait for them stops here. To rely on this event, give the plan
    /// its candidates before the start.
    Exhausted,
}

/// The events of a pool. Dropping it ends the pool and its attempts, but no connection that was handed
/// out.
pub type PoolEvents<C> = mpsc::Receiver<PoolEvent<C>>;

/// Starts a task that carries out a plan: it connects to nodes as the plan says, hands out each connection as soon as
/// it is ready, and replaces those that end.
///
/// `connect` makes one connection: [`dialer`](crate::dialer) by TCP, or a function of the caller over any transport. It
/// bounds the time itself. Must be called within a tokio runtime.
///
/// ```
/// use qrinfo_core::Network;
/// use spv_pool::{Plan, PlanConfig, PoolEvent, Source, start};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let now = tokio::time::Instant::now().into_std();
/// let mut plan = Plan::new(PlanConfig::new(Network::Regtest, 42), now, 1_800_000_000);
/// plan.add("memory-1".parse().unwrap(), Source::Named, now);
/// // A transport without sockets: each connection is one end of a pipe.
/// let (pool, mut events) = start(plan, |_dial| async { Ok(tokio::io::duplex(64).0) });
/// while let Some(event) = events.recv().await {
///     if let PoolEvent::Ready(place, _connection) = event {
///         assert_eq!(place.peer().to_string(), "memory-1");
///         pool.good(place.peer());
///         break;
///     }
/// }
/// # }
/// ```
pub fn start<C, F, Connecting>(plan: Plan, connect: F) -> (PoolHandle, PoolEvents<C>)
where
    C: Send + 'static,
    F: FnMut(Dial) -> Connecting + Send + 'static,
    Connecting: Future<Output = Result<C, PeerError>> + Send + 'static,
{
    let (commands, received) = mpsc::unbounded_channel();
    let handle = PoolHandle { commands };
    let (events, receiver) = mpsc::channel(EVENTS);
    let (addresses, named) = mpsc::channel(ADDRESS_MESSAGES);
    // A pool without candidates waits for some, and does not say that it has none.
    let was_exhausted = plan.candidates() == 0;
    let pool = Pool {
        plan,
        connect,
        handle: handle.clone(),
        addresses,
        attempts: JoinSet::new(),
        peers: HashMap::new(),
        lookups: JoinSet::new(),
        waiting: VecDeque::new(),
        was_exhausted,
    };
    tokio::spawn(pool.run(received, named, events));
    (handle, receiver)
}

struct Pool<C, F> {
    plan: Plan,
    connect: F,
    handle: PoolHandle,
    addresses: mpsc::Sender<(PeerId, Frame)>,
    attempts: JoinSet<Result<C, PeerError>>,
    /// The peers of the attempts.
    peers: HashMap<Id, (PeerId, AbortHandle)>,
    lookups: JoinSet<(String, io::Result<Vec<SocketAddr>>)>,
    /// Events that the reader has not taken.
    waiting: VecDeque<PoolEvent<C>>,
    was_exhausted: bool,
}

// === impl Pool ===

impl<C, F, Connecting> Pool<C, F>
where
    C: Send + 'static,
    F: FnMut(Dial) -> Connecting,
    Connecting: Future<Output = Result<C, PeerError>> + Send + 'static,
{
    /// Ends when the reader of the events is gone.
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut named: mpsc::Receiver<(PeerId, Frame)>,
        events: mpsc::Sender<PoolEvent<C>>,
    ) {
        loop {
            let wake = self.start_attempts();
            tokio::select! {
                () = events.closed() => return,
                permit = events.reserve(), if !self.waiting.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, self.waiting.pop_front()) {
                        permit.send(event);
                    }
                }
                Some(command) = commands.recv() => command(&mut self.plan, now()),
                Some(ended) = self.attempts.join_next_with_id() => self.on_attempt(ended),
                Some(Ok((host, found))) = self.lookups.join_next() => self.on_lookup(host, found),
                Some((peer, message)) = named.recv() => self.on_addresses(peer, message),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Starts the attempts that are due, and gives the time of the next.
    fn start_attempts(&mut self) -> Option<Instant> {
        if !self.waiting.is_empty() {
            return None;
        }
        let wake = loop {
            match self.plan.next(now()) {
                Step::Resolve(host) => self.start_lookup(host),
                Step::Connect(peer) => self.start_attempt(peer),
                Step::Wait(until) => break until,
            }
        };
        let is_exhausted = self.plan.is_exhausted();
        if is_exhausted && !self.was_exhausted {
            self.waiting.push_back(PoolEvent::Exhausted);
        }
        self.was_exhausted = is_exhausted;
        wake.map(Instant::from_std)
    }

    fn start_attempt(&mut self, peer: PeerId) {
        debug!(%peer, "connecting");
        let addresses = self.plan.config().uses_gossip.then(|| self.addresses.clone());
        let dial = Dial { peer, addresses, asks_for_addresses: self.plan.wants_addresses() };
        let attempt = self.attempts.spawn((self.connect)(dial));
        self.peers.insert(attempt.id(), (peer, attempt));
    }

    fn start_lookup(&mut self, host: String) {
        self.lookups.spawn(async move {
            let found = lookup_host(&host).await.map(Iterator::collect);
            (host, found)
        });
    }

    fn on_attempt(&mut self, ended: Result<(Id, Result<C, PeerError>), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((peer, _)) = self.peers.remove(&id) else { return };
        match ended {
            Ok((_, Ok(connection))) => self.on_connection(peer, connection),
            Ok((_, Err(error))) => {
                self.plan.failed(peer, error.is_lasting(), now());
                self.waiting.push_back(PoolEvent::Failed(peer, error));
            }
            Err(panic) => {
                debug!(%peer, %panic, "an attempt panicked");
                self.plan.failed(peer, false, now());
            }
        }
    }

    fn on_connection(&mut self, peer: PeerId, connection: C) {
        let Some(session) = self.plan.connected(peer) else { return };
        let place = Place { peer, session, pool: self.handle.clone() };
        self.waiting.push_back(PoolEvent::Ready(place, connection));
        let surplus = self.plan.end_surplus(now());
        // Without its entry, nothing that such an attempt still brings counts.
        for (_, (_, attempt)) in self.peers.extract_if(|_, (peer, _)| surplus.contains(peer)) {
            attempt.abort();
        }
    }

    fn on_lookup(&mut self, host: String, found: io::Result<Vec<SocketAddr>>) {
        match found {
            Ok(addresses) => self.plan.resolved(&host, addresses, now()),
            Err(error) => {
                self.plan.resolved(&host, [], now());
                self.waiting.push_back(PoolEvent::Unresolved(host, error));
            }
        }
    }

    fn on_addresses(&mut self, peer: PeerId, message: Frame) {
        match known_nodes(message) {
            Ok(nodes) => self.plan.add_gossip(peer, &nodes, now()),
            Err(error) => debug!(%peer, %error, "addresses do not decode"),
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
