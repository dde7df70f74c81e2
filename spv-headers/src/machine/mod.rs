//! The decisions of a header sync, without I/O.

mod segments;
mod tips;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use qrinfo_core::{
    BlockHash, BlockHeader, PeerId,
    message::{Headers2, MAX_HEADERS, MAX_HEADERS2},
};

use crate::{
    HeaderChain, HeaderError,
    check::{CheckedHeader, Place, Rules},
    segment::{End, Segment},
    target::{Pace, Window},
    tree::{Spot, Tree},
    vote::{Candidate, agree},
};

/// The most headers that wait behind a segment that is not complete, and that are asked for; 80 bytes each.
const MAX_HELD: usize = 1 << 16;

/// Questions that a peer may have at a time while segments are fetched: the others hide its round trip. A compressed
/// answer is half as long, so it takes one more.
const DEPTH: usize = 3;

/// Questions that a peer may have before it has answered any.
const DEPTH_AT_FIRST: usize = 2;

/// Another peer is asked as well when no byte of an answer has come after this many round trips of its peer, and this
/// long. One less for a peer that has answered nothing, while others have.
const HEDGE_ROUND_TRIPS: u32 = 3;
const HEDGE_FLOOR: Duration = Duration::from_millis(50);

/// Another peer is asked as well when an answer takes this many times as long as answers usually take.
const HEDGE_USUAL: u32 = 2;

/// The longest time for 16 KiB of an answer, or for the whole of it while the usual time of answers is not known. After
/// it another peer is asked as well.
const PROGRESS_TIME: Duration = Duration::from_secs(1);

/// A peer whose answers take this many times as long as those of others is not asked for what others can be asked for.
const SLOW: u32 = 4;

/// The least time for which a peer's tip is waited for.
const LATE: Duration = Duration::from_secs(1);

/// The vote is not kept waiting by slow peers for longer than this many times of the time for which it waits for
/// others.
const PATIENCE: u32 = 5;

/// A peer that announces no more than this above what is known can be asked without others waiting for its answer: one
/// message.
const SHORT: u32 = MAX_HEADERS as u32;

/// The number of blocks above the second highest known height of a peer up to which headers are taken, if there are three
/// peers: one message.
const ABOVE_SECOND: u32 = MAX_HEADERS as u32;

/// The time in which one more block than announced becomes plausible.
const NEW_BLOCK: Duration = Duration::from_secs(30);

/// The number of peers that know another block than a waypoint, or none, for which it is given up.
const ENOUGH_AGAINST: usize = 2;

/// The number of waypoints that may be wrong beyond those that were of use, before all are given up.
const WRONG_WAYPOINTS: usize = 2;

/// The answers of a peer that may end below its announced height before it is taken at its word.
const SHORT_ANSWERS: u32 = 3;

/// The facts that are known of a peer when it joins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) height: u32,
    pub(crate) round_trip: Duration,
    /// It answers `getheaders2` with up to 8,000 headers.
    pub(crate) is_compressing: bool,
}

/// Headers as a peer sent them.
#[derive(Debug)]
pub(crate) enum Raw {
    Plain(Vec<BlockHeader>),
    Compressed(Headers2),
}

/// A question for headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) peer: PeerId,
    pub(crate) locator: Vec<BlockHash>,
    pub(crate) stop: BlockHash,
    pub(crate) is_compressed: bool,
}

/// Work for another thread.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) peer: PeerId,
    purpose: Purpose,
    place: Place,
    raw: Raw,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Segment {
        id: u32,
        generation: u32,
        message: Option<u64>,
    },
    /// Headers that follow this block, of a question from this era.
    Branch {
        from: Spot,
        is_full: bool,
        era: u32,
    },
}

/// The result of a [`Check`].
#[derive(Debug)]
pub(crate) struct Checked {
    peer: PeerId,
    /// The height of the first header.
    first: u32,
    purpose: Purpose,
    result: Result<Vec<CheckedHeader>, HeaderError>,
}

/// An action for the caller to carry out.
#[derive(Debug)]
pub(crate) enum Action {
    Ask(Ask),
    Check(Check),
    /// These headers are the chain from `first` on; what was there is replaced.
    Deliver {
        first: u32,
        headers: Vec<CheckedHeader>,
    },
    /// The peer is not asked any more.
    Drop {
        peer: PeerId,
        why: DropReason,
    },
}

/// The reason for which a peer takes no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The peer sent headers that cannot be right.
    False(HeaderError),
    /// The peer says that it has no headers, but announced some.
    NoHeaders,
}

/// A peer's place in relation to the agreed chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The height of the newest block of the agreed chain that the peer has.
    pub shared: u32,
    /// The height and hash of its own tip, as far as its headers were taken.
    pub tip: (u32, BlockHash),
}

// === impl Standing ===

impl Standing {
    /// Returns `true` for a peer whose tip lies on the agreed chain, however far behind it is. Another one is on a
    /// branch of its own, and knows no block of the chain above `shared`.
    pub fn is_on_chain(&self) -> bool {
        self.tip.0 == self.shared
    }
}

/// The agreed chain and the peers that had a part in it.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub(crate) chain: HeaderChain,
    pub(crate) standings: BTreeMap<PeerId, Standing>,
}

#[derive(Debug)]
struct Peer {
    facts: Facts,
    joined: Instant,
    questions: VecDeque<Question>,
    view: View,
    short_answers: u32,
    /// `true` for a peer that did not have the newest block of the chain so far.
    is_elsewhere: bool,
    /// `true` while headers of the peer are being checked for its tip.
    is_checking: bool,
    /// The mean time of its newest full answers.
    usual: Option<Duration>,
}

#[derive(Debug)]
struct Question {
    subject: Subject,
    head: Option<Spot>,
    locator: Vec<(Spot, BlockHash)>,
    is_compressed: bool,
    since: Instant,
    /// The time at which bytes of the answer came last.
    alive: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Segment { id: u32, generation: u32, head: (u32, BlockHash) },
    Tip { era: u32 },
}

/// The knowledge about a peer's tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Unknown,
    /// The peer said that it has nothing after any block of a locator, none of which is at its announced height.
    Doubtful,
    /// The peer has this block, and perhaps more.
    Has(Spot),
    /// This block is the peer's tip.
    Tip(Spot),
}

/// The state of a header sync, in which the headers of all peers come together.
#[derive(Debug)]
pub(crate) struct Machine {
    rules: Rules,
    tree: Tree,
    checkpoints: BTreeMap<u32, BlockHash>,
    /// The segments from the lowest to the highest; the last one is open. Empty when only the tips are asked for.
    segments: VecDeque<Segment>,
    peers: BTreeMap<PeerId, Peer>,
    actions: VecDeque<Action>,
    first_tip: Option<Instant>,
    lock: Option<BlockHash>,
    /// The number of segments that were opened above the trunk because later peers had more headers.
    reopened: u32,
    /// The number of times that headers were taken back. Places in the tree from before mean nothing.
    era: u32,
    /// The time since which no peer has the next headers of the lowest segment.
    stalled: Option<Instant>,
    /// The number of waypoints from which headers came, and of those that were given up.
    useful_waypoints: usize,
    wrong_waypoints: usize,
}

// === impl View ===

impl View {
    /// The newest block that the peer is known to have.
    fn spot(self) -> Option<Spot> {
        match self {
            Self::Tip(spot) | Self::Has(spot) => Some(spot),
            Self::Unknown | Self::Doubtful => None,
        }
    }
}

// === impl Machine ===

impl Machine {
    /// Creates the machine, which goes on from `chain`. Blocks of `checkpoints` above its tip are taken on trust, those
    /// of `waypoints` are not.
    pub(crate) fn new(
        rules: Rules,
        chain: HeaderChain,
        checkpoints: impl IntoIterator<Item = (u32, BlockHash)>,
        waypoints: impl IntoIterator<Item = (u32, BlockHash)>,
        lock: Option<BlockHash>,
    ) -> Self {
        let checkpoints: BTreeMap<_, _> = checkpoints.into_iter().collect();
        let end = |is_waypoint| move |(height, hash)| (height, End { block: (height, hash), is_waypoint });
        let waypoints = waypoints.into_iter().map(end(true));
        // A checkpoint replaces a waypoint at its height.
        let ends: BTreeMap<_, _> = waypoints.chain(checkpoints.iter().map(|(&h, &b)| (h, b)).map(end(false))).collect();
        let mut start = (chain.tip(), chain.tip_hash());
        let mut segments = VecDeque::new();
        let (mut window, mut is_from_waypoint) = (chain.place_after(chain.tip()).window, false);
        let above = ends.range(start.0.saturating_add(1)..).map(|(_, &end)| Some(end));
        for (id, end) in (0..).zip(above.chain([None])) {
            let mut segment = Segment::new(id, start, end, std::mem::take(&mut window));
            segment.is_from_waypoint = is_from_waypoint;
            segments.push_back(segment);
            start = end.map_or(start, |end| end.block);
            is_from_waypoint = end.is_some_and(|end| end.is_waypoint);
        }
        Self {
            rules,
            tree: Tree::new(chain),
            checkpoints,
            segments,
            peers: BTreeMap::new(),
            actions: VecDeque::new(),
            first_tip: None,
            lock,
            reopened: 0,
            era: 0,
            stalled: None,
            useful_waypoints: 0,
            wrong_waypoints: 0,
        }
    }

    /// Adds a peer that can be asked.
    pub(crate) fn join(&mut self, peer: PeerId, facts: Facts, now: Instant) {
        let state = Peer {
            facts,
            joined: now,
            questions: VecDeque::new(),
            view: View::Unknown,
            short_answers: 0,
            is_elsewhere: false,
            is_checking: false,
            usual: None,
        };
        self.peers.insert(peer, state);
    }

    /// Removes a peer whose connection ended.
    pub(crate) fn leave(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// The next thing to do, after anything has happened.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Action> {
        if self.actions.is_empty() {
            self.deliver();
            self.ask_for_segments(now);
            self.ask_for_tips(now);
        }
        self.actions.pop_front()
    }

    /// Takes note that a part of an answer has come.
    pub(crate) fn progress(&mut self, peer: PeerId, now: Instant) {
        if let Some(question) = self.peers.get_mut(&peer).and_then(|peer| peer.questions.front_mut()) {
            question.alive = Some(now);
        }
    }

    /// Takes an answer. One that was not asked for is passed over.
    pub(crate) fn answer(&mut self, peer: PeerId, raw: Raw, now: Instant) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        // A node answers in order.
        let is_compressed = matches!(raw, Raw::Compressed(_));
        if state.questions.front().is_none_or(|question| question.is_compressed != is_compressed) {
            return;
        }
        let Some(question) = state.questions.pop_front() else { return };
        if raw.len() >= MAX_HEADERS {
            let took = now.saturating_duration_since(question.since);
            state.usual = Some(state.usual.map_or(took, |usual| (usual * 3 + took) / 4));
        }
        if let Some(next) = state.questions.front_mut() {
            next.since = now;
        }
        match question.subject {
            Subject::Segment { id, generation, head } => {
                self.segment_answer(peer, &question, (id, generation, head), raw, now)
            }
            Subject::Tip { era } if era == self.era => self.tip_answer(peer, &question, raw),
            Subject::Tip { .. } => {}
        }
    }

    /// Takes headers that were checked.
    pub(crate) fn checked(&mut self, checked: Checked, now: Instant) {
        let Checked { peer, first, purpose, result } = checked;
        match (purpose, result.and_then(|headers| self.check_known(first, headers))) {
            (Purpose::Segment { id, generation, message }, Ok(headers)) => {
                self.segment_checked(peer, (id, generation, message), headers, now);
            }
            (Purpose::Segment { id, generation, .. }, Err(error)) => {
                self.segment_failed(id, generation);
                self.drop_peer(peer, DropReason::False(error));
            }
            (Purpose::Branch { from, is_full, era }, Ok(headers)) if era == self.era => {
                self.branch_checked(peer, from, is_full, headers, now);
            }
            (Purpose::Branch { .. }, Ok(_)) => {
                self.peers.get_mut(&peer).into_iter().for_each(|state| state.is_checking = false);
            }
            (Purpose::Branch { .. }, Err(error)) => self.drop_peer(peer, DropReason::False(error)),
        }
    }

    /// Refuses another block at the height of a checkpoint.
    fn check_known(&self, first: u32, headers: Vec<CheckedHeader>) -> Result<Vec<CheckedHeader>, HeaderError> {
        let last = first.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        for (&height, expected) in self.checkpoints.range(first..last) {
            if let Some(header) = headers.get((height - first) as usize).filter(|header| header.hash != *expected) {
                return Err(HeaderError::NotCheckpoint { height, hash: header.hash });
            }
        }
        Ok(headers)
    }

    /// Returns `true` if peers have told their tips and there is nothing to wait for. `all_joined` says that no further
    /// peer joins, or that enough have joined.
    pub(crate) fn is_done(&self, now: Instant, settle: Duration, all_joined: bool) -> bool {
        let Some(first) = self.first_tip.filter(|_| self.segments.is_empty() && self.actions.is_empty()) else {
            return false;
        };
        let is_heard = |peer: &Peer| match peer.view {
            View::Tip(_) => true,
            View::Has(spot) if self.is_cut(peer, spot, now) => true,
            _ => !peer.is_checking && self.is_late(peer, now) && peer.waits_since(now) >= peer.patience(),
        };
        let waited = now.saturating_duration_since(first);
        waited >= settle * PATIENCE || (self.peers.values().all(is_heard) && (all_joined || waited >= settle))
    }

    /// The number of peers with at least one known block.
    pub(crate) fn tips(&self) -> usize {
        self.peers.values().filter(|peer| peer.view.spot().is_some()).count()
    }

    /// Returns `true` if all peers of which a block is known are on one chain, some of them further than others. Otherwise
    /// each further peer may decide.
    pub(crate) fn is_unanimous(&self) -> bool {
        let best = self.best();
        self.peers.values().filter_map(|peer| peer.view.spot()).all(|spot| self.tree.is_on(spot, best))
    }

    /// Ends the sync and chooses the chain. The last actions deliver the headers that are not delivered yet.
    pub(crate) fn agree(mut self, now: Instant) -> (Agreement, Vec<Action>) {
        self.segments.clear();
        self.actions.retain(|action| matches!(action, Action::Deliver { .. }));
        // A peer that was asked before the others came may have sent more than is taken by now.
        let view = |(&peer, state): (&PeerId, &Peer)| {
            let spot = state.view.spot()?;
            Some((peer, self.tree.ancestor(spot, spot.height.min(self.tip_cap(state, now)))))
        };
        let views: Vec<_> = self.peers.iter().filter_map(view).collect();
        let tips = self.tree.tips();
        let chosen = self.choose(&tips, &views).unwrap_or_else(|| self.tree.trunk_tip());
        // Blocks above this one were known only to peers that are gone, so no peer can be asked for them.
        let newest = views.iter().filter(|(_, spot)| self.tree.is_on(*spot, chosen)).map(|(_, spot)| spot.height).max();
        let chosen = newest.map_or(chosen, |height| self.tree.ancestor(chosen, height));
        let standings = views.into_iter().map(|(peer, spot)| {
            let hash = self.tree.hash_at(spot).unwrap_or(BlockHash::ZERO);
            (peer, Standing { shared: self.tree.shared(spot, chosen).height, tip: (spot.height, hash) })
        });
        let standings = standings.collect();
        let path = self.tree.path(chosen);
        if path.fork < self.tree.trunk.tip() || !path.headers.is_empty() {
            self.deliver_on(path.fork, path.headers);
        }
        (Agreement { chain: self.tree.trunk, standings }, self.actions.into())
    }

    fn choose(&self, tips: &[Spot], views: &[(PeerId, Spot)]) -> Option<Spot> {
        // The other peers of a chain may have left, and this one may have a part of it: blocks that no peer has are no
        // candidates.
        let ends: Vec<Spot> = tips.iter().chain(views.iter().map(|(_, spot)| spot)).copied().collect();
        let newest = |spot: &Spot| !ends.iter().any(|other| other != spot && self.tree.is_on(*spot, *other));
        let mut ends: Vec<_> = ends.iter().filter(|spot| newest(spot)).copied().collect();
        ends.dedup();
        let trunk = |spot: &Spot| self.tree.path(*spot).fork;
        let shared = ends.iter().map(trunk).min().unwrap_or_default();
        let locked = self.lock.and_then(|hash| self.tree.find(&hash));
        let candidate = |spot: &Spot| Candidate {
            tip: self.tree.hash_at(*spot).unwrap_or(BlockHash::ZERO),
            is_locked: locked.is_some_and(|lock| self.tree.is_on(lock, *spot)),
            peers: views.iter().filter(|(_, view)| self.tree.is_on(*view, *spot)).count(),
            work: self.tree.work(*spot, shared),
        };
        let candidates: Vec<_> = ends.iter().map(candidate).collect();
        agree(&candidates).and_then(|index| ends.get(index).copied())
    }

    /// The greatest height to which a peer is asked for segments: the one that it announced, if that is plausible.
    fn cap(&self, state: &Peer, now: Instant) -> u32 {
        let new = now.saturating_duration_since(state.joined).as_secs() / NEW_BLOCK.as_secs();
        let own = state.facts.height.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
        self.plausible().map_or(own, |(_, limit)| own.min(limit))
    }

    /// The greatest height at which the tip of a peer is looked for. A peer may have more than it announced: where others
    /// announced more, it is asked for that as well.
    fn tip_cap(&self, state: &Peer, now: Instant) -> u32 {
        let own = self.cap(state, now);
        self.plausible().map_or(own, |(highest, limit)| own.max(highest.min(limit)))
    }

    /// The highest height that a peer announced or has shown, and the limit to heights, which is not far above the second
    /// highest: of three peers one alone neither raises nor lowers it. `None` where headers cost work, or with fewer peers.
    fn plausible(&self) -> Option<(u32, u32)> {
        let shown = |peer: &Peer| peer.view.spot().map_or(0, |spot| spot.height);
        let mut heights: Vec<_> = self.peers.values().map(|peer| peer.facts.height.max(shown(peer))).collect();
        heights.sort_unstable();
        match heights.as_slice() {
            _ if self.rules.cost_work() => None,
            [.., _, second, highest] => Some((*highest, second.saturating_add(ABOVE_SECOND))),
            _ => None,
        }
    }

    /// The time that answers of a full length usually take, by the peer in the middle.
    fn usual(&self) -> Option<Duration> {
        let mut usual: Vec<_> = self.peers.values().filter_map(|peer| peer.usual).collect();
        usual.sort_unstable();
        usual.get(usual.len().saturating_sub(1) / 2).copied()
    }

    /// Returns `true` if a peer's oldest question takes so long that another peer is asked as well. The questions
    /// behind it wait for it.
    fn is_late(&self, state: &Peer, now: Instant) -> bool {
        state.questions.front().is_some_and(|question| question.is_late(state, self.usual(), now))
    }

    fn is_slow(&self, state: &Peer) -> bool {
        state.usual.zip(self.usual()).is_some_and(|(own, usual)| own > usual * SLOW)
    }

    fn is_cut(&self, state: &Peer, spot: Spot, now: Instant) -> bool {
        spot.height >= self.tip_cap(state, now)
    }

    fn drop_peer(&mut self, peer: PeerId, why: DropReason) {
        if self.peers.remove(&peer).is_some() {
            self.actions.push_back(Action::Drop { peer, why });
        }
    }

    /// Takes headers back from the trunk. What was said of blocks above means nothing now: peers are asked again.
    fn take_back(&mut self, below: u32) {
        self.era = self.era.wrapping_add(1);
        self.tree.cut(below);
        self.peers.values_mut().for_each(|state| state.view = View::Unknown);
        self.actions.push_back(Action::Deliver { first: below.saturating_add(1), headers: Vec::new() });
    }

    fn deliver_on(&mut self, below: u32, headers: Vec<CheckedHeader>) {
        self.tree.trunk.truncate(below);
        self.tree.trunk.extend(&headers);
        // A peer may have told its tip before the trunk came so far: the same blocks count once.
        self.tree.rejoin();
        for state in self.peers.values_mut() {
            if let View::Has(spot) | View::Tip(spot) = &mut state.view {
                *spot = self.tree.ancestor(*spot, spot.height);
            }
        }
        self.actions.push_back(Action::Deliver { first: below.saturating_add(1), headers });
    }
}

// === impl Peer ===

impl Peer {
    /// The number of questions that the peer may have in flight with another one about a segment. A peer that helps out
    /// gets one more.
    fn depth(&self, segment: &Segment, helps_out: bool) -> usize {
        match segment.end {
            Some(_) if self.has_answered() => DEPTH + usize::from(self.facts.is_compressing) + usize::from(helps_out),
            Some(_) => DEPTH_AT_FIRST,
            None => 1,
        }
    }

    fn has_answered(&self) -> bool {
        self.usual.is_some() || self.questions.front().is_some_and(|question| question.alive.is_some())
    }

    /// The time since the peer was asked its oldest question; zero if it has none.
    fn waits_since(&self, now: Instant) -> Duration {
        self.questions.front().map_or(Duration::ZERO, |question| now.saturating_duration_since(question.since))
    }

    /// The time for which the sync waits for the peer's tip.
    fn patience(&self) -> Duration {
        (self.facts.round_trip * 2 * HEDGE_ROUND_TRIPS).clamp(LATE, 3 * LATE)
    }
}

// === impl Question ===

impl Question {
    fn is_about(&self, segment: &Segment) -> bool {
        matches!(self.subject, Subject::Segment { id, generation, head } if (id, generation, head) == (segment.id, segment.generation, segment.head))
    }

    /// Returns `true` if the answer takes so long that another peer is asked as well. `usual` is the time that answers
    /// usually take.
    fn is_late(&self, peer: &Peer, usual: Option<Duration>, now: Instant) -> bool {
        let round_trips = HEDGE_ROUND_TRIPS - u32::from(usual.is_some() && !peer.has_answered());
        let hedge = (peer.facts.round_trip * round_trips).min(2 * LATE) + HEDGE_FLOOR;
        let waits = now.saturating_duration_since(self.since);
        match self.alive {
            None => waits > hedge,
            Some(alive) if now.saturating_duration_since(alive) > PROGRESS_TIME => true,
            Some(_) => waits > usual.map_or(PROGRESS_TIME + hedge, |usual| usual * HEDGE_USUAL + HEDGE_FLOOR),
        }
    }
}

// === impl Raw ===

impl Raw {
    fn prev_block_hash(&self) -> Option<BlockHash> {
        match self {
            Self::Plain(headers) => headers.first().map(BlockHeader::prev_block_hash),
            Self::Compressed(headers) => headers.prev_block_hash(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(headers) => headers.len(),
            Self::Compressed(headers) => headers.len(),
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Plain(headers) => headers.len() >= MAX_HEADERS,
            Self::Compressed(headers) => headers.len() >= MAX_HEADERS2,
        }
    }
}

// === impl Check ===

impl Check {
    /// Runs the check.
    pub(crate) fn run(self, rules: &Rules) -> Checked {
        let first = self.place.height;
        let result = match &self.raw {
            Raw::Plain(headers) => rules.check(self.place, headers),
            Raw::Compressed(headers) => rules.check_compressed(self.place, headers),
        };
        Checked { peer: self.peer, first, purpose: self.purpose, result }
    }
}
