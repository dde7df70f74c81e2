//! A sorted list whose versions share unchanged items, with a merkle root.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use qrinfo_core::{Hash256, wire::DecodeError};

use super::{fault::ApplyFault, merkle};

/// An item of a sorted list.
pub(crate) trait Item: Eq + Sized {
    type Key: Ord + Copy;

    /// True if a change may replace an existing item.
    const REPLACEABLE: bool;

    /// True if the merkle tree is over the leaves in ascending order of their bytes, not in the order of the keys.
    const SORTED_LEAVES: bool;

    fn key(&self) -> Self::Key;

    /// The item's hash in the merkle tree.
    fn leaf(&self) -> [u8; 32];

    /// A copy of its own, which keeps no frame in memory.
    fn detached(self) -> Result<Self, DecodeError>;

    fn fault(conflict: Conflict<Self::Key>) -> ApplyFault;
}

/// Items in ascending order of their keys.
///
/// A version is one array of pointers: 8 bytes for each item, and the items that changed. That is a few times less than
/// what trees of shared nodes take when the changes of a cycle are spread over the whole list, as they are.
pub(crate) struct Sorted<T> {
    items: Arc<[Arc<Hashed<T>>]>,
    /// Shared by clones, and by the lists that empty diffs lead to.
    root: Arc<OnceLock<Hash256>>,
}

struct Hashed<T> {
    item: T,
    leaf: [u8; 32],
}

/// The reason why changes cannot be applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Conflict<K> {
    /// A deleted item is not in the list.
    Absent(K),
    /// A new item is already in the list.
    Present(K),
    /// Two changes have the same key.
    Twice(K),
}

// === impl Sorted ===

impl<T> Sorted<T> {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &T> + Clone {
        self.items.iter().map(|hashed| &hashed.item)
    }
}

impl<T: Item> Sorted<T> {
    pub(crate) fn get(&self, key: &T::Key) -> Option<&T> {
        let place = self.items.binary_search_by_key(key, |hashed| hashed.item.key()).ok()?;
        self.items.get(place).map(|hashed| &hashed.item)
    }

    pub(crate) fn merkle_root(&self) -> Hash256 {
        *self.root.get_or_init(|| {
            let mut leaves: Vec<_> = self.items.iter().map(|hashed| hashed.leaf).collect();
            if T::SORTED_LEAVES {
                leaves.sort_unstable();
            }
            merkle::root(leaves)
        })
    }

    /// The list after these changes, in any order.
    pub(crate) fn changed(
        &self,
        deleted: impl Iterator<Item = T::Key>,
        new: impl Iterator<Item = T>,
    ) -> Result<Self, ApplyFault> {
        let new = new.map(|item| Ok((item.key(), Some(Hashed { leaf: item.leaf(), item: item.detached()? }))));
        let mut changes = deleted.map(|key| Ok((key, None))).chain(new).collect::<Result<Vec<_>, DecodeError>>()?;
        if changes.is_empty() {
            return Ok(self.clone());
        }
        changes.sort_by_key(|(key, _)| *key);
        for ((key, _), (next, _)) in changes.iter().zip(changes.iter().skip(1)) {
            if key == next {
                return Err(T::fault(Conflict::Twice(*key)));
            }
        }
        let mut items = Vec::with_capacity(self.items.len() + changes.len());
        let mut old = self.items.iter().peekable();
        for (key, new) in changes {
            while let Some(kept) = old.next_if(|kept| kept.item.key() < key) {
                items.push(kept.clone());
            }
            let replaced = old.next_if(|kept| kept.item.key() == key);
            match new {
                Some(_) if replaced.is_some() && !T::REPLACEABLE => return Err(T::fault(Conflict::Present(key))),
                Some(new) => items.push(Arc::new(new)),
                None if replaced.is_none() => return Err(T::fault(Conflict::Absent(key))),
                None => {}
            }
        }
        items.extend(old.cloned());
        Ok(Self { items: items.into(), root: Arc::default() })
    }
}

impl<T> Clone for Sorted<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), root: self.root.clone() }
    }
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { items: Arc::new([]), root: Arc::default() }
    }
}

impl<T: Eq> PartialEq for Sorted<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.items, &other.items) || self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for Sorted<T> {}

impl<T: fmt::Debug> fmt::Debug for Sorted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
