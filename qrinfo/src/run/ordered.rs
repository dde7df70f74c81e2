use std::{error::Error, future::Future};

use tokio::sync::broadcast;

use super::{Delivered, SyncEvent, SyncReport, SyncStats};

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
    /// Returns the next reply in the order of the plan, or `None` when the sync has ended. A request that was given up is
    /// passed over; [`into_report`](Self::into_report) names it.
    ///
    /// Safe to cancel: a dropped call loses no reply, nor a request in flight.
    fn next(&mut self) -> impl Future<Output = Option<Delivered>> + Send;

    /// Takes back the reply that was delivered last, because it is false. Its peer is not asked again, and the request
    /// is sent to another peer; later replies of the plan are delivered after its new reply. Over a network that does
    /// not name its peers the request is sent to all again, as often as it may fail. Does nothing without such a reply,
    /// or if it was taken back before.
    ///
    /// This is for faults that only the reply's place in the plan shows, such as a list that does not follow from the
    /// one before; see the crate `qrinfo-verify`.
    fn reject_last(&mut self, why: impl Into<Box<dyn Error + Send + Sync>>);

    /// Gives back the reply that was delivered last, because the receiver did not take it: it counts as missing if the
    /// sync ends here, and its request is sent again if the sync goes on. No peer is blamed.
    fn return_last(&mut self);

    /// Returns the counts so far. Attempts of a parallel sync are counted when they have ended.
    fn stats(&self) -> SyncStats;

    /// Returns the events from now on. A slow listener misses the oldest beyond a thousand.
    fn events(&self) -> broadcast::Receiver<SyncEvent>;

    /// Ends the sync. Requests without a delivered reply count as missing.
    fn into_report(self) -> SyncReport;
}
