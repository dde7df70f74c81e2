use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use qrinfo_core::{
    BlockHash, Hash256, LlmqType, Network, QuorumHash,
    message::{ChainLock, InstantLock},
};
use qrinfo_verify::{KnownBlock, Lists, LockError, MasternodeList, MinedQuorum, Quorums, SIGN_HEIGHT_OFFSET, SignedBy};

use super::{
    gaps::Gaps,
    lookup::Lookup,
    record::{ActiveSet, KnownQuorum, Records},
};

/// The number of lists whose masternodes are kept: the newest ones, about 2.7 hours of mainnet's blocks.
const LISTS_KEPT: usize = 64;

/// The number of cycles for which active sets are known, and so locks can be verified. An old InstantSend lock needs the
/// cycle before its own.
const CYCLES_COVERED: u32 = 8;

/// The number of cycles for which the key of a retired quorum is kept. Above [`CYCLES_COVERED`], so that every quorum of
/// a known active set has a record.
const CYCLES_RETIRED: u32 = 64;

/// The number of blocks for which the end of a mining window may still be reorganised: a lock that is not signed as our
/// chain has it is called false only behind it.
const SETTLED_AFTER: u32 = 8;

/// The book at one time. It never changes: each change makes a new page.
#[derive(Debug, Clone)]
pub(super) struct Page {
    network: Network,
    tip: u32,
    /// `None` before the first list.
    quorums: Option<Quorums>,
    gaps: Gaps,
    records: Arc<Records>,
    lists: BTreeMap<u32, Lists>,
    /// The first blocks of cycles, which InstantSend locks name.
    cycles: BTreeMap<u32, BlockHash>,
}

// === impl Page: changes ===

impl Page {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            tip: 0,
            quorums: None,
            gaps: Gaps::default(),
            records: Arc::default(),
            lists: BTreeMap::new(),
            cycles: BTreeMap::new(),
        }
    }

    pub(super) fn set_tip(&mut self, height: u32) {
        self.tip = height.max(self.synced_to());
    }

    /// Takes lists above those so far.
    pub(super) fn advance(
        &mut self,
        lists: &Lists,
        headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
        hash_at: impl Fn(u32) -> Option<BlockHash>,
    ) {
        let (height, cycle) = (lists.height(), self.network.cycles().length());
        if let Some(quorums) = &self.quorums {
            self.gaps.learn(self.network, *quorums.covered().end(), lists);
        }
        let quorums = self.quorums.get_or_insert_with(|| Quorums::starting_at(self.network, height));
        quorums.learn(lists, headers);
        quorums.forget_below(height.saturating_sub(CYCLES_COVERED.saturating_mul(cycle)));

        let records = Arc::make_mut(&mut self.records);
        let keys = lists.quorums().iter().map(|commitment| (commitment.llmq_type, commitment.quorum_hash));
        records.learn(lists, keys.filter_map(|(llmq_type, hash)| quorums.quorum(llmq_type, &hash)));
        records.forget_retired_below(height.saturating_sub(CYCLES_RETIRED.saturating_mul(cycle)));

        self.lists.insert(height, lists.clone());
        while self.lists.len() > LISTS_KEPT {
            self.lists.pop_first();
        }
        self.learn_cycles(height, hash_at);
        self.tip = self.tip.max(height);
    }

    /// Learns the first blocks of the cycles whose quorums are known, and of the one that is under way: those that a
    /// lock can name.
    fn learn_cycles(&mut self, height: u32, hash_at: impl Fn(u32) -> Option<BlockHash>) {
        let cycles = self.network.cycles();
        let quorums = self.records.heights_of(self.network.rotated_llmq());
        let needed: BTreeSet<_> = quorums.chain([height]).map(|height| cycles.start_of(height).height()).collect();
        self.cycles.retain(|start, _| needed.contains(start));
        let missing = needed.into_iter().filter(|start| !self.cycles.contains_key(start));
        let found: Vec<_> = missing.filter_map(|start| Some((start, hash_at(start)?))).collect();
        self.cycles.extend(found);
    }

    pub(super) fn forget_above(&mut self, height: u32) {
        Arc::make_mut(&mut self.records).forget_above(height);
        self.lists.retain(|at, _| *at <= height);
        self.cycles.retain(|start, _| *start <= height);
        self.tip = self.tip.min(height);
        match &mut self.quorums {
            Some(quorums) if *quorums.covered().start() <= height && !self.gaps.is_any_above(height) => {
                quorums.forget_above(height);
            }
            _ => {
                self.quorums = self.lists.values().next_back().map(|lists| self.quorums_at(lists));
                self.gaps = Gaps::default();
            }
        }
    }

    /// The quorums as far as lists that were taken before show them.
    fn quorums_at(&self, lists: &Lists) -> Quorums {
        let mut quorums = Quorums::starting_at(self.network, lists.height());
        let known = lists.quorums().iter().filter_map(|commitment| self.records.mined(commitment));
        known.for_each(|quorum| quorums.insert(quorum));
        quorums
    }
}

// === impl Page: questions ===

impl Page {
    pub(super) fn network(&self) -> Network {
        self.network
    }

    pub(super) fn tip(&self) -> u32 {
        self.tip
    }

    pub(super) fn synced_to(&self) -> u32 {
        self.quorums.as_ref().map_or(0, |quorums| *quorums.covered().end())
    }

    /// Returns true if everything up to a height is known, apart from what is no longer kept.
    pub(super) fn covers(&self, height: u32) -> bool {
        self.quorums.as_ref().is_some_and(|quorums| height <= *quorums.covered().end())
    }

    /// Says that an answer depends on the blocks up to a height: not yet, or not any more.
    fn absent<T>(&self, height: u32) -> Lookup<T> {
        match self.covers(height) {
            true => Lookup::Unknown,
            false => Lookup::NotYet { synced_to: self.synced_to(), wait_for: height },
        }
    }

    /// The quorums, if the active ones of a type at a height are known.
    fn covering(&self, llmq_type: LlmqType, height: u32) -> Lookup<&Quorums> {
        let is_behind_gap = height >= self.gaps.end(llmq_type);
        match self.quorums.as_ref().filter(|quorums| is_behind_gap && quorums.covered().contains(&height)) {
            Some(quorums) => Lookup::Found(quorums),
            None => self.absent(height),
        }
    }

    pub(super) fn public_key(&self, llmq_type: LlmqType, quorum_hash: &QuorumHash) -> Lookup<KnownQuorum> {
        match self.records.get(llmq_type, *quorum_hash) {
            Some(quorum) => Lookup::Found(quorum),
            None => self.absent(self.tip),
        }
    }

    pub(super) fn active(&self, llmq_type: LlmqType, height: u32) -> Lookup<ActiveSet> {
        self.covering(llmq_type, height).map(|quorums| {
            let active = quorums.active_at(llmq_type, height);
            ActiveSet { settled: self.known(active.settled), unsettled: self.known(active.unsettled) }
        })
    }

    pub(super) fn signing_quorum(
        &self,
        llmq_type: LlmqType,
        request_id: &Hash256,
        height: u32,
    ) -> Lookup<Vec<KnownQuorum>> {
        let Some(selected_at) = height.checked_sub(SIGN_HEIGHT_OFFSET) else { return Lookup::Unknown };
        match self
            .covering(llmq_type, selected_at)
            .map(|quorums| self.known(quorums.signers(llmq_type, request_id, selected_at)))
        {
            Lookup::Found(signers) if signers.is_empty() => Lookup::Unknown,
            signers => signers,
        }
    }

    fn known(&self, quorums: Vec<&MinedQuorum>) -> Vec<KnownQuorum> {
        let keys = quorums.into_iter().map(|quorum| (quorum.commitment.llmq_type, quorum.commitment.quorum_hash));
        keys.filter_map(|(llmq_type, hash)| self.records.get(llmq_type, hash)).collect()
    }

    pub(super) fn masternodes(&self, height: u32) -> Lookup<MasternodeList> {
        match self.lists.get(&height) {
            Some(lists) => Lookup::Found(lists.masternodes().clone()),
            None => self.absent(height),
        }
    }

    pub(super) fn verify_chainlock(&self, lock: &ChainLock) -> Result<Lookup<SignedBy>, LockError> {
        let height = u32::try_from(lock.height).map_err(|_| LockError::Malformed)?;
        let Some(quorums) = &self.quorums else { return Ok(self.absent(height)) };
        match quorums.verify_chainlock(lock) {
            Ok(signed) => Ok(Lookup::Found(signed)),
            Err(LockError::NotSigned) => {
                let is_covered = height >= self.gap_end(self.network.chain_lock_llmq(), SIGN_HEIGHT_OFFSET);
                // A lock of a block that is not ours may be true on another branch, whose quorums are not ours.
                let is_ours = self.lists.get(&height).is_some_and(|lists| lists.block_hash() == lock.block_hash);
                if is_covered && is_ours { Err(LockError::NotSigned) } else { Ok(self.absent(height)) }
            }
            Err(LockError::Malformed) => Err(LockError::Malformed),
            Err(error) => Ok(self.missing(&error)),
        }
    }

    pub(super) fn verify_islock(&self, lock: &InstantLock) -> Result<Lookup<SignedBy>, LockError> {
        let cycles = self.network.cycles();
        // Before the first list it is judged at the tip.
        let Some(quorums) = &self.quorums else { return Ok(self.absent(self.tip.max(1))) };
        let named = self.cycles.iter().find(|(_, hash)| **hash == lock.cycle_hash);
        let Some((&cycle, _)) = named else {
            let next = cycles.start_of(self.tip).height().saturating_add(cycles.length());
            return Ok(self.absent(next));
        };
        match quorums.verify_islock(lock, cycle, self.synced_to()) {
            Ok(signed) => Ok(Lookup::Found(signed)),
            Err(LockError::NotSigned) => {
                // The quorums of the cycle before may have signed as well.
                let is_covered = cycle >= self.gap_end(self.network.rotated_llmq(), cycles.length());
                let mined_by = *self.network.rotated_params().mining_window(cycle).end();
                let settled = mined_by.saturating_add(SETTLED_AFTER);
                if is_covered && self.covers(settled) { Err(LockError::NotSigned) } else { Ok(self.absent(settled)) }
            }
            Err(LockError::Malformed) => Err(LockError::Malformed),
            Err(error) => Ok(self.missing(&error)),
        }
    }

    /// The lowest height so many blocks above the last gap of a type.
    fn gap_end(&self, llmq_type: LlmqType, above: u32) -> u32 {
        match self.gaps.end(llmq_type) {
            0 => 0,
            end => end.saturating_add(above),
        }
    }

    /// The answer when our side lacks the data to judge a lock.
    fn missing<T>(&self, error: &LockError) -> Lookup<T> {
        match error {
            LockError::NotCovered(height) => self.absent(*height),
            _ => Lookup::Unknown,
        }
    }
}
