//! The one ledger of peers, as others see it: bans, the published table, events, counts, and fewer requests at a time.

use std::{
    collections::BTreeSet,
    error::Error,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream,
};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, LeaveReason, PeerEvent, PeerId, RequestId, Timing,
    retry::RecoveryStrategy,
};
use qrinfo_scheduler::{
    Dispatch, Event, MAX_POINTS, Peer, PeerState, Scheduler, SchedulerHandle, SchedulerService, SendStats, Settings,
    SubmitError,
};
use tokio::{sync::mpsc, time};
use tower::{Service, discover::Change};

use crate::support::{
    HEIGHT, attempt, decision, now as start, peer_id,
    peers::{
        Asked, Manner, REPLY_BYTES, ROUND_TRIP, TestPeer, ask, ask_until_answered, join_reporting_peer, join_test_peer,
        scheduler,
    },
};

fn capped(cap: usize) -> Settings {
    Settings { cap, ..Settings::default() }
}

fn in_table(handle: &SchedulerHandle, peer: PeerId) -> bool {
    handle.peers().borrow().iter().any(|(known, _)| known == peer)
}

#[tokio::test(start_paused = true)]
async fn a_ban_frees_what_the_peer_holds_for_the_others_at_once() {
    let asked = Asked::new();
    let (service, handle, changes) = scheduler(capped(64));
    join_test_peer(&changes, 0, &asked, Manner::Answers);
    let requests = (0..2).map(|id| tokio::spawn(ask_until_answered(service.clone(), attempt(id))));
    let requests: Vec<_> = requests.collect();
    time::sleep(Duration::from_millis(10)).await;
    assert_eq!(asked.count(0), 2, "it holds both");
    join_test_peer(&changes, 1, &asked, Manner::Answers);
    time::sleep(Duration::from_millis(10)).await;

    let mut events = handle.events();
    handle.ban(peer_id(0), AttemptErrorKind::False);
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().timing.peer, peer_id(1));
    }
    // One was copied to the other before; the rest goes there at the instant of the ban.
    assert_eq!(asked.times()[2..], [10, 20]);
    assert_eq!(
        events.recv().await.unwrap(),
        Event::Peer(PeerEvent::Banned { peer: peer_id(0), why: AttemptErrorKind::False })
    );

    join_test_peer(&changes, 0, &asked, Manner::Answers);
    changes.send(Ok(Change::Remove(peer_id(1)))).unwrap();
    time::sleep(Duration::from_millis(10)).await;
    let request = tokio::spawn(ask(&service, attempt(9)));
    time::sleep(Duration::from_secs(60)).await;
    assert!(!request.is_finished() && !in_table(&handle, peer_id(0)), "a banned peer is not taken");
    assert_eq!(asked.count(0), 2);
}

#[tokio::test(start_paused = true)]
async fn the_table_is_up_to_date_before_the_caller_has_its_error() {
    for manner in [Manner::Lies, Manner::PanicsInFuture, Manner::PanicsInCall] {
        let asked = Asked::new();
        let (service, handle, changes) = scheduler(capped(1));
        join_test_peer(&changes, 0, &asked, manner);
        let error = ask(&service, attempt(0)).await.unwrap_err();
        assert_eq!(error.peer(), Some(peer_id(0)));
        assert!(!in_table(&handle, peer_id(0)), "{error}");
    }

    let asked = Asked::new();
    let (service, handle, changes) = scheduler(capped(1));
    join_test_peer(&changes, 0, &asked, Manner::Refuses);
    for refusals in 1..=MAX_POINTS {
        let error = ask(&service, attempt(refusals.into())).await.unwrap_err();
        assert_eq!(error.kind(), AttemptErrorKind::Refused);
        assert_eq!(!handle.peers().borrow().has_other_than(&[]), refusals == MAX_POINTS, "{refusals} refusals");
    }
}

/// The peer knows nothing of a request that was not sent to it.
#[test]
fn a_request_that_was_not_sent_costs_the_peer_nothing() {
    let now = start();
    let mut scheduler = Scheduler::new(capped(1));
    scheduler.peer_joined(peer_id(0), HEIGHT, ROUND_TRIP, now);
    for id in 0..2 * u64::from(MAX_POINTS) {
        scheduler.submit(attempt(id), now).unwrap();
        let dispatch = scheduler.next(now).unwrap();
        scheduler.failed(dispatch.send, AttemptErrorKind::NotSent, now);
        assert!(scheduler.table().has_other_than(&[]), "{id}");
    }
    let peer = scheduler.peer(&peer_id(0)).unwrap();
    assert_eq!((peer.points(), scheduler.cap()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn every_change_of_the_ledger_is_an_event() {
    let asked = Asked::new();
    let (service, handle, changes) = scheduler(capped(1));
    let mut events = handle.events();
    join_test_peer(&changes, 0, &asked, Manner::Answers);
    ask(&service, attempt(0)).await.unwrap();
    changes.send(Ok(Change::Remove(peer_id(0)))).unwrap();
    let peer = peer_id(0);
    let joined = PeerEvent::Joined { peer, height: HEIGHT, round_trip: ROUND_TRIP };
    assert_eq!(events.recv().await.unwrap(), Event::Peer(joined));
    let Event::Peer(PeerEvent::Sent { send: sent, request, is_copy, .. }) = events.recv().await.unwrap() else {
        panic!()
    };
    assert_eq!((sent.peer, request, is_copy), (peer, RequestId(0), false));
    let Event::Peer(PeerEvent::Ended { send, outcome: Ok(timing), .. }) = events.recv().await.unwrap() else {
        panic!()
    };
    assert_eq!(send, sent);
    assert_eq!((send.peer, timing.bytes), (peer, REPLY_BYTES));
    let left = PeerEvent::Left { peer, why: LeaveReason::Disconnected };
    assert_eq!(events.recv().await.unwrap(), Event::Peer(left));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_in_use_is_refused_and_the_first_request_goes_on() {
    let asked = Asked::new();
    let (service, _, changes) = scheduler(capped(1));
    let first = tokio::spawn(ask(&service, attempt(7)));
    time::sleep(Duration::from_millis(1)).await;
    let error = ask(&service, attempt(7)).await.unwrap_err();
    assert_eq!(error.kind(), AttemptErrorKind::Local);
    let source = error.source().and_then(|source| source.downcast_ref::<SubmitError>()).cloned();
    assert_eq!(source, Some(SubmitError::IdInUse { attempt: Box::new(attempt(7)) }));
    join_test_peer(&changes, 0, &asked, Manner::Answers);
    first.await.unwrap().unwrap();
    ask(&service, attempt(7)).await.unwrap();
    assert_eq!(asked.count(0), 2, "an id is free when its request has ended");
}

#[tokio::test(start_paused = true)]
async fn sendings_and_lost_peers_are_counted() {
    let asked = Asked::new();
    let (service, handle, changes) = scheduler(capped(1));
    let manners = [Manner::Refuses, Manner::TimesOut, Manner::Lies, Manner::Answers];
    for (index, manner) in manners.into_iter().enumerate() {
        join_reporting_peer(&changes, index, &asked, manner);
        let avoid = (0..index).map(peer_id).collect();
        let end = ask(&service, qrinfo_core::Attempt { avoid, ..attempt(0) }).await;
        assert_eq!(end.is_ok(), manner == Manner::Answers);
    }
    ask(&service, attempt(1)).await.unwrap();
    time::sleep(Duration::from_secs(10)).await;
    let SendStats { sends, resends, replies, refusals, timeouts, lost, .. } = handle.stats();
    // The one that timed out ends with a refusal.
    assert_eq!((sends, resends, replies, refusals, timeouts), (5, 3, 2, 2, 1));
    assert_eq!(lost, [(peer_id(2), AttemptErrorKind::False)]);
}

/// The errors of these peers do not name them: `TestPeer` leaves that to the scheduler.
#[tokio::test(start_paused = true)]
async fn failures_without_a_peers_name_slow_it_down_and_then_make_it_sequential() {
    let asked = Asked::new();
    let (service, handle, changes) = scheduler::<TestPeer>(capped(8));
    for index in 0..4 {
        join_test_peer(&changes, index, &asked, Manner::TimesOut);
    }
    let mut events = handle.events();
    let ends = join_all((0..40).map(|id| ask(&service, attempt(id)))).await;
    assert!(ends.iter().all(|end| end.as_ref().is_err_and(|error: &AttemptError| error.peer().is_some())));
    let mut decisions = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::SlowedDown { strategy, .. } = event {
            decisions.push(strategy);
        }
    }
    let sequential = RecoveryStrategy::FallbackToSequential { duration: Duration::from_secs(60) };
    assert_eq!(decisions[..2], [RecoveryStrategy::ReduceConcurrency { target: 1 }, sequential]);

    let (service, handle, changes) = scheduler::<TestPeer>(Settings { adaptive: false, ..capped(8) });
    for index in 0..4 {
        join_test_peer(&changes, index, &asked, Manner::TimesOut);
    }
    let mut events = handle.events();
    join_all((0..40).map(|id| ask(&service, attempt(id)))).await;
    let slowed_down =
        std::iter::from_fn(|| events.try_recv().ok()).any(|event| matches!(event, Event::SlowedDown { .. }));
    assert!(!slowed_down, "only if it is adaptive");
}

fn with_peers(settings: Settings, peers: usize) -> Scheduler {
    let mut scheduler = Scheduler::new(settings);
    for peer in 0..peers {
        scheduler.peer_joined(peer_id(peer), HEIGHT, ROUND_TRIP, start());
    }
    scheduler
}

#[test]
fn the_cap_comes_back_in_steps_after_failures_at_several_peers() {
    let mut now = start();
    let mut scheduler = with_peers(capped(16), 10);
    (0..100).for_each(|id| scheduler.submit(attempt(id), now).unwrap());
    let sent: Vec<Dispatch> = std::iter::from_fn(|| scheduler.next(now)).collect();
    let mut failed_peers = BTreeSet::new();
    now += Duration::from_secs(30);
    for dispatch in sent.iter().filter(|dispatch| failed_peers.insert(dispatch.send.peer)) {
        scheduler.timed_out(dispatch.send, now);
    }
    let decided = std::iter::from_fn(|| decision(&mut scheduler)).find_map(|event| match event {
        Event::SlowedDown { strategy, failures, attempts } => Some((strategy, failures, attempts)),
        _ => None,
    });
    assert_eq!(decided, Some((RecoveryStrategy::ReduceConcurrency { target: 1 }, 10, 10)));
    assert_eq!(scheduler.settings().cap, 16);
    for (seconds, cap) in [(0, 1), (9, 1), (10, 2), (20, 4), (30, 8), (40, 16)] {
        let _ = scheduler.next(now + Duration::from_secs(seconds));
        assert_eq!(scheduler.cap(), cap, "after {seconds} s");
    }
}

fn slowed_down(scheduler: &mut Scheduler) -> Vec<RecoveryStrategy> {
    let events = std::iter::from_fn(|| decision(scheduler));
    events
        .filter_map(|event| if let Event::SlowedDown { strategy, .. } = event { Some(strategy) } else { None })
        .collect()
}

/// The one whose end made the decision was in flight too.
#[test]
fn after_some_failures_half_of_what_was_in_flight_is_the_limit() {
    let now = start();
    let mut scheduler = with_peers(capped(64), 13);
    (0..13).for_each(|id| scheduler.submit(attempt(id), now).unwrap());
    let sent: Vec<Dispatch> = std::iter::from_fn(|| scheduler.next(now)).collect();
    for (place, dispatch) in sent.iter().enumerate().take(10) {
        if place < 4 {
            scheduler.timed_out(dispatch.send, now + Duration::from_secs(30));
        } else {
            let done = now + Duration::from_millis(200);
            let peer = dispatch.send.peer;
            scheduler
                .replied(dispatch.send, &Timing { peer, sent: now, head: None, first_byte: None, done, bytes: 20_000 });
        }
    }
    assert_eq!(scheduler.counted_in_flight(), 3);
    assert_eq!(slowed_down(&mut scheduler), [RecoveryStrategy::ReduceConcurrency { target: 2 }]);
    assert_eq!(scheduler.cap(), 2);
}

#[test]
fn a_decision_that_changes_nothing_is_not_told() {
    let mut now = start();
    let mut scheduler = with_peers(capped(64), 40);
    let mut ends = |failures: usize, scheduler: &mut Scheduler, first: u64| {
        for place in 0..10 {
            scheduler.submit(attempt(first + place), now).unwrap();
            let send = scheduler.next(now).unwrap().send;
            now += Duration::from_millis(100);
            if (place as usize) < failures {
                scheduler.failed(send, AttemptErrorKind::Timeout, now);
            } else {
                let timing =
                    Timing { peer: send.peer, sent: now, head: None, first_byte: None, done: now, bytes: 20_000 };
                scheduler.replied(send, &timing);
            }
        }
    };
    let one = RecoveryStrategy::ReduceConcurrency { target: 1 };
    ends(4, &mut scheduler, 0);
    assert_eq!((slowed_down(&mut scheduler), scheduler.cap()), (vec![one], 1));
    ends(4, &mut scheduler, 10);
    assert_eq!((slowed_down(&mut scheduler), scheduler.cap()), (vec![], 1));
}

#[test]
fn the_end_of_silent_peers_slows_it_down_from_then_on() {
    let mut now = start();
    let mut scheduler = with_peers(capped(16), 10);
    (0..100).for_each(|id| scheduler.submit(attempt(id), now).unwrap());
    while scheduler.next(now).is_some() {}
    now += Duration::from_secs(60);
    (0..10).for_each(|peer| scheduler.peer_left(peer_id(peer), LeaveReason::Unanswered, now));
    let _ = scheduler.next(now);
    assert_eq!(scheduler.cap(), 1);
}

#[test]
fn the_latest_4096_bans_are_kept_and_each_is_told_once() {
    let now = crate::support::now();
    let mut scheduler = Scheduler::new(Settings::default());
    let peer = |number: u32| PeerId::from((number.to_be_bytes(), 9_999));
    let joins = |scheduler: &mut Scheduler, number| {
        let joined = scheduler.peer_joined(peer(number), HEIGHT, Duration::from_millis(50), now);
        scheduler.peer_left(peer(number), LeaveReason::Disconnected, now);
        joined
    };
    scheduler.peer_joined(peer(1), HEIGHT, Duration::from_millis(50), now);
    for number in [1, 2, 2] {
        scheduler.ban(peer(number), AttemptErrorKind::False, now);
    }
    let told = std::iter::from_fn(|| scheduler.event());
    let banned = told.filter_map(|event| match event {
        Event::Peer(PeerEvent::Banned { peer, .. }) => Some(peer),
        _ => None,
    });
    assert_eq!(banned.collect::<Vec<_>>(), [peer(1), peer(2)]);
    assert_eq!([1, 2, 3].map(|number| joins(&mut scheduler, number)), [false, false, true]);
    (10..4_104).for_each(|number| scheduler.ban(peer(number), AttemptErrorKind::False, now));
    assert!(!joins(&mut scheduler, 1));
    scheduler.ban(peer(4_104), AttemptErrorKind::False, now);
    assert!(joins(&mut scheduler, 1) && !joins(&mut scheduler, 2));
}

#[test]
fn a_refusal_is_forgotten_with_its_own_peer_alone() {
    let now = start();
    let mut scheduler = with_peers(capped(1), 2);
    scheduler.submit(attempt(7), now).unwrap();
    let first = scheduler.next(now).unwrap().send;
    scheduler.failed(first, AttemptErrorKind::Refused, now);
    assert_eq!(decision(&mut scheduler), Some(Event::Failed(RequestId(7), first, AttemptErrorKind::Refused)));
    let other = if first.peer == peer_id(0) { peer_id(1) } else { peer_id(0) };
    scheduler.peer_left(other, LeaveReason::Disconnected, now);
    scheduler.submit(attempt(7), now).unwrap();
    assert_eq!(decision(&mut scheduler), Some(Event::NoPeerLeft(RequestId(7))), "it has refused it");
    // On another connection it may have other blocks.
    scheduler.peer_joined(first.peer, HEIGHT, ROUND_TRIP, now);
    scheduler.submit(attempt(7), now).unwrap();
    assert_eq!(scheduler.next(now).unwrap().send.peer, first.peer);
}

#[test]
fn every_peer_that_left_with_a_request_rests_when_it_comes_back() {
    let now = start();
    let mut scheduler = with_peers(capped(8), 2);
    for id in 0..2 {
        scheduler.submit(attempt(id), now).unwrap();
    }
    let sent: BTreeSet<_> = std::iter::from_fn(|| scheduler.next(now)).map(|dispatch| dispatch.send.peer).collect();
    assert_eq!(sent.len(), 2);
    for peer in [0, 1].map(peer_id) {
        scheduler.peer_left(peer, LeaveReason::Disconnected, now);
    }
    for peer in [0, 1].map(peer_id) {
        scheduler.peer_joined(peer, HEIGHT, ROUND_TRIP, now);
        let until = now + Duration::from_secs(5);
        assert_eq!(scheduler.peer(&peer).unwrap().state(), PeerState::Cooling { until });
    }
}

#[test]
fn a_reply_does_not_change_the_table() {
    let now = start();
    let mut scheduler = with_peers(capped(8), 1);
    scheduler.submit(attempt(0), now).unwrap();
    assert!(scheduler.changed_table().is_some());
    let send = scheduler.next(now).unwrap().send;
    let done = now + Duration::from_millis(100);
    let timing = Timing { peer: send.peer, sent: now, head: None, first_byte: None, done, bytes: 20_000 };
    scheduler.replied(send, &timing);
    assert!(scheduler.changed_table().is_none());
}

#[test]
fn the_table_says_when_no_further_peer_will_join() {
    let mut scheduler = Scheduler::new(Settings::default());
    assert!(scheduler.changed_table().is_none() && !scheduler.table().is_closed);
    scheduler.no_more_peers();
    assert!(scheduler.changed_table().is_some_and(|table| table.is_closed));
    assert!(scheduler.changed_table().is_none());
}

#[test]
fn bans_do_not_slow_it_down() {
    let now = start();
    let mut scheduler = with_peers(capped(64), 20);
    (0..100).for_each(|id| scheduler.submit(attempt(id), now).unwrap());
    while scheduler.next(now).is_some() {}
    (0..15).for_each(|peer| scheduler.ban(peer_id(peer), AttemptErrorKind::False, now));
    assert_eq!(scheduler.cap(), 64);
    assert!(std::iter::from_fn(|| decision(&mut scheduler)).all(|event| !matches!(event, Event::SlowedDown { .. })));
}

/// The first to wake still holds a request from before its rest, so it could not take its probe.
#[test]
fn a_resting_peer_without_a_free_slot_does_not_keep_the_others_from_being_asked() {
    let mut now = start();
    let mut scheduler = with_peers(capped(1), 2);
    for id in 0..2 {
        scheduler.submit(attempt(id), now).unwrap();
        let dispatch = scheduler.next(now).unwrap();
        now += Duration::from_secs(1);
        match id {
            0 => scheduler.timed_out(dispatch.send, now),
            _ => scheduler.failed(dispatch.send, AttemptErrorKind::Overloaded, now),
        }
    }
    scheduler.submit(attempt(2), now).unwrap();
    let first = scheduler.next(now).unwrap();
    assert_eq!(scheduler.peer(&first.send.peer).unwrap().outstanding(), 1);
    // Also when the rest of the silent one is over: it has stalled.
    scheduler.failed(first.send, AttemptErrorKind::Overloaded, now);
    now += Duration::from_secs(6);
    scheduler.submit(attempt(3), now).unwrap();
    assert_eq!(scheduler.next(now).unwrap().send.peer, first.send.peer);
}

/// A peer whose connection ends on another thread, just behind the scheduler's look at its reports: the report is there
/// when its service shows the end.
struct EndsElsewhere {
    events: mpsc::UnboundedSender<PeerEvent>,
    was_asked: bool,
}

impl Service<Attempt> for EndsElsewhere {
    type Response = Answer;
    type Error = AttemptError;
    type Future = BoxFuture<'static, AttemptResult>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        if !self.was_asked {
            return Poll::Ready(Ok(()));
        }
        let _ = self.events.send(PeerEvent::Banned { peer: peer_id(0), why: AttemptErrorKind::False });
        Poll::Ready(Err(AttemptError::new(AttemptErrorKind::Disconnected)))
    }

    fn call(&mut self, _: Attempt) -> Self::Future {
        self.was_asked = true;
        std::future::ready(Err(AttemptError::new(AttemptErrorKind::Disconnected))).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_ban_that_is_reported_with_the_end_of_a_connection_is_heard() {
    let (sender, reports) = mpsc::unbounded_channel();
    let service = EndsElsewhere { events: sender, was_asked: false };
    let peer = Peer::new(service, HEIGHT, ROUND_TRIP).with_events(reports);
    let peers = stream::iter([Ok::<_, AttemptError>(Change::Insert(peer_id(0), peer))]).chain(stream::pending());
    let (scheduler, driver) = SchedulerService::new(peers, Settings::default());
    let mut events = scheduler.handle().events();
    tokio::spawn(driver);
    let error = ask(&scheduler, attempt(0)).await.unwrap_err();
    assert_eq!(error.kind(), AttemptErrorKind::Disconnected);
    let end = async {
        loop {
            if let Event::Peer(event @ (PeerEvent::Left { .. } | PeerEvent::Banned { .. })) =
                events.recv().await.unwrap()
            {
                return event;
            }
        }
    };
    assert_eq!(end.await, PeerEvent::Banned { peer: peer_id(0), why: AttemptErrorKind::False });
}
