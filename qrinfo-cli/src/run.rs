//! The two modes of a sync, as the command runs them.

use std::num::NonZeroUsize;

use qrinfo::{AttemptService, ParallelOptions, ParallelSync, Peer, SequentialOptions, SequentialSync};
use qrinfo_core::QRInfoRequestSpec;

pub(crate) fn sequential<S>(plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>) -> SequentialSync<S>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    SequentialSync::new(plan, peers, SequentialOptions::default())
}

pub(crate) fn parallel<S>(
    plan: Vec<QRInfoRequestSpec>,
    peers: Vec<Peer<S>>,
    max_concurrent: NonZeroUsize,
) -> ParallelSync
where
    S: AttemptService<Future: Send> + Send + 'static,
{
    ParallelSync::new(plan, peers, ParallelOptions { max_concurrent, ..Default::default() })
}

/// How many requests are under way unless the user says otherwise: four for each peer, 32 at most.
pub(crate) fn default_concurrency(peers: usize) -> NonZeroUsize {
    NonZeroUsize::new((4 * peers).min(32)).unwrap_or(NonZeroUsize::MIN)
}
