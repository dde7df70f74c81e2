use std::{fmt, time::Instant};

use bytes::Bytes;
use qrinfo_core::{BlockHash, Hash256, Network, message::OutPoint};
use qrinfo_verify::{Level, Lists};
use spv_config::ClientConfig;
use spv_headers::{HeaderError, HeaderRules, HeaderSyncError};
use spv_store::StoreError;

/// The place of a follower in relation to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowState {
    /// It is catching up.
    Syncing {
        /// The height of the newest proven lists; 0 without any.
        lists: u32,
        /// The height of the agreed tip.
        tip: u32,
    },
    /// The lists at the agreed tip are there and proven.
    Synced {
        /// The height of the agreed tip.
        height: u32,
    },
    /// It cannot go on at the moment. It keeps trying.
    Degraded {
        /// The instant since which it could not.
        since: Instant,
        /// The reason.
        reason: Degradation,
    },
}

/// The reason for which a follower cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degradation {
    /// No peer is connected that can be followed.
    NoPeers,
    /// Peers are connected, and none has told of a new block for an hour (mainnet and testnet).
    NoBlocks,
    /// No peer answers the request for the next lists, or no reply could be proven.
    Unanswered,
}

/// An event of a follower.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FollowEvent {
    /// The agreed tip moved.
    Tip {
        /// Its height.
        height: u32,
        /// Its hash.
        hash: BlockHash,
    },
    /// Blocks left the chain. Their lists and quorums are forgotten.
    Reorganized {
        /// The height of the last block that stayed.
        fork: u32,
        /// The number of blocks that left.
        left: u32,
    },
    /// A quorum made a block final.
    ChainLocked {
        /// The height of the block.
        height: u32,
        /// The block. It may be newer than the agreed tip.
        hash: BlockHash,
    },
    /// A quorum reserved inputs for a transaction.
    InstantLocked {
        /// The transaction.
        txid: Hash256,
        /// The outputs that it spends.
        inputs: Vec<OutPoint>,
    },
    /// Lists were proven. Those of a block that is not the tip come with the `qrinfo` of a cycle.
    Proven(Lists),
}

/// The settings of a follower.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FollowConfig {
    /// The network.
    pub network: Network,
    /// The rules of its headers.
    pub rules: HeaderRules,
    /// The block taken on trust, where headers start if the store has none.
    pub start: (u32, BlockHash),
    /// The level of verification. At [`Level::Structure`] there are no lists, so it counts as [`Level::Roots`].
    pub level: Level,
    /// A [`ListSnapshot`](qrinfo_verify::ListSnapshot) to start from where nothing is stored, such as one that ships with
    /// an application. It is proven like a reply.
    pub lists: Option<Bytes>,
}

/// Error that ends a follower. Everything else it retries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The store failed.
    #[error("the store failed; free some space or choose another data directory, then start again")]
    Store(#[from] StoreError),
    /// Stored headers do not fit together.
    #[error("stored headers do not fit together; move the data directory away")]
    StoredHeaders(#[source] HeaderError),
    /// The store starts above the block that is needed.
    #[error("the store begins at block {first}; older headers are needed: choose another data directory")]
    StoreTooHigh {
        /// The height of the oldest stored header.
        first: u32,
    },
    /// Headers could not be kept.
    #[error("the first header sync failed")]
    Headers(#[source] HeaderSyncError),
    /// The stored headers are those of another chain.
    #[error("the store has another block {height} than the network; choose another data directory")]
    OtherChain {
        /// The height of the block that is taken on trust.
        height: u32,
    },
    /// The pool of peers ended.
    #[error("the pool of peers ended")]
    NoPool,
}

// === impl FollowState ===

impl fmt::Display for FollowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syncing { lists: 0, tip } => write!(f, "syncing: block {tip}, no lists yet"),
            Self::Syncing { lists, tip } => write!(f, "syncing: block {tip}, lists of block {lists}"),
            Self::Synced { height } => write!(f, "synced to block {height}"),
            Self::Degraded { reason, .. } => write!(f, "degraded: {reason}"),
        }
    }
}

// === impl Degradation ===

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPeers => "no node is connected",
            Self::NoBlocks => "no new block for an hour",
            Self::Unanswered => "no node answers the request for the next lists",
        })
    }
}

// === impl FollowConfig ===

impl FollowConfig {
    /// The settings for a network: its newest checkpoint as the start, and members and signatures verified.
    ///
    /// ```
    /// use qrinfo::follow::FollowConfig;
    /// use qrinfo_core::Network;
    ///
    /// assert_eq!(FollowConfig::new(Network::Regtest).start.0, 0);
    /// ```
    pub fn new(network: Network) -> Self {
        let start = network.checkpoint_below(u32::MAX);
        Self { network, rules: network.into(), start, level: Level::Full, lists: None }
    }
}

/// Like [`FollowConfig::new`], with the parameters of the configuration's devnet, and its genesis block as the start.
impl From<&ClientConfig> for FollowConfig {
    fn from(config: &ClientConfig) -> Self {
        let default = Self::new(config.network());
        // Block 0 is the same on all devnets.
        let genesis = config.devnet.genesis.filter(|_| matches!(config.network, Network::Devnet(_)));
        Self { start: genesis.map_or(default.start, |hash| (1, hash)), ..default }
    }
}
