//! One way to drive either kind of sync.

use std::num::NonZeroUsize;

use qrinfo::{
    AttemptService, Delivered, ParallelOptions, ParallelSync, Peer, SequentialOptions, SequentialSync, SyncReport,
    SyncStats,
};
use qrinfo_core::QRInfoRequestSpec;
use qrinfo_verify::Falsehood;

/// A sync under way, in one of the two modes.
pub(crate) enum Run<S> {
    Sequential(Box<SequentialSync<S>>),
    Parallel(Box<ParallelSync>),
}

impl<S> Run<S>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    pub(crate) fn sequential(plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>) -> Self {
        Self::Sequential(Box::new(SequentialSync::new(plan, peers, SequentialOptions::default())))
    }

    pub(crate) fn parallel(plan: Vec<QRInfoRequestSpec>, peers: Vec<Peer<S>>, max_concurrent: NonZeroUsize) -> Self {
        let options = ParallelOptions { max_concurrent, ..Default::default() };
        Self::Parallel(Box::new(ParallelSync::new(plan, peers, options)))
    }

    pub(crate) async fn next(&mut self) -> Option<Delivered> {
        match self {
            Self::Sequential(sync) => sync.next().await,
            Self::Parallel(sync) => sync.next().await,
        }
    }

    pub(crate) fn reject_last(&mut self, why: Falsehood) {
        match self {
            Self::Sequential(sync) => sync.reject_last(why),
            Self::Parallel(sync) => sync.reject_last(why),
        }
    }

    pub(crate) fn stats(&self) -> SyncStats {
        match self {
            Self::Sequential(sync) => sync.stats(),
            Self::Parallel(sync) => sync.stats(),
        }
    }

    pub(crate) fn into_report(self) -> SyncReport {
        match self {
            Self::Sequential(sync) => sync.into_report(),
            Self::Parallel(sync) => sync.into_report(),
        }
    }
}

/// How many requests are under way unless the user says otherwise: four for each peer, 32 at most.
pub(crate) fn default_concurrency(peers: usize) -> NonZeroUsize {
    NonZeroUsize::new((4 * peers).min(32)).unwrap_or(NonZeroUsize::MIN)
}
