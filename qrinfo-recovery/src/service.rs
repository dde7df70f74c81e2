use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use qrinfo_core::{
    Attempt, AttemptError, AttemptResult, AttemptService, PeerTable, RecoveryEvent, SyncPhase, WhyGivenUp,
    retry::{FailureClass, RecoveryStrategy, RetryState},
};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout, timeout_at},
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument;

use crate::{backoff::Backoff, budget::RetryBudget, history::RecoveryRecord, layer::RecoveryLayer};

/// A service that repeats failed requests at other peers, until there is a reply or a reason to give up. A
/// [`RecoveryLayer`](crate::RecoveryLayer) makes it.
///
/// It is always ready: its requests wait for the service below. A request fails with the kind of its last failure and a
/// [`GivenUp`](qrinfo_core::GivenUp) as its source, which holds all failures. Dropping the future cancels the request.
/// Clones share one budget.
#[derive(Clone, derive_more::Debug)]
pub struct Recovery<S> {
    inner: S,
    #[debug("{:?}", shared.layer)]
    shared: Arc<Shared>,
}

struct Shared {
    layer: RecoveryLayer,
    draws: Mutex<Draws>,
}

/// State that all requests share.
struct Draws {
    backoff: Backoff,
    budget: RetryBudget,
}

/// The ledger of peers as one request sees it.
struct Ledger(Option<watch::Receiver<PeerTable>>);

/// The end of an attempt.
enum Ended {
    Answered(qrinfo_core::Answer),
    Failed(AttemptError),
    /// The request is given up while the service below still works on it.
    Over(WhyGivenUp),
}

// === impl RecoveryLayer ===

impl<S> Layer<S> for RecoveryLayer {
    type Service = Recovery<S>;

    fn layer(&self, inner: S) -> Recovery<S> {
        Recovery::new(inner, self.clone())
    }
}

// === impl Recovery ===

impl<S> Recovery<S> {
    pub(crate) fn new(inner: S, layer: RecoveryLayer) -> Self {
        let settings = layer.settings;
        tracing::debug!(seed = settings.seed, "jitter is drawn from this seed");
        let draws = Mutex::new(Draws {
            backoff: Backoff::new(settings.seed),
            budget: RetryBudget::new(settings.budget, settings.budget_per_second),
        });
        Self { inner, shared: Arc::new(Shared { layer, draws }) }
    }
}

impl<S> Service<Attempt> for Recovery<S>
where
    S: AttemptService<Future: Send> + Clone + Send + 'static,
{
    type Response = qrinfo_core::Answer;
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = AttemptResult> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        let span = tracing::debug_span!("request", id = %attempt.id);
        Box::pin(async move { shared.pursue(inner, attempt).await }.instrument(span))
    }
}

// === impl Shared ===

impl Shared {
    async fn pursue(&self, mut inner: impl AttemptService, attempt: Attempt) -> AttemptResult {
        self.draws().budget.earn();
        let mut state = RetryState::new(&attempt, self.layer.settings.retry);
        let why = loop {
            // Taken before the attempt, so that a peer that joins during it is seen afterwards.
            let mut ledger = Ledger(self.layer.peers.clone());
            let error = match self.attempt(&mut inner, &attempt, &state, &mut ledger).await {
                Ended::Answered(answer) => return Ok(answer),
                Ended::Failed(error) => error,
                Ended::Over(why) => break why,
            };
            let kind = error.kind();
            let strategy = self.decide(&attempt, &mut state, error, &ledger);
            let done = self.carry_out(strategy, FailureClass::of(kind), &state, &mut ledger);
            if let Err(why) = with_deadline(state.deadline(), done).await.unwrap_or(Err(WhyGivenUp::DeadlinePassed)) {
                break why;
            }
        };
        self.emit(&RecoveryEvent::GaveUp { request: attempt.id, why });
        Err(state.give_up(why).into_error())
    }

    async fn attempt(
        &self,
        inner: &mut impl AttemptService,
        attempt: &Attempt,
        state: &RetryState,
        ledger: &mut Ledger,
    ) -> Ended {
        let deadline = state.deadline();
        let attempt = Attempt { avoid: state.avoid(), deadline, ..attempt.clone() };
        let answer = async {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(attempt).await
        };
        tokio::select! {
            biased;
            answer = with_deadline(deadline, answer) => match answer {
                Some(Ok(answer)) => Ended::Answered(answer),
                Some(Err(error)) => Ended::Failed(error),
                None => Ended::Over(WhyGivenUp::DeadlinePassed),
            },
            table = ledger.all_peers_gone(self.layer.settings.retry.network_timeout) => Ended::Over(state.why_no_peer(&table)),
        }
    }

    /// Decides about a failure, and records the decision.
    fn decide(
        &self,
        attempt: &Attempt,
        state: &mut RetryState,
        error: AttemptError,
        ledger: &Ledger,
    ) -> RecoveryStrategy {
        let (now, kind, peer) = (now(), error.kind(), error.peer());
        let strategy = state.failed(error, ledger.table().as_ref(), now);
        let record = RecoveryRecord {
            at: now,
            phase: SyncPhase::MasternodeLists,
            request: Some(attempt.id),
            peer,
            error: kind,
            strategy: strategy.clone(),
        };
        // A panic elsewhere leaves no record incomplete.
        self.layer.history.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        self.emit(&RecoveryEvent::Decided { request: attempt.id, peer, error: kind, strategy: strategy.clone() });
        strategy
    }

    /// Waits until it is time for the next attempt.
    async fn carry_out(
        &self,
        strategy: RecoveryStrategy,
        class: FailureClass,
        state: &RetryState,
        ledger: &mut Ledger,
    ) -> Result<(), WhyGivenUp> {
        match strategy {
            RecoveryStrategy::Abort { why } => return Err(why),
            RecoveryStrategy::WaitForNetwork { timeout } => return ledger.another_joins(state, timeout).await,
            RecoveryStrategy::Retry { delay } => {
                let jitter = self.draws().backoff.draw(delay);
                sleep(jitter).await;
            }
            _ => {}
        }
        if class.congestion {
            self.retry_granted().await;
        }
        Ok(())
    }

    /// Waits for a retry of the budget.
    async fn retry_granted(&self) {
        loop {
            let granted = self.draws().budget.take(now());
            match granted {
                Ok(()) => return,
                Err(Some(at)) => sleep_until(at.into()).await,
                // Only further requests earn one.
                Err(None) => sleep(self.layer.settings.retry.longest_backoff.max(Duration::from_secs(1))).await,
            }
        }
    }

    fn emit(&self, event: &RecoveryEvent) {
        tracing::debug!(?event);
        (self.layer.observer)(event);
    }

    fn draws(&self) -> MutexGuard<'_, Draws> {
        // The state stays usable after a panic: at worst a count is off by one.
        self.draws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Ledger ===

impl Ledger {
    fn table(&self) -> Option<PeerTable> {
        self.0.as_ref().map(|peers| peers.borrow().clone())
    }

    /// Waits until no peer has been connected for this long, or none is and none will join. Without a ledger it never
    /// ends.
    async fn all_peers_gone(&mut self, patience: Duration) -> PeerTable {
        let Some(peers) = &mut self.0 else { return std::future::pending().await };
        loop {
            let table = peers.borrow_and_update().clone();
            if !table.is_empty() {
                if peers.changed().await.is_err() {
                    // The ledger has ended, and the service below with it: the error of that service says more.
                    return std::future::pending().await;
                }
            } else if table.is_closed || !matches!(timeout(patience, peers.changed()).await, Ok(Ok(()))) {
                return table;
            }
        }
    }

    /// Waits for a peer that has not failed the request.
    async fn another_joins(&mut self, state: &RetryState, patience: Duration) -> Result<(), WhyGivenUp> {
        let Some(peers) = &mut self.0 else { return Err(WhyGivenUp::NoOtherPeer) };
        let joined = peers.wait_for(|table| table.is_closed || state.has_peer(table));
        let has_joined = matches!(timeout(patience, joined).await, Ok(Ok(table)) if state.has_peer(&table));
        match has_joined {
            true => Ok(()),
            false => Err(state.why_no_peer(&peers.borrow())),
        }
    }
}

/// The output of a future, or `None` if the deadline passes first.
async fn with_deadline<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
