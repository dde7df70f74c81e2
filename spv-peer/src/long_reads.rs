use std::{
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// Messages up to this length, in bytes, do not count: one for each connection is little memory. A full list of mainnet
/// (0.6 MB) is below it.
const LONG: usize = 1 << 20;

/// The default budget, bytes: five full `qrinfo` of 3 MB at once. A reply that waits for the budget looks like a peer that
/// has stalled, so it must be rare.
const BUDGET: usize = 16 << 20;

/// Bytes of one permit.
const PERMIT: usize = 1 << 10;

static PROCESS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(BUDGET / PERMIT)));

/// A budget of bytes for long messages that are being read, shared by all connections that hold a clone.
///
/// A message of more than 1 MiB counts by its announced length from its header on; the rest of it is not read before it
/// fits. One that is longer than the whole budget is read alone. So any number of peers that announce long messages
/// take no more memory than the budget, or than one message.
///
/// The [default](LongReads::default) is one budget of 16 MiB for the whole process.
///
/// ```
/// use qrinfo_core::Network;
/// use spv_peer::{LongReads, PeerConfig};
///
/// let config = PeerConfig { long_reads: LongReads::new(2 << 20), ..PeerConfig::new(Network::Mainnet, 42) };
/// // Connections by clones of this configuration share the 2 MiB.
/// assert_eq!(config.clone(), config);
/// ```
#[derive(Debug, Clone)]
pub struct LongReads {
    budget: Arc<Semaphore>,
    permits: u32,
}

/// The part of one connection in the budget.
#[derive(Debug)]
pub(crate) struct LongRead {
    semaphore: PollSemaphore,
    permits: u32,
    /// Held while a long message is being read.
    held: Option<OwnedSemaphorePermit>,
}

// === impl LongReads ===

impl LongReads {
    /// A budget of this many bytes; at least 1 KiB.
    pub fn new(bytes: usize) -> Self {
        let permits = (bytes / PERMIT).clamp(1, Semaphore::MAX_PERMITS >> 1).try_into().unwrap_or(u32::MAX);
        Self { budget: Arc::new(Semaphore::new(permits as usize)), permits }
    }

    pub(crate) fn connection(&self) -> LongRead {
        LongRead { semaphore: PollSemaphore::new(self.budget.clone()), permits: self.permits, held: None }
    }
}

impl Default for LongReads {
    fn default() -> Self {
        Self { budget: PROCESS.clone(), permits: (BUDGET / PERMIT) as u32 }
    }
}

impl PartialEq for LongReads {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.budget, &other.budget)
    }
}

impl Eq for LongReads {}

// === impl LongRead ===

impl LongRead {
    /// Waits until a message of this length fits.
    pub(crate) fn poll_fits(&mut self, length: usize, cx: &mut Context<'_>) -> Poll<()> {
        if length <= LONG || self.held.is_some() {
            return Poll::Ready(());
        }
        let permits = u32::try_from(length.div_ceil(PERMIT)).unwrap_or(u32::MAX).min(self.permits);
        self.semaphore.poll_acquire_many(cx, permits).map(|permit| self.held = permit)
    }

    /// The message is complete.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn long_messages_share_the_budget_and_short_ones_do_not_count() {
        let budget = LongReads::new(4 << 20);
        let [mut first, mut second, mut third] = [(); 3].map(|()| budget.connection());
        poll_fn(|cx| first.poll_fits(3 << 20, cx)).await;
        assert!(poll_fn(|cx| second.poll_fits(2 << 20, cx)).now_or_never().is_none());
        poll_fn(|cx| third.poll_fits(LONG, cx)).await;
        first.release();
        poll_fn(|cx| second.poll_fits(2 << 20, cx)).await;
    }

    #[tokio::test]
    async fn five_peers_may_send_replies_of_3_mb_at_once_by_default() {
        let budget = LongReads::new(BUDGET);
        let mut connections = [(); 5].map(|()| budget.connection());
        for connection in &mut connections {
            assert!(poll_fn(|cx| connection.poll_fits(3_000_000, cx)).now_or_never().is_some());
        }
    }

    #[tokio::test]
    async fn a_message_longer_than_the_budget_is_read_alone() {
        let budget = LongReads::new(4 << 20);
        let [mut first, mut second] = [(); 2].map(|()| budget.connection());
        poll_fn(|cx| first.poll_fits(16 << 20, cx)).await;
        assert!(poll_fn(|cx| second.poll_fits(LONG + 1, cx)).now_or_never().is_none());
        drop(first);
        poll_fn(|cx| second.poll_fits(LONG + 1, cx)).await;
    }
}
