use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use qrinfo_core::{Attempt, AttemptError, Reply, SyncPhase, Timing, WhyGivenUp};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout, timeout_at},
};
use tower_service::Service;

use crate::{
    Backoff, FailureClass, RecoveryEvent, RecoveryHandle, RecoveryManager, RecoverySettings, RecoveryStrategy,
    RetryBudget,
    layer::Observer,
    pursuit::{Next, Pursuit},
    window::LatestAttempts,
};

/// All that travels this stack belongs to it.
pub(crate) const PHASE: SyncPhase = SyncPhase::MasternodeLists;

type Answer = Result<(Reply, Timing), AttemptError>;

/// Asks again elsewhere what fails, until there is a reply or a reason to give up. Made by a
/// [`RecoveryLayer`](crate::RecoveryLayer).
///
/// Timeouts and disconnects are not held against a request while failures mount, that is, while more than 0.3 of the
/// latest twenty attempts fail of congestion, at two or more peers, and others are answered: of many requests some would
/// use up their attempts by mere chance. Its deadline ends such a request.
///
/// It is always ready: its requests wait for the service below as long as that takes. A request fails with the kind of
/// its last failure and a [`GivenUp`](qrinfo_core::GivenUp) as source, which holds them all. Dropping the future cancels the
/// request. Clones share one budget and one record of failures.
pub struct Recovery<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    settings: RecoverySettings,
    /// Who is connected.
    peers: RecoveryHandle,
    observer: Observer,
    decisions: Mutex<Decisions>,
}

/// What decides, and remembers.
struct Decisions {
    manager: RecoveryManager,
    backoff: Backoff,
    budget: RetryBudget,
    latest: LatestAttempts,
    /// The number of the next request, by which the manager counts: callers may use one id twice.
    next: u64,
}

/// How an attempt ended.
enum Ended {
    Answered(Reply, Timing),
    Failed(AttemptError),
    /// There is nothing to wait for any more.
    Over(WhyGivenUp),
}

/// A request that is counted, until it is dropped.
struct Counted<'a> {
    shared: &'a Shared,
    number: u64,
}

// === impl Recovery ===

impl<S> Recovery<S> {
    pub(crate) fn new(inner: S, settings: RecoverySettings, peers: Option<RecoveryHandle>, observer: Observer) -> Self {
        tracing::debug!(seed = settings.seed, "jitter is drawn from this seed");
        let decisions = Decisions {
            manager: RecoveryManager::new(&settings),
            backoff: Backoff::new(settings.seed),
            budget: RetryBudget::new(settings.budget, settings.budget_per_second),
            latest: LatestAttempts::default(),
            next: 0,
        };
        let (peers, decisions) = (peers.unwrap_or_default(), Mutex::new(decisions));
        Self { inner, shared: Arc::new(Shared { settings, peers, observer, decisions }) }
    }
}

impl<S> Service<Attempt> for Recovery<S>
where
    S: Service<Attempt, Response = (Reply, Timing), Error = AttemptError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = (Reply, Timing);
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        Box::pin(async move { shared.pursue(inner, attempt).await })
    }
}

impl<S: Clone> Clone for Recovery<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S: fmt::Debug> fmt::Debug for Recovery<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("inner", &self.inner).field("settings", &self.shared.settings).finish()
    }
}

// === impl Shared ===

impl Shared {
    async fn pursue<S>(&self, mut inner: S, attempt: Attempt) -> Answer
    where
        S: Service<Attempt, Response = (Reply, Timing), Error = AttemptError>,
    {
        let counted = Counted::new(self);
        let mut pursuit = Pursuit::new(&attempt, &self.settings);
        let why = loop {
            // From before the attempt: who joins while it is under way need not be waited for afterwards.
            let changes = self.peers.changes();
            let error = match self.attempt(&mut inner, &attempt, &pursuit).await {
                Ended::Answered(reply, timing) => {
                    self.decisions().latest.push(None);
                    return Ok((reply, timing));
                }
                Ended::Failed(error) => error,
                Ended::Over(why) => break why,
            };
            let next = self.decide(counted.number, attempt.id, &mut pursuit, error);
            let waited = by(pursuit.deadline(), self.wait(next, &pursuit, changes)).await;
            if let Err(why) = waited.unwrap_or(Err(WhyGivenUp::DeadlinePassed)) {
                break why;
            }
        };
        self.tell(&RecoveryEvent::GaveUp { request: attempt.id, why });
        Err(pursuit.give_up(why))
    }

    async fn attempt<S>(&self, inner: &mut S, attempt: &Attempt, pursuit: &Pursuit) -> Ended
    where
        S: Service<Attempt, Response = (Reply, Timing), Error = AttemptError>,
    {
        let deadline = pursuit.deadline();
        let avoid = pursuit.avoid(&self.peers.book());
        let attempt = Attempt { avoid, deadline, ..attempt.clone() };
        let answer = async {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(attempt).await
        };
        tokio::select! {
            biased;
            answer = by(deadline, answer) => match answer {
                Some(Ok((reply, timing))) => Ended::Answered(reply, timing),
                Some(Err(error)) => Ended::Failed(error),
                None => Ended::Over(WhyGivenUp::DeadlinePassed),
            },
            () = self.peers.deserted(self.settings.network_timeout) => Ended::Over(WhyGivenUp::NoPeers),
        }
    }

    /// Decides on a failure, and tells what was decided.
    fn decide(&self, number: u64, request: u64, pursuit: &mut Pursuit, error: AttemptError) -> Next {
        let now = now();
        let (kind, peer) = (error.kind(), error.peer());
        let (strategy, excused) = {
            let Decisions { manager, latest, .. } = &mut *self.decisions();
            let congestion = FailureClass::of(kind).congestion;
            // A refusal is no answer: it says nothing about the others.
            if congestion {
                latest.push(Some((kind, peer)));
            }
            let excused = congestion && latest.failures_mount();
            (manager.strategy_for_one(PHASE, number, &error, excused, now), excused)
        };
        let (next, banned) = {
            let mut book = self.peers.book();
            let at_fault = peer.filter(|_| FailureClass::of(kind).peers_fault);
            let banned = at_fault.filter(|peer| book.banned.insert(*peer));
            if let Some(peer) = at_fault {
                book.connected.remove(&peer);
            }
            (pursuit.failed(error, &strategy, excused, &book, now), banned)
        };
        if let Some(peer) = banned {
            self.peers.changed();
            self.tell(&RecoveryEvent::Banned { peer, error: kind });
        }
        let strategy = match next {
            Next::Now => RecoveryStrategy::SwitchPeer,
            Next::Later(delay) => RecoveryStrategy::Retry { delay },
            Next::WhenPeersJoin => RecoveryStrategy::WaitForNetwork { timeout: self.settings.network_timeout },
            Next::GiveUp(_) => match strategy {
                RecoveryStrategy::RestartPhase { .. } | RecoveryStrategy::SkipPhase { .. } => strategy,
                _ => RecoveryStrategy::Abort { error: kind },
            },
        };
        self.tell(&RecoveryEvent::Decided { request, peer, error: kind, strategy });
        next
    }

    /// Waits until it is time for what comes next.
    async fn wait(&self, next: Next, pursuit: &Pursuit, changes: watch::Receiver<u64>) -> Result<(), WhyGivenUp> {
        match next {
            Next::GiveUp(why) => Err(why),
            Next::Now => {
                self.retry_granted().await;
                Ok(())
            }
            Next::Later(bound) => {
                let jitter = self.decisions().backoff.draw(bound);
                sleep(jitter).await;
                self.retry_granted().await;
                Ok(())
            }
            Next::WhenPeersJoin => {
                let joined = self.somebody_joined(pursuit, changes);
                match timeout(self.settings.network_timeout, joined).await {
                    Ok(true) => Ok(()),
                    Ok(false) | Err(_) if self.peers.connected() > 0 => Err(WhyGivenUp::NobodyElse),
                    Ok(false) | Err(_) => Err(WhyGivenUp::NoPeers),
                }
            }
        }
    }

    /// Waits for a retry of the budget.
    async fn retry_granted(&self) {
        loop {
            let granted = self.decisions().budget.take(now());
            match granted {
                Ok(()) => return,
                Err(Some(at)) => sleep_until(at.into()).await,
                // Only further requests earn one.
                Err(None) => sleep(self.settings.longest_backoff.max(Duration::from_secs(1))).await,
            }
        }
    }

    /// Waits until there is somebody who has not failed the request, or nobody will come.
    async fn somebody_joined(&self, pursuit: &Pursuit, mut changes: watch::Receiver<u64>) -> bool {
        loop {
            {
                let book = self.peers.book();
                if book.has_other_than(&pursuit.avoid(&book)) {
                    return true;
                }
                if book.closed {
                    return false;
                }
            }
            // It fails only without a sender, and that lives in `self`.
            let _ = changes.changed().await;
        }
    }

    fn tell(&self, event: &RecoveryEvent) {
        tracing::debug!(?event);
        (self.observer)(event);
    }

    fn decisions(&self) -> MutexGuard<'_, Decisions> {
        // What is kept stays of use whoever panics: at worst a count is off by one.
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counted ===

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut decisions = shared.decisions();
        decisions.budget.earn();
        decisions.next += 1;
        Self { shared, number: decisions.next }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.shared.decisions().manager.forget(self.number);
    }
}

/// A future's output, unless the deadline passes first.
async fn by<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
