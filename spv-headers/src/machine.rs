//! The decisions of a header sync, without I/O.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use qrinfo_core::{
    BlockHash, BlockHeader, Network, PeerId,
    message::{Headers2, MAX_HEADERS, MAX_HEADERS2},
};

use crate::{
    HeaderChain, HeaderError,
    check::{CheckedHeader, Place, Rules},
    segment::Segment,
    target::{Pace, Window},
    tree::{Spot, Tree},
    vote::{Candidate, agree},
};

/// The most headers that wait behind a segment that is not complete; 112 bytes each.
const MAX_HELD: usize = 1 << 16;

/// Questions that a peer may have at a time while segments are fetched: the others hide its round trip.
const DEPTH: usize = 3;

/// Another peer is asked as well when no byte of an answer has come after this many round trips of its peer, and this
/// long.
const HEDGE_ROUND_TRIPS: u32 = 3;
const HEDGE_FLOOR: Duration = Duration::from_millis(50);

/// Another peer is asked as well when an answer takes this many times as long as answers usually take.
const HEDGE_USUAL: u32 = 2;

/// Nor may 16 KiB of an answer take longer than this, or the whole of it while nothing is known of others.
const PROGRESS_TIME: Duration = Duration::from_secs(1);

/// A peer whose answers take this many times as long as those of others is not asked for what others can be asked for.
const SLOW: u32 = 4;

/// The least time for which a peer's tip is waited for.
const LATE: Duration = Duration::from_secs(1);

/// The vote is not kept waiting by slow peers for longer than this many times of the time for which it waits for others.
const PATIENCE: u32 = 5;

/// A peer that announces no more than this above what is known can be asked without others waiting for its answer: one
/// message.
const SHORT: u32 = MAX_HEADERS as u32;

/// How far above the second highest announced height headers are taken, where three peers have announced one: half a
/// day.
const ABOVE_SECOND: u32 = 288;

/// The time in which one more block than announced becomes plausible.
const NEW_BLOCK: Duration = Duration::from_secs(30);

/// The answers of a peer that may end below its announced height before it is taken at its word.
const SHORT_ANSWERS: u32 = 3;

/// What a peer says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) height: u32,
    pub(crate) round_trip: Duration,
    /// It answers `getheaders2` with up to 8,000 headers.
    pub(crate) is_compressing: bool,
}

/// Headers as they came.
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
    /// Headers that follow this block.
    Branch(Spot, /* a full message */ bool),
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

/// What is to be done.
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

/// Why a peer takes no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// It sent headers that cannot be right.
    False(HeaderError),
    /// It says that it has no headers, and announced some.
    NoHeaders,
}

/// Where a peer stands in relation to the chain that was agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The height of the newest block of the agreed chain that the peer has.
    pub shared: u32,
    /// The height and hash of its own tip, as far as its headers were taken.
    pub tip: (u32, BlockHash),
}

// === impl Standing ===

impl Standing {
    /// Returns `true` for a peer whose tip lies on the agreed chain, however far behind it is. Another one is on a branch
    /// of its own, and knows no block of the chain above `shared`.
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
    /// Headers of it that are being checked for the tip.
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
    /// Bytes of the answer have come at this time.
    alive: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Segment { id: u32, generation: u32, head: (u32, BlockHash) },
    Tip,
}

/// What is known of a peer's tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Unknown,
    /// It said that it has nothing after any block of a locator, none of which is where it should be.
    Doubtful,
    /// It has this block, and perhaps more.
    Has(Spot),
    /// This is its tip.
    Tip(Spot),
}

/// Where all headers come together.
#[derive(Debug)]
pub(crate) struct Machine {
    rules: Rules,
    tree: Tree,
    checkpoints: BTreeMap<u32, BlockHash>,
    /// From the lowest to the highest; the last one is open. Empty when only the tips are asked for.
    segments: VecDeque<Segment>,
    peers: BTreeMap<PeerId, Peer>,
    actions: VecDeque<Action>,
    first_tip: Option<Instant>,
    lock: Option<BlockHash>,
    /// The number of segments that were opened above the trunk when peers came that have more.
    reopened: u32,
    /// Since when no peer has what the lowest segment needs.
    stalled: Option<Instant>,
}

// === impl Machine ===

impl Machine {
    /// Goes on from `chain`. Blocks of `checkpoints` above its tip are taken on trust.
    pub(crate) fn new(
        rules: Rules,
        chain: HeaderChain,
        checkpoints: impl IntoIterator<Item = (u32, BlockHash)>,
        lock: Option<BlockHash>,
    ) -> Self {
        let checkpoints: BTreeMap<_, _> = checkpoints.into_iter().collect();
        let mut start = (chain.tip(), chain.tip_hash());
        let mut segments = VecDeque::new();
        let mut window = chain.place_after(chain.tip()).window;
        let ends = checkpoints.range(start.0.saturating_add(1)..).map(|(&height, &hash)| Some((height, hash)));
        for (id, end) in (0..).zip(ends.chain([None])) {
            segments.push_back(Segment::new(id, start, end, std::mem::take(&mut window)));
            start = end.unwrap_or(start);
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
            stalled: None,
        }
    }

    /// A peer can be asked.
    pub(crate) fn join(&mut self, peer: PeerId, facts: Facts, now: Instant) {
        let state = Peer {
            facts,
            joined: now,
            questions: VecDeque::new(),
            view: View::Unknown,
            short_answers: 0,
            is_checking: false,
            usual: None,
        };
        self.peers.insert(peer, state);
    }

    /// A peer is gone.
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

    /// A part of an answer has come.
    pub(crate) fn progress(&mut self, peer: PeerId, now: Instant) {
        if let Some(question) = self.peers.get_mut(&peer).and_then(|peer| peer.questions.front_mut()) {
            question.alive = Some(now);
        }
    }

    /// An answer has come. One that was not asked for is passed over.
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
            Subject::Tip => self.tip_answer(peer, &question, raw),
        }
    }

    /// Headers were checked.
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
            (Purpose::Branch(from, is_full), Ok(headers)) => self.branch_checked(peer, from, is_full, headers, now),
            (Purpose::Branch(..), Err(error)) => self.drop_peer(peer, DropReason::False(error)),
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

    /// Whether peers are heard and there is nothing to wait for. `all_joined`: no further peer joins, or enough have.
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

    /// The number of peers of which a block is known that they have.
    pub(crate) fn tips(&self) -> usize {
        self.peers.values().filter(|peer| matches!(peer.view, View::Tip(_) | View::Has(_))).count()
    }

    /// Ends: chooses the chain. The last actions deliver what is not delivered yet.
    pub(crate) fn agree(mut self) -> (Agreement, Vec<Action>) {
        self.segments.clear();
        self.actions.retain(|action| matches!(action, Action::Deliver { .. }));
        let views = self.peers.iter().filter_map(|(&peer, state)| match state.view {
            View::Tip(spot) | View::Has(spot) => Some((peer, spot)),
            View::Unknown | View::Doubtful => None,
        });
        let views: Vec<_> = views.collect();
        let tips = self.tree.tips();
        let chosen = self.choose(&tips, &views).unwrap_or_else(|| self.tree.trunk_tip());
        // Blocks that only peers had that are gone can be asked of none.
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
        // A peer may have a part of a chain whose other peers left: what no peer has is no candidate.
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

    /// The greatest height to which headers of a peer are taken: the one that it announced, and where headers cost no
    /// work, not far above the second highest that was announced.
    fn cap(&self, state: &Peer, now: Instant) -> u32 {
        let new = now.saturating_duration_since(state.joined).as_secs() / NEW_BLOCK.as_secs();
        let own = state.facts.height.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
        if matches!(self.rules.network, Network::Mainnet | Network::Testnet) {
            return own;
        }
        let mut heights: Vec<_> = self.peers.values().map(|peer| peer.facts.height).collect();
        heights.sort_unstable();
        match heights.as_slice() {
            [.., _, second, _] => own.min(second.saturating_add(ABOVE_SECOND)),
            _ => own,
        }
    }

    /// The time that answers of a full length usually take, by the peer in the middle.
    fn usual(&self) -> Option<Duration> {
        let mut usual: Vec<_> = self.peers.values().filter_map(|peer| peer.usual).collect();
        usual.sort_unstable();
        usual.get(usual.len().saturating_sub(1) / 2).copied()
    }

    /// Whether a peer's oldest question takes so long that another peer is asked as well. Those behind it wait for it.
    fn is_late(&self, state: &Peer, now: Instant) -> bool {
        state.questions.front().is_some_and(|question| question.is_late(state, self.usual(), now))
    }

    fn is_slow(&self, state: &Peer) -> bool {
        state.usual.zip(self.usual()).is_some_and(|(own, usual)| own > usual * SLOW)
    }

    fn is_cut(&self, state: &Peer, spot: Spot, now: Instant) -> bool {
        spot.height >= self.cap(state, now)
    }

    fn drop_peer(&mut self, peer: PeerId, why: DropReason) {
        if self.peers.remove(&peer).is_some() {
            self.actions.push_back(Action::Drop { peer, why });
        }
    }

    fn deliver_on(&mut self, below: u32, headers: Vec<CheckedHeader>) {
        self.tree.trunk.truncate(below);
        self.tree.trunk.extend(&headers);
        self.actions.push_back(Action::Deliver { first: below.saturating_add(1), headers });
    }
}

/// Segments.
impl Machine {
    /// Moves checked headers of the lowest segment to the trunk.
    fn deliver(&mut self) {
        while let Some(segment) = self.segments.front_mut() {
            let headers = segment.take();
            let is_complete = segment.is_complete();
            if is_complete {
                self.segments.pop_front();
            }
            if !headers.is_empty() {
                self.deliver_on(self.tree.trunk.tip(), headers);
            }
            if !is_complete {
                return;
            }
        }
    }

    fn ask_for_segments(&mut self, now: Instant) {
        let ids: Vec<u32> = self.segments.iter().map(|segment| segment.id).collect();
        let mut held: usize = self.segments.iter().map(Segment::held).sum();
        for (index, id) in ids.into_iter().enumerate() {
            // The lowest goes on in any case: it makes room.
            if index > 0 && held >= MAX_HELD {
                break;
            }
            held += self.ask_for_segment(id, index, now) * MAX_HEADERS;
        }
        self.give_way(now);
        // Above the newest checkpoint there is an end when no peer brings it further.
        let is_last = self.segments.len() == 1;
        let is_open = self.segments.front().is_some_and(|segment| segment.end.is_none() && segment.is_checked());
        if is_last && is_open && self.is_exhausted(now) {
            self.segments.clear();
            self.forget_unknown();
        }
    }

    /// Where no peer has what a segment needs for a while, peers are asked for their tips instead; and those that had no
    /// answer for it are asked again, a few times.
    fn give_way(&mut self, now: Instant) {
        let Some((end, segment)) = self.segments.front().and_then(|segment| Some((segment.end?.0, segment))) else {
            self.stalled = None;
            return;
        };
        let can = |state: &Peer| self.cap(state, now) >= end;
        let fit = |(peer, state): (&PeerId, &Peer)| can(state) && !segment.unfit.contains(peer);
        if self.peers.is_empty() || segment.is_at_end() || self.peers.iter().any(fit) {
            self.stalled = None;
            return;
        }
        let any_can = self.peers.values().any(can);
        let is_over = now.saturating_duration_since(*self.stalled.get_or_insert(now)) >= LATE;
        match self.segments.front_mut() {
            Some(segment) if is_over && any_can && segment.chances > 0 => {
                segment.chances -= 1;
                segment.unfit.clear();
                self.stalled = None;
            }
            _ if is_over => {
                self.segments.clear();
                self.forget_unknown();
            }
            _ => {}
        }
    }

    /// Peers whose headers did not come to the trunk are asked again.
    fn forget_unknown(&mut self) {
        let tree = &self.tree;
        for state in self.peers.values_mut() {
            if let View::Has(spot) | View::Tip(spot) = state.view
                && tree.hash_at(spot).is_none()
            {
                state.view = View::Unknown;
            }
        }
    }

    /// Asks for the next headers of a segment if it waits for any. Returns how many questions are out.
    fn ask_for_segment(&mut self, id: u32, index: usize, now: Instant) -> usize {
        let Some(segment) = self.segments.get(index) else { return 0 };
        if segment.is_at_end() || segment.is_completing {
            return 0;
        }
        let (asked, late) = self.askers(segment, now);
        if let Some(only) = segment.only_source()
            && self.peers.get(&only).is_none_or(|state| self.is_late(state, now))
        {
            self.restart(id);
            return 0;
        }
        let only = segment.only_source();
        // One that is late is joined by another, then by two, then by four.
        let more = match (asked, late) {
            (0, _) => 1,
            (asked, late) if asked == late => asked,
            _ => return asked,
        };
        let head = segment.head.0;
        let wants = segment.end.map_or(head.saturating_add(1), |(end, _)| end);
        let mut idle: Vec<_> = self
            .peers
            .iter()
            .filter(|(peer, state)| {
                state.questions.len() < state.depth(segment, asked > 0)
                    && !state.questions.iter().any(|question| question.is_about(segment))
                    && !self.is_late(state, now)
                    && !segment.unfit.contains(peer)
                    && only.is_none_or(|only| only == **peer)
                    && (segment.end.is_some() || !matches!(state.view, View::Tip(_)))
                    && self.cap(state, now) >= wants
            })
            .map(|(&peer, state)| (self.is_slow(state), state.questions.len(), state.facts.round_trip, peer))
            .collect();
        idle.sort_unstable();
        idle.truncate(more);
        // A slow peer is better than none, but others have room in a moment.
        if self.peers.values().any(|state| !self.is_slow(state) && !self.is_late(state, now)) {
            idle.retain(|(is_slow, ..)| !is_slow);
        }
        let count = idle.len();
        for (.., peer) in idle {
            self.ask_segment(peer, id, now);
        }
        asked + count
    }

    /// The number of peers that are asked for a segment's next headers, and how many of them are late.
    fn askers(&self, segment: &Segment, now: Instant) -> (usize, usize) {
        let questions =
            self.peers.values().flat_map(|state| state.questions.iter().map(move |question| (state, question)));
        let about = questions.filter(|(_, question)| question.is_about(segment));
        about.fold((0, 0), |(all, late), (state, _)| (all + 1, late + usize::from(self.is_late(state, now))))
    }

    /// Whether no peer can bring the open segment further: none that is asked in time, and none to ask.
    fn is_exhausted(&self, now: Instant) -> bool {
        let Some(segment) = self.segments.front() else { return true };
        let (asked, late) = self.askers(segment, now);
        let can = |(peer, state): (&PeerId, &Peer)| {
            !segment.unfit.contains(peer)
                && !matches!(state.view, View::Tip(_))
                && self.cap(state, now) > segment.head.0
                && !self.is_late(state, now)
        };
        let is_heard = self.first_tip.is_some() || self.peers.values().any(|peer| peer.facts.height <= segment.head.0);
        asked == late && is_heard && !self.peers.iter().any(can)
    }

    fn ask_segment(&mut self, peer: PeerId, id: u32, now: Instant) {
        let Some(segment) = self.segments.iter().find(|segment| segment.id == id) else { return };
        let subject = Subject::Segment { id, generation: segment.generation, head: segment.head };
        let mut locator = vec![(Spot::trunk(segment.head.0), segment.head.1)];
        match segment.end {
            Some(_) if segment.head != segment.start => locator.push((Spot::trunk(segment.start.0), segment.start.1)),
            Some(_) => {}
            None => locator.extend(
                self.tree.locator(self.tree.trunk_tip()).into_iter().filter(|(_, hash)| *hash != segment.head.1),
            ),
        }
        let stop = segment.end.map_or(BlockHash::ZERO, |(_, hash)| hash);
        self.ask(peer, subject, None, locator, stop, now);
    }

    fn ask(
        &mut self,
        peer: PeerId,
        subject: Subject,
        head: Option<Spot>,
        locator: Vec<(Spot, BlockHash)>,
        stop: BlockHash,
        now: Instant,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let is_compressed = state.facts.is_compressing;
        let hashes = locator.iter().map(|(_, hash)| *hash).collect();
        state.questions.push_back(Question { subject, head, locator, is_compressed, since: now, alive: None });
        self.actions.push_back(Action::Ask(Ask { peer, locator: hashes, stop, is_compressed }));
    }

    fn segment_answer(
        &mut self,
        peer: PeerId,
        question: &Question,
        (id, generation, head): (u32, u32, (u32, BlockHash)),
        raw: Raw,
        now: Instant,
    ) {
        let cap = self.peers.get(&peer).map_or(0, |state| self.cap(state, now));
        let announced = self.peers.get(&peer).map_or(0, |state| state.facts.height);
        let Some(segment) =
            self.segments.iter_mut().find(|segment| segment.id == id && segment.generation == generation)
        else {
            return;
        };
        let is_open = segment.end.is_none();
        let Some(prev) = raw.prev_block_hash() else {
            // It has nothing after the head, or after another block of the locator.
            segment.unfit.insert(peer);
            if is_open {
                self.empty_answer(peer, question, Some(Spot::trunk(head.0)), now);
            }
            return;
        };
        if prev != segment.head.1 {
            // Headers that another peer was quicker to send.
            if prev == head.1 {
                return;
            }
            if is_open {
                segment.unfit.insert(peer);
                self.tip_answer(peer, question, raw);
            } else if prev == segment.start.1 {
                // It does not know what others sent. One of them is wrong, and it stays open which one.
                if segment.objectors.insert(peer) {
                    segment.restart();
                    self.forget_false_start(id);
                }
            } else if !question.locator.iter().any(|(_, hash)| *hash == prev) {
                self.drop_peer(peer, DropReason::False(HeaderError::Unconnected(prev)));
            }
            return;
        }
        let limit = segment.end.map_or(cap, |(end, _)| end).saturating_sub(segment.head.0) as usize;
        if limit == 0 {
            // Another peer has brought it further than this one may.
            return self.set_view(peer, View::Has(Spot::trunk(head.0)), now);
        }
        let is_full = raw.is_full();
        segment.sources.insert(peer);
        match raw {
            Raw::Plain(mut headers) => {
                headers.truncate(limit);
                let Some(last) = headers.last() else { return };
                let place = segment.place();
                let height = segment.head.0.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
                let reached = (height, self.rules.hash(last));
                if segment.end.is_some_and(|end| end.0 == reached.0 && end != reached) {
                    return self.wrong_end(peer, id, reached);
                }
                let message = segment.arrive(headers.iter().map(Pace::from), reached);
                let purpose = Purpose::Segment { id, generation, message: Some(message) };
                self.actions.push_back(Action::Check(Check { peer, purpose, place, raw: Raw::Plain(headers) }));
                self.go_on(peer, id, is_full, announced, now);
            }
            Raw::Compressed(headers) => {
                segment.is_completing = true;
                let purpose = Purpose::Segment { id, generation, message: None };
                let place = segment.place();
                self.actions.push_back(Action::Check(Check { peer, purpose, place, raw: Raw::Compressed(headers) }));
            }
        }
    }

    /// Asks the same peer for what follows, before the last answer is checked.
    fn go_on(&mut self, peer: PeerId, id: u32, is_full: bool, announced: u32, now: Instant) {
        let cap = self.peers.get(&peer).map_or(0, |state| self.cap(state, now));
        let Some(segment) = self.segments.iter().find(|segment| segment.id == id) else { return };
        if segment.is_at_end() {
            return;
        }
        let head = segment.head.0;
        if segment.end.is_none() && ((!is_full && head >= announced) || head >= cap) {
            return self.open_head(peer, (head, is_full), (announced, cap), now);
        }
        self.ask_segment(peer, id, now);
    }

    fn segment_checked(
        &mut self,
        peer: PeerId,
        (id, generation, message): (u32, u32, Option<u64>),
        mut headers: Vec<CheckedHeader>,
        now: Instant,
    ) {
        let (announced, cap) = self.peers.get(&peer).map_or((0, 0), |state| (state.facts.height, self.cap(state, now)));
        let Some(segment) =
            self.segments.iter_mut().find(|segment| segment.id == id && segment.generation == generation)
        else {
            return;
        };
        if let Some(message) = message {
            return segment.check_in(message, headers);
        }
        segment.is_completing = false;
        let is_full = headers.len() >= MAX_HEADERS2;
        let limit = segment.end.map_or(cap, |(end, _)| end);
        headers.truncate(limit.saturating_sub(segment.head.0) as usize);
        let Some(last) = headers.last() else { return };
        let height = segment.head.0.saturating_add(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        let reached = (height, last.hash);
        if segment.end.is_some_and(|end| end.0 == reached.0 && end != reached) {
            return self.wrong_end(peer, id, reached);
        }
        let message = segment.arrive(headers.iter().map(|header| Pace::from(&header.header)), reached);
        segment.check_in(message, headers);
        if segment.end.is_none() {
            self.open_head(peer, (height, is_full), (announced, cap), now);
        }
    }

    /// Takes note of how far a peer has brought the open segment.
    fn open_head(&mut self, peer: PeerId, (head, is_full): (u32, bool), (announced, cap): (u32, u32), now: Instant) {
        // The trunk has this block when the checks are done.
        let spot = Spot::trunk(head);
        if !is_full && head >= announced {
            self.set_tip(peer, spot, now);
        } else if head >= cap {
            self.set_view(peer, View::Has(spot), now);
        }
    }

    /// The headers end at another block than the checkpoint.
    fn wrong_end(&mut self, peer: PeerId, id: u32, (height, hash): (u32, BlockHash)) {
        let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) else { return };
        let is_alone = segment.sources.iter().all(|source| *source == peer);
        self.restart(id);
        if is_alone {
            self.drop_peer(peer, DropReason::False(HeaderError::NotCheckpoint { height, hash }));
        }
    }

    /// Fetches a segment again, from one peer alone.
    fn restart(&mut self, id: u32) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) {
            segment.restart();
            self.forget_false_start(id);
        }
    }

    fn segment_failed(&mut self, id: u32, generation: u32) {
        let tip = (self.tree.trunk.tip(), self.tree.trunk.tip_hash());
        let window = self.tree.trunk.place_after(tip.0).window;
        let is_front = self.segments.front().is_some_and(|segment| segment.id == id);
        let Some(segment) =
            self.segments.iter_mut().find(|segment| segment.id == id && segment.generation == generation)
        else {
            return;
        };
        match is_front {
            true => segment.go_back(tip, window),
            false => segment.go_back(segment.start, Window::default()),
        }
    }

    /// What a segment has put on the trunk before it turned out to be wrong is taken back.
    fn forget_false_start(&mut self, id: u32) {
        if let Some(segment) = self.segments.front().filter(|segment| segment.id == id)
            && self.tree.trunk.tip() > segment.start.0
        {
            let start = segment.start.0;
            self.deliver_on(start, Vec::new());
        }
    }
}

/// The tips.
impl Machine {
    fn ask_for_tips(&mut self, now: Instant) {
        let best = self.best();
        let is_idle = |state: &&Peer| state.questions.is_empty() && !state.is_checking;
        // Much is missing: that is fetched as a segment, by one peer and not by all of them.
        let is_far =
            |state: &Peer| state.view == View::Unknown && self.cap(state, now) > best.height.saturating_add(SHORT);
        if self.segments.is_empty() && self.peers.values().filter(is_idle).any(is_far) {
            return self.reopen();
        }
        let idle = self.peers.iter().filter(|(_, state)| is_idle(state));
        let questions: Vec<_> =
            idle.filter_map(|(&peer, state)| Some((peer, self.tip_question(state, best, now)?))).collect();
        for (peer, from) in questions {
            let locator = self.tree.locator(from);
            self.ask(peer, Subject::Tip, Some(from), locator, BlockHash::ZERO, now);
        }
    }

    /// The block from which a peer is asked for its tip, if it is.
    fn tip_question(&self, state: &Peer, best: Spot, now: Instant) -> Option<Spot> {
        let lower = |spot: Spot| {
            let height = state.facts.height.min(spot.height).saturating_sub(1).max(self.tree.trunk.start());
            self.tree.ancestor(spot, height)
        };
        match state.view {
            View::Doubtful => Some(lower(best)),
            View::Unknown if self.segments.is_empty() => Some(best),
            View::Has(spot) if self.segments.is_empty() && !self.is_cut(state, spot, now) => Some(spot),
            _ => None,
        }
    }

    /// Goes on with the headers above the trunk.
    fn reopen(&mut self) {
        let tip = (self.tree.trunk.tip(), self.tree.trunk.tip_hash());
        let window = self.tree.trunk.place_after(tip.0).window;
        self.reopened = self.reopened.wrapping_add(1);
        self.segments.push_back(Segment::new(u32::MAX - self.reopened, tip, None, window));
    }

    /// The block that the most is known below: the tip of a peer, else of the trunk.
    fn best(&self) -> Spot {
        let tips = self.peers.values().filter_map(|peer| match peer.view {
            View::Tip(spot) | View::Has(spot) => Some(spot),
            View::Unknown | View::Doubtful => None,
        });
        tips.chain([self.tree.trunk_tip()])
            .max_by_key(|spot| (spot.height, *spot == self.tree.trunk_tip()))
            .unwrap_or_else(|| self.tree.trunk_tip())
    }

    fn tip_answer(&mut self, peer: PeerId, question: &Question, raw: Raw) {
        let Some(prev) = raw.prev_block_hash() else {
            return self.empty_answer(peer, question, question.head, question.since);
        };
        let Some(from) = self.tree.find(&prev) else {
            return self.drop_peer(peer, DropReason::False(HeaderError::Unconnected(prev)));
        };
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.is_checking = true;
        let (place, purpose) = (self.tree.place_after(from), Purpose::Branch(from, raw.is_full()));
        self.actions.push_back(Action::Check(Check { peer, purpose, place, raw }));
    }

    fn branch_checked(
        &mut self,
        peer: PeerId,
        from: Spot,
        is_full: bool,
        mut headers: Vec<CheckedHeader>,
        now: Instant,
    ) {
        let Some(state) = self.peers.get(&peer) else { return };
        let cap = self.cap(state, now);
        let room = cap.saturating_sub(from.height) as usize;
        let is_cut = headers.len() > room;
        headers.truncate(room);
        let spot = self.tree.add(from, &headers);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.is_checking = false;
        let is_short = !is_full && spot.height < state.facts.height;
        state.short_answers += u32::from(is_short);
        let is_tip = (!is_full && !is_short && !is_cut) || state.short_answers > SHORT_ANSWERS;
        self.set_view(peer, if is_tip { View::Tip(spot) } else { View::Has(spot) }, now);
    }

    /// The peer has nothing after the newest block of the locator that it has.
    fn empty_answer(&mut self, peer: PeerId, question: &Question, head: Option<Spot>, now: Instant) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let announced = state.facts.height;
        if let View::Has(spot) = state.view
            && head == Some(spot)
        {
            return self.set_tip(peer, spot, now);
        }
        let told = question.locator.iter().map(|(spot, _)| *spot).find(|spot| spot.height == announced);
        match (told, state.view) {
            (Some(spot), _) => self.set_tip(peer, spot, now),
            (None, View::Doubtful) => self.drop_peer(peer, DropReason::NoHeaders),
            (None, _) => state.view = View::Doubtful,
        }
    }

    fn set_tip(&mut self, peer: PeerId, spot: Spot, now: Instant) {
        self.set_view(peer, View::Tip(spot), now);
    }

    fn set_view(&mut self, peer: PeerId, view: View, now: Instant) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.view = view;
            self.first_tip.get_or_insert(now);
        }
    }
}

// === impl Peer ===

impl Peer {
    /// The number of questions that it may have with another one about a segment. One that has answered nothing yet gets
    /// one, and one more where it helps out.
    fn depth(&self, segment: &Segment, helps_out: bool) -> usize {
        let has_answered =
            self.usual.is_some() || self.questions.front().is_some_and(|question| question.alive.is_some());
        match segment.end {
            Some(_) if has_answered => DEPTH + usize::from(helps_out),
            _ => 1,
        }
    }

    /// How long it takes to answer its oldest question.
    fn waits_since(&self, now: Instant) -> Duration {
        self.questions.front().map_or(Duration::ZERO, |question| now.saturating_duration_since(question.since))
    }

    /// The time for which its tip is waited for.
    fn patience(&self) -> Duration {
        (self.facts.round_trip * 2 * HEDGE_ROUND_TRIPS).clamp(LATE, 3 * LATE)
    }
}

// === impl Question ===

impl Question {
    fn is_about(&self, segment: &Segment) -> bool {
        matches!(self.subject, Subject::Segment { id, generation, head } if (id, generation, head) == (segment.id, segment.generation, segment.head))
    }

    /// Whether the answer takes so long that another peer is asked as well. `usual` is the time that answers take.
    fn is_late(&self, peer: &Peer, usual: Option<Duration>, now: Instant) -> bool {
        let hedge = (peer.facts.round_trip * HEDGE_ROUND_TRIPS).min(2 * LATE) + HEDGE_FLOOR;
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
    /// Does the work.
    pub(crate) fn run(self, rules: &Rules) -> Checked {
        let first = self.place.height;
        let result = match &self.raw {
            Raw::Plain(headers) => rules.check(self.place, headers),
            Raw::Compressed(headers) => rules.check_compressed(self.place, headers),
        };
        Checked { peer: self.peer, first, purpose: self.purpose, result }
    }
}
