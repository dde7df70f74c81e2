use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use qrinfo_core::{Attempt, AttemptError, Reply, Timing};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::{RecoveryEvent, RecoveryManager, RecoverySettings, service::PHASE, window::LatestAttempts};

/// Sees how attempts end, and says when so many fail that there should be fewer at a time.
///
/// It looks back on the latest twenty attempts of all its services together and leaves the conclusion to
/// [`RecoveryManager::determine_parallel_strategy`]. A connection that ends counts as one failure, however many requests
/// end with it.
///
/// It belongs around each peer's service: a scheduler that asks a second peer when the first is slow hides failures from
/// what stands above it.
///
/// ```
/// use std::sync::Mutex;
/// use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, Reply, Timing};
/// use qrinfo_recovery::{ConcurrencyThrottle, FailureWatchLayer, RecoveryEvent, RecoverySettings};
/// use tower::{Layer, service_fn};
///
/// let throttle = Mutex::new(ConcurrencyThrottle::new(3));
/// let watch = FailureWatchLayer::new(&RecoverySettings::default(), move |event| {
///     let now = tokio::time::Instant::now().into_std();
///     if let (RecoveryEvent::SlowDown { strategy, .. }, Ok(mut throttle)) = (event, throttle.lock()) {
///         throttle.apply(strategy, now);
///     }
/// });
/// let peer = watch.layer(service_fn(|_: Attempt| async {
///     Err::<(Reply, Timing), _>(AttemptError::new(AttemptErrorKind::Timeout))
/// }));
/// # drop(peer);
/// ```
#[derive(Clone)]
pub struct FailureWatchLayer {
    watch: Arc<Watch>,
}

/// A service whose attempts are watched. Made by a [`FailureWatchLayer`].
#[derive(Clone)]
pub struct FailureWatch<S> {
    inner: S,
    watch: Arc<Watch>,
}

struct Watch {
    max_concurrent: usize,
    seen: Mutex<(RecoveryManager, LatestAttempts)>,
    observer: Box<dyn Fn(&RecoveryEvent) + Send + Sync>,
}

// === impl FailureWatchLayer ===

impl FailureWatchLayer {
    /// A layer that calls `observer` with a [`SlowDown`](RecoveryEvent::SlowDown) when failures mount. Of the settings it
    /// takes the most requests at a time and the time in sequence.
    pub fn new(settings: &RecoverySettings, observer: impl Fn(&RecoveryEvent) + Send + Sync + 'static) -> Self {
        let seen = Mutex::new((RecoveryManager::new(settings), LatestAttempts::default()));
        let watch = Watch { max_concurrent: settings.max_concurrent, seen, observer: Box::new(observer) };
        Self { watch: Arc::new(watch) }
    }
}

impl<S> Layer<S> for FailureWatchLayer {
    type Service = FailureWatch<S>;

    fn layer(&self, inner: S) -> FailureWatch<S> {
        FailureWatch { inner, watch: self.watch.clone() }
    }
}

impl<S> Service<Attempt> for FailureWatch<S>
where
    S: Service<Attempt, Response = (Reply, Timing), Error = AttemptError>,
    S::Future: Send + 'static,
{
    type Response = (Reply, Timing);
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = Result<(Reply, Timing), AttemptError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (answer, watch) = (self.inner.call(attempt), self.watch.clone());
        Box::pin(async move {
            let answer = answer.await;
            watch.ended(answer.as_ref().err());
            answer
        })
    }
}

// === impl Watch ===

impl Watch {
    fn ended(&self, failure: Option<&AttemptError>) {
        let event = {
            // What is kept stays of use whoever panics.
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let (manager, latest) = &mut *seen;
            manager.record_parallel_attempt(1, usize::from(failure.is_none()));
            latest.push(failure.map(|error| (error.kind(), error.peer())));
            let Some((failures, attempts)) = latest.failures() else { return };
            let now = Instant::now().into_std();
            let Some(strategy) = manager.strategy_for_all(PHASE, &failures, attempts, self.max_concurrent, now) else {
                return;
            };
            latest.clear();
            RecoveryEvent::SlowDown { strategy, failures: failures.len(), attempts }
        };
        tracing::info!(?event);
        (self.observer)(&event);
    }
}

impl fmt::Debug for FailureWatchLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureWatchLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for FailureWatch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureWatch").field("inner", &self.inner).finish_non_exhaustive()
    }
}
