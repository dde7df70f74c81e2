//! The limits as layers: readiness, wake-ups, order, settings. In paused time.

use std::time::Duration;

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, RequestPriority};
use qrinfo_scheduler::{ConcurrencyLimit, ConcurrencyLimitLayer, Rate, RateLimitLayer};
use tokio::time::{self, Instant};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};
use tower_test::{assert_request_eq, mock};

type Mock = mock::Mock<Attempt, &'static str>;
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

fn limited(layer: &ConcurrencyLimitLayer) -> (ConcurrencyLimit<Typed>, Handle) {
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
        assert_eq!(request.id, next);
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
    assert_eq!((layer.in_use(), handle.next_request().await.unwrap().0.id), (1, 0));
    assert_eq!(handle.next_request().await.unwrap().0.id, 2);
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
async fn readiness_is_that_of_the_service_below() {
    let layer = ConcurrencyLimitLayer::new(1);
    let (mock, mut handle) = mock::pair();
    let mut service = layer.layer(Typed(mock));
    handle.allow(0);
    let mut ready = task::spawn(service.ready());
    assert_pending!(ready.poll());
    handle.allow(1);
    assert!(ready.is_woken());
    assert_ready_ok!(ready.poll());
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
    let (mock, mut handle) = mock::pair::<u32, ()>();
    handle.allow(100);
    let service = layer.layer(mock);
    let start = Instant::now();
    let mut times = Vec::new();
    for id in 0..5 {
        let mut clone = service.clone();
        drop(clone.ready().await.unwrap().call(id));
        times.push(start.elapsed().as_millis());
    }
    // tokio's timers round up to the next millisecond.
    let expected = [0, 0, 100, 200, 300];
    assert!(times.iter().zip(expected).all(|(&time, expected)| (expected..expected + 4).contains(&time)), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limited_service_becomes_ready_in_time_and_is_told_of_another_rate() {
    let layer = RateLimitLayer::new(Rate::per_second(1, 1));
    let (mock, mut handle) = mock::pair::<u32, ()>();
    handle.allow(100);
    let mut service = layer.layer(mock);
    drop(service.ready().await.unwrap().call(0));

    let mut again = service.clone();
    let mut ready = task::spawn(again.ready());
    assert_pending!(ready.poll());
    time::advance(Duration::from_millis(900)).await;
    assert!(!ready.is_woken());
    time::advance(Duration::from_millis(101)).await;
    assert!(ready.is_woken());
    assert_ready_ok!(ready.poll());
    drop(ready);

    // Ready, so that the turn is taken: another has to wait, until the rate is another.
    let mut third = service.clone();
    let mut ready = task::spawn(third.ready());
    assert_pending!(ready.poll());
    layer.set_rate(Rate::per_second(1_000, 10_000));
    assert!(ready.is_woken());
    assert_ready_ok!(ready.poll());
}

#[tokio::test(start_paused = true)]
async fn no_turn_is_taken_for_a_service_that_is_not_ready() {
    let layer = RateLimitLayer::new(Rate::per_second(1, 1));
    let (mock, mut handle) = mock::pair::<u32, ()>();
    handle.allow(0);
    let mut busy = layer.layer(mock);
    assert_pending!(task::spawn(busy.ready()).poll());
    let (mock, mut handle) = mock::pair::<u32, ()>();
    handle.allow(1);
    let mut free = layer.layer(mock);
    assert_ready_ok!(task::spawn(free.ready()).poll());
}

/// A response that is held and not polled keeps nobody else from a permit.
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
