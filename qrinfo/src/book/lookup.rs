/// An answer of the [`QuorumBook`](super::QuorumBook).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<T> {
    /// The answer.
    Found(T),
    /// The answer depends on blocks that the book does not cover yet.
    NotYet {
        /// The height that the book covers. 0 before the first list.
        synced_to: u32,
        /// The height to [wait for](super::QuorumBook::wait_for) before the question is asked again. It is above
        /// `synced_to`, or the first list is missing.
        wait_for: u32,
    },
    /// The book covers the blocks in question and does not have it, or these blocks lie below what the book keeps.
    Unknown,
}

// === impl Lookup ===

impl<T> Lookup<T> {
    /// Returns the answer, if there is one.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::NotYet { .. } | Self::Unknown => None,
        }
    }

    /// Changes the answer, if there is one.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(found) => Lookup::Found(change(found)),
            Self::NotYet { synced_to, wait_for } => Lookup::NotYet { synced_to, wait_for },
            Self::Unknown => Lookup::Unknown,
        }
    }
}
