//! The intake of ChainLocks and InstantSend locks from peers.
//!
//! [`LockIntake`] is a plain struct without clock and runtime. It verifies each lock against a [`QuorumBook`], keeps
//! those that cannot be judged yet until the height that they wait for, and names the peers that sent false ones.
//!
//! ```
//! use qrinfo::book::{QuorumBook, locks::{LockIntake, Taken}};
//! use qrinfo_core::{BlockHash, Network, PeerId, message::ChainLock};
//!
//! let (_writer, book) = QuorumBook::new(Network::Mainnet);
//! let mut intake = LockIntake::default();
//! let lock = ChainLock { height: 100, block_hash: BlockHash::ZERO, signature: [0; 96] };
//! let peer = PeerId::from(([203, 0, 113, 5], 9999));
//! assert_eq!(intake.take_chain_lock(lock.clone(), peer, &book), Taken::Waits { wait_for: 100 });
//! assert_eq!(intake.take_chain_lock(lock, peer, &book), Taken::Duplicate);
//! ```

mod intake;
mod seen;
mod waiting;

use qrinfo_core::{
    BlockHash, Hash256, PeerId,
    message::{ChainLock, InstantLock, OutPoint},
    wire::Wire,
};
use qrinfo_verify::{LockError, SignedBy};

pub use intake::LockIntake;

use super::{Lookup, QuorumBook};

/// The statement of a lock that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockEvent {
    /// A quorum made this block final. It may be a block that our headers do not have, or have another one in place of.
    ChainLocked {
        /// The block's height.
        height: u32,
        /// The block.
        hash: BlockHash,
    },
    /// A quorum reserved these inputs for one transaction.
    InstantLocked {
        /// The transaction.
        txid: Hash256,
        /// The outputs that it spends.
        inputs: Vec<OutPoint>,
    },
    /// The lock is false. Honest nodes verify a lock before they send it, so its sender is to blame.
    False {
        /// The peer that sent it.
        peer: PeerId,
        /// The fault.
        error: LockError,
    },
}

/// The result of taking a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The lock was judged.
    Event(LockEvent),
    /// The lock is kept until the book covers this height.
    Waits {
        /// The height.
        wait_for: u32,
    },
    /// The same lock was judged before, or waits already.
    Duplicate,
    /// The lock cannot be judged, and its sender is not to blame: the quorums that may have signed are below what the
    /// book keeps, its block is not ours, or it would have to wait for more than two cycles above the tip.
    Dropped,
}

/// A lock of either kind.
#[derive(Debug, Clone)]
enum Lock {
    Chain(ChainLock),
    Instant(InstantLock),
}

// === impl Lock ===

impl Lock {
    fn hash(&self) -> Hash256 {
        match self {
            Self::Chain(lock) => lock.hash(),
            Self::Instant(lock) => lock.hash(),
        }
    }

    /// The bytes that it takes in memory, as far as they depend on the lock.
    fn bytes(&self) -> usize {
        match self {
            Self::Chain(_) => ChainLock::MIN_SIZE,
            Self::Instant(lock) => InstantLock::MIN_SIZE + OutPoint::MIN_SIZE * lock.inputs.len(),
        }
    }

    fn verify(&self, book: &QuorumBook) -> Result<Lookup<SignedBy>, LockError> {
        match self {
            Self::Chain(lock) => book.verify_chainlock(lock),
            Self::Instant(lock) => book.verify_islock(lock),
        }
    }

    /// The event of a lock that is signed. A signed ChainLock has a height.
    fn into_event(self) -> LockEvent {
        match self {
            Self::Chain(ChainLock { height, block_hash: hash, .. }) => {
                LockEvent::ChainLocked { height: height.unsigned_abs(), hash }
            }
            Self::Instant(InstantLock { txid, inputs, .. }) => LockEvent::InstantLocked { txid, inputs },
        }
    }
}
