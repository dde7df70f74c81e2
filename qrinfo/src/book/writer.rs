use std::{fmt, sync::Arc};

use qrinfo_core::BlockHash;
use qrinfo_verify::{KnownBlock, Lists};
use tokio::sync::watch;

use super::page::Page;

/// The one writer of a [`QuorumBook`](super::QuorumBook). When it is dropped, nothing more is waited for.
pub struct BookWriter {
    page: watch::Sender<Arc<Page>>,
}

// === impl BookWriter ===

impl BookWriter {
    pub(super) fn new(page: watch::Sender<Arc<Page>>) -> Self {
        Self { page }
    }

    /// Takes proven lists above those so far, and everything up to their height counts as synced. Lists at or below
    /// that height change nothing: call [`forget_above`](Self::forget_above) first if their block replaced another.
    /// Returns true if the lists were taken.
    ///
    /// `headers` answers for the best chain, as for [`Quorums::learn`](qrinfo_verify::Quorums::learn), and `hash_at`
    /// names its block at a height, from the tip down to any height.
    ///
    /// Lists far above those before leave a gap: a quorum may have come and gone between them. The active sets of its
    /// type are then known from the new lists on. On mainnet, the lists at the work blocks of each cycle leave no gap.
    /// The keys of earlier quorums stay.
    pub fn advance(
        &mut self,
        lists: &Lists,
        headers: impl Fn(&BlockHash) -> Option<KnownBlock>,
        hash_at: impl Fn(u32) -> Option<BlockHash>,
    ) -> bool {
        let is_above = !self.page.borrow().covers(lists.height());
        if is_above {
            self.change(|page| page.advance(lists, headers, hash_at));
        }
        is_above
    }

    /// Forgets the lists of blocks above a height that left the chain, and what was learned from them alone. The tip
    /// becomes this height at most. Everything else stays.
    ///
    /// Without a list at or below that height only the keys of quorums are left, and nothing is synced.
    pub fn forget_above(&mut self, height: u32) {
        self.change(|page| page.forget_above(height));
    }

    /// Sets the height of the newest block of our chain, up to which the book is to be synced. Lists raise it as well.
    pub fn set_tip(&mut self, height: u32) {
        self.change(|page| page.set_tip(height));
    }

    /// Returns the height that the book covers, 0 before the first list.
    pub fn synced_to(&self) -> u32 {
        self.page.borrow().synced_to()
    }

    /// Makes a new page. Readers hold the lock on the current one only as long as it takes to clone an [`Arc`].
    fn change(&mut self, change: impl FnOnce(&mut Page)) {
        let mut page = Page::clone(&self.page.borrow());
        change(&mut page);
        self.page.send_replace(Arc::new(page));
    }
}

impl fmt::Debug for BookWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BookWriter").field("synced_to", &self.synced_to()).finish_non_exhaustive()
    }
}
