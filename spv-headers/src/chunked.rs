//! A list that grows without being moved.

use std::sync::Arc;

/// Items in one allocation.
const CHUNK: usize = 4096;

/// A list in pieces of 4,096 items. Growth moves nothing and leaves less than one piece empty; a vector would copy all
/// of it and leave up to half empty. Clones share the pieces until one of them changes.
#[derive(Debug, Clone)]
pub(crate) struct Chunked<T>(Vec<Arc<Vec<T>>>);

// === impl Chunked ===

impl<T: Copy> Chunked<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        let last = self.0.last().map_or(0, |chunk| chunk.len());
        self.0.len().saturating_sub(1) * CHUNK + last
    }

    pub(crate) fn push(&mut self, item: T) {
        match self.0.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => Arc::make_mut(chunk).push(item),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.0.push(Arc::new(chunk));
            }
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / CHUNK)?.get(index % CHUNK)
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.get(0)
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.0.last()?.last()
    }

    /// Takes away the items from an index on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len.div_ceil(CHUNK));
        let rest = len.checked_sub(1).map_or(0, |last| last % CHUNK + 1);
        if let Some(chunk) = self.0.get_mut(len.div_ceil(CHUNK).wrapping_sub(1)) {
            Arc::make_mut(chunk).truncate(rest);
        }
    }

    /// The items from an index on.
    pub(crate) fn starting_at(&self, index: usize) -> impl DoubleEndedIterator<Item = &T> {
        let first = self.0.get(index / CHUNK).and_then(|chunk| chunk.get(index % CHUNK..)).unwrap_or_default();
        first.iter().chain(self.0.iter().skip(index / CHUNK + 1).flat_map(|chunk| chunk.iter()))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.starting_at(0)
    }

    /// The index of the last item that fits.
    pub(crate) fn last_index_of(&self, fits: impl Fn(&T) -> bool) -> Option<usize> {
        let (chunk, index) =
            (0..self.0.len()).rev().find_map(|chunk| Some((chunk, self.0.get(chunk)?.iter().rposition(&fits)?)))?;
        Some(chunk * CHUNK + index)
    }
}

impl<T: Copy> FromIterator<T> for Chunked<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::new();
        items.into_iter().for_each(|item| list.push(item));
        list
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_as_a_vector(lengths in prop::collection::vec(0_usize..10_000, 1..6), at in 0_usize..10_000) {
            let (mut list, mut vector) = (Chunked::new(), Vec::new());
            for length in lengths {
                while vector.len() < length {
                    list.push(vector.len());
                    vector.push(vector.len());
                }
                list.truncate(length);
                vector.truncate(length);
                prop_assert_eq!(list.len(), vector.len());
                prop_assert_eq!((list.first(), list.last(), list.get(at)), (vector.first(), vector.last(), vector.get(at)));
                prop_assert!(list.iter().eq(&vector) && list.iter().rev().eq(vector.iter().rev()));
                prop_assert!(list.starting_at(at).eq(vector.get(at..).unwrap_or_default()));
                prop_assert_eq!(list.last_index_of(|item| *item <= at), vector.iter().rposition(|item| *item <= at));
            }
        }
    }
}
