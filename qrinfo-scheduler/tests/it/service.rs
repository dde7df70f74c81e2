//! The tower service: peers that come and go, backpressure, cancelling, errors, reports. In paused time.

use std::{
    error::Error,
    hint,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, LeaveReason, PeerEvent, PeerId, RequestId,
    RequestPriority, SendId, Timing,
};
use qrinfo_scheduler::{Event, Peer, ScheduleError, SchedulerService, Settings, Window};
use tokio::{
    sync::{broadcast, mpsc},
    time::{self, Instant},
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Service, ServiceExt, discover::Change, service_fn, timeout::Timeout};

use crate::support::{
    HEIGHT, attempt, hash, peer_id,
    peers::{Asked, Changes, Manner, TestPeer, ask, join, join_reporting_peer, join_test_peer, scheduler},
    reply,
};

fn sequential() -> Settings {
    Settings { cap: 1, ..Settings::default() }
}

fn source(error: &AttemptError) -> Option<ScheduleError> {
    error.source()?.downcast_ref().copied()
}

#[tokio::test(start_paused = true)]
async fn sequential_takes_as_long_as_a_bare_loop() {
    let asked = Asked::new();
    let mut bare = TestPeer::new(0, &asked, Manner::Answers);
    let start = Instant::now();
    for id in 0..20 {
        bare.ready().await.unwrap().call(attempt(id)).await.unwrap();
    }
    let loop_took = start.elapsed();
    assert_eq!(loop_took, Duration::from_millis(20 * (50 + 20 + 100)));

    let asked = Asked::new();
    let (service, _, changes) = scheduler(sequential());
    join_test_peer(&changes, 0, &asked, Manner::Answers);
    let start = Instant::now();
    let all = (0..20).map(|id| ask(&service, attempt(id)));
    let replies = futures_util::future::join_all(all).await;
    // tokio's timers round up to the next millisecond.
    assert!(start.elapsed() <= loop_took + Duration::from_millis(20), "{:?}", start.elapsed());
    for (id, result) in replies.into_iter().enumerate() {
        assert_eq!(result.unwrap().reply, reply(hash(id as u64)));
    }
    assert_eq!(asked.blocks(), (0..20).map(hash).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn peers_share_the_work_as_they_join() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(Settings { cap: 64, ..Settings::default() });
    let requests = (0..60).map(|id| ask(&service, attempt(id)));
    let all = tokio::spawn(futures_util::future::join_all(requests.collect::<Vec<_>>()));
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(asked.times().len(), 0, "no peer to ask");
    for index in 0..3 {
        join_test_peer(&changes, index, &asked, Manner::Answers);
    }
    drop(changes);
    let start = Instant::now();
    assert!(all.await.unwrap().iter().all(Result::is_ok));
    // 20 each, 100 ms apart, and some for the beginning and the end.
    assert!(start.elapsed() < Duration::from_millis(20 * 100 + 350), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_taken_away_fails_what_it_holds_at_once() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(sequential());
    join_test_peer(&changes, 0, &asked, Manner::Answers);
    let request = tokio::spawn({
        let service = service.clone();
        async move { ask(&service, attempt(0)).await }
    });
    time::sleep(Duration::from_millis(10)).await;
    let start = Instant::now();
    changes.send(Ok(Change::Remove(peer_id(0)))).unwrap();
    let error = request.await.unwrap().unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!((error.kind(), error.peer()), (AttemptErrorKind::Disconnected, Some(peer_id(0))));
    assert_eq!(source(&error), Some(ScheduleError::PeerRemoved));
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_while_the_queue_has_room() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(Settings { cap: 1, capacity: 2, ..Settings::default() });
    let mut first = service.clone();
    let waiting = [0, 1].map(|id| {
        let mut service = service.clone();
        assert_ready_ok!(task::spawn(service.ready()).poll());
        service.call(attempt(id))
    });
    let mut blocked = task::spawn(async { first.ready().await.map(drop) });
    assert_pending!(blocked.poll());

    join_test_peer(&changes, 0, &asked, Manner::Answers);
    time::sleep(Duration::from_millis(1)).await;
    assert!(blocked.is_woken(), "one was sent, so there is room");
    assert_ready_ok!(blocked.poll());
    for response in waiting {
        response.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_is_never_sent_and_a_sent_one_keeps_its_slot() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(sequential());
    join_test_peer(&changes, 0, &asked, Manner::Answers);
    let mut futures: Vec<_> = Vec::new();
    for id in 0..3 {
        futures.push(service.clone().ready().await.unwrap().call(attempt(id)));
    }
    time::sleep(Duration::from_millis(1)).await;
    let last = futures.pop().unwrap();
    drop(futures);
    last.await.unwrap();
    assert_eq!(asked.blocks(), [hash(0), hash(2)]);
    let times = asked.times();
    assert!(times[1] >= 170, "only when the peer has answered the first: {times:?}");
}

#[tokio::test(start_paused = true)]
async fn critical_overtakes_what_waits() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(sequential());
    let normal = (0..10).map(|id| ask(&service, attempt(id)));
    let critical = ask(&service, Attempt { priority: RequestPriority::Critical, ..attempt(99) });
    let late = async {
        time::sleep(Duration::from_millis(10)).await;
        join_test_peer(&changes, 0, &asked, Manner::Answers);
        critical.await
    };
    let all = normal.map(|request| -> BoxFuture<'_, _> { Box::pin(request) });
    let all = all.chain([Box::pin(late) as BoxFuture<'_, _>]);
    futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!(asked.blocks()[0], hash(99));
}

#[tokio::test(start_paused = true)]
async fn the_settings_reach_a_running_scheduler() {
    let asked = Asked::new();
    let (service, handle, changes) = scheduler(Settings { cap: 0, ..Settings::default() });
    for index in 0..4 {
        join_test_peer(&changes, index, &asked, Manner::Answers);
    }
    let all = (0..8).map(|id| ask(&service, attempt(id)));
    let all = tokio::spawn(futures_util::future::join_all(all.collect::<Vec<_>>()));
    time::sleep(Duration::from_millis(500)).await;
    assert_eq!(asked.times().len(), 0, "paused");
    handle.set_cap(2);
    time::sleep(Duration::from_millis(10)).await;
    assert_eq!(asked.times().len(), 2);
    handle.set_rate(Some(qrinfo_scheduler::Rate::per_second(1, 1)));
    handle.set_cap(64);
    assert!(all.await.unwrap().iter().all(Result::is_ok));
    let times = asked.times();
    assert!(times[3..].windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_a_peer_and_the_window_reach_a_running_scheduler() {
    let asked = Asked::new();
    let (service, handle, changes) = scheduler(Settings { cap: 64, ..Settings::default() });
    handle.set_peer_rate(Some(qrinfo_scheduler::Rate::per_second(1, 1)));
    handle.set_window(Some(Window { first: RequestId(0), length: 2 }));
    join_test_peer(&changes, 0, &asked, Manner::Answers);
    let all = (0..4).map(|id| ask(&service, attempt(id)));
    let all = tokio::spawn(futures_util::future::join_all(all.collect::<Vec<_>>()));
    time::sleep(Duration::from_secs(10)).await;
    assert_eq!(asked.blocks(), [hash(0), hash(1)]);
    handle.set_window(None);
    assert!(all.await.unwrap().iter().all(Result::is_ok));
    let times = asked.times();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_keep_their_kind_their_peer_and_their_source() {
    let asked = Asked::new();
    let (service, handle, changes) = scheduler(sequential());
    // tower's own timeout around a peer: its error is not one of ours.
    let slow = Timeout::new(TestPeer::new(0, &asked, Manner::Answers), Duration::from_millis(30));
    join(&changes, 0, slow);
    let error = ask(&service, attempt(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.peer()), (AttemptErrorKind::Timeout, Some(peer_id(0))));
    assert!(error.source().unwrap().is::<tower::timeout::error::Elapsed>());

    let hopeless = Attempt { avoid: vec![peer_id(0)], ..attempt(1) };
    let error = ask(&service, hopeless).await.unwrap_err();
    assert_eq!((error.kind(), source(&error)), (AttemptErrorKind::NoPeer, Some(ScheduleError::NoPeerLeft)));

    handle.set_cap(0);
    let deadline = (Instant::now() + Duration::from_millis(100)).into_std();
    let start = Instant::now();
    let error = ask(&service, Attempt { deadline: Some(deadline), ..attempt(2) }).await.unwrap_err();
    assert_eq!((error.kind(), source(&error)), (AttemptErrorKind::Cancelled, Some(ScheduleError::DeadlinePassed)));
    assert_eq!(start.elapsed(), Duration::from_millis(100), "paused until then");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_another_kind_is_a_local_one_with_its_source() {
    let (service, _handle, changes) = scheduler(sequential());
    let fails = service_fn(|_: Attempt| async { Err::<Answer, std::fmt::Error>(std::fmt::Error) });
    join_peer(&changes, Peer::new(fails, HEIGHT, Duration::from_millis(50)));
    let error = ask(&service, attempt(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.peer()), (AttemptErrorKind::Local, Some(peer_id(0))));
    assert!(error.source().unwrap().is::<std::fmt::Error>());
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_request_keeps_its_slot_until_its_peer_reports() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(sequential());
    join_reporting_peer(&changes, 0, &asked, Manner::TimesOut);
    let error = ask(&service, attempt(0)).await.unwrap_err();
    assert_eq!(error.kind(), AttemptErrorKind::Timeout);
    ask(&service, attempt(1)).await.unwrap_err();
    let times = asked.times();
    assert!((8_000..8_300).contains(&times[1]), "its rest ends at 6 s, but it holds the first until 8 s: {times:?}");
}

fn join_peer<S>(changes: &Changes<S>, peer: Peer<S>) {
    assert!(changes.send(Ok(Change::Insert(peer_id(0), peer))).is_ok());
}

/// The next sending of a scheduler.
async fn next_send(events: &mut broadcast::Receiver<Event>) -> SendId {
    loop {
        if let Event::Peer(PeerEvent::Sent { send, .. }) = events.recv().await.unwrap() {
            return send;
        }
    }
}

/// A connection may outlive a scheduler, with sendings that have not ended.
#[tokio::test(start_paused = true)]
async fn two_schedulers_number_their_sendings_apart() {
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let asked = Asked::new();
        let (service, handle, changes) = scheduler(sequential());
        let mut events = handle.events();
        join_test_peer(&changes, 0, &asked, Manner::Answers);
        ask(&service, attempt(0)).await.unwrap();
        numbers.push(next_send(&mut events).await.seq);
    }
    assert!(numbers[0].abs_diff(numbers[1]) >= 1 << 32, "{numbers:?}");
}

/// The report and the timeout come in either order. The one that came first is kept also while another peer is lost.
#[tokio::test(start_paused = true)]
async fn an_end_that_was_reported_before_the_timeout_frees_the_slot() {
    let (service, handle, changes) = scheduler(sequential());
    let mut events = handle.events();
    let (reports, received) = mpsc::unbounded_channel();
    let times_out = service_fn(|_: Attempt| async {
        time::sleep(Duration::from_secs(2)).await;
        Err::<Answer, _>(AttemptError::new(AttemptErrorKind::Timeout))
    });
    for (index, events) in [(0, Some(received)), (1, None)] {
        // The second is too far away to be asked.
        let round_trip = Duration::from_millis(if index == 0 { 50 } else { 5_000 });
        let peer = Peer::new(times_out, HEIGHT, round_trip);
        let peer = match events {
            Some(events) => peer.with_events(events),
            None => peer,
        };
        assert!(changes.send(Ok(Change::Insert(peer_id(index), peer))).is_ok());
    }
    let first = tokio::spawn(ask(&service, attempt(0)));
    let send = next_send(&mut events).await;
    assert_eq!(send.peer, peer_id(0));
    time::sleep(Duration::from_secs(1)).await;
    let at = Instant::now().into_std();
    reports.send(PeerEvent::Ended { send, outcome: Err(AttemptErrorKind::Refused), at }).unwrap();
    time::sleep(Duration::from_millis(100)).await;
    assert!(changes.send(Ok(Change::Remove(peer_id(1)))).is_ok());
    assert_eq!(first.await.unwrap().unwrap_err().kind(), AttemptErrorKind::Timeout);
    let second = time::timeout(Duration::from_secs(10), ask(&service, attempt(1))).await;
    assert_eq!(second.expect("the slot is free").unwrap_err().kind(), AttemptErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_was_reported_before_it_is_there_reaches_its_caller() {
    let (service, handle, changes) = scheduler(sequential());
    let mut events = handle.events();
    let (reports, received) = mpsc::unbounded_channel();
    let timing = |sent: Instant, done: Instant| {
        let (sent, done) = (sent.into_std(), done.into_std());
        Timing { peer: peer_id(0), sent, head: None, first_byte: None, done, bytes: 20_000 }
    };
    let start = Instant::now();
    let answers = service_fn(move |_: Attempt| async move {
        time::sleep(Duration::from_secs(2)).await;
        Ok::<_, AttemptError>(Answer { reply: reply(hash(0)), timing: timing(start, Instant::now()) })
    });
    join_peer(&changes, Peer::new(answers, HEIGHT, Duration::from_millis(50)).with_events(received));
    let asked = tokio::spawn(ask(&service, attempt(0)));
    let send = next_send(&mut events).await;
    time::sleep(Duration::from_secs(1)).await;
    let at = Instant::now();
    reports.send(PeerEvent::Ended { send, outcome: Ok(timing(start, at)), at: at.into_std() }).unwrap();
    assert_eq!(asked.await.unwrap().unwrap().reply, reply(hash(0)));
}

/// The end of its service alone would look like any end of a connection.
#[tokio::test(start_paused = true)]
async fn the_reason_with_which_a_peer_left_is_told() {
    let asked = Asked::new();
    let (_service, handle, changes) = scheduler(sequential());
    let (reports, received) = mpsc::unbounded_channel();
    let service = TestPeer::new(0, &asked, Manner::Answers);
    join_peer(&changes, Peer::new(service, HEIGHT, Duration::from_millis(50)).with_events(received));
    reports.send(PeerEvent::Left { peer: peer_id(0), why: LeaveReason::Unanswered }).unwrap();
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(handle.stats().lost, [(peer_id(0), AttemptErrorKind::Timeout)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_readiness_is_refused_by_name() {
    let (mut service, _handle, _changes) = scheduler::<TestPeer>(sequential());
    let mut refused = task::spawn(service.call(attempt(0)));
    assert_eq!(assert_ready!(refused.poll()).unwrap_err().kind(), AttemptErrorKind::Overloaded);
    assert_eq!(assert_ready!(refused.poll()).unwrap_err().kind(), AttemptErrorKind::Local, "polled after its end");
}

/// Nothing else would tell: it is not asked again while it rests.
#[tokio::test(start_paused = true)]
async fn a_service_whose_connection_failed_is_asked_whether_it_is_gone() {
    struct Fails(Arc<AtomicBool>);

    impl Service<Attempt> for Fails {
        type Response = Answer;
        type Error = AttemptError;
        type Future = BoxFuture<'static, AttemptResult>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
            let has_failed = self.0.load(Ordering::Relaxed);
            Poll::Ready(if has_failed { Err(AttemptError::new(AttemptErrorKind::Disconnected)) } else { Ok(()) })
        }

        fn call(&mut self, _: Attempt) -> Self::Future {
            let has_failed = self.0.clone();
            async move {
                time::sleep(Duration::from_millis(10)).await;
                has_failed.store(true, Ordering::Relaxed);
                Err(AttemptError::new(AttemptErrorKind::Disconnected))
            }
            .boxed()
        }
    }

    let (service, handle, changes) = scheduler(sequential());
    join(&changes, 0, Fails(Arc::default()));
    ask(&service, attempt(0)).await.unwrap_err();
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(handle.peers().borrow().iter().count(), 0);
    assert_eq!(handle.stats().lost, [(peer_id(0), AttemptErrorKind::Disconnected)]);
}

#[tokio::test(start_paused = true)]
async fn a_refusing_peer_is_asked_until_its_points_are_used_up() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(Settings { cap: 64, ..Settings::default() });
    join_test_peer(&changes, 0, &asked, Manner::Refuses);
    drop(changes);
    let results = futures_util::future::join_all((0..120).map(|id| ask(&service, attempt(id)))).await;
    let refused =
        results.iter().filter(|result| result.as_ref().is_err_and(|error| error.kind() == AttemptErrorKind::Refused));
    let refused = refused.count() as u32;
    assert_eq!(refused, qrinfo_scheduler::MAX_POINTS);
    assert_eq!(asked.times().len() as u32, refused);
    let has_no_peer = |error: &AttemptError| source(error) == Some(ScheduleError::NoPeerLeft);
    let without_peer = results.iter().filter(|result| result.as_ref().is_err_and(has_no_peer));
    assert_eq!(without_peer.count() as u32, 120 - refused);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_everything() {
    let (service, handle, changes) = scheduler::<TestPeer>(Settings::default());
    let request = tokio::spawn({
        let service = service.clone();
        async move { ask(&service, attempt(0)).await }
    });
    time::sleep(Duration::from_millis(1)).await;
    handle.shutdown();
    let error = request.await.unwrap().unwrap_err();
    assert_eq!(source(&error), Some(ScheduleError::Stopped));
    let error = ask(&service, attempt(1)).await.unwrap_err();
    assert_eq!(source(&error), Some(ScheduleError::Stopped));
    assert!(changes.is_closed(), "the peers are dropped");
}

/// The driver may be dropped with its task. What waits for room has to hear of it.
#[test]
fn the_end_of_the_driver_ends_the_wait_for_room() {
    let peers = stream::pending::<Result<Change<PeerId, Peer<TestPeer>>, AttemptError>>();
    let (mut service, driver) = SchedulerService::new(peers, Settings { capacity: 1, ..sequential() });
    let mut other = service.clone();
    assert_ready_ok!(task::spawn(service.ready()).poll());
    let mut blocked = task::spawn(async { other.ready().await.map(drop) });
    assert_pending!(blocked.poll());
    drop(driver);
    assert!(blocked.is_woken());
    let error = assert_ready!(blocked.poll()).unwrap_err();
    assert_eq!(source(&error), Some(ScheduleError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn the_driver_ends_with_its_last_service_and_with_a_failed_discover() {
    let asked = Asked::new();
    let peer = Peer::new(TestPeer::new(0, &asked, Manner::Answers), HEIGHT, Duration::from_millis(50));
    let peers = stream::iter([Ok::<_, AttemptError>(Change::Insert(peer_id(0), peer))]).chain(stream::pending());
    let (service, driver) = SchedulerService::new(peers, sequential());
    let driver = tokio::spawn(driver);
    ask(&service, attempt(0)).await.unwrap();
    assert!(!driver.is_finished());
    drop(service);
    driver.await.unwrap().unwrap();

    let peers = stream::iter([Err::<Change<PeerId, Peer<TestPeer>>, _>("no more")]);
    let (service, driver) = SchedulerService::new(peers, sequential());
    let (result, answer) = tokio::join!(driver, ask(&service, attempt(0)));
    assert_eq!(result, Err("no more"));
    assert_eq!(source(&answer.unwrap_err()), Some(ScheduleError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn without_peers_to_come_requests_fail() {
    let peers = stream::empty::<Result<Change<PeerId, Peer<TestPeer>>, AttemptError>>();
    let (service, driver) = SchedulerService::new(peers, sequential());
    tokio::spawn(driver);
    let error = ask(&service, attempt(0)).await.unwrap_err();
    assert_eq!(source(&error), Some(ScheduleError::NoPeers));
}

/// A channel whose receiver is dropped keeps what is sent at that very moment.
#[test]
fn a_request_at_the_very_end_of_the_driver_ends() {
    for _ in 0..10_000 {
        let peers = stream::pending::<Result<Change<PeerId, Peer<TestPeer>>, AttemptError>>();
        let (mut service, driver) = SchedulerService::new(peers, sequential());
        let ready = |service: &mut SchedulerService| task::spawn(()).enter(|cx, _| service.poll_ready(cx));
        assert_ready_ok!(ready(&mut service));
        let mut other = service.clone();
        let there = AtomicUsize::new(0);
        let meet = || {
            there.fetch_add(1, Ordering::SeqCst);
            for turn in 0.. {
                match there.load(Ordering::SeqCst) {
                    2 => break,
                    // Both are to be awake at the same moment, but the machine may have one core for them.
                    _ if turn < 1_000 => hint::spin_loop(),
                    _ => thread::yield_now(),
                }
            }
        };
        let response = thread::scope(|scope| {
            scope.spawn(|| {
                meet();
                drop(driver);
            });
            meet();
            service.call(attempt(0))
        });
        let error = assert_ready!(task::spawn(response).poll()).unwrap_err();
        assert_eq!(source(&error), Some(ScheduleError::Stopped));
        assert_ready!(ready(&mut other)).unwrap_err();
    }
}
