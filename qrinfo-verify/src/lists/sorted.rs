//! A sorted list whose versions share unchanged items.

use std::{fmt, slice, sync::Arc};

/// An item of a sorted list.
pub(crate) trait Item {
    type Key: Ord + Copy;

    /// True if a change may replace an existing item.
    const REPLACEABLE: bool;

    fn key(&self) -> Self::Key;
}

/// Items in ascending order of their keys.
///
/// A version is one array of pointers: 8 bytes for each item, and the items that changed. That is a few times less than
/// what trees of shared nodes take when the changes of a cycle are spread over the whole list, as they are.
pub(crate) struct Sorted<T> {
    items: Arc<[Arc<T>]>,
}

/// A change of one key: a new item, or a deletion.
pub(crate) struct Change<T: Item> {
    pub(crate) key: T::Key,
    pub(crate) item: Option<T>,
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

impl<T: Item> Sorted<T> {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> slice::Iter<'_, Arc<T>> {
        self.items.iter()
    }

    pub(crate) fn get(&self, key: &T::Key) -> Option<&T> {
        let place = self.items.binary_search_by_key(key, |item| item.key()).ok()?;
        self.items.get(place).map(AsRef::as_ref)
    }

    /// The list after these changes, in any order.
    pub(crate) fn changed(&self, mut changes: Vec<Change<T>>) -> Result<Self, Conflict<T::Key>> {
        changes.sort_by_key(|change| change.key);
        for (change, next) in changes.iter().zip(changes.iter().skip(1)) {
            if change.key == next.key {
                return Err(Conflict::Twice(change.key));
            }
        }
        let mut items = Vec::with_capacity(self.items.len() + changes.len());
        let mut old = self.items.iter().peekable();
        for Change { key, item } in changes {
            while let Some(kept) = old.next_if(|kept| kept.key() < key) {
                items.push(kept.clone());
            }
            let replaced = old.next_if(|kept| kept.key() == key);
            match item {
                Some(_) if replaced.is_some() && !T::REPLACEABLE => return Err(Conflict::Present(key)),
                Some(item) => items.push(Arc::new(item)),
                None if replaced.is_none() => return Err(Conflict::Absent(key)),
                None => {}
            }
        }
        items.extend(old.cloned());
        Ok(Self { items: items.into() })
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.items, &other.items)
    }
}

impl<T> Clone for Sorted<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone() }
    }
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { items: Arc::new([]) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sorted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.iter()).finish()
    }
}
