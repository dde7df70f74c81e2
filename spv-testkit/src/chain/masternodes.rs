use std::{collections::BTreeMap, sync::Arc};

use qrinfo_core::{ProTxHash, message::SmlEntry};

use super::trie_order::{TrieKey, walk};

/// The masternode list at every height, as the changes of each masternode.
///
/// The size follows the changes, not heights times masternodes. A list or a difference of lists takes one look at each
/// masternode that ever was.
#[derive(Debug, Clone, Default)]
pub struct MasternodeLog {
    histories: BTreeMap<TrieKey, History>,
}

/// One masternode's states, each with the height from which it holds; `None` is "not in the list".
#[derive(Debug, Clone, Default)]
struct History(Vec<(u32, Option<Arc<SmlEntry>>)>);

/// The change of a list from one height to another, in the order in which Dash Core sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListChange {
    /// Masternodes that are gone.
    pub deleted: Vec<ProTxHash>,
    /// Masternodes that are new or changed.
    pub updated: Vec<Arc<SmlEntry>>,
}

// === impl MasternodeLog ===

impl MasternodeLog {
    /// Notes that a masternode is new or changed from `height` on. Heights must not fall.
    pub(crate) fn set(&mut self, height: u32, entry: Arc<SmlEntry>) {
        self.histories.entry(TrieKey::of(entry.pro_reg_tx_hash)).or_default().push(height, Some(entry));
    }

    /// Notes that a masternode is gone from `height` on. Heights must not fall.
    pub(crate) fn remove(&mut self, height: u32, hash: ProTxHash) {
        self.histories.entry(TrieKey::of(hash)).or_default().push(height, None);
    }

    /// The list at `height`, in no order that means anything; see [`core_order`](Self::core_order).
    pub fn at(&self, height: u32) -> impl Iterator<Item = &Arc<SmlEntry>> {
        self.histories.values().filter_map(move |history| history.at(height))
    }

    /// The list at `height`, in the order in which Dash Core walks it.
    pub fn core_order(&self, height: u32) -> Vec<Arc<SmlEntry>> {
        let mut list = Vec::new();
        walk(&self.sorted(height), &mut |entry| list.push(Arc::clone(entry)));
        list
    }

    /// Returns the change that leads from the list at `base` to the one at `target`.
    pub fn change(&self, base: u32, target: u32) -> ListChange {
        let mut change = ListChange { deleted: Vec::new(), updated: Vec::new() };
        if base == target {
            return change;
        }
        walk(&self.sorted(target), &mut |entry: &&Arc<SmlEntry>| {
            let before = self.get(entry.pro_reg_tx_hash, base);
            if before.is_none_or(|before| before != *entry) {
                change.updated.push(Arc::clone(entry));
            }
        });
        walk(&self.sorted(base), &mut |entry: &&Arc<SmlEntry>| {
            if self.get(entry.pro_reg_tx_hash, target).is_none() {
                change.deleted.push(entry.pro_reg_tx_hash);
            }
        });
        change
    }

    /// The entry of one masternode at `height`.
    pub fn get(&self, hash: ProTxHash, height: u32) -> Option<&Arc<SmlEntry>> {
        self.histories.get(&TrieKey::of(hash))?.at(height)
    }

    fn sorted(&self, height: u32) -> Vec<(TrieKey, &Arc<SmlEntry>)> {
        self.histories.iter().filter_map(|(key, history)| Some((*key, history.at(height)?))).collect()
    }
}

// === impl History ===

impl History {
    fn push(&mut self, height: u32, state: Option<Arc<SmlEntry>>) {
        // Of several changes in one block only the last can be seen.
        if self.0.last().is_some_and(|(last, _)| *last == height) {
            self.0.pop();
        }
        self.0.push((height, state));
    }

    fn at(&self, height: u32) -> Option<&Arc<SmlEntry>> {
        let since = self.0.partition_point(|(from, _)| *from <= height);
        self.0.get(since.checked_sub(1)?)?.1.as_ref()
    }
}
