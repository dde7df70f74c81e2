use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use qrinfo_core::{
    BlockHash, Hash256, LlmqType, Network, QuorumHash,
    message::{ChainLock, InstantLock},
};
use qrinfo_verify::{KnownBlock, Lists, LockError, MasternodeList, MinedQuorum, Quorums, SIGN_HEIGHT_OFFSET, SignedBy};

use super::{
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
    records: Arc<Records>,
    lists: BTreeMap<u32, Lists>,
    /// The heights of first blocks of cycles, which InstantSend locks name.
    cycles: HashMap<BlockHash, u32>,
}

// === impl Page: changes ===

impl Page {
    pub(super) fn new(network: Network) -> Self {
        Self { network, tip: 0, quorums: None, records: Arc::default(), lists: BTreeMap::new(), cycles: HashMap::new() }
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
        let before = self.quorums.as_ref().map(|quorums| *quorums.covered().end());
        let quorums = self.quorums.get_or_insert_with(|| Quorums::starting_at(self.network, height));
        quorums.learn(lists, headers);
        // Quorums that came and went between two distant lists are not known.
        let is_distant = before.is_some_and(|before| height - before > cycle);
        let covered = height.saturating_sub(CYCLES_COVERED.saturating_mul(cycle));
        quorums.forget_below(if is_distant { height } else { covered });

        let records = Arc::make_mut(&mut self.records);
        let keys = lists.quorums().iter().map(|commitment| (commitment.llmq_type, commitment.quorum_hash));
        records.learn(lists, keys.filter_map(|(llmq_type, hash)| quorums.quorum(llmq_type, &hash)));
        records.forget_retired_below(height.saturating_sub(CYCLES_RETIRED.saturating_mul(cycle)));

        self.lists.insert(height, lists.clone());
        while self.lists.len() > LISTS_KEPT {
            self.lists.pop_first();
        }
        self.learn_cycles(lists, hash_at);
        self.tip = self.tip.max(height);
    }

    /// Learns the first blocks of the cycle that is under way, and of those whose quorums are known: the ones that a
    /// lock can name.
    fn learn_cycles(&mut self, lists: &Lists, hash_at: impl Fn(u32) -> Option<BlockHash>) {
        let Some(quorums) = &self.quorums else { return };
        let (cycles, llmq_type) = (self.network.cycles(), self.network.rotated_llmq());
        let rotated = lists.quorums().iter().filter(|commitment| commitment.llmq_type == llmq_type);
        let heights = rotated.filter_map(|commitment| quorums.quorum(llmq_type, &commitment.quorum_hash)?.height);
        let mut needed: Vec<_> =
            heights.chain([lists.height()]).map(|height| cycles.start_of(height).height()).collect();
        needed.sort_unstable();
        needed.dedup();
        let oldest = *quorums.covered().start();
        self.cycles.retain(|_, height| *height >= oldest || needed.binary_search(height).is_ok());
        self.cycles.extend(needed.iter().filter_map(|height| Some((hash_at(*height)?, *height))));
    }

    pub(super) fn forget_above(&mut self, height: u32) {
        self.quorums = self.quorums.take().filter(|quorums| *quorums.covered().start() <= height);
        if let Some(quorums) = &mut self.quorums {
            quorums.forget_above(height);
        }
        Arc::make_mut(&mut self.records).forget_above(height);
        self.lists.retain(|at, _| *at <= height);
        self.cycles.retain(|_, at| *at <= height);
        self.tip = self.tip.min(height);
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

    /// The quorums, if the active ones at a height are known.
    fn covering(&self, height: u32) -> Lookup<&Quorums> {
        match self.quorums.as_ref().filter(|quorums| quorums.covered().contains(&height)) {
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
        self.covering(height).map(|quorums| {
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
        match self.covering(selected_at).map(|quorums| self.known(quorums.signers(llmq_type, request_id, selected_at)))
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
            // A lock of a block that is not ours may be true on another branch, whose quorums are not ours.
            Err(error) if error.is_false() => match self.lists.get(&height) {
                Some(lists) if lists.block_hash() == lock.block_hash => Err(error),
                _ => Ok(self.absent(height)),
            },
            Err(error) => Ok(self.missing(&error)),
        }
    }

    pub(super) fn verify_islock(&self, lock: &InstantLock) -> Result<Lookup<SignedBy>, LockError> {
        let cycles = self.network.cycles();
        let Some(quorums) = &self.quorums else { return Ok(self.absent(0)) };
        let Some(&cycle) = self.cycles.get(&lock.cycle_hash) else {
            let next = cycles.start_of(self.tip).height().saturating_add(cycles.length());
            return Ok(self.absent(next));
        };
        match quorums.verify_islock(lock, cycle, self.synced_to()) {
            Ok(signed) => Ok(Lookup::Found(signed)),
            Err(LockError::NotSigned) => {
                let mined_by = *self.network.rotated_params().mining_window(cycle).end();
                match mined_by.saturating_add(SETTLED_AFTER) {
                    settled if settled > self.synced_to() => Ok(self.absent(settled)),
                    _ => Err(LockError::NotSigned),
                }
            }
            Err(error) if error.is_false() => Err(error),
            Err(error) => Ok(self.missing(&error)),
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
