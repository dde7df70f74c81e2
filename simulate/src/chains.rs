//! The chains that days are played on, and the truth about them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, RwLock},
};

use qrinfo_core::{
    BlockHash, BlockHeader, Network,
    message::{GetMnListDiff, Headers, MAX_HEADERS},
    wire::Wire,
};
use qrinfo_verify::Lists;
use spv_testkit::{Chain, Fork, SyntheticChain, SyntheticParams, builder};

/// The height at which each day starts.
pub(crate) const START: u32 = 13 * 24 + 21;

/// Blocks that a day may add.
pub(crate) const LENGTH: u32 = 60;

/// Chains are made once and shared: they take longer to make than a day takes to play.
const COUNT: usize = 12;

/// Blocks above the start at which another branch takes over for some blocks.
const FORKS: [u32; 5] = [3, 9, 16, 27, 41];

/// Blocks of a branch at a fork.
pub(crate) const BRANCH: u32 = 4;

/// Headers of a chain without end, which cost their maker nothing.
const ENDLESS: usize = 3 * MAX_HEADERS;

/// A chain with its branches.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) chain: Chain,
    /// Branches that take over for some blocks, by the height of the last block that they share with the chain.
    pub(crate) branches: BTreeMap<u32, Chain>,
    /// A longer branch that no honest node is on.
    pub(crate) wrong: Chain,
    /// The headers of the chain from block 1 to the start, and many above it without anything behind them.
    endless: Vec<BlockHeader>,
    /// The true lists by block, with their digests.
    truths: Mutex<HashMap<BlockHash, (u64, Lists)>>,
}

/// The history of a day.
pub(crate) fn history(number: u64) -> Arc<History> {
    static HISTORIES: LazyLock<Vec<OnceLock<Arc<History>>>> =
        LazyLock::new(|| (0..COUNT).map(|_| OnceLock::new()).collect());
    let index = number % COUNT as u64;
    let history = HISTORIES.get(index as usize).map(|cell| cell.get_or_init(|| Arc::new(History::new(index))));
    history.cloned().unwrap_or_else(|| Arc::new(History::new(index)))
}

// === impl History ===

impl History {
    fn new(number: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(number);
        let params = SyntheticParams {
            tip: START + LENGTH,
            masternodes: rng.u32(6..=10),
            changes_per_cycle: [0.5, 2.0, 8.0][rng.usize(0..3)],
            failed_dkgs: [0.0, 0.1, 0.4][rng.usize(0..3)],
            extended_addresses_height: rng.u32(0..2 * START),
            transactions: 1..=5,
            ..SyntheticParams::regtest()
        };
        let branch = |height: u32, length: u32, seed: u64| {
            let params = SyntheticParams { tip: height + length, ..params.clone() };
            SyntheticChain::generate_fork(number, &params, Fork { height, seed }).chain
        };
        let branches = FORKS.iter().map(|above| {
            let height = START + above;
            (height, branch(height, BRANCH, !number ^ u64::from(height)))
        });
        let chain = SyntheticChain::generate(number, &params).chain;
        Self {
            branches: branches.collect(),
            wrong: branch(START - 12, LENGTH + 30, !number),
            endless: endless(&chain),
            chain,
            truths: Mutex::default(),
        }
    }

    pub(crate) fn network(&self) -> Network {
        self.chain.network()
    }

    /// Headers that follow the newest block of a locator on a chain without end.
    pub(crate) fn endless(&self, locator: &[BlockHash]) -> Headers {
        let first = locator.iter().find_map(|hash| {
            let is_next = |header: &BlockHeader| header.prev_block_hash() == *hash;
            self.endless.iter().position(is_next)
        });
        Headers(self.endless.iter().skip(first.unwrap_or(0)).take(MAX_HEADERS).copied().collect())
    }

    /// The chains of which a block may be, the true one first.
    pub(crate) fn chains(&self) -> impl Iterator<Item = &Chain> {
        [&self.chain].into_iter().chain(self.branches.values()).chain([&self.wrong])
    }

    /// Returns `true` if a block is on the chain or one of its branches, and not on one that only liars have.
    pub(crate) fn is_true(&self, hash: &BlockHash) -> bool {
        let is_on = |chain: &Chain| chain.find(hash).is_some();
        is_on(&self.chain) || self.branches.values().any(is_on)
    }

    /// Returns `true` if lists are what the chain of their block has.
    pub(crate) fn has(&self, lists: &Lists) -> bool {
        self.truth(lists.block_hash()).is_some_and(|(truth, _)| truth == digest(lists))
    }

    /// The lists that the chain of a block has.
    pub(crate) fn lists(&self, block: BlockHash) -> Option<Lists> {
        self.truth(block).map(|(_, lists)| lists)
    }

    fn truth(&self, block: BlockHash) -> Option<(u64, Lists)> {
        let lock = || self.truths.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(truth) = lock().get(&block) {
            return Some(truth.clone());
        }
        let chain = self.chains().find(|chain| chain.find(&block).is_some())?;
        let request = GetMnListDiff { base_block_hash: BlockHash::ZERO, block_hash: block };
        let diff = builder::mn_list_diff(chain, &request).ok()?;
        let lists = Lists::at_genesis(self.network()).apply(&diff).ok()?;
        let truth = (digest(&lists), lists);
        lock().insert(block, truth.clone());
        Some(truth)
    }
}

fn digest(lists: &Lists) -> u64 {
    let mut bytes = bytes::BytesMut::new();
    lists.masternodes().iter().for_each(|entry| entry.encode(&mut bytes));
    let mut quorums: Vec<_> = lists.quorums().iter().map(Wire::to_wire).collect();
    quorums.sort_unstable();
    quorums.iter().for_each(|quorum| bytes.extend_from_slice(quorum));
    crate::log::hash(&bytes)
}

/// X11, computed once for each header: the days share their chains.
pub(crate) fn hash(header: &[u8]) -> [u8; 32] {
    static HASHES: LazyLock<RwLock<HashMap<Vec<u8>, [u8; 32]>>> = LazyLock::new(RwLock::default);
    if let Some(hash) = HASHES.read().unwrap_or_else(PoisonError::into_inner).get(header) {
        return *hash;
    }
    let hash = spv_x11::x11(header);
    HASHES.write().unwrap_or_else(PoisonError::into_inner).insert(header.to_vec(), hash);
    hash
}

/// The headers of a chain up to the start, and those of a branch without end.
fn endless(chain: &Chain) -> Vec<BlockHeader> {
    let Some(start) = chain.block(START) else { return Vec::new() };
    let (mut template, mut before) = (start.header, start.hash);
    let shared = (1..=START).filter_map(|height| chain.block(height));
    let shared: Vec<_> = shared.map(|block| BlockHeader::from_bytes(block.header)).collect();
    let more = (0..ENDLESS).map(|number| {
        template[4..36].copy_from_slice(before.as_bytes());
        template[36..40].copy_from_slice(&(number as u32).to_le_bytes());
        (template, before) = mined(template);
        BlockHeader::from_bytes(template)
    });
    shared.into_iter().chain(more).collect()
}

/// A header with the work of regtest, and its hash.
fn mined(mut header: [u8; 80]) -> ([u8; 80], BlockHash) {
    for nonce in 0_u32.. {
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        let hash = spv_x11::x11(&header);
        if hash[31] < 0x7f {
            return (header, BlockHash::from_bytes(hash));
        }
    }
    (header, BlockHash::ZERO)
}
