//! The order, time and number of waiting requests: priorities, ageing, bounds, cancelling, deadlines, limits.

use std::time::{Duration, Instant};

use qrinfo_core::{Attempt, AttemptErrorKind, LeaveReason, RequestId, RequestPriority, Timing};
use qrinfo_scheduler::{Dispatch, Event, PeerState, Rate, Scheduler, Settings, SubmitError};

use crate::support::{HEIGHT, attempt, decision, now as start, peer_id};

const ROUND_TRIP: Duration = Duration::from_millis(50);

fn with_peers(settings: Settings, peers: usize) -> Scheduler {
    let mut scheduler = Scheduler::new(settings);
    for peer in 0..peers {
        scheduler.peer_joined(peer_id(peer), HEIGHT, ROUND_TRIP, start());
    }
    scheduler
}

fn sequential() -> Settings {
    Settings { cap: 1, ..Settings::default() }
}

fn priority(id: u64, priority: RequestPriority) -> Attempt {
    Attempt { priority, ..attempt(id) }
}

/// The peer answers what it was sent, `after` the sending.
fn answer(scheduler: &mut Scheduler, dispatch: &Dispatch, sent: Instant, after: Duration) -> Instant {
    let done = sent + after;
    let timing =
        Timing { peer: dispatch.send.peer, sent, head: None, first_byte: Some(sent + after / 2), done, bytes: 20_000 };
    scheduler.replied(dispatch.send, &timing);
    assert_eq!(decision(scheduler), Some(Event::Replied(dispatch.attempt.id, dispatch.send)));
    done
}

#[test]
fn ten_thousand_wait_and_critical_overtakes_them_all() {
    let mut now = start();
    let mut scheduler = with_peers(Settings { capacity: 10_001, ..sequential() }, 1);
    for id in 0..10_000 {
        let class = [RequestPriority::High, RequestPriority::Normal, RequestPriority::Low][id as usize % 3];
        scheduler.submit(priority(id, class), now).unwrap();
    }
    scheduler.submit(priority(99_999, RequestPriority::Critical), now).unwrap();
    let refused = scheduler.submit(attempt(5), now).unwrap_err();
    let SubmitError::QueueFull { attempt, capacity } = refused else { panic!("{refused}") };
    assert_eq!((capacity, attempt.id), (10_001, RequestId(5)));

    let mut order = Vec::new();
    while let Some(dispatch) = scheduler.next(now) {
        assert!(scheduler.next(now).is_none(), "one at a time");
        order.push(dispatch.attempt.id.0);
        now = answer(&mut scheduler, &dispatch, now, Duration::from_micros(100));
    }
    assert_eq!(order.len(), 10_001);
    assert_eq!(order[0], 99_999);
    let rank = |id: &u64| (id % 3, *id);
    assert!(order[1..].is_sorted_by_key(rank), "by priority, oldest first within one");
    assert_eq!((scheduler.unfinished(), scheduler.waiting(), scheduler.slots_in_use()), (0, 0, 0));
}

#[test]
fn low_is_served_within_its_bound_under_a_flood() {
    let mut now = start();
    let settings = Settings { ageing: Duration::from_secs(10), ..sequential() };
    let mut scheduler = with_peers(settings, 1);
    scheduler.submit(priority(0, RequestPriority::Low), now).unwrap();
    let low = RequestId(0);
    let since = now;
    let mut sends_overdue = 0;
    for id in 1.. {
        // There is always something critical to do.
        scheduler.submit(priority(id, RequestPriority::Critical), now).unwrap();
        let dispatch = scheduler.next(now).unwrap();
        let waited = now.duration_since(since);
        if dispatch.attempt.id == low {
            assert!(waited >= Duration::from_secs(10), "not before its time: {waited:?}");
            break;
        }
        sends_overdue += u32::from(waited >= Duration::from_secs(10));
        assert!(sends_overdue <= 8, "one of eight sends belongs to the oldest");
        now = answer(&mut scheduler, &dispatch, now, Duration::from_millis(100));
    }
}

/// However many have waited long enough, ageing has one turn of eight.
#[test]
fn the_overdue_have_one_turn_of_eight() {
    let mut now = start();
    let mut scheduler = with_peers(Settings { ageing: Duration::ZERO, ..sequential() }, 1);
    (0..3).for_each(|id| scheduler.submit(priority(id, RequestPriority::Low), now).unwrap());
    (3..30).for_each(|id| scheduler.submit(priority(id, RequestPriority::Critical), now).unwrap());
    let mut low = Vec::new();
    for place in 0..24 {
        let dispatch = scheduler.next(now).unwrap();
        if dispatch.attempt.id.0 < 3 {
            low.push(place);
        }
        now = answer(&mut scheduler, &dispatch, now, Duration::from_millis(100));
    }
    assert_eq!(low, [7, 15, 23]);
}

#[test]
fn a_retry_keeps_its_place_and_avoids_its_peer() {
    let now = start();
    let mut scheduler = with_peers(sequential(), 2);
    for id in 0..3 {
        scheduler.submit(attempt(id), now).unwrap();
    }
    let first = scheduler.next(now).unwrap();
    assert_eq!(first.attempt.id, RequestId(0));
    scheduler.failed(first.send, AttemptErrorKind::Refused, now);
    assert_eq!(decision(&mut scheduler), Some(Event::Failed(first.attempt.id, first.send, AttemptErrorKind::Refused)));

    let mut retry = first.attempt.clone();
    retry.avoid.push(first.send.peer);
    scheduler.submit(retry.clone(), now).unwrap();
    let second = scheduler.next(now).unwrap();
    assert_eq!(second.attempt.id, RequestId(0));
    assert_ne!(second.send.peer, first.send.peer);

    scheduler.failed(second.send, AttemptErrorKind::Refused, now);
    assert_eq!(decision(&mut scheduler), Some(Event::Failed(RequestId(0), second.send, AttemptErrorKind::Refused)));
    retry.avoid.push(second.send.peer);
    scheduler.submit(retry, now).unwrap();
    assert_eq!(decision(&mut scheduler), Some(Event::NoPeerLeft(RequestId(0))));
}

#[test]
fn a_request_that_avoids_the_only_peer_that_joins_ends() {
    let now = start();
    let mut scheduler = with_peers(sequential(), 0);
    scheduler.submit(Attempt { avoid: vec![peer_id(0)], ..attempt(0) }, now).unwrap();
    scheduler.submit(attempt(1), now).unwrap();
    assert_eq!(decision(&mut scheduler), None, "it waits for a peer");
    scheduler.peer_joined(peer_id(0), HEIGHT, ROUND_TRIP, now);
    assert_eq!(decision(&mut scheduler), Some(Event::NoPeerLeft(RequestId(0))));
    assert_eq!(scheduler.unfinished(), 1);
}

#[test]
fn a_cancelled_request_leaves_the_queue_and_keeps_its_slot() {
    let now = start();
    let mut scheduler = with_peers(sequential(), 1);
    (0..3).for_each(|id| scheduler.submit(attempt(id), now).unwrap());
    let dispatch = scheduler.next(now).unwrap();
    scheduler.cancel(RequestId(0));
    scheduler.cancel(RequestId(1));
    assert_eq!((scheduler.unfinished(), scheduler.slots_in_use()), (1, 1));
    assert!(scheduler.next(now).is_none(), "the peer still holds the cancelled one");
    scheduler.failed(dispatch.send, AttemptErrorKind::Cancelled, now);
    assert_eq!(decision(&mut scheduler), None);
    assert_eq!(scheduler.next(now).unwrap().attempt.id, RequestId(2));
}

#[test]
fn a_deadline_ends_what_waits_and_what_is_sent() {
    let now = start();
    let mut scheduler = with_peers(sequential(), 1);
    let deadline = now + Duration::from_secs(1);
    for id in [0, 1] {
        scheduler.submit(Attempt { deadline: Some(deadline), ..attempt(id) }, now).unwrap();
    }
    scheduler.next(now).unwrap();
    assert_eq!(scheduler.next_wakeup(deadline - Duration::from_millis(1)), Some(deadline));
    assert!(scheduler.next(deadline).is_none());
    assert_eq!(decision(&mut scheduler), Some(Event::Expired(RequestId(0))));
    assert_eq!(decision(&mut scheduler), Some(Event::Expired(RequestId(1))));
    assert_eq!(scheduler.slots_in_use(), 1);
}

#[test]
fn the_cap_and_the_rates_can_be_changed_while_it_runs() {
    let now = start();
    let mut scheduler = with_peers(sequential(), 4);
    for id in 0..100 {
        scheduler.submit(attempt(id), now).unwrap();
    }
    let drain = |scheduler: &mut Scheduler, now| std::iter::from_fn(|| scheduler.next(now)).count();
    assert_eq!(drain(&mut scheduler, now), 1);
    scheduler.set_settings(Settings { cap: 3, ..scheduler.settings().clone() });
    assert_eq!(drain(&mut scheduler, now), 2);
    let slow = Some(Rate::per_second(1, 2));
    scheduler.set_settings(Settings { cap: 64, rate: slow, ..scheduler.settings().clone() });
    assert_eq!(drain(&mut scheduler, now), 2);
    let wakeup = scheduler.next_wakeup(now).unwrap();
    assert!(wakeup <= now + Duration::from_millis(200), "something is outstanding");
    assert_eq!(drain(&mut scheduler, now + Duration::from_secs(1)), 1);
    scheduler.set_settings(Settings { cap: 0, rate: None, ..scheduler.settings().clone() });
    assert_eq!(drain(&mut scheduler, now + Duration::from_secs(2)), 0);
}

#[test]
fn the_next_time_to_look_is_that_of_the_rate_the_rest_or_the_deadline() {
    let now = start();
    let at = |ms| now + Duration::from_millis(ms);
    let rate = Some(Rate::per_second(10, 1));
    let mut scheduler = with_peers(Settings { cap: 8, rate, ..Settings::default() }, 1);
    assert_eq!(scheduler.next_wakeup(now), None);
    for id in 0..2 {
        scheduler.submit(attempt(id), now).unwrap();
    }
    let first = scheduler.next(now).unwrap();
    assert!(scheduler.next(now).is_none());
    assert_eq!(scheduler.next_wakeup(now), Some(at(100)));
    answer(&mut scheduler, &first, now, Duration::from_millis(60));
    assert_eq!(scheduler.next_wakeup(at(60)), Some(at(100)));
    assert!(scheduler.next(at(99)).is_none());
    let second = scheduler.next(at(100)).unwrap();
    // Nothing waits: a look now and then at what is in flight.
    assert_eq!(scheduler.next_wakeup(at(100)), Some(at(300)));
    scheduler.submit(Attempt { deadline: Some(at(150)), ..attempt(2) }, at(100)).unwrap();
    assert_eq!(scheduler.next_wakeup(at(100)), Some(at(150)));
    assert_eq!(scheduler.next_wakeup(at(170)), Some(at(170)), "not in the past");
    assert!(scheduler.next(at(170)).is_none());
    assert_eq!(decision(&mut scheduler), Some(Event::Expired(RequestId(2))));
    scheduler.failed(second.send, AttemptErrorKind::Timeout, at(200));
    assert_eq!(scheduler.next_wakeup(at(200)), None, "the request has failed");
    scheduler.submit(attempt(3), at(200)).unwrap();
    assert_eq!(scheduler.next_wakeup(at(200)), Some(at(5_200)), "the peer rests");
}

#[test]
fn the_next_time_to_look_may_be_that_of_the_rate_of_a_peer() {
    let now = start();
    let at = |ms| now + Duration::from_millis(ms);
    let peer_rate = Some(Rate::per_second(10, 1));
    let mut scheduler = with_peers(Settings { cap: 8, peer_rate, ..Settings::default() }, 1);
    (0..2).for_each(|id| scheduler.submit(attempt(id), now).unwrap());
    assert_eq!(scheduler.next_wakeup(now), None, "it may be asked now");
    assert!(scheduler.next(now).is_some() && scheduler.next(now).is_none());
    assert_eq!(scheduler.next_wakeup(now), Some(at(100)));
}

#[test]
fn a_cap_of_zero_is_none() {
    let mut scheduler = with_peers(Settings { cap: 0, ..Settings::default() }, 1);
    scheduler.submit(attempt(0), start()).unwrap();
    assert_eq!(scheduler.cap(), 0);
    assert!(scheduler.next(start()).is_none());
}

#[test]
fn a_peer_that_times_out_rests_and_comes_back_with_one_probe() {
    let mut now = start();
    let mut scheduler = with_peers(Settings { cap: 64, ..Settings::default() }, 2);
    // It could be asked later: the first need not be asked while it rests.
    scheduler.set_ready(&peer_id(1), false);
    for id in 0..20 {
        scheduler.submit(attempt(id), now).unwrap();
    }
    let sent: Vec<Dispatch> = std::iter::from_fn(|| scheduler.next(now)).collect();
    assert_eq!(sent.len(), 2, "two until it has shown what it can");
    now += Duration::from_secs(30);
    scheduler.timed_out(sent[0].send, now);
    assert_eq!(
        decision(&mut scheduler),
        Some(Event::Failed(sent[0].attempt.id, sent[0].send, AttemptErrorKind::Timeout))
    );
    let health = |scheduler: &Scheduler| scheduler.peer(&peer_id(0)).unwrap().clone();
    let PeerState::Cooling { until } = health(&scheduler).state() else { panic!("{:?}", health(&scheduler)) };
    assert_eq!(health(&scheduler).depth_limit(), qrinfo_scheduler::MAX_DEPTH / 2);
    assert_eq!(health(&scheduler).outstanding(), 2, "a tombstone keeps its slot");

    assert!(scheduler.next(now).is_none());
    for dispatch in &sent {
        scheduler.failed(dispatch.send, AttemptErrorKind::Timeout, now);
    }
    assert_eq!(decision(&mut scheduler), None, "the other request waits for the other peer");
    assert_eq!(health(&scheduler).depth_limit(), qrinfo_scheduler::MAX_DEPTH / 2, "what fails together is one failure");
    assert_eq!(scheduler.next_wakeup(now), Some(until));
    let probe = scheduler.next(until).unwrap();
    assert!(scheduler.next(until).is_none(), "one probe");
    assert_eq!(health(&scheduler).state(), PeerState::HalfOpen { probe: Some(probe.send) });
    answer(&mut scheduler, &probe, until, Duration::from_millis(200));
    assert_eq!(health(&scheduler).state(), PeerState::Open);
}

/// Near peers that hang up when they are asked, and come back at once, would be asked for ever.
#[test]
fn a_peer_that_left_with_a_request_rests_when_it_comes_back() {
    let now = start();
    let mut scheduler = with_peers(sequential(), 1);
    scheduler.submit(attempt(0), now).unwrap();
    assert_eq!(scheduler.next(now).unwrap().send.peer, peer_id(0));
    scheduler.peer_left(peer_id(0), LeaveReason::Disconnected, now);
    scheduler.peer_joined(peer_id(0), HEIGHT, ROUND_TRIP, now);
    scheduler.peer_joined(peer_id(1), HEIGHT, 10 * ROUND_TRIP, now);
    assert!(matches!(scheduler.peer(&peer_id(0)).unwrap().state(), PeerState::Cooling { .. }));
    scheduler.submit(attempt(1), now).unwrap();
    assert_eq!(scheduler.next(now).unwrap().send.peer, peer_id(1));
    // One that left without a request does not.
    let mut idle = with_peers(sequential(), 1);
    idle.peer_left(peer_id(0), LeaveReason::Disconnected, now);
    idle.peer_joined(peer_id(0), HEIGHT, ROUND_TRIP, now);
    assert_eq!(idle.peer(&peer_id(0)).unwrap().state(), PeerState::Open);
}

#[test]
fn a_peer_that_leaves_again_rests_for_twice_as_long() {
    let now = start();
    let mut scheduler = with_peers(sequential(), 1);
    for (id, seconds) in (0..).zip([5, 10, 20]) {
        scheduler.submit(attempt(id), now).unwrap();
        assert!(scheduler.next(now).is_some(), "the only peer is asked, whether it rests or not");
        scheduler.peer_left(peer_id(0), LeaveReason::Disconnected, now);
        scheduler.peer_joined(peer_id(0), HEIGHT, ROUND_TRIP, now);
        let until = now + Duration::from_secs(seconds);
        assert_eq!(scheduler.peer(&peer_id(0)).unwrap().state(), PeerState::Cooling { until });
    }
}

#[test]
fn where_every_peer_rests_the_first_to_wake_is_asked_at_once() {
    let mut now = start();
    let mut scheduler = with_peers(sequential(), 2);
    scheduler.submit(attempt(0), now).unwrap();
    let mut asked = Vec::new();
    for _ in 0..2 {
        let dispatch = scheduler.next(now).unwrap();
        asked.push(dispatch.send.peer);
        now += Duration::from_secs(1);
        scheduler.failed(dispatch.send, AttemptErrorKind::Timeout, now);
        scheduler.submit(Attempt { avoid: asked.clone(), ..attempt(0) }, now).unwrap();
    }
    scheduler.submit(attempt(1), now).unwrap();
    let dispatch = scheduler.next(now).unwrap();
    assert_eq!(dispatch.send.peer, asked[0]);
    assert_eq!(scheduler.next(now), None, "one probe");
}

/// The points belong to the connection: a peer that joins again starts without any.
#[test]
fn a_peer_that_refuses_everything_is_not_asked_until_it_bans_us() {
    let now = start();
    let mut scheduler = with_peers(Settings { cap: 64, capacity: 1_000, ..Settings::default() }, 1);
    for id in 0..200 {
        scheduler.submit(attempt(id), now).unwrap();
    }
    let mut refused = 0;
    while let Some(dispatch) = scheduler.next(now) {
        scheduler.failed(dispatch.send, AttemptErrorKind::Refused, now);
        refused += 1;
    }
    assert_eq!(refused, qrinfo_scheduler::MAX_POINTS);
    assert!(scheduler.peer(&peer_id(0)).is_some() && scheduler.table().iter().all(|(_, known)| known.is_spent));
    let ends: Vec<Event> = std::iter::from_fn(|| decision(&mut scheduler)).collect();
    let without_peer = ends.iter().filter(|event| matches!(event, Event::NoPeerLeft(_))).count();
    assert_eq!((ends.len(), without_peer), (200, 200 - refused as usize), "those that wait end too");
    assert_eq!(scheduler.unfinished(), 0);

    assert!(scheduler.peer_joined(peer_id(0), HEIGHT, ROUND_TRIP, now));
    scheduler.submit(attempt(500), now).unwrap();
    assert!(scheduler.next(now).is_some());
}

/// A refusal comes quickly, so by its times alone this peer would look like the fastest.
#[test]
fn a_peer_that_refuses_everything_is_asked_only_for_what_the_others_refused() {
    let mut now = start();
    let mut scheduler = with_peers(Settings { cap: 4, ..Settings::default() }, 2);
    for id in 0..40 {
        scheduler.submit(attempt(id), now).unwrap();
    }
    let mut refused = 0;
    while let Some(dispatch) = scheduler.next(now) {
        if dispatch.send.peer == peer_id(0) {
            now += Duration::from_millis(1);
            scheduler.failed(dispatch.send, AttemptErrorKind::Refused, now);
            let again = Attempt { avoid: vec![peer_id(0)], ..dispatch.attempt };
            scheduler.submit(again, now).unwrap();
            refused += 1;
        } else {
            now += Duration::from_millis(100);
            scheduler.replied(
                dispatch.send,
                &Timing {
                    peer: dispatch.send.peer,
                    sent: now - Duration::from_millis(100),
                    head: None,
                    first_byte: Some(now - Duration::from_millis(40)),
                    done: now,
                    bytes: 20_000,
                },
            );
        }
    }
    assert!((8..=10).contains(&refused), "{refused}");

    // What the other has failed is asked of it at once.
    scheduler.submit(Attempt { avoid: vec![peer_id(1)], ..attempt(40) }, now).unwrap();
    assert_eq!(scheduler.next(now).unwrap().send.peer, peer_id(0));
}
