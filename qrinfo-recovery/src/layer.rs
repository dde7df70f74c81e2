use std::{fmt, sync::Arc};

use tower_layer::Layer;

use crate::{Recovery, RecoveryEvent, RecoveryHandle, RecoverySettings};

/// Makes a [`Recovery`] of a service, which asks again elsewhere what fails.
///
/// It belongs outside every limit, so that a request that waits to be asked again holds no permit, and around the
/// checks of a reply, so that a false one is asked for again. The service below chooses the peer; it has to keep to
/// [`Attempt::avoid`](qrinfo_core::Attempt::avoid), as a scheduler does.
///
/// ```
/// use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, Reply, Timing};
/// use qrinfo_recovery::{RecoveryEvent, RecoveryLayer, RecoverySettings};
/// use tower::{ServiceBuilder, service_fn};
///
/// let layer = RecoveryLayer::new(RecoverySettings::default()).on_event(|event| {
///     if let RecoveryEvent::Banned { peer, .. } = event {
///         println!("{peer} is out");
///     }
/// });
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(|_: Attempt| async {
///     Err::<(Reply, Timing), _>(AttemptError::new(AttemptErrorKind::Timeout))
/// }));
/// # drop(service);
/// ```
#[derive(Clone)]
pub struct RecoveryLayer {
    settings: RecoverySettings,
    peers: Option<RecoveryHandle>,
    observer: Observer,
}

/// Who is told what was decided.
pub(crate) type Observer = Arc<dyn Fn(&RecoveryEvent) + Send + Sync>;

// === impl RecoveryLayer ===

impl RecoveryLayer {
    /// A layer that keeps to `settings`. It knows nothing of who is connected, and tells nobody what it decides.
    pub fn new(settings: RecoverySettings) -> Self {
        Self { settings, peers: None, observer: Arc::new(|_| {}) }
    }

    /// Learns from `peers` who is connected: a request that they have all refused is given up at once, one that they
    /// have all failed waits for another to join, and all are given up when there has been nobody for
    /// [`network_timeout`](RecoverySettings::network_timeout).
    #[must_use]
    pub fn with_peers(self, peers: RecoveryHandle) -> Self {
        peers.book().watched = true;
        Self { peers: Some(peers), ..self }
    }

    /// Calls `observer` with every decision. It is called where the request's future is polled, so it must not block.
    #[must_use]
    pub fn on_event(self, observer: impl Fn(&RecoveryEvent) + Send + Sync + 'static) -> Self {
        Self { observer: Arc::new(observer), ..self }
    }
}

impl<S> Layer<S> for RecoveryLayer {
    type Service = Recovery<S>;

    fn layer(&self, inner: S) -> Recovery<S> {
        Recovery::new(inner, self.settings, self.peers.clone(), self.observer.clone())
    }
}

impl fmt::Debug for RecoveryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryLayer").field("settings", &self.settings).field("peers", &self.peers).finish()
    }
}
