//! The peers of a follower: which is asked for headers, and which is replaced.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use qrinfo_core::{BlockHash, PeerId};
use spv_headers::{Below, Standing, TipTracker};

/// The time in which a peer answers a question about headers. It must stay above the time that 160 KB take on a slow
/// line.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time without a sign of a new block after which a peer is asked for its tip: four blocks.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// The time without a sign of a new block after which a peer is asked while peers are on different branches, or while its
/// newest block is not known.
const DISPUTED: Duration = Duration::from_secs(30);

/// The time for which a peer may be behind, or on another branch, before another one takes its place.
const BEHIND: Duration = Duration::from_secs(10 * 60);

/// Blocks by which a peer may lag.
const LAG: u32 = 1;

/// Blocks above the known ones from which on one peer is asked at a time: they are many headers.
const MANY: u32 = 32;

/// Points of misbehaviour that we have at a peer at which it is left for another one. It would disconnect at 100.
const POINTS: u32 = 50;

/// The time for which a peer that named an unknown block is not asked for it, while another one announces headers: they
/// mostly come at once.
const ANNOUNCEMENT: Duration = Duration::from_secs(2);

/// Peers that announce new blocks by headers. The others name the hash alone, which takes fewer bytes.
const ANNOUNCERS: usize = 1;

/// The peers that are connected.
#[derive(Debug, Default)]
pub(super) struct Roster {
    peers: BTreeMap<PeerId, Peer>,
    /// Peers that joined so far.
    joined: u64,
}

#[derive(Debug)]
struct Peer {
    /// The number of peers that joined before it.
    joined: u64,
    /// The height that it announced when it was connected.
    announced: u32,
    round_trip: Duration,
    /// Blocks by which the last question went down, after answers without headers.
    steps_down: u32,
    /// Its place, if its newest block is below those that the tracker knows, or on a branch that leaves there.
    below: Option<Below>,
    /// The time without a sign of its newest block after which it is asked.
    quiet: Duration,
    /// The instant of the question that it has not answered yet.
    asked: Option<Instant>,
    /// It is to be asked for headers.
    is_wanted: bool,
    /// An unknown block that it named, and the instant from which it is asked for it.
    named: Option<(BlockHash, Instant)>,
    /// The last sign of its newest block.
    heard: Instant,
    /// The instant since which it is behind or on another branch.
    behind: Option<Instant>,
    /// It is on another branch.
    is_elsewhere: bool,
    /// Points of misbehaviour that we have there, at most.
    points: u32,
    /// The instant of its last failure to answer a request.
    failed: Option<Instant>,
    announces: bool,
}

/// The step at a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerStep {
    /// Ask for headers. The number is the height that it announced.
    Headers(u32),
    /// Have it announce blocks by headers.
    Announce,
    /// Leave it for another one.
    Leave(LeftBehind),
}

/// The reason for which a peer is replaced. None is a fault that it is banned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftBehind {
    Silent,
    Behind,
    OtherBranch,
    Elsewhere,
    Worn,
}

// === impl Roster ===

impl Roster {
    pub(super) fn join(&mut self, peer: PeerId, announced: u32, round_trip: Duration, now: Instant) {
        let (asked, behind, failed) = Default::default();
        let peer_state = Peer {
            joined: self.joined,
            announced,
            round_trip,
            steps_down: 0,
            below: None,
            quiet: QUIET,
            asked,
            is_wanted: true,
            named: None,
            heard: now,
            behind,
            is_elsewhere: false,
            points: 0,
            failed,
            announces: false,
        };
        self.joined += 1;
        self.peers.insert(peer, peer_state);
    }

    pub(super) fn leave(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Takes note of a sign of a peer's newest block, and asks for more if `asks_on`.
    pub(super) fn heard(&mut self, peer: PeerId, asks_on: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        (peer.steps_down, peer.below) = (0, None);
        (peer.asked, peer.heard, peer.is_wanted) = (None, now, asks_on);
    }

    /// Takes note of a peer that has none of the headers that it was asked for: it went back. It is asked again from
    /// further below, and counts as behind when there is no further below.
    pub(super) fn heard_nothing(&mut self, peer: PeerId, lowest: u32, now: Instant) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.announced <= lowest {
            let shared = state.below.map_or(0, |below| below.shared);
            return self.heard_below(peer, Below { shared, next: None }, false, now);
        }
        state.steps_down = state.steps_down.saturating_mul(2).max(2);
        state.announced = state.announced.saturating_sub(state.steps_down).max(lowest);
        (state.asked, state.heard, state.is_wanted) = (None, now, true);
    }

    /// Takes note of the place of a peer below the blocks that the tracker knows. It is asked for more if `asks_on`, as
    /// long as its headers lead further up.
    pub(super) fn heard_below(&mut self, peer: PeerId, below: Below, asks_on: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        let is_new = peer.below.is_none_or(|before| below.shared > before.shared);
        peer.below = Some(below);
        (peer.asked, peer.heard, peer.is_wanted) = (None, now, asks_on && is_new);
    }

    /// The height up to which a peer below is known to share our chain: it is asked from there on.
    pub(super) fn below(&self, peer: PeerId) -> Option<u32> {
        Some(self.peers.get(&peer)?.below?.shared)
    }

    /// The height to go back to, if the present chain is that of too few peers: more are on a branch that leaves it below
    /// the blocks that the tracker knows, or no peer has had its tip for a long time. It takes two peers, or one that
    /// stays the only one.
    pub(super) fn fork(&self, tracker: &TipTracker, now: Instant) -> Option<u32> {
        let is_alone = self.peers.len() == 1 && self.peers.values().all(|peer| peer.is_behind_for(DISPUTED, now));
        let enough = if is_alone { 1 } else { 2 };
        let standings = || self.peers.keys().filter_map(|id| tracker.standing(*id));
        let present = standings().filter(|standing| !leaves(standing, tracker)).count();
        let mut branches: BTreeMap<_, usize> = BTreeMap::new();
        for below in self.peers.values().filter_map(|peer| peer.below) {
            if let Some(next) = below.next {
                *branches.entry((below.shared, *next.as_bytes())).or_default() += 1;
            }
        }
        let most = branches.into_iter().max_by_key(|(_, count)| *count);
        if let Some(((shared, _), count)) = most.filter(|(_, count)| *count > present && *count >= enough) {
            tracing::debug!(shared, count, present, "most peers left the chain far below its tip");
            return Some(shared);
        }
        let (agreed, _) = tracker.agreed();
        let has_tip = standings().any(|standing| standing.shared.saturating_add(LAG) >= agreed);
        let is_over = self.peers.values().any(|peer| peer.is_behind_for(BEHIND, now));
        let told = standings().map(|standing| standing.shared);
        let mut told: Vec<_> = told.chain(self.peers.values().filter_map(|peer| Some(peer.below?.shared))).collect();
        told.sort_unstable_by_key(|height| std::cmp::Reverse(*height));
        told.get(1).copied().filter(|_| is_over && !has_tip)
    }

    /// Takes note that the tracker went back to a block: the peers above it have to tell their newest blocks again. Those
    /// for which it went back are asked at once, the others when these have had the time to answer.
    pub(super) fn went_back(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.is_wanted = peer.below.is_some();
            (peer.below, peer.asked, peer.behind, peer.heard) = (None, None, None, now);
        }
    }

    /// Returns `true` if each peer has told its newest block.
    pub(super) fn is_settled(&self, tracker: &TipTracker) -> bool {
        let has_told = |(id, peer): (&PeerId, &Peer)| {
            peer.asked.is_none() && !peer.is_wanted && (peer.below.is_some() || tracker.standing(*id).is_some())
        };
        self.peers.iter().all(has_told)
    }

    /// Returns `true` if a question to a peer is not answered yet.
    pub(super) fn is_asked(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.asked.is_some())
    }

    /// Has a peer asked for headers, because it has a block that is not known. One that is known to have left the chain
    /// below is not asked: its branch is fetched if most peers are on it.
    pub(super) fn ask(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.is_wanted |= !peer.has_left();
        }
    }

    /// Has a peer asked for a block that it named, unless the block is heard of elsewhere first.
    pub(super) fn ask_about(&mut self, peer: PeerId, block: BlockHash, now: Instant) {
        let is_alone = !self.peers.iter().any(|(id, other)| other.announces && *id != peer);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.named = Some((block, if is_alone { now } else { now + ANNOUNCEMENT }));
        }
    }

    /// Takes note of named blocks that are known by now.
    pub(super) fn look_up(&mut self, tracker: &mut TipTracker, now: Instant) {
        for (id, peer) in &mut self.peers {
            let Some((block, from)) = peer.named else { continue };
            if tracker.announced(*id, &block) {
                (peer.named, peer.heard) = (None, now);
            } else if from <= now {
                (peer.named, peer.is_wanted) = (None, peer.is_wanted || !peer.has_left());
            }
        }
    }

    /// Takes note of requests that a peer refused, and whether it failed the last one otherwise.
    pub(super) fn failed(&mut self, peer: PeerId, points: u32, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.points = peer.points.saturating_add(points);
            peer.failed = Some(now);
        }
    }

    /// The steps that are due.
    pub(super) fn steps(&mut self, tracker: &TipTracker, now: Instant) -> Vec<(PeerId, PeerStep)> {
        let (agreed, _) = tracker.agreed();
        let mut steps = Vec::new();
        let is_many = |peer: &Peer| peer.announced > agreed.saturating_add(MANY);
        let mut is_busy = self.peers.values().any(|peer| peer.asked.is_some() && is_many(peer));
        let mut announcers = self.peers.values().filter(|peer| peer.announces).count();
        self.peers.iter_mut().for_each(|(id, peer)| peer.place(tracker, *id, now));
        let disputed = self.disputed();
        // One that was silent and came back is the last to be asked again, so that every peer gets its turn.
        let mut peers: Vec<_> = self.peers.iter_mut().collect();
        peers.sort_by_key(|(_, peer)| peer.joined);
        for (&id, peer) in peers {
            if let Some(why) = peer.left_behind(now) {
                steps.push((id, PeerStep::Leave(why)));
                continue;
            }
            if !peer.announces && announcers < ANNOUNCERS && tracker.standing(id).is_some() {
                (peer.announces, announcers) = (true, announcers + 1);
                steps.push((id, PeerStep::Announce));
            }
            let is_unknown = peer.below.is_none() && tracker.standing(id).is_none();
            let is_open = is_unknown || disputed.is_some_and(|since| peer.heard < since);
            peer.quiet = if is_open { DISPUTED } else { QUIET };
            let is_quiet = now.saturating_duration_since(peer.heard) >= peer.quiet;
            let may_ask = peer.asked.is_none() && (peer.is_wanted || is_quiet) && !tracker.is_far_ahead(id);
            if may_ask && !(is_busy && is_many(peer)) {
                is_busy |= is_many(peer);
                (peer.asked, peer.is_wanted) = (Some(now), false);
                steps.push((id, PeerStep::Headers(peer.announced)));
            }
        }
        steps
    }

    /// The last instant at which a peer was found to be on another branch than the agreed one. Others may be as well, and
    /// are asked once.
    fn disputed(&self) -> Option<Instant> {
        self.peers.values().filter(|peer| peer.is_elsewhere).filter_map(|peer| peer.behind).max()
    }

    /// The instant at which a step may be due without anything that happens.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        let due = |peer: &Peer| {
            let silent = peer.asked.map_or(peer.heard + peer.quiet, |asked| asked + PATIENCE);
            let named = peer.named.map(|(_, from)| from);
            let alone = peer.behind.filter(|_| peer.has_left()).map(|since| since + DISPUTED);
            let behind = peer.behind.map(|since| since + BEHIND);
            [Some(silent), named, alone, behind]
        };
        self.peers.values().flat_map(due).flatten().filter(|at| *at > now).min()
    }

    /// The peers that have a block of the chain, those first that failed none of our requests lately, and of these the
    /// nearest.
    pub(super) fn with_block(&self, height: u32, tracker: &TipTracker) -> Vec<PeerId> {
        let has = |id: &PeerId| tracker.standing(*id).is_some_and(|standing| standing.shared >= height);
        let mut peers: Vec<_> = self.peers.iter().filter(|(id, _)| has(id)).collect();
        peers.sort_by_key(|(id, peer)| (peer.failed, peer.round_trip, **id));
        peers.into_iter().map(|(id, _)| *id).collect()
    }
}

// === impl Peer ===

impl Peer {
    /// Takes note of its place in relation to the agreed chain.
    fn place(&mut self, tracker: &TipTracker, id: PeerId, now: Instant) {
        let (agreed, _) = tracker.agreed();
        let is_behind = match (tracker.standing(id), self.below) {
            (Some(standing), _) => {
                self.is_elsewhere = leaves(&standing, tracker);
                standing.shared.saturating_add(LAG) < agreed || !standing.is_on_chain()
            }
            (None, Some(_)) => {
                self.is_elsewhere = self.has_left();
                true
            }
            (None, None) => return,
        };
        self.behind = is_behind.then(|| self.behind.unwrap_or(now));
    }

    fn left_behind(&self, now: Instant) -> Option<LeftBehind> {
        if self.points >= POINTS {
            return Some(LeftBehind::Worn);
        }
        if self.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= PATIENCE) {
            return Some(LeftBehind::Silent);
        }
        let why = if self.is_elsewhere { LeftBehind::OtherBranch } else { LeftBehind::Behind };
        self.is_behind_for(BEHIND, now).then_some(why)
    }

    /// Returns `true` for a peer that has been behind, or on another branch, for so long.
    fn is_behind_for(&self, time: Duration, now: Instant) -> bool {
        self.behind.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }

    /// Returns `true` for a peer on a branch that leaves the chain below the blocks that the tracker knows.
    fn has_left(&self) -> bool {
        self.below.is_some_and(|below| below.next.is_some())
    }
}

/// Returns `true` for a peer on a branch that leaves the agreed chain below its tip. A peer ahead is on the chain.
fn leaves(standing: &Standing, tracker: &TipTracker) -> bool {
    !standing.is_on_chain() && standing.shared < tracker.agreed().0
}

// === impl LeftBehind ===

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "is left: it sent no headers in time",
            Self::Behind => "is left: it is behind",
            Self::OtherBranch => "is left: it is on another branch",
            Self::Elsewhere => "is left: its chain does not join ours",
            Self::Worn => "is left: it refused many requests",
        })
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::{BlockHash, BlockHeader, Network};
    use spv_headers::Heard;

    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::Address(([203, 0, 113, number], 9999).into())
    }

    /// A roster of peers of a chain of `blocks` blocks, of which each has the number that it announces.
    struct World {
        tracker: TipTracker,
        roster: Roster,
        chain: Vec<BlockHeader>,
        now: Instant,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        fn new(blocks: u32, peers: &[u32]) -> Self {
            let genesis = Network::Regtest.genesis_hash();
            let rules = spv_headers::HeaderRules::from(Network::Regtest).hash(low_hash);
            let mut world = Self {
                tracker: TipTracker::new(rules, (0, genesis), &[]),
                roster: Roster::default(),
                chain: Vec::new(),
                now: Instant::now(),
            };
            let mut before = genesis;
            for _ in 0..blocks {
                let header = header(before);
                before = BlockHash::from_bytes(low_hash(header.as_bytes()));
                world.chain.push(header);
            }
            for (number, announced) in (1..).zip(peers) {
                world.tracker.join(peer(number));
                world.roster.join(peer(number), *announced, Duration::from_millis(u64::from(number)), world.now);
            }
            world
        }

        fn steps(&mut self) -> Vec<(PeerId, PeerStep)> {
            self.roster.steps(&self.tracker, self.now)
        }

        /// The peer sends its headers from a height on.
        fn answers(&mut self, number: u8, from: usize, to: usize) {
            let Heard::Check(check) = self.tracker.hear(self.chain[from..to].to_vec()) else { panic!("they fit") };
            let headers = check.run().unwrap();
            let asks_on = self.tracker.take(peer(number), &headers);
            self.roster.heard(peer(number), asks_on, self.now);
            self.tracker.agree();
        }
    }

    fn header(before: BlockHash) -> BlockHeader {
        let mut bytes = [0; 80];
        bytes[4..36].copy_from_slice(before.as_bytes());
        bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
        BlockHeader::from_bytes(bytes)
    }

    /// A hash that has done the work of regtest.
    fn low_hash(bytes: &[u8]) -> [u8; 32] {
        let mut hash = qrinfo_core::sha256d(bytes);
        hash[31] = 0;
        hash
    }

    #[test]
    fn many_headers_are_asked_of_one_peer_and_then_the_others_tell_their_tips() {
        let mut world = World::new(100, &[100, 100, 98]);
        assert_eq!(world.steps(), [(peer(1), PeerStep::Headers(100))]);
        world.answers(1, 0, 100);
        let headers = |number| (peer(number), PeerStep::Headers(if number == 3 { 98 } else { 100 }));
        assert_eq!(world.steps(), [(peer(1), PeerStep::Announce), headers(2)]);
        world.answers(2, 99, 100);
        assert_eq!(world.tracker.agreed().0, 100);
        assert_eq!(world.steps(), [headers(3)]);
        world.answers(3, 97, 98);
        assert!(world.steps().is_empty());
        assert_eq!(world.roster.with_block(100, &world.tracker), [peer(1), peer(2)]);
        assert_eq!(world.roster.with_block(98, &world.tracker), [peer(1), peer(2), peer(3)]);
        world.roster.failed(peer(1), 0, world.now);
        assert_eq!(world.roster.with_block(100, &world.tracker), [peer(2), peer(1)]);
    }

    #[test]
    fn silent_peers_that_come_back_do_not_hold_up_the_others() {
        let mut world = World::new(100, &[100, 100, 100]);
        for silent in [1, 2] {
            assert_eq!(world.steps(), [(peer(silent), PeerStep::Headers(100))]);
            world.now += PATIENCE;
            assert_eq!(world.steps(), [(peer(silent), PeerStep::Leave(LeftBehind::Silent))]);
            world.roster.leave(peer(silent));
            world.roster.join(peer(silent), 100, Duration::ZERO, world.now);
        }
        assert_eq!(world.steps(), [(peer(3), PeerStep::Headers(100))]);
    }

    #[test]
    fn a_block_that_is_named_is_asked_for_unless_its_header_comes() {
        let mut world = World::new(11, &[10, 10]);
        world.steps();
        world.answers(1, 0, 10);
        world.answers(2, 9, 10);
        assert_eq!(world.steps(), [(peer(1), PeerStep::Announce)]);
        let named = BlockHash::from_bytes(low_hash(world.chain[10].as_bytes()));
        world.roster.ask_about(peer(2), named, world.now);
        world.roster.look_up(&mut world.tracker, world.now);
        assert!(world.steps().is_empty());
        world.answers(1, 10, 11);
        world.roster.look_up(&mut world.tracker, world.now);
        assert_eq!(world.tracker.agree().map(|batch| batch.first), Some(11));
        // A block that no header comes for.
        world.roster.ask_about(peer(2), BlockHash::from_bytes([7; 32]), world.now);
        world.now += ANNOUNCEMENT;
        world.roster.look_up(&mut world.tracker, world.now);
        assert_eq!(world.steps(), [(peer(2), PeerStep::Headers(10))]);
        // The announcer itself names a block where headers do not fit.
        world.roster.ask_about(peer(1), BlockHash::from_bytes([8; 32]), world.now);
        world.roster.look_up(&mut world.tracker, world.now);
        assert_eq!(world.steps(), [(peer(1), PeerStep::Headers(10))]);
    }

    #[test]
    fn peers_that_are_silent_behind_or_worn_are_replaced() {
        let mut world = World::new(10, &[10, 10, 7, 10]);
        assert_eq!(world.steps().len(), 4);
        world.answers(1, 0, 10);
        world.answers(2, 9, 10);
        world.answers(3, 6, 7);
        world.steps();
        assert_eq!(world.roster.wake(world.now), Some(world.now + PATIENCE));
        world.now += PATIENCE;
        assert_eq!(world.steps(), [(peer(4), PeerStep::Leave(LeftBehind::Silent))]);
        world.roster.leave(peer(4));
        world.now += BEHIND - PATIENCE;
        let steps = world.steps();
        assert!(steps.contains(&(peer(3), PeerStep::Leave(LeftBehind::Behind))), "{steps:?}");
        // The others told nothing for long.
        assert!(steps.contains(&(peer(1), PeerStep::Headers(10))), "{steps:?}");
        world.roster.failed(peer(2), POINTS, world.now);
        assert!(world.steps().contains(&(peer(2), PeerStep::Leave(LeftBehind::Worn))));
    }

    /// Peers that left the chain a thousand blocks below, by the header with which they did.
    #[test]
    fn most_peers_decide_about_a_branch_that_leaves_far_below() {
        let left = |branch: u8| Below { shared: 9, next: Some(BlockHeader::from_bytes([branch; 80])) };
        let mut world = World::new(10, &[10; 5]);
        world.steps();
        (1..=2).for_each(|number| world.answers(number, if number == 1 { 0 } else { 9 }, 10));
        let fork = |world: &mut World| {
            world.steps();
            world.roster.fork(&world.tracker, world.now)
        };
        world.now += Duration::from_secs(1);
        // Two against two, and a third on another branch: the chain stays. All others are asked once.
        for (number, branch) in [(3, 1), (4, 1), (5, 2)] {
            world.roster.heard_below(peer(number), left(branch), false, world.now);
        }
        assert_eq!(fork(&mut world), None);
        world.now += DISPUTED;
        let asked = world.steps();
        assert_eq!(asked, [(peer(1), PeerStep::Headers(10)), (peer(2), PeerStep::Headers(10))]);
        world.roster.heard_below(peer(5), left(1), false, world.now);
        assert_eq!(fork(&mut world), Some(9));
        // When it went back, these three are asked at once.
        world.roster.went_back(world.now);
        (3..=5).for_each(|number| world.tracker.forget(peer(number)));
        assert_eq!(fork(&mut world), None);
        // One that is alone decides only when it stays alone.
        let mut world = World::new(10, &[10; 2]);
        world.steps();
        world.answers(1, 0, 10);
        world.answers(2, 9, 10);
        world.roster.leave(peer(1));
        world.tracker.forget(peer(2));
        world.roster.heard_below(peer(2), left(1), false, world.now);
        assert_eq!(fork(&mut world), None);
        world.now += DISPUTED;
        assert_eq!(fork(&mut world), Some(9));
    }

    #[test]
    fn a_tip_that_no_peer_has_any_more_is_given_up_for_the_newest_that_two_have() {
        let mut world = World::new(10, &[10; 5]);
        world.steps();
        world.answers(1, 0, 10);
        world.answers(2, 9, 10);
        (1..=2).for_each(|number| world.roster.leave(peer(number)));
        (1..=2).for_each(|number| world.tracker.leave(peer(number)));
        for (number, height) in [(3, 5), (4, 7), (5, 6)] {
            world.answers(number, height - 1, height);
        }
        world.steps();
        assert_eq!(world.roster.fork(&world.tracker, world.now), None);
        world.now += BEHIND;
        assert_eq!(world.roster.fork(&world.tracker, world.now), Some(6));
        // As long as one has it, the others are behind.
        world.tracker.join(peer(1));
        world.roster.join(peer(1), 10, Duration::ZERO, world.now);
        world.answers(1, 9, 10);
        assert_eq!(world.roster.fork(&world.tracker, world.now), None);
    }

    /// A peer that sends the same headers of ours without end is not asked on.
    #[test]
    fn a_peer_below_is_asked_for_more_as_long_as_it_leads_up() {
        let mut world = World::new(10, &[10]);
        world.steps();
        let below = |shared| Below { shared, next: None };
        for (shared, asks_on) in [(3, true), (5, true), (5, false), (4, false), (6, true)] {
            world.roster.heard_below(peer(1), below(shared), true, world.now);
            assert_eq!(world.steps().len(), usize::from(asks_on), "{shared}");
        }
    }
}
