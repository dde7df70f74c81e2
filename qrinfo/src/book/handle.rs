use std::{fmt, sync::Arc};

use qrinfo_core::{
    Hash256, LlmqType, Network, QuorumHash,
    message::{ChainLock, InstantLock},
};
use qrinfo_verify::{LockError, MasternodeList, SignedBy};
use tokio::sync::watch;

use super::{
    lookup::Lookup,
    page::Page,
    record::{ActiveSet, KnownQuorum},
    writer::BookWriter,
};

/// The quorums and masternodes up to a height, as proven lists show them. See the [module](super).
///
/// A clone costs a reference count. No question waits: the book changes by whole pages, and a question is answered from
/// one page.
#[derive(Clone)]
pub struct QuorumBook {
    page: watch::Receiver<Arc<Page>>,
}

/// Error of waiting for a height when the [`BookWriter`] is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the book is no longer written; it ends at height {synced_to}; start the follower again")]
pub struct BookClosed {
    /// The height that the book covers.
    pub synced_to: u32,
}

// === impl QuorumBook ===

impl QuorumBook {
    /// Creates an empty book and its writer.
    pub fn new(network: Network) -> (BookWriter, Self) {
        let (sender, page) = watch::channel(Arc::new(Page::new(network)));
        (BookWriter::new(sender), Self { page })
    }

    /// Returns the network whose quorums these are.
    pub fn network(&self) -> Network {
        self.page().network()
    }

    /// Returns the height that the book covers, 0 before the first list.
    pub fn synced_to(&self) -> u32 {
        self.page().synced_to()
    }

    /// Returns the height of the newest known block, at or above [`synced_to`](Self::synced_to).
    pub fn tip(&self) -> u32 {
        self.page().tip()
    }

    /// Waits until the book covers a height.
    ///
    /// # Errors
    /// [`BookClosed`] if the writer is dropped before.
    pub async fn wait_for(&self, height: u32) -> Result<(), BookClosed> {
        let mut page = self.page.clone();
        let waited = page.wait_for(|page| page.covers(height)).await.map(|_| ());
        waited.map_err(|_| BookClosed { synced_to: self.synced_to() })
    }

    /// Returns the quorum with this hash, active or retired, with its public key and the heights at which it was active.
    /// It takes constant time.
    ///
    /// [`NotYet`](Lookup::NotYet) while the book is below the tip, as the quorum may be newer. A caller that knows of a
    /// newer block than the book's tip compares its height with [`synced_to`](Self::synced_to).
    pub fn public_key(&self, llmq_type: LlmqType, quorum_hash: &QuorumHash) -> Lookup<KnownQuorum> {
        self.page().public_key(llmq_type, quorum_hash)
    }

    /// Returns the active quorums of a type at a height (Dash Core's `ScanQuorums`).
    pub fn active(&self, llmq_type: LlmqType, height: u32) -> Lookup<ActiveSet> {
        self.page().active(llmq_type, height)
    }

    /// Selects the quorum that signs a request at a height, among those that are active [`SIGN_HEIGHT_OFFSET`] blocks
    /// below it (Dash Core's `SelectQuorumForSigning`).
    ///
    /// One quorum, or several candidates where lists are too far apart to tell which one was active. Unknown if no
    /// quorum is.
    ///
    /// [`SIGN_HEIGHT_OFFSET`]: qrinfo_verify::SIGN_HEIGHT_OFFSET
    pub fn signing_quorum(&self, llmq_type: LlmqType, request_id: &Hash256, height: u32) -> Lookup<Vec<KnownQuorum>> {
        self.page().signing_quorum(llmq_type, request_id, height)
    }

    /// Returns the masternodes at a height. Unknown where there was no list at that very block, and for blocks below the
    /// newest 64 lists.
    pub fn masternodes(&self, height: u32) -> Lookup<MasternodeList> {
        self.page().masternodes(height)
    }

    /// Verifies a ChainLock, as [`Quorums::verify_chainlock`](qrinfo_verify::Quorums::verify_chainlock) does. Compare its
    /// block with that of the chain.
    ///
    /// A lock of a block that is not ours is never called false: on the branch of that block other quorums may sign. It
    /// is [`NotYet`](Lookup::NotYet) until the book covers its height.
    ///
    /// # Errors
    /// [`LockError`] if the lock is false.
    pub fn verify_chainlock(&self, lock: &ChainLock) -> Result<Lookup<SignedBy>, LockError> {
        self.page().verify_chainlock(lock)
    }

    /// Verifies an InstantSend lock, as [`Quorums::verify_islock`](qrinfo_verify::Quorums::verify_islock) does.
    ///
    /// A lock that is not signed by a known quorum is [`NotYet`](Lookup::NotYet) until eight blocks behind the mining
    /// window of its cycle: until then a reorganisation may bring its quorum. One that names an unknown block waits for
    /// the next cycle.
    ///
    /// # Errors
    /// [`LockError`] if the lock is false.
    pub fn verify_islock(&self, lock: &InstantLock) -> Result<Lookup<SignedBy>, LockError> {
        self.page().verify_islock(lock)
    }

    fn page(&self) -> Arc<Page> {
        self.page.borrow().clone()
    }
}

impl fmt::Debug for QuorumBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuorumBook").field("synced_to", &self.synced_to()).finish_non_exhaustive()
    }
}
