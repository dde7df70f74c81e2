//! A chain that changes while nodes serve it.

use std::sync::{Arc, Mutex, PoisonError};

use qrinfo_core::{
    BlockHash, BlockHeader, Hash256,
    message::{ChainLock, Headers, InstantLock},
    wire::frame::Frame,
};
use tokio::sync::watch;

use crate::{Answers, Chain, NodeFacts, Response, ServerSession};

/// A chain that changes while nodes serve it: it grows, or another branch takes over. Clones share it.
///
/// Its nodes announce each change as Dash Core does: by headers to clients that sent `sendheaders`, else by the hash of
/// the newest block.
///
/// ```
/// use spv_testkit::{LiveChain, SimulatedPeer, SyntheticChain, SyntheticParams};
///
/// let chain = SyntheticChain::generate(7, &SyntheticParams::regtest()).chain;
/// let live = LiveChain::new(chain.until(400));
/// let node = SimulatedPeer::builder(live.clone()).build();
/// // A block is mined.
/// live.set(chain.until(401));
/// assert_eq!(live.now().tip(), 401);
/// # let _ = node;
/// ```
#[derive(Debug, Clone)]
pub struct LiveChain {
    chain: watch::Sender<Chain>,
    has_locks: bool,
    withholds_locks: bool,
    instant_locks: Arc<Mutex<Vec<InstantLock>>>,
}

/// The announcement of a new tip.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The headers that are new, at most eight.
    Headers(Headers),
    /// The newest block.
    Block(BlockHash),
}

/// New blocks up to which headers are announced (Dash Core's `MAX_BLOCKS_TO_ANNOUNCE`).
const MOST_ANNOUNCED: usize = 8;

// === impl LiveChain ===

impl LiveChain {
    /// A chain that is this one for now.
    pub fn new(chain: Chain) -> Self {
        Self {
            chain: watch::Sender::new(chain),
            has_locks: false,
            withholds_locks: false,
            instant_locks: Arc::default(),
        }
    }

    /// Its nodes announce the ChainLock in the coinbase of each new block, and send it on request. The chain must have
    /// real keys.
    #[must_use]
    pub fn with_locks(self) -> Self {
        Self { has_locks: true, ..self }
    }

    /// Its nodes announce InstantSend locks, and do not send them.
    #[must_use]
    pub fn withholding_locks(self) -> Self {
        Self { withholds_locks: true, ..self }
    }

    /// The chain from now on.
    pub fn set(&self, chain: Chain) {
        self.chain.send_replace(chain);
    }

    /// Adds an InstantSend lock. Its nodes announce it at once to clients that take transactions, and send it on request.
    pub fn lock(&self, lock: InstantLock) {
        self.instant_locks.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
        // Wakes the nodes.
        self.chain.send_modify(|_| {});
    }

    /// The chain at present.
    pub fn now(&self) -> Chain {
        self.chain.borrow().clone()
    }
}

impl Answers for LiveChain {
    fn node(&self) -> NodeFacts {
        self.now().node()
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        self.now().answer(request, session)
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        Answers::headers(&self.now(), locator)
    }

    fn live(&self) -> Option<watch::Receiver<Chain>> {
        Some(self.chain.subscribe())
    }

    fn chain_lock(&self) -> Option<ChainLock> {
        if !self.has_locks {
            return None;
        }
        let chain = self.now();
        let pool = chain.block(chain.tip())?.body.as_ref()?.coinbase.payload()?.credit_pool.clone()?;
        let height = chain.tip().checked_sub(1)?.checked_sub(pool.best_cl_height_diff)?;
        let block_hash = chain.block(height)?.hash;
        let signature = Some(pool.best_cl_signature).filter(|signature| *signature != [0; 96])?;
        Some(ChainLock { height: i32::try_from(height).ok()?, block_hash, signature })
    }

    fn instant_locks(&self) -> Vec<InstantLock> {
        self.instant_locks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn instant_lock(&self, hash: &Hash256) -> Option<InstantLock> {
        let lock = self.instant_locks().into_iter().find(|lock| lock.hash() == *hash);
        lock.filter(|_| !self.withholds_locks)
    }

    fn other(&self, request: &Frame, session: ServerSession) -> Option<Frame> {
        self.now().other(request, session)
    }
}

// === impl News ===

impl News {
    /// The announcement of what is new since another state of the chain.
    pub(crate) fn since(before: &Chain, now: &Chain, by_headers: bool) -> Option<Self> {
        let hash = |chain: &Chain, height| chain.block(height).map(|block| block.hash);
        let mut shared = before.tip().min(now.tip());
        while shared > 0 && hash(before, shared) != hash(now, shared) {
            shared -= 1;
        }
        let new: Vec<_> = (shared + 1..=now.tip()).filter_map(|height| now.block(height)).collect();
        let newest = new.last()?.hash;
        Some(match by_headers && new.len() <= MOST_ANNOUNCED {
            true => Self::Headers(Headers(new.iter().map(|block| BlockHeader::from_bytes(block.header)).collect())),
            false => Self::Block(newest),
        })
    }
}
