//! The next request, given the chain and the lists that are there.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use qrinfo_core::{BlockHash, CycleStart, Cycles, MnListDiffRequestSpec, Network, Request};
use qrinfo_verify::Lists;

use crate::plan::{PlanError, Planner, anchor};

/// The most past cycles that are asked for after a pause: a month of mainnet. After a longer one their quorums are of no
/// use any more, and the step to the newest cycle costs fewer bytes.
const MOST_PAST: u32 = 64;

/// The first wait after a request that no peer answered. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait, about two blocks.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// The chain and the lists that a decision is about.
pub(super) struct Facts<'a> {
    /// The height of the agreed tip.
    pub(super) tip: u32,
    /// Heights of the lists that are there, all of blocks of the chain.
    pub(super) lists: &'a BTreeSet<u32>,
    /// Returns `true` if the newest of them has every quorum of its cycle that can come.
    pub(super) is_complete: bool,
    /// The block at a height of the chain.
    pub(super) hash_at: &'a dyn Fn(u32) -> Option<BlockHash>,
    /// The heights of the peers' newest blocks of the chain.
    pub(super) peers: &'a [u32],
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask for this, of a peer that has the block at this height.
    Ask(Box<Request>, u32),
    /// Ask for nothing until then, unless something changes.
    Wait(Instant),
    /// Nothing is missing until the next block.
    Rest,
}

/// The state between decisions.
#[derive(Debug)]
pub(super) struct Decider {
    network: Network,
    cycles: Cycles,
    /// The newest cycle whose quorums came with a `qrinfo`, and the height that it was asked by.
    done: Option<(CycleStart, u32)>,
    /// The cycle of the last `qrinfo` that was proven, and the height that it was asked by. By the same block it is not
    /// asked again: a peer that is ahead answers with lists of a block that the chain does not have yet.
    tried: Option<(CycleStart, u32)>,
    lists: Backoff,
    /// Something has changed since the last request was made.
    has_news: bool,
    /// Delays of the `qrinfo` of the present cycle alone: lists go on without it.
    cycle: Backoff,
}

/// The waits after requests that failed.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

// === impl Decider ===

impl Decider {
    pub(super) fn new(network: Network) -> Self {
        let (lists, cycle) = Default::default();
        Self { network, cycles: network.cycles(), done: None, tried: None, lists, has_news: false, cycle }
    }

    /// Goes on from stored lists, of which this is the newest.
    pub(super) fn restore(&mut self, lists: u32) {
        self.done = self.newest_mined(lists).map(|cycle| (cycle, lists));
    }

    /// Goes on from lists of any age, and passes over the cycles since then but the newest.
    pub(super) fn start_at(&mut self, tip: u32) {
        self.done = self.cycles.back(self.cycles.start_of(tip), 1).map(|cycle| (cycle, 0));
    }

    /// The next step.
    pub(super) fn next(&self, facts: &Facts<'_>, now: Instant) -> Step {
        if let Some(until) = self.lists.until.filter(|until| now < *until) {
            return Step::Wait(until);
        }
        if facts.tip == 0 {
            // Genesis has no lists.
            return Step::Rest;
        }
        let Some(newest) = facts.lists.range(1..=facts.tip).next_back().copied() else {
            return self.cycle_of(facts.tip, facts).unwrap_or_else(|_| self.diff(0, facts));
        };
        let current = self.cycles.start_of(facts.tip);
        if let Some(past) = self.past(current, newest) {
            return self.cycle_of(past.height(), facts).unwrap_or_else(|_| self.diff(newest, facts));
        }
        let is_due = self.done.is_none_or(|(done, _)| done < current)
            && self.tried != Some((current, facts.tip))
            && (facts.is_complete && newest >= current.height() || self.is_mined(current, facts.tip))
            && self.cycle.until.is_none_or(|until| until <= now);
        match (newest == facts.tip, is_due) {
            // The step to the next block comes with it.
            (true, _) => Step::Rest,
            (false, true) => self.cycle_of(facts.tip, facts).unwrap_or_else(|_| self.diff(newest, facts)),
            (false, false) => self.diff(newest, facts),
        }
    }

    /// Takes note that the next request was made.
    pub(super) fn asked(&mut self) {
        self.has_news = false;
    }

    /// Takes note of a reply that was proven, to a request of the tip at the time.
    pub(super) fn proven(&mut self, request: &Request, asked_by: u32, is_complete: bool) {
        self.lists = Backoff::default();
        let Request::QrInfo(spec) = request else { return };
        self.cycle = Backoff::default();
        self.tried = Some((spec.cycle, asked_by));
        let is_final = is_complete || self.is_mined(spec.cycle, asked_by);
        let done = if is_final { Some(spec.cycle) } else { self.cycles.back(spec.cycle, 1) };
        let done = done.map(|cycle| (cycle, asked_by));
        self.done = self.done.max(done);
    }

    /// Takes note that no peer answered a request.
    pub(super) fn failed(&mut self, request: &Request, facts: &Facts<'_>, now: Instant) {
        let is_of_present = matches!(request, Request::QrInfo(spec) if spec.cycle == self.cycles.start_of(facts.tip));
        match is_of_present && facts.lists.range(1..=facts.tip).next().is_some() {
            true => self.cycle.fail(now),
            false => self.lists.fail(now),
        }
        // The peers and the block of the request are those of before.
        if self.has_news {
            self.lists.until = None;
        }
    }

    /// Allows the next request at once: a peer joined, or the chain moved. The wait after the next failure is as long
    /// as it would have been.
    pub(super) fn retry(&mut self) {
        self.lists.until = None;
        self.has_news = true;
    }

    /// Forgets what blocks above the fork have told, and the failures of requests for them.
    pub(super) fn reorganized(&mut self, fork: u32) {
        (self.lists, self.cycle, self.tried) = Default::default();
        if let Some((cycle, asked_by)) = self.done
            && asked_by > fork
            && !self.is_mined(cycle, fork)
        {
            self.done = self.newest_mined(fork).map(|cycle| (cycle, fork));
        }
    }

    /// The number of failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.lists.failures
    }

    /// The oldest cycle before the current one that did not come yet.
    fn past(&self, current: CycleStart, newest: u32) -> Option<CycleStart> {
        let done = self.done.map(|(cycle, _)| cycle).or_else(|| self.cycles.back(self.cycles.start_of(newest), 1))?;
        let next = CycleStart::new(done.height().checked_add(self.cycles.length())?, self.cycles.length())?;
        let oldest =
            self.cycles.back(current, MOST_PAST).map_or(next, |oldest| if oldest > next { current } else { next });
        (oldest < current).then_some(oldest)
    }

    /// The newest cycle of which no commitment can be mined above a height.
    fn newest_mined(&self, height: u32) -> Option<CycleStart> {
        let cycle = self.cycles.start_of(height);
        if self.is_mined(cycle, height) { Some(cycle) } else { self.cycles.back(cycle, 1) }
    }

    /// Returns `true` if no commitment of a cycle can be mined above a height.
    fn is_mined(&self, cycle: CycleStart, height: u32) -> bool {
        height >= *self.network.rotated_params().mining_window(cycle.height()).end()
    }

    fn cycle_of(&self, height: u32, facts: &Facts<'_>) -> Result<Step, PlanError> {
        let planner = Planner {
            known_lists: facts.lists.clone(),
            anchor: anchor(facts.peers.iter().copied().chain([facts.tip])),
            ..Planner::new(self.network, facts.tip)
        };
        let mut plan = planner.plan(height, height, facts.hash_at)?;
        let spec = plan.pop().ok_or(PlanError::EmptyRange { first: height, last: height })?;
        let asked_by = self.cycles.block_to_ask(spec.cycle, facts.tip);
        Ok(Step::Ask(Box::new(spec.into()), asked_by))
    }

    fn diff(&self, base: u32, facts: &Facts<'_>) -> Step {
        let base = if base == 0 { Some(BlockHash::ZERO) } else { (facts.hash_at)(base) };
        match (base, (facts.hash_at)(facts.tip)) {
            (Some(base_block_hash), Some(block_hash)) => {
                Step::Ask(Box::new(MnListDiffRequestSpec { base_block_hash, block_hash }.into()), facts.tip)
            }
            _ => Step::Rest,
        }
    }
}

// === impl Backoff ===

impl Backoff {
    fn fail(&mut self, now: Instant) {
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.until = now.checked_add(wait);
    }
}

/// Returns `true` if lists have a quorum of each index of the cycle of their block.
pub(super) fn is_complete(network: Network, lists: &Lists, hash_at: impl Fn(u32) -> Option<BlockHash>) -> bool {
    let params = network.rotated_params();
    let start = network.cycles().start_of(lists.height()).height();
    let is_there = |index: u16| {
        let block = hash_at(start.saturating_add(u32::from(index)));
        let quorum = |block: BlockHash| qrinfo_core::QuorumHash::from_bytes(*block.as_bytes());
        block.is_some_and(|block| lists.quorums().get(params.llmq_type, quorum(block)).is_some())
    };
    (0..params.active).all(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: Network = Network::Mainnet;

    fn hash(height: u32) -> BlockHash {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&height.to_le_bytes());
        BlockHash::from_bytes(bytes)
    }

    fn height(hash: &BlockHash) -> u32 {
        u32::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())
    }

    /// A chain of mainnet's intervals whose blocks are all there.
    struct World {
        decider: Decider,
        tip: u32,
        lists: BTreeSet<u32>,
        is_complete: bool,
        now: Instant,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        fn new(tip: u32, lists: impl IntoIterator<Item = u32>) -> Self {
            let lists = lists.into_iter().collect();
            Self { decider: Decider::new(NETWORK), tip, lists, is_complete: false, now: Instant::now() }
        }

        fn with<T>(&mut self, run: impl FnOnce(&mut Decider, &Facts<'_>, Instant) -> T) -> T {
            let facts = Facts {
                tip: self.tip,
                lists: &self.lists,
                is_complete: self.is_complete,
                hash_at: &|height| Some(hash(height)),
                peers: &[self.tip],
            };
            run(&mut self.decider, &facts, self.now)
        }

        fn next(&mut self) -> Step {
            self.with(|decider, facts, now| decider.next(facts, now))
        }

        /// Asks, and has the reply proven. Gives a name to the request.
        fn ask(&mut self) -> String {
            let Step::Ask(request, asked_by) = self.next() else { panic!("{:?}", self.next()) };
            let name = match &*request {
                Request::QrInfo(spec) => {
                    self.lists.extend(spec.work_block_hashes.iter().map(height));
                    if asked_by == self.tip {
                        self.lists.insert(self.tip);
                    }
                    format!("cycle {} by {asked_by}", spec.cycle)
                }
                Request::MnListDiff(spec) => {
                    self.lists.insert(height(&spec.block_hash));
                    format!("{} to {}", height(&spec.base_block_hash), height(&spec.block_hash))
                }
            };
            let is_complete = self.is_complete;
            self.decider.proven(&request, asked_by, is_complete);
            name
        }
    }

    const START: u32 = 2_240_352;

    #[test]
    fn a_new_client_asks_for_the_newest_cycle_and_then_for_each_block() {
        let mut world = World::new(START + 60, []);
        assert_eq!(world.ask(), format!("cycle {START} by {}", START + 60));
        assert_eq!(world.next(), Step::Rest);
        world.tip += 1;
        assert_eq!(world.ask(), format!("{} to {}", START + 60, START + 61));
        world.tip += 2;
        assert_eq!(world.ask(), format!("{} to {}", START + 61, START + 63));
    }

    #[test]
    fn a_cycle_takes_one_qrinfo_and_it_is_asked_for_when_the_window_ends() {
        let mut world = World::new(START + 60, []);
        world.ask();
        let mut asked = Vec::new();
        for tip in START + 61..=START + 3 * 288 {
            world.tip = tip;
            asked.extend(Some(world.ask()).filter(|name| name.contains("cycle")));
        }
        let by = |cycle: u32, offset: u32| format!("cycle {} by {}", START + cycle * 288, START + cycle * 288 + offset);
        assert_eq!(asked, [by(1, 50), by(2, 50)]);
    }

    #[test]
    fn a_cycle_whose_quorums_are_all_there_is_asked_for_with_the_next_block() {
        let mut world = World::new(START + 60, []);
        world.ask();
        for tip in START + 61..START + 288 + 43 {
            world.tip = tip;
            world.ask();
        }
        world.is_complete = true;
        assert_eq!(world.next(), Step::Rest, "the step to the next block comes with it");
        world.tip += 1;
        assert_eq!(world.ask(), format!("cycle {} by {}", START + 288, START + 288 + 43));
        world.is_complete = true;
        world.tip += 1;
        assert!(world.ask().contains(" to "));
    }

    /// The reply of a peer that is ahead has lists of its own tip, which the chain does not have yet.
    #[test]
    fn a_cycle_is_asked_for_once_by_a_block_whose_lists_do_not_come_with_it() {
        let mut world = World::new(START + 60, []);
        world.ask();
        world.tip = START + 288 + 44;
        world.lists.insert(world.tip);
        world.is_complete = true;
        for is_complete in [false, true] {
            world.tip += 1;
            let Step::Ask(request, asked_by) = world.next() else { panic!("{:?}", world.next()) };
            assert_eq!((matches!(*request, Request::QrInfo(_)), asked_by), (true, world.tip));
            world.decider.proven(&request, asked_by, is_complete);
            assert_eq!(world.ask(), format!("{} to {}", world.tip - 1, world.tip));
            assert_eq!(world.next(), Step::Rest);
        }
        world.tip += 1;
        assert!(world.ask().contains(" to "));
    }

    #[test]
    fn after_a_pause_each_past_cycle_comes_once_and_then_the_tip() {
        let mut world = World::new(START + 60, []);
        world.ask();
        world.tip = START + 3 * 288 + 20;
        let asked: Vec<_> = (0..3).map(|_| world.ask()).collect();
        let (one, two) = (START + 288, START + 2 * 288);
        let newest = START + 2 * 288 - 8;
        assert_eq!(
            asked,
            [
                format!("cycle {one} by {}", one + 287),
                format!("cycle {two} by {}", two + 287),
                format!("{newest} to {}", world.tip),
            ]
        );
        assert_eq!(world.next(), Step::Rest);
        // After a year only the newest counts.
        world.tip += 1_000 * 288;
        assert!(world.ask().contains(" to "));
    }

    #[test]
    fn a_reply_from_within_the_window_is_asked_for_again() {
        let mut world = World::new(START + 45, []);
        assert!(world.ask().contains("cycle"));
        world.tip = START + 49;
        assert!(world.ask().contains(" to "));
        world.tip = START + 50;
        assert!(world.ask().contains("cycle"));
    }

    #[test]
    fn a_reorganization_goes_on_from_the_fork_and_asks_again_what_left_the_chain() {
        let mut world = World::new(START + 60, []);
        world.ask();
        world.tip = START + 61;
        world.ask();
        // Two blocks are replaced by three.
        world.lists.retain(|height| *height <= START + 59);
        world.decider.reorganized(START + 59);
        world.lists.insert(START + 59);
        world.tip = START + 62;
        assert_eq!(world.ask(), format!("{} to {}", START + 59, START + 62));
        // In the window, the commitments may be others.
        world.decider.reorganized(START + 49);
        world.lists.retain(|height| *height <= START + 49);
        world.tip = START + 63;
        assert_eq!(world.ask(), format!("cycle {START} by {}", START + 63));
    }

    #[test]
    fn a_failure_of_before_the_chain_moved_delays_nothing() {
        let mut world = World::new(START + 60, [START + 59]);
        world.decider.restore(START + 59);
        let ask = |world: &mut World| {
            let Step::Ask(request, _) = world.next() else { panic!("{:?}", world.next()) };
            world.decider.asked();
            request
        };
        for _ in 0..8 {
            let request = ask(&mut world);
            world.with(|decider, facts, now| decider.failed(&request, facts, now));
            let Step::Wait(until) = world.next() else { panic!("{:?}", world.next()) };
            world.now = until;
        }
        let request = ask(&mut world);
        world.tip += 1;
        world.decider.retry();
        world.with(|decider, facts, now| decider.failed(&request, facts, now));
        let request = ask(&mut world);
        world.with(|decider, facts, now| decider.failed(&request, facts, now));
        assert!(matches!(world.next(), Step::Wait(until) if until == world.now + LONGEST_WAIT));
        // Of the blocks of another branch nothing is known.
        world.decider.reorganized(START + 59);
        let request = ask(&mut world);
        world.with(|decider, facts, now| decider.failed(&request, facts, now));
        assert!(matches!(world.next(), Step::Wait(until) if until == world.now + FIRST_WAIT));
    }

    /// The quorums of every cycle above the fork are others.
    #[test]
    fn a_reorganization_of_many_cycles_asks_for_each_of_them_again() {
        let mut world = World::new(START + 60, []);
        world.ask();
        world.tip = START + 5 * 288 + 60;
        while let Step::Ask(..) = world.next() {
            world.ask();
        }
        let fork = START + 288 + 60;
        world.lists.retain(|height| *height <= fork);
        world.decider.reorganized(fork);
        let mut asked = Vec::new();
        while let Step::Ask(..) = world.next() {
            asked.push(world.ask());
        }
        let by = |cycle: u32, offset: u32| format!("cycle {} by {}", START + cycle * 288, START + cycle * 288 + offset);
        assert_eq!(asked, [by(2, 287), by(3, 287), by(4, 287), by(5, 60)]);
    }

    #[test]
    fn failures_are_retried_for_ever_at_bounded_cost() {
        let mut world = World::new(START + 60, [START + 59]);
        world.decider.restore(START + 59);
        let start = world.now;
        let mut asked = 0;
        while world.now < start + Duration::from_secs(7 * 24 * 3600) {
            match world.next() {
                Step::Ask(request, _) => {
                    asked += 1;
                    world.with(|decider, facts, now| decider.failed(&request, facts, now));
                }
                Step::Wait(until) => world.now = until,
                Step::Rest => panic!("the list at the tip is missing"),
            }
        }
        assert!((2_000..2_050).contains(&asked), "{asked}");
        world.decider.retry();
        assert!(matches!(world.next(), Step::Ask(..)));
    }

    #[test]
    fn a_qrinfo_that_fails_holds_up_no_list() {
        let mut world = World::new(START + 288 + 50, [START + 288 + 49]);
        world.decider.restore(START + 288 + 40);
        let Step::Ask(request, _) = world.next() else { panic!("it is due") };
        assert!(matches!(*request, Request::QrInfo(_)));
        world.with(|decider, facts, now| decider.failed(&request, facts, now));
        assert_eq!(world.ask(), format!("{} to {}", START + 288 + 49, START + 288 + 50));
        world.tip += 1;
        world.now += Duration::from_secs(1);
        assert!(world.ask().contains("cycle"));
    }

    #[test]
    fn a_chain_that_is_too_short_for_cycles_has_lists_all_the_same() {
        let mut world = World::new(300, []);
        let Step::Ask(request, 300) = world.next() else { panic!("{:?}", world.next()) };
        let Request::MnListDiff(spec) = *request else { panic!("{request:?}") };
        assert_eq!((spec.base_block_hash, spec.block_hash), (BlockHash::ZERO, hash(300)));
        assert!(world.ask().ends_with(" to 300"));
        world.tip += 1;
        assert_eq!(world.ask(), "300 to 301");
    }
}
