use std::sync::{Arc, Mutex, PoisonError};

use qrinfo_core::{PeerTable, RecoveryEvent};
use tokio::sync::watch;

use crate::{history::History, settings::RecoverySettings};

/// A layer that repeats failed requests at other peers; its service is [`Recovery`](crate::Recovery).
///
/// It belongs outside every limit, so that a request that waits for a retry holds no permit, and around the checks of a
/// reply, so that a request with a false reply is repeated. The service below chooses the peer. It should keep to
/// [`Attempt::avoid`](qrinfo_core::Attempt::avoid), as a scheduler does; if it does not, each repeated failure uses up
/// an attempt.
///
/// ```
/// use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind};
/// use qrinfo_recovery::{RecoveryEvent, RecoveryLayer, RecoverySettings};
/// use tower::{ServiceBuilder, service_fn};
///
/// let layer = RecoveryLayer::new(RecoverySettings::default()).on_event(|event| {
///     if let RecoveryEvent::GaveUp { request, why } = event {
///         println!("request {request}: {why}");
///     }
/// });
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: Attempt| async {
///     Err::<Answer, _>(AttemptError::new(AttemptErrorKind::Timeout))
/// }));
/// # drop(service);
/// ```
#[derive(Clone, derive_more::Debug)]
pub struct RecoveryLayer {
    pub(crate) settings: RecoverySettings,
    #[debug(skip)]
    pub(crate) peers: Option<watch::Receiver<PeerTable>>,
    #[debug(skip)]
    pub(crate) observer: Arc<dyn Fn(&RecoveryEvent) + Send + Sync>,
    #[debug(skip)]
    pub(crate) history: Arc<Mutex<History>>,
}

// === impl RecoveryLayer ===

impl RecoveryLayer {
    /// A layer with these settings, without a ledger of peers and without an observer.
    pub fn new(settings: RecoverySettings) -> Self {
        Self { settings, peers: None, observer: Arc::new(|_| {}), history: Arc::default() }
    }

    /// Follows a ledger of peers, such as a scheduler's. A request that all peers have refused is then given up at
    /// once, a request that all have failed waits for another peer to join, and all requests are given up when no peer
    /// has been connected for [`network_timeout`](crate::RetryPolicy::network_timeout).
    #[must_use]
    pub fn with_peers(self, peers: watch::Receiver<PeerTable>) -> Self {
        Self { peers: Some(peers), ..self }
    }

    /// Calls `observer` with every decision, in the task that polls the request; it must not block.
    #[must_use]
    pub fn on_event(self, observer: impl Fn(&RecoveryEvent) + Send + Sync + 'static) -> Self {
        Self { observer: Arc::new(observer), ..self }
    }

    /// The latest decisions of all services of this layer and its clones.
    pub fn history(&self) -> History {
        // A panic elsewhere leaves no record incomplete.
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
