use std::time::Instant;

use qrinfo_core::Reply;
#[cfg(feature = "parallel-qrinfo")]
use {
    qrinfo_core::Request,
    qrinfo_correlate::{Correlated, QRInfoCorrelationManager, RegisterError, Registered},
    std::time::Duration,
};

use crate::{HandledQRInfo, MasternodeSyncManager};

/// Routes the replies that a client's own message loop receives: dash-spv's handler of that name, as far as it concerns
/// masternode lists.
///
/// A reply belongs first to a [registered](Self::register_qrinfo_request) request that it answers, then to the one
/// request of the [`MasternodeSyncManager`]. Without registered requests, or without the feature `parallel-qrinfo`,
/// every reply goes to the latter.
#[derive(Debug, Default)]
pub struct MessageHandler {
    #[cfg(feature = "parallel-qrinfo")]
    correlator: Option<QRInfoCorrelationManager>,
}

/// The destination of a reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum RoutedReply {
    /// The caller that registered this request, or none if it is another peer's copy of the reply.
    #[cfg(feature = "parallel-qrinfo")]
    Correlated(Correlated),
    /// To the manager.
    Sequential(HandledQRInfo),
}

// === impl MessageHandler ===

impl MessageHandler {
    /// A handler for a sequential client.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands on a `qrinfo`, or a `mnlistdiff` that may have been registered. `now` is tokio's time.
    pub fn handle_qrinfo_message(
        &mut self,
        reply: impl Into<Reply>,
        manager: &mut MasternodeSyncManager,
        now: Instant,
    ) -> RoutedReply {
        match self.correlate(reply.into(), now) {
            Ok(routed) => routed,
            Err(reply) => RoutedReply::Sequential(manager.handle_qrinfo_message(reply)),
        }
    }

    #[cfg(not(feature = "parallel-qrinfo"))]
    fn correlate(&mut self, reply: Reply, _: Instant) -> Result<RoutedReply, Reply> {
        Err(reply)
    }
}

#[cfg(feature = "parallel-qrinfo")]
impl MessageHandler {
    /// A handler for a client that asks for several lists at a time. A request fails if no peer answers it for
    /// `timeout` while it is the oldest.
    pub fn new_with_parallel_qrinfo(timeout: Duration) -> Self {
        Self { correlator: Some(QRInfoCorrelationManager::new(timeout)) }
    }

    /// Registers a request that is now sent to `peers` peers: send the message of the returned [`Registered`], and wait
    /// for its receiver. `None` without [`new_with_parallel_qrinfo`](Self::new_with_parallel_qrinfo).
    ///
    /// # Errors
    /// [`RegisterError`]; then it must not be sent.
    pub fn register_qrinfo_request(
        &mut self,
        request: impl Into<Request>,
        peers: usize,
        now: Instant,
    ) -> Option<Result<Registered, RegisterError>> {
        self.correlator.as_mut().map(|correlator| correlator.register_request(request, peers, now))
    }

    /// Fails the registered requests that were not answered in time, and says how many. Call it every second or so.
    pub fn cleanup_expired_requests(&mut self, now: Instant) -> usize {
        self.correlator.as_mut().map_or(0, |correlator| correlator.cleanup_expired_requests(now))
    }

    fn correlate(&mut self, reply: Reply, now: Instant) -> Result<RoutedReply, Reply> {
        let Some(correlator) = &mut self.correlator else { return Err(reply) };
        correlator.handle_qr_info_response(reply, now).map(RoutedReply::Correlated).map_err(|unmatched| unmatched.reply)
    }
}
