//! Defaults of the commands that sync.

use std::num::NonZeroUsize;

/// Returns the number of requests in flight that suits a number of peers: four for each, at most 32.
pub(crate) fn default_concurrency(peers: usize) -> NonZeroUsize {
    NonZeroUsize::new((4 * peers).min(32)).unwrap_or(NonZeroUsize::MIN)
}
