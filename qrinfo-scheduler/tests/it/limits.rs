//! The limits as layers: readiness, wake-ups, order, settings. In paused time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::{collection::vec, option, prelude::*, sample::select};
use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, RequestId, RequestPriority,
};
use qrinfo_scheduler::{ConcurrencyLimitLayer, Limited, Rate, RateLimitLayer};
use tokio::time::{self, Instant};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit, service_fn, util::BoxCloneService};
use tower_test::{assert_request_eq, mock};

type Mock = mock::Mock<Attempt, &'static str>;
type Stack = BoxCloneService<Attempt, (), AttemptError>;
type Handle = mock::Handle<Attempt, &'static str>;

/// tower-test's mock fails with a `BoxError`; the limit stands among services that fail with an `AttemptError`.
#[derive(Debug, Clone)]
struct Typed(Mock);

impl Service<Attempt> for Typed {
    type Response = &'static str;
    type Error = AttemptError;
    type Future = futures_util::future::MapErr<
        <Mock as Service<Attempt>>::Future,
        fn(Box<dyn std::error::Error + Send + Sync>) -> AttemptError,
    >;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), AttemptError>> {
        self.0.poll_ready(cx).map_err(typed)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        futures_util::TryFutureExt::map_err(self.0.call(attempt), typed)
    }
}

fn typed(error: Box<dyn std::error::Error + Send + Sync>) -> AttemptError {
    match error.downcast::<AttemptError>() {
        Ok(error) => *error,
        Err(other) => AttemptError::new(AttemptErrorKind::Local).because(other),
    }
}

fn attempt(id: u64, priority: RequestPriority) -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::ZERO };
    Attempt { priority, ..Attempt::new(id, spec.into()) }
}

fn normal(id: u64) -> Attempt {
    attempt(id, RequestPriority::Normal)
}

/// The calls that reached a service: when, and for which request.
#[derive(Debug, Clone)]
struct Calls {
    start: Instant,
    calls: Arc<Mutex<Vec<(Duration, u64)>>>,
}

impl Calls {
    fn new() -> Self {
        Self { start: Instant::now(), calls: Arc::default() }
    }

    /// A service that is always ready, and takes this number of milliseconds for a request.
    fn service(&self, takes: fn(u64) -> u64) -> Stack {
        let calls = self.clone();
        BoxCloneService::new(service_fn(move |attempt: Attempt| {
            lock(&calls.calls).push((calls.start.elapsed(), attempt.id.0));
            async move {
                time::sleep(Duration::from_millis(takes(attempt.id.0))).await;
                Ok(())
            }
        }))
    }

    fn times(&self) -> Vec<u128> {
        lock(&self.calls).iter().map(|(time, _)| time.as_millis()).collect()
    }

    fn ids(&self) -> Vec<u64> {
        lock(&self.calls).iter().map(|&(_, id)| id).collect()
    }
}

/// Also after a failed assertion, so that the first one is reported.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both orders of the two limits.
fn both_orders<S>(limit: &ConcurrencyLimitLayer, rate: &RateLimitLayer, service: S) -> [Stack; 2]
where
    S: Service<Attempt, Response = (), Error = AttemptError, Future: Send> + Clone + Send + 'static,
{
    [
        BoxCloneService::new(ServiceBuilder::new().layer(limit).layer(rate).service(service.clone())),
        BoxCloneService::new(ServiceBuilder::new().layer(rate).layer(limit).service(service)),
    ]
}

fn limited(layer: &ConcurrencyLimitLayer) -> (Limited<Typed>, Handle) {
    let (mock, mut handle) = mock::pair();
    handle.allow(100);
    (layer.layer(Typed(mock)), handle)
}

#[tokio::test(start_paused = true)]
async fn the_most_urgent_goes_next_and_is_woken() {
    let layer = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = limited(&layer);
    let mut calls = Vec::new();
    for (id, priority) in [
        (0, RequestPriority::Normal),
        (1, RequestPriority::Low),
        (2, RequestPriority::Normal),
        (3, RequestPriority::Critical),
    ] {
        let mut call = task::spawn(service.ready().await.unwrap().call(attempt(id, priority)));
        assert_pending!(call.poll());
        calls.push(call);
    }
    assert_eq!(layer.in_use(), 1);
    for next in [0, 3, 2, 1] {
        let (request, respond) = handle.next_request().await.unwrap();
        assert_eq!(request.id, RequestId(next));
        assert_pending!(task::spawn(handle.next_request()).poll());
        respond.send_response("reply");
        assert_ready_ok!(calls[next as usize].poll());
        let woken: Vec<usize> = (0..4).filter(|&call| calls[call].is_woken()).collect();
        match next {
            0 => assert_eq!(woken, [3]),
            3 => assert_eq!(woken, [2]),
            2 => assert_eq!(woken, [1]),
            _ => assert_eq!(woken, [0; 0]),
        }
        for call in woken {
            assert_pending!(calls[call].poll());
        }
    }
    assert_eq!(layer.in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_its_permit_or_its_place_back() {
    let layer = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = limited(&layer);
    let mut calls: Vec<_> = Vec::new();
    for id in 0..4 {
        calls.push(task::spawn(service.ready().await.unwrap().call(normal(id))));
    }
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    // The one that waits next is woken, and dropped before it could take its turn.
    let mut calls = calls.into_iter();
    let (first, second, mut third) = (calls.next().unwrap(), calls.next().unwrap(), calls.next().unwrap());
    drop(first);
    assert!(second.is_woken());
    drop(second);
    assert!(third.is_woken());
    assert_pending!(third.poll());
    assert_eq!((layer.in_use(), handle.next_request().await.unwrap().0.id), (1, RequestId(0)));
    assert_eq!(handle.next_request().await.unwrap().0.id, RequestId(2));
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_shared_and_can_be_set() {
    let layer = ConcurrencyLimitLayer::new(1);
    let (mut one, mut handle_one) = limited(&layer);
    let (mut other, _handle_other) = limited(&layer);
    let mut first = task::spawn(one.ready().await.unwrap().call(normal(0)));
    assert_pending!(first.poll());
    let mut second = task::spawn(other.ready().await.unwrap().call(normal(1)));
    assert_pending!(second.poll());
    assert_eq!(layer.in_use(), 1);
    layer.set_limit(2);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(layer.in_use(), 2);

    layer.set_limit(0);
    assert_request_eq!(handle_one, normal(0)).send_response("reply");
    assert_ready_ok!(first.poll());
    let mut third = task::spawn(one.ready().await.unwrap().call(normal(2)));
    assert_pending!(third.poll());
    assert_eq!(layer.in_use(), 1, "what is below stays, nothing more goes");
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_held_for_a_service_that_is_not_ready() {
    let layer = ConcurrencyLimitLayer::new(1);
    let (mock, mut handle) = mock::pair();
    let mut busy = layer.layer(Typed(mock));
    handle.allow(0);
    let mut first = task::spawn(busy.ready().await.unwrap().call(normal(0)));
    assert_pending!(first.poll());
    assert_eq!(layer.in_use(), 0);
    // A request for another service of the layer is not held up by it.
    let (mut free, _other) = limited(&layer);
    let mut second = task::spawn(free.ready().await.unwrap().call(normal(1)));
    assert_pending!(second.poll());
    assert_eq!(layer.in_use(), 1);
    handle.allow(1);
    assert!(!first.is_woken(), "the permit is taken");
    drop(second);
    assert!(first.is_woken());
    assert_pending!(first.poll());
    assert_eq!((layer.in_use(), handle.next_request().await.unwrap().0.id), (1, RequestId(0)));
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_halves_on_timeouts_and_not_on_refusals() {
    let layer = ConcurrencyLimitLayer::adaptive(8);
    let (mut service, mut handle) = limited(&layer);
    for (kind, limit) in [
        (AttemptErrorKind::Refused, 8),
        (AttemptErrorKind::Timeout, 4),
        (AttemptErrorKind::Disconnected, 2),
        (AttemptErrorKind::Refused, 2),
    ] {
        let mut call = task::spawn(service.ready().await.unwrap().call(normal(0)));
        assert_pending!(call.poll());
        handle.next_request().await.unwrap().1.send_error(AttemptError::new(kind));
        let error = assert_ready_err!(call.poll());
        assert_eq!((error.kind(), layer.limit()), (kind, limit));
    }
    for _ in 0..3 {
        let mut call = task::spawn(service.ready().await.unwrap().call(normal(0)));
        assert_pending!(call.poll());
        assert_request_eq!(handle, normal(0)).send_response("reply");
        assert_ready_ok!(call.poll());
    }
    assert_eq!(layer.limit(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_rate_for_all_clones() {
    let layer = RateLimitLayer::new(Rate::per_second(10, 2));
    let calls = Calls::new();
    let service = layer.layer(calls.service(|_| 0));
    let requests = (0..5).map(|id| service.clone().oneshot(normal(id)));
    futures_util::future::try_join_all(requests).await.unwrap();
    // tokio's timers round up to the next millisecond.
    let times = calls.times();
    let expected = [0, 0, 100, 200, 300];
    assert!(times.iter().zip(expected).all(|(&time, expected)| (expected..expected + 4).contains(&time)), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limited_call_is_made_in_time_and_is_told_of_another_rate() {
    let layer = RateLimitLayer::new(Rate::per_second(1, 1));
    let (mock, mut handle) = mock::pair();
    handle.allow(100);
    let mut service = layer.layer(Typed(mock));
    let [mut first, mut second, mut third] = [0, 1, 2].map(|id| task::spawn(service.call(normal(id))));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!(handle.next_request().await.unwrap().0.id, RequestId(0));
    time::advance(Duration::from_millis(900)).await;
    assert!(!second.is_woken());
    time::advance(Duration::from_millis(101)).await;
    assert!(second.is_woken() && !third.is_woken());
    assert_pending!(second.poll());
    assert_eq!(handle.next_request().await.unwrap().0.id, RequestId(1));

    // The next one is told to set its timer, and then that it need not wait.
    assert!(third.is_woken());
    assert_pending!(third.poll());
    layer.set_rate(Rate::per_second(1_000, 10_000));
    assert!(third.is_woken());
    assert_pending!(third.poll());
    assert_eq!(handle.next_request().await.unwrap().0.id, RequestId(2));
}

#[tokio::test(start_paused = true)]
async fn no_turn_is_taken_for_a_service_that_is_not_ready() {
    let layer = RateLimitLayer::new(Rate::per_second(1, 1));
    let (mock, mut handle) = mock::pair();
    handle.allow(0);
    let mut busy = task::spawn(layer.layer(Typed(mock)).call(normal(0)));
    assert_pending!(busy.poll());
    let (mock, mut free) = mock::pair();
    free.allow(1);
    assert_pending!(task::spawn(layer.layer(Typed(mock)).call(normal(1))).poll());
    assert_eq!(free.next_request().await.unwrap().0.id, RequestId(1));
}

/// A response that is held and not polled keeps no other request from a permit.
#[tokio::test(start_paused = true)]
async fn a_future_that_nobody_polls_holds_no_turn() {
    let layer = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = limited(&layer);
    let parked = service.ready().await.unwrap().call(normal(1));
    let second = tokio::spawn(service.ready().await.unwrap().call(normal(2)));
    assert_request_eq!(handle, normal(2)).send_response("second");
    assert_eq!(second.await.unwrap().unwrap(), "second");
    let parked = tokio::spawn(parked);
    assert_request_eq!(handle, normal(1)).send_response("first");
    assert_eq!(parked.await.unwrap().unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn two_limits_keep_both_rules_in_either_order() {
    for order in 0..2 {
        let (limit, rate) = (ConcurrencyLimitLayer::new(1), RateLimitLayer::new(Rate::per_second(10, 1)));
        let calls = Calls::new();
        let service = both_orders(&limit, &rate, calls.service(|id| if id == 0 { 2_000 } else { 1 }))[order].clone();
        let requests = (0..20).map(|id| service.clone().oneshot(normal(id)));
        futures_util::future::try_join_all(requests).await.unwrap();
        let times = calls.times();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{times:?}");
        assert!((0..20).eq(calls.ids()), "{:?}", calls.ids());
        assert!(times[1] >= 2_000 && times[1] < 2_005, "{times:?}");
        assert!(times[19] < 2_000 + 18 * 105, "a free permit waits for nothing else: {times:?}");
    }
}

/// Over a limit of 4, ours or tower's, below a limit that lets all pass.
#[tokio::test(start_paused = true)]
async fn a_critical_request_is_the_next_one_over_an_inner_limit() {
    for inner in 0..2 {
        let calls = Calls::new();
        let service = calls.service(|id| 100 + id);
        let inner: Stack = match inner {
            0 => BoxCloneService::new(limit::ConcurrencyLimit::new(service, 4)),
            _ => BoxCloneService::new(ConcurrencyLimitLayer::new(4).layer(service)),
        };
        let service = ConcurrencyLimitLayer::new(100).layer(inner);
        let mut requests = tokio::task::JoinSet::new();
        for id in 0..8 {
            requests.spawn(service.clone().oneshot(normal(id)));
        }
        time::sleep(Duration::from_millis(10)).await;
        requests.spawn(service.clone().oneshot(attempt(99, RequestPriority::Critical)));
        while let Some(reply) = requests.join_next().await {
            reply.unwrap().unwrap();
        }
        assert_eq!(calls.ids(), [0, 1, 2, 3, 99, 4, 5, 6, 7]);
    }
}

/// The request that a free permit of the inner limit has woken is gone before it could ask: another outer limit gets it.
#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_the_inner_limit_to_others() {
    let inner = ConcurrencyLimitLayer::new(1);
    let (service, mut handle) = limited(&inner);
    let [mut one, mut other] = [(); 2].map(|()| ConcurrencyLimitLayer::new(5).layer(service.clone()));
    let mut first = task::spawn(one.call(normal(0)));
    assert_pending!(first.poll());
    let mut second = task::spawn(one.call(normal(1)));
    assert_pending!(second.poll());
    let mut third = task::spawn(other.call(normal(2)));
    assert_pending!(third.poll());
    assert_request_eq!(handle, normal(0)).send_response("reply");
    assert_ready_ok!(first.poll());
    assert!(second.is_woken());
    drop(second);
    assert!(third.is_woken());
    assert_pending!(third.poll());
    assert_eq!((inner.in_use(), handle.next_request().await.unwrap().0.id), (1, RequestId(2)));
}

#[tokio::test(start_paused = true)]
async fn too_many_waiters_are_refused() {
    let (mut service, _handle) = limited(&ConcurrencyLimitLayer::new(0));
    let mut waiting: Vec<_> = (0..16_384).map(|id| task::spawn(service.call(normal(id)))).collect();
    waiting.iter_mut().for_each(|call| assert_pending!(call.poll()));
    let error = assert_ready_err!(task::spawn(service.call(normal(0))).poll());
    assert_eq!(error.kind(), AttemptErrorKind::Overloaded);
    waiting.pop();
    assert_pending!(task::spawn(service.call(normal(0))).poll());
}

/// Each request is polled a few times, however many wait: on arrival, for its timer, at its turn and at its end.
#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_are_each_polled_a_few_times() {
    for order in 0..2 {
        let (limit, rate) = (ConcurrencyLimitLayer::new(2), RateLimitLayer::new(Rate::per_second(1_000, 1)));
        let calls = Calls::new();
        let service = both_orders(&limit, &rate, calls.service(|_| 3))[order].clone();
        let polls = Arc::new(AtomicUsize::new(0));
        let mut requests = tokio::task::JoinSet::new();
        for id in (0..10_000).rev() {
            let (polls, mut call) = (polls.clone(), Box::pin(service.clone().oneshot(normal(id))));
            requests.spawn(std::future::poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                call.as_mut().poll(cx)
            }));
        }
        while let Some(reply) = requests.join_next().await {
            reply.unwrap().unwrap();
        }
        let polls = polls.load(Ordering::Relaxed);
        println!("order {order}: {polls} polls");
        assert!(polls <= 60_000, "{polls}");
        let ids = calls.ids();
        let (first, queued) = ids.split_at(2);
        assert_eq!((first[0], queued.is_sorted()), (9_999, true), "the first to arrive, then by id");
    }
}

/// A service whose readiness panics ends its own request, and no other.
#[tokio::test(start_paused = true)]
async fn a_panic_below_frees_the_layer() {
    #[derive(Clone)]
    struct Panics;
    impl Service<Attempt> for Panics {
        type Response = ();
        type Error = AttemptError;
        type Future = std::future::Ready<Result<(), AttemptError>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), AttemptError>> {
            panic!("this service is broken")
        }
        fn call(&mut self, _: Attempt) -> Self::Future {
            std::future::ready(Ok(()))
        }
    }
    let (limit, rate) = (ConcurrencyLimitLayer::new(1), RateLimitLayer::new(Rate::per_second(10, 1)));
    for broken in both_orders(&limit, &rate, Panics) {
        assert!(tokio::spawn(broken.oneshot(normal(0))).await.unwrap_err().is_panic());
    }
    for service in both_orders(&limit, &rate, Calls::new().service(|_| 0)) {
        service.oneshot(normal(1)).await.unwrap();
    }
    assert_eq!(limit.in_use(), 0);
}

/// Threads, several services of the same two layers, dropped calls: nothing is lost, and the limit holds.
#[test]
fn the_limit_holds_on_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let (limit, rate) =
        (ConcurrencyLimitLayer::new(3), RateLimitLayer::new(Rate { interval: Duration::from_micros(1), burst: 100 }));
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let service = || {
        let (busy, most) = (busy.clone(), most.clone());
        service_fn(move |attempt: Attempt| {
            let busy = Busy::enter(&busy);
            most.fetch_max(busy.count(), Ordering::SeqCst);
            async move {
                for _ in 0..attempt.id.0 % 4 {
                    tokio::task::yield_now().await;
                }
                drop(busy);
                Ok(())
            }
        })
    };
    let services: Vec<Stack> = (0..8)
        .map(|index| both_orders(&limit, &rate, limit::ConcurrencyLimit::new(service(), 2))[index % 2].clone())
        .collect();
    runtime.block_on(async {
        let calls = (0..4_000).map(|id| {
            let call = services[id as usize % 8].clone().oneshot(normal(id));
            tokio::spawn(async move {
                if id % 5 > 0 {
                    return call.await;
                }
                let yields = async {
                    for _ in 0..id % 7 {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! { biased; () = yields => Ok(()), reply = call => reply }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
    });
    assert_eq!((limit.in_use(), busy.load(Ordering::SeqCst)), (0, 0));
    assert!(most.load(Ordering::SeqCst) <= 3, "{most:?}");
}

/// Counts while it lives.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// With its priority, the milliseconds it takes, and those after which it is dropped.
    Arrive(RequestPriority, u64, Option<u64>),
    Limit(usize),
    Rate(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let priorities =
        vec![RequestPriority::Critical, RequestPriority::High, RequestPriority::Normal, RequestPriority::Low];
    prop_oneof![
        8 => (select(priorities), 0..300_u64, option::weighted(0.3, 0..500_u64))
            .prop_map(|(priority, takes, drop)| Step::Arrive(priority, takes, drop)),
        1 => (0..5_usize).prop_map(Step::Limit),
        1 => (5..100_u32).prop_map(Step::Rate),
    ]
}

/// The state that a run of [`Step`]s checks at each call.
struct Watch {
    limit: ConcurrencyLimitLayer,
    busy: Arc<AtomicUsize>,
    state: Mutex<(Duration, Option<Instant>)>,
    /// With the milliseconds that each takes.
    waiting: Mutex<BTreeMap<u64, (RequestPriority, u64)>>,
}

/// Waits from the first poll until it is called or dropped.
struct Waits(Arc<Watch>, u64);

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

impl Watch {
    fn call(&self, attempt: &Attempt) -> (Busy, Duration) {
        let busy = Busy::enter(&self.busy);
        assert!(busy.count() <= self.limit.limit(), "{} of {}", busy.count(), self.limit.limit());
        let mut waiting = lock(&self.waiting);
        let (_, takes) = waiting.remove(&attempt.id.0).expect("it waits");
        assert!(waiting.values().all(|&(other, _)| other <= attempt.priority), "{attempt:?} before {waiting:?}");
        let now = Instant::now();
        let (interval, last) = &mut *lock(&self.state);
        if let Some(last) = last.replace(now) {
            assert!(now - last >= *interval, "{:?} after the last call", now - last);
        }
        (busy, Duration::from_millis(takes))
    }
}

/// With one service for all requests, or one for each.
async fn run(order: usize, shared: bool, steps: Vec<(u64, Step)>) {
    let (limit, rate) = (ConcurrencyLimitLayer::new(2), RateLimitLayer::new(Rate::per_second(50, 1)));
    let state = Mutex::new((Duration::from_millis(20), None));
    let watch = Arc::new(Watch { limit: limit.clone(), busy: Arc::default(), state, waiting: Mutex::default() });
    let service = || {
        let watch = watch.clone();
        let service = service_fn(move |attempt: Attempt| {
            let (busy, takes) = watch.call(&attempt);
            async move {
                time::sleep(takes).await;
                drop(busy);
                Ok(())
            }
        });
        both_orders(&limit, &rate, service)[order].clone()
    };
    let one = service();
    let mut requests = tokio::task::JoinSet::new();
    for (id, (pause, step)) in (0..).zip(steps) {
        time::sleep(Duration::from_millis(pause)).await;
        match step {
            Step::Arrive(priority, takes, drop_after) => {
                let (watch, call) =
                    (watch.clone(), (if shared { one.clone() } else { service() }).oneshot(attempt(id, priority)));
                requests.spawn(async move {
                    lock(&watch.waiting).insert(id, (priority, takes));
                    let waits = Waits(watch, id);
                    let drop_after = Duration::from_millis(drop_after.unwrap_or(1_000_000));
                    let reply = time::timeout(drop_after, call).await;
                    drop(waits);
                    reply.is_ok() || drop_after < Duration::from_secs(1)
                });
            }
            Step::Limit(new) => limit.set_limit(new),
            Step::Rate(new) => {
                lock(&watch.state).0 = Rate::per_second(new, 1).interval;
                rate.set_rate(Rate::per_second(new, 1));
            }
        }
    }
    limit.set_limit(1);
    while let Some(ended) = requests.join_next().await {
        assert!(ended.expect("no request panics"), "a request was never answered");
    }
    assert_eq!(limit.in_use(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any arrivals, priorities, drops and changes: the limit, the rate and the order hold, and all requests end.
    #[test]
    fn both_rules_hold_whatever_happens(order in 0..2_usize, shared: bool, steps in vec((0..30_u64, step()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(order, shared, steps));
    }
}
