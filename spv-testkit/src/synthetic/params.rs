use std::ops::RangeInclusive;

use qrinfo_core::{LlmqType, Network};

/// The parameters of a made-up chain. Start from [`regtest`](Self::regtest) or [`mainnet_like`](Self::mainnet_like) and
/// change the relevant ones.
#[derive(Debug, Clone)]
pub struct SyntheticParams {
    /// Decides magic, genesis block, quorum types and the length of a cycle.
    pub network: Network,
    /// The height of the newest block.
    pub tip: u32,
    /// Masternodes that the first block registers; their number then stays about the same.
    pub masternodes: u32,
    /// The share of Evo nodes, 0 to 1.
    pub evo_share: f64,
    /// The share of first masternodes that are banned, 0 to 1.
    pub banned_share: f64,
    /// The share of first masternodes with an entry of version 1 (legacy BLS), 0 to 1; the others have version 2.
    pub legacy_share: f64,
    /// From here on masternodes register and change their addresses with entries of version 3.
    pub extended_addresses_height: u32,
    /// Registrations, removals, bans, revivals and updates in a cycle, on average.
    pub changes_per_cycle: f64,
    /// The number of blocks after its registration at which a masternode is confirmed.
    pub confirmations: u32,
    /// The share of DKGs that fail, 0 to 1.
    pub failed_dkgs: f64,
    /// An index of rotated quorums whose DKGs all fail in the cycles that start at these heights: it keeps an ever
    /// older commitment.
    pub failing_index: Option<(u16, RangeInclusive<u32>)>,
    /// The height from which basic BLS is used: commitments of version 3 and 4 instead of 1 and 2.
    pub v19_height: u32,
    /// The height from which coinbases carry ChainLock signatures and quorums are drawn with them.
    pub v20_height: u32,
    /// The share of blocks whose miner does not know the newest ChainLock, 0 to 1.
    pub late_chain_locks: f64,
    /// Transactions in a block.
    pub transactions: RangeInclusive<u32>,
    /// The source of keys and signatures.
    pub keys: Keys,
}

/// The source of a made-up chain's BLS keys and signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keys {
    /// Random bytes: quick, and no signature is good.
    Random,
    /// Real keys and signatures, of commitments before [`v19_height`](SyntheticParams::v19_height) in the legacy scheme.
    /// ChainLocks are of the basic scheme at every height. Slow: meant for chains with few and small quorums.
    #[cfg(feature = "bls")]
    Bls,
}

// === impl SyntheticParams ===

impl SyntheticParams {
    /// A regtest chain of 40 cycles with few masternodes that change often: skip lists and trailing lists appear.
    pub fn regtest() -> Self {
        Self {
            network: Network::Regtest,
            tip: 40 * 24 + 22,
            masternodes: 8,
            evo_share: 0.5,
            banned_share: 0.0,
            legacy_share: 0.4,
            extended_addresses_height: 20 * 24,
            changes_per_cycle: 2.0,
            confirmations: 1,
            failed_dkgs: 0.1,
            failing_index: None,
            v19_height: 100,
            v20_height: 200,
            late_chain_locks: 0.1,
            transactions: 1..=9,
            keys: Keys::Random,
        }
    }

    /// A chain of `cycles` cycles that weighs what mainnet's does: 3,100 masternodes, of which a quarter is banned and
    /// a tenth Evo, and its quorum types. The lowest cycle that can be asked for is the fifth.
    pub fn mainnet_like(cycles: u32) -> Self {
        Self {
            network: Network::Mainnet,
            tip: cycles.saturating_mul(288).saturating_add(151),
            masternodes: 3_100,
            evo_share: 0.1,
            banned_share: 0.25,
            legacy_share: 0.7,
            extended_addresses_height: cycles.saturating_mul(288) / 4 * 3,
            changes_per_cycle: 4.2,
            confirmations: 15,
            failed_dkgs: 0.03,
            failing_index: None,
            v19_height: 3 * 288,
            v20_height: 4 * 288 + 7,
            late_chain_locks: 0.03,
            transactions: 2..=40,
            keys: Keys::Random,
        }
    }

    /// Returns true if the DKG that starts at `start` fails.
    pub(super) fn fails(&self, start: u32, index: Option<u16>) -> bool {
        let mut failing = self.failing_index.iter();
        failing.any(|(failing, starts)| Some(*failing) == index && starts.contains(&start))
    }

    /// The types of quorums that form at `height`.
    pub(super) fn llmq_types(&self, height: u32) -> Vec<LlmqType> {
        let types: &[u8] = match self.network {
            // Mainnet stopped making quorums of type 1 when rotated ones came; the last 24 stay active.
            Network::Mainnet if height < self.v19_height => &[1, 2, 3, 4, 5],
            Network::Mainnet => &[2, 3, 4, 5],
            Network::Testnet => &[1, 2, 3, 4, 5, 6],
            Network::Devnet(devnet) => &[devnet.chain_locks.0, devnet.rotated().llmq_type.0, 107],
            Network::Regtest => &[100, 102, 103, 104, 106],
        };
        types.iter().copied().map(LlmqType).collect()
    }

    /// The type of the quorums that serve Platform and consist of Evo nodes alone.
    pub(super) fn platform_llmq(&self) -> LlmqType {
        match self.network {
            Network::Mainnet => LlmqType(4),
            Network::Testnet => LlmqType(6),
            Network::Devnet(_) => LlmqType(107),
            Network::Regtest => LlmqType(106),
        }
    }
}
