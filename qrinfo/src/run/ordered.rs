use std::{error::Error, future::Future};

use qrinfo_core::AttemptService;
use tokio::sync::broadcast;

use super::{Delivered, SequentialSync, SyncEvent, SyncReport, SyncStats};

/// A sync that delivers in the order of its plan, in either mode: for code that serves both.
///
/// ```
/// use qrinfo::{OrderedSync, SyncReport};
///
/// async fn count(mut sync: impl OrderedSync) -> (usize, SyncReport) {
///     let mut replies = 0;
///     while sync.next().await.is_some() {
///         replies += 1;
///     }
///     (replies, sync.into_report())
/// }
/// ```
pub trait OrderedSync: Send {
    /// The next reply, or `None` when the sync has ended. Safe to cancel.
    fn next(&mut self) -> impl Future<Output = Option<Delivered>> + Send;

    /// Takes back the reply that was delivered last, because it is false: it comes again from another peer.
    fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>);

    /// The reply that was delivered last was not taken: it counts as missing if the sync ends here.
    fn return_last(&mut self);

    /// What the sync did so far.
    fn stats(&self) -> SyncStats;

    /// The events from now on.
    fn events(&self) -> broadcast::Receiver<SyncEvent>;

    /// The end of the sync. Requests without a delivered reply count as missing.
    fn into_report(self) -> SyncReport;
}

impl<S> OrderedSync for SequentialSync<S>
where
    S: AttemptService<Future: Send + 'static> + Clone + Send + 'static,
{
    fn next(&mut self) -> impl Future<Output = Option<Delivered>> + Send {
        self.next()
    }

    fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>) {
        self.reject_last(why);
    }

    fn return_last(&mut self) {
        self.return_last();
    }

    fn stats(&self) -> SyncStats {
        self.stats()
    }

    fn events(&self) -> broadcast::Receiver<SyncEvent> {
        self.events()
    }

    fn into_report(self) -> SyncReport {
        self.into_report()
    }
}

#[cfg(feature = "parallel-qrinfo")]
impl OrderedSync for super::ParallelSync {
    fn next(&mut self) -> impl Future<Output = Option<Delivered>> + Send {
        self.next()
    }

    fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>) {
        self.reject_last(why);
    }

    fn return_last(&mut self) {
        self.return_last();
    }

    fn stats(&self) -> SyncStats {
        self.stats()
    }

    fn events(&self) -> broadcast::Receiver<SyncEvent> {
        self.events()
    }

    fn into_report(self) -> SyncReport {
        self.into_report()
    }
}
