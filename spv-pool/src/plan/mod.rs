//! The choice of the next node to connect to, without I/O and without a clock.

mod candidate;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use candidate::{Candidate, State};
use qrinfo_core::{
    Network, PeerId,
    client::Ban,
    message::{KnownNode, NetAddress},
};

use crate::{AddressBook, NetworkGroup, gossip};

/// An attempt that takes longer holds no place: another candidate is tried beside it. RFC 8305 ("Happy Eyeballs")
/// recommends this time between two attempts.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);

/// The most attempts at once, for each connection wanted. Four times as many nodes may be silent before they delay
/// another one.
const ATTEMPTS: usize = 4;

/// The backoff after a first failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The longest backoff.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10 * 60);

/// The wait after a failure that another attempt would meet again, such as a node of another network.
const USELESS: Duration = Duration::from_secs(24 * 60 * 60);

/// The most candidates that peers named, of all peers together.
const MAX_GOSSIP: usize = 256;

/// The most candidates that one peer named: sixteen peers have to lie to fill all places with their own.
const MAX_GOSSIP_OF_ONE: usize = 16;

/// The most candidates that one host name gives.
const MAX_ADDRESSES_OF_HOST: usize = 64;

/// A ban that lasts longer is one for the whole run.
const LONGEST_RUN: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The settings of a [`Plan`].
///
/// ```
/// use qrinfo_core::Network;
/// use spv_pool::PlanConfig;
///
/// let config = PlanConfig { target: 4, ..PlanConfig::new(Network::Mainnet, 42) };
/// assert!(config.uses_gossip);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanConfig {
    /// The network whose nodes are wanted.
    pub network: Network,
    /// The number of connections to keep; 0 counts as 1. Default: 8.
    pub target: usize,
    /// Takes addresses that peers name, and asks peers for some while few candidates are left. Default: `true`. It is
    /// `false` where the user names the nodes to use.
    pub uses_gossip: bool,
    /// The number from which the order of equal candidates follows.
    pub seed: u64,
}

/// The origin of a candidate, the most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The user named it.
    Named,
    /// It was useful in an earlier run.
    Book,
    /// A DNS seed named it, or it is shipped with this crate.
    Seed,
    /// A peer named it.
    Gossip,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Resolve this `HOST:PORT`, beside all else, and tell the addresses by [`Plan::resolved`].
    Resolve(String),
    /// Connect to this peer, beside all attempts under way.
    Connect(PeerId),
    /// Nothing, until this instant or the next report; `None` for until the next report.
    Wait(Option<Instant>),
}

/// The candidates, and the choice of the next one to connect to.
///
/// It keeps [`target`](PlanConfig::target) nodes connected:
///
/// * At first as many attempts start as connections are wanted. An attempt that takes more than 250 ms no longer
///   counts, and another one starts beside it, up to four for each connection wanted. So a silent node delays no other.
/// * Named nodes come first, then those of the address book, the seeds, and last the nodes that peers named. The book
///   fills at most half of the places while there are seeds, so that one run cannot choose all peers of the next. Among
///   equals, nodes of [network groups](NetworkGroup) that are not in use come first, then those with fewer failures, then
///   chance decides.
/// * A node that fails or leaves is a candidate again after a backoff of 1 s, then 2 s, 4 s, up to 10 minutes. Any
///   other candidate can take its place. No candidate is dropped, except nodes
///   that peers named and that failed three times.
///
/// Time is given to each call, so that a run can be replayed. Reports about peers that are not candidates are ignored.
///
/// ```
/// use std::time::Instant;
/// use qrinfo_core::Network;
/// use spv_pool::{Plan, PlanConfig, Source, Step};
///
/// let now = Instant::now();
/// let mut plan = Plan::new(PlanConfig::new(Network::Mainnet, 42), now, 1_800_000_000);
/// let peer = ([203, 0, 113, 5], 9999).into();
/// plan.add(peer, Source::Named, now);
/// assert_eq!(plan.next(now), Step::Connect(peer));
/// let session = plan.connected(peer);
/// assert_eq!(plan.next(now), Step::Wait(None));
/// plan.left(peer, session.unwrap(), now);
/// assert!(plan.is_exhausted());
/// ```
#[derive(Debug)]
pub struct Plan {
    config: PlanConfig,
    /// The instant at which the time since 1970 was `start_unix`.
    start: Instant,
    start_unix: u64,
    random: fastrand::Rng,
    candidates: BTreeMap<PeerId, Candidate>,
    /// Host names that are not resolved yet.
    hosts: BTreeMap<String, Host>,
    sessions: u64,
    /// The number of candidates that each peer has named.
    named_by: BTreeMap<PeerId, usize>,
    book: AddressBook,
}

#[derive(Debug)]
struct Host {
    source: Source,
    is_being_resolved: bool,
}

// === impl PlanConfig ===

impl PlanConfig {
    /// The defaults, for this network and seed.
    pub fn new(network: Network, seed: u64) -> Self {
        Self { network, target: 8, uses_gossip: true, seed }
    }
}

// === impl Plan ===

impl Plan {
    /// A plan without candidates. At the instant `now` it is `unix` seconds since 1970; the address book counts by
    /// that.
    pub fn new(config: PlanConfig, now: Instant, unix: u64) -> Self {
        let random = fastrand::Rng::with_seed(config.seed);
        Self {
            config: PlanConfig { target: config.target.max(1), ..config },
            start: now,
            start_unix: unix,
            random,
            candidates: BTreeMap::new(),
            hosts: BTreeMap::new(),
            sessions: 0,
            named_by: BTreeMap::new(),
            book: AddressBook::default(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &PlanConfig {
        &self.config
    }

    /// Adds a candidate. One that is known keeps the more trusted source of both. A peer that is banned waits for the
    /// end of its ban.
    pub fn add(&mut self, peer: PeerId, source: Source, now: Instant) {
        let ban_ends = self.ban_ends(peer);
        let order = self.random.u64(..);
        let known = self.candidates.entry(peer).or_insert_with(|| {
            let mut candidate = Candidate::new(source, now, order);
            if let Some(until) = ban_ends {
                candidate.rest_for(until.saturating_duration_since(now), now);
            }
            candidate
        });
        known.source = known.source.min(source);
    }

    /// Adds `HOST:PORT`, whose addresses become candidates when they are known. Other candidates are tried meanwhile.
    ///
    /// Behind a proxy add a host by its name instead, `add(host.parse()?, ...)`: the proxy resolves it.
    pub fn add_host(&mut self, host: impl Into<String>, source: Source) {
        self.hosts.entry(host.into()).or_insert(Host { source, is_being_resolved: false });
    }

    /// Adds the addresses of a host, up to 64; none if it could not be resolved.
    pub fn resolved(&mut self, host: &str, addresses: impl IntoIterator<Item = SocketAddr>, now: Instant) {
        let Some(Host { source, .. }) = self.hosts.remove(host) else { return };
        for address in addresses.into_iter().take(MAX_ADDRESSES_OF_HOST) {
            self.add(address.into(), source, now);
        }
    }

    /// Adds the peers that earlier runs remembered: the good ones as candidates, the banned ones so that they are not
    /// tried. Bans of peers that were added before count as well.
    pub fn add_book(&mut self, book: AddressBook, now: Instant) {
        let AddressBook { good, bans } = book.pruned(self.unix(now));
        for ban in bans {
            self.note_ban(ban, now);
        }
        for (peer, last) in good {
            self.add(peer, Source::Book, now);
            self.book.good.insert(peer, last);
        }
    }

    /// Adds those of the nodes that a peer named which may be tried: with blocks, a public address and the network's
    /// port, one for each network group, 16 of one peer and 256 in all.
    pub fn add_gossip(&mut self, from: PeerId, nodes: &[KnownNode<NetAddress>], now: Instant) {
        if !self.config.uses_gossip {
            return;
        }
        let gossip = self.candidates.iter().filter(|(_, candidate)| candidate.source == Source::Gossip);
        let mut groups: BTreeSet<_> = gossip.map(|(&peer, _)| NetworkGroup::of(peer)).collect();
        let network = self.config.network;
        for peer in nodes.iter().filter_map(|node| gossip::usable(network, node)) {
            let named = self.named_by.get(&from).copied().unwrap_or_default();
            if groups.len() >= MAX_GOSSIP || named >= MAX_GOSSIP_OF_ONE {
                return;
            }
            if !self.candidates.contains_key(&peer) && groups.insert(NetworkGroup::of(peer)) {
                self.add(peer, Source::Gossip, now);
                self.named_by.insert(from, named + 1);
            }
        }
    }

    /// Returns `true` while peers should be asked for addresses: fewer candidates than twice the target were never
    /// tried.
    pub fn wants_addresses(&self) -> bool {
        let untried = self.candidates.values().filter(|candidate| !candidate.is_in_use() && candidate.failures == 0);
        self.config.uses_gossip && untried.count() < 2 * self.config.target
    }

    /// Decides what to do now. Call it again after [`Step::Connect`]: several attempts may start at once.
    pub fn next(&mut self, now: Instant) -> Step {
        if let Some((host, state)) = self.hosts.iter_mut().find(|(_, state)| !state.is_being_resolved) {
            state.is_being_resolved = true;
            return Step::Resolve(host.clone());
        }
        let filled = self.count(|candidate| candidate.fills_a_place(now));
        let attempts = self.count(Candidate::is_attempt);
        let has_room = filled < self.config.target && attempts < ATTEMPTS * self.config.target;
        if has_room && let Some(peer) = self.best(now) {
            self.set_state(peer, State::Attempt(now));
            return Step::Connect(peer);
        }
        if self.is_full() {
            return Step::Wait(None);
        }
        Step::Wait(self.candidates.values().filter_map(|candidate| candidate.changes_at(now)).min())
    }

    /// Notes that an attempt succeeded, and gives the number of the session. `None` says that the connection is not
    /// wanted: no attempt is under way, or as many nodes as wanted are connected.
    pub fn connected(&mut self, peer: PeerId) -> Option<u64> {
        if self.is_full() || !self.candidates.get(&peer)?.is_attempt() {
            return None;
        }
        self.sessions += 1;
        self.set_state(peer, State::Connected(self.sessions));
        Some(self.sessions)
    }

    /// Ends the attempts that are not needed, now that as many nodes as wanted are connected; empty before that.
    pub fn end_surplus(&mut self, now: Instant) -> Vec<PeerId> {
        if !self.is_full() {
            return Vec::new();
        }
        let mut ended = Vec::new();
        for (&peer, candidate) in &mut self.candidates {
            if candidate.is_attempt() {
                // A node that was slow is tried after others, the next time.
                match candidate.fills_a_place(now) {
                    true => candidate.state = State::Idle(now),
                    false => candidate.rest(now),
                }
                ended.push(peer);
            }
        }
        ended
    }

    /// Notes that an attempt failed. `lasting` says that another attempt would fail as well, so that none is made for a
    /// day.
    pub fn failed(&mut self, peer: PeerId, lasting: bool, now: Instant) {
        let Some(candidate) = self.candidates.get_mut(&peer).filter(|candidate| candidate.is_attempt()) else { return };
        match lasting {
            true => candidate.rest_for(USELESS, now),
            false => candidate.rest(now),
        }
        self.drop_useless_gossip(peer);
    }

    /// Notes that a connection ended. A session that is not the peer's newest is ignored.
    pub fn left(&mut self, peer: PeerId, session: u64, now: Instant) {
        if let Some(candidate) = self.candidates.get_mut(&peer)
            && candidate.state == State::Connected(session)
        {
            candidate.rest(now);
            self.drop_useless_gossip(peer);
        }
    }

    /// Notes that a peer was useful: it is remembered for the next run, unless the user named it, and its earlier
    /// failures no longer count.
    pub fn good(&mut self, peer: PeerId, now: Instant) {
        let unix = self.unix(now);
        let Some(candidate) = self.candidates.get_mut(&peer) else { return };
        candidate.failures = 0;
        if candidate.source != Source::Named {
            self.book.good.insert(peer, unix);
        }
    }

    /// Bans a peer for a time: it counts as left, and is not tried before the end.
    pub fn ban(&mut self, peer: PeerId, time: Duration, reason: &str, now: Instant) {
        let until = self.unix(now).saturating_add(time.as_secs());
        self.note_ban(Ban { peer, until, reason: reason.to_owned() }, now);
    }

    /// The peers to remember for the next run.
    pub fn book(&self, now: Instant) -> AddressBook {
        self.book.clone().pruned(self.unix(now))
    }

    /// The number of nodes that are connected.
    pub fn connections(&self) -> usize {
        self.count(Candidate::is_connected)
    }

    /// The number of candidates, including those that are connected or banned.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// Returns `true` if no node is connected or being connected to, no host is being resolved, and every candidate has
    /// failed since it was last useful, or is banned. Retries go on, each after its backoff.
    pub fn is_exhausted(&self) -> bool {
        self.hosts.is_empty()
            && self.candidates.values().all(|candidate| !candidate.is_in_use() && candidate.failures > 0)
    }

    fn is_full(&self) -> bool {
        self.connections() >= self.config.target
    }

    fn count(&self, which: impl Fn(&Candidate) -> bool) -> usize {
        self.candidates.values().filter(|candidate| which(candidate)).count()
    }

    fn set_state(&mut self, peer: PeerId, state: State) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.state = state;
        }
    }

    /// The candidate to try next.
    fn best(&self, now: Instant) -> Option<PeerId> {
        let mut groups: BTreeMap<NetworkGroup, usize> = BTreeMap::new();
        for (&peer, _) in self.candidates.iter().filter(|(_, candidate)| candidate.is_in_use()) {
            *groups.entry(NetworkGroup::of(peer)).or_default() += 1;
        }
        let remembered = self.count(|candidate| candidate.is_in_use() && candidate.source == Source::Book);
        let book_has_its_half = 2 * remembered >= self.config.target;
        let key = |(&peer, candidate): (&PeerId, &Candidate)| {
            let group = groups.get(&NetworkGroup::of(peer)).copied().unwrap_or_default();
            let source = match candidate.source {
                Source::Book if book_has_its_half => (Source::Seed, true),
                source => (source, false),
            };
            (source, group, candidate.failures, candidate.order, peer)
        };
        let open = self.candidates.iter().filter(|(_, candidate)| candidate.can_be_tried(now));
        open.map(key).min().map(|(.., peer)| peer)
    }

    fn note_ban(&mut self, ban: Ban, now: Instant) {
        let peer = ban.peer;
        self.book.good.remove(&peer);
        self.book.bans.retain(|known| known.peer != peer);
        self.book.bans.push(ban);
        let until = self.ban_ends(peer).unwrap_or(now);
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.rest_for(until.saturating_duration_since(now), now);
        }
    }

    /// Makes room for other nodes that peers name.
    fn drop_useless_gossip(&mut self, peer: PeerId) {
        const ENOUGH: u32 = 3;
        let is_useless = |candidate: &Candidate| candidate.source == Source::Gossip && candidate.failures >= ENOUGH;
        if self.candidates.get(&peer).is_some_and(is_useless) {
            self.candidates.remove(&peer);
        }
    }

    fn ban_ends(&self, peer: PeerId) -> Option<Instant> {
        let ban = self.book.bans.iter().find(|ban| ban.peer == peer)?;
        let since_start = Duration::from_secs(ban.until.saturating_sub(self.start_unix));
        Some(self.start + since_start.min(LONGEST_RUN))
    }

    fn unix(&self, now: Instant) -> u64 {
        self.start_unix.saturating_add(now.saturating_duration_since(self.start).as_secs())
    }
}
