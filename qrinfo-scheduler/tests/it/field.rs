//! Field failures: what has brought down schedulers of other clients, one test each.

use std::time::Duration;

use qrinfo_core::{AttemptErrorKind, RequestId, Timing};
use qrinfo_scheduler::{Event, Scheduler, Settings};
use spv_testkit::{
    Scenario,
    scenario::{PeerNumbers, Run, Stall},
};

use crate::support::{
    HEIGHT, attempt, decision, now as start, peer_id,
    run::{View, simulate},
};

const ROUND_TRIP: Duration = Duration::from_millis(50);

fn two_peers(cap: usize) -> Scheduler {
    let mut scheduler = Scheduler::new(Settings { cap, ..Settings::default() });
    (0..2).for_each(|peer| assert!(scheduler.peer_joined(peer_id(peer), HEIGHT, ROUND_TRIP, start())));
    scheduler
}

/// The end of a request at a peer.
enum Outcome {
    /// The first byte comes after this number of milliseconds, the last one ten later.
    Reply { first_byte: u64, bytes: u64 },
    /// It fails within a millisecond.
    Fails(AttemptErrorKind),
}

/// Asks for `jobs` one at a time, a failed one again of the other peer, until each has its reply. Returns which peer was
/// asked, time by time; `serve` says what the n-th request comes to at the first or the second peer.
fn one_at_a_time(jobs: u64, mut serve: impl FnMut(usize, usize) -> Outcome) -> Vec<usize> {
    let mut scheduler = two_peers(1);
    let (mut now, mut asked, mut replied) = (start(), Vec::new(), 0);
    for id in 0..jobs {
        scheduler.submit(attempt(id), now).expect("there is room");
    }
    while let Some(dispatch) = scheduler.next(now) {
        let peer = usize::from(dispatch.send.peer == peer_id(1));
        let sent = now;
        asked.push(peer);
        match serve(peer, asked.iter().filter(|one| **one == peer).count()) {
            Outcome::Reply { first_byte, bytes } => {
                let first_byte = sent + Duration::from_millis(first_byte);
                now = first_byte + Duration::from_millis(10);
                let peer = dispatch.send.peer;
                let timing = Timing { peer, sent, head: None, first_byte: Some(first_byte), done: now, bytes };
                scheduler.replied(dispatch.send, &timing);
                replied += 1;
            }
            Outcome::Fails(kind) => {
                now += Duration::from_millis(1);
                scheduler.failed(dispatch.send, kind, now);
                let mut again = dispatch.attempt;
                again.avoid.push(dispatch.send.peer);
                scheduler.submit(again, now).expect("there is room");
            }
        }
    }
    assert_eq!((replied, scheduler.unfinished()), (jobs, 0), "each has its reply");
    asked
}

/// The peer keeps what it was sent, for it answers in order; but neither the queue nor the cap does.
#[test]
fn a_timed_out_job_does_not_stay_and_starve_new_work() {
    let mut now = start();
    let mut scheduler = two_peers(1);
    scheduler.submit(attempt(0), now).expect("there is room");
    let stuck = RequestId(0);
    let sent = scheduler.next(now).expect("there is a peer");
    now += Duration::from_secs(30);
    scheduler.timed_out(sent.send, now);
    assert_eq!(decision(&mut scheduler), Some(Event::Failed(stuck, sent.send, AttemptErrorKind::Timeout)));
    assert_eq!((scheduler.unfinished(), scheduler.waiting()), (0, 0), "it has ended");

    for id in 1..100 {
        scheduler.submit(attempt(id), now).expect("there is room");
        let request = RequestId(id);
        let dispatch = scheduler.next(now).expect("new work goes out at once");
        assert_eq!((dispatch.attempt.id, scheduler.slots_in_use()), (request, 2), "the peer still holds the first");
        let done = now + Duration::from_secs(1);
        let peer = dispatch.send.peer;
        let timing = Timing { peer, sent: now, head: None, first_byte: Some(done), done, bytes: 20_000 };
        scheduler.replied(dispatch.send, &timing);
        assert_eq!(decision(&mut scheduler), Some(Event::Replied(request, dispatch.send)));
        now = done;
    }
}

/// The best peer is suddenly so slow that its reply, the next one to deliver, is there just before a timeout of 30 s
/// would be. Here nothing times out at all: what is late has to be noticed by its being late.
#[test]
fn a_stalled_head_does_not_cost_a_flat_timeout() {
    const JOBS: usize = 200;
    let seconds = |round_trips: &[u64], stall, cap| {
        let peer =
            |&rtt_us: &u64| PeerNumbers { rtt_us, compute_us: vec![20_000; JOBS], transfer_us: vec![50_000; JOBS] };
        let run = Run {
            peers: round_trips.iter().map(peer).collect(),
            seed: 0,
            reply_bytes: vec![20_000; JOBS],
            window: Some(16),
            refused: Vec::new(),
            stall,
            floor_us: 1,
            lower_bound_us: 1,
            clairvoyant_us: 1,
        };
        let scenario = Scenario { name: "stalled".into(), send_buffer_bytes: 1_000_000, runs: Vec::new() };
        simulate(&scenario, &run, View { lengths: true, cap }, start()).makespan.as_secs_f64()
    };
    // Under a low cap, the stalled peer holds all that may be in flight.
    for cap in [1, 3, 64] {
        let stalls = Some(Stall { peer: 0, at_us: 2_000_000, factor: 600 });
        let with_it = seconds(&[20_000, 200_000, 200_000, 200_000], stalls, cap);
        let without_it = seconds(&[200_000, 200_000, 200_000], None, cap);
        assert!(with_it < without_it + 1.0, "{with_it} s, without that peer {without_it} s, with a cap of {cap}");
    }
}

/// The first reply is of a few bytes and there at once; every other takes three times as long as the other peer's.
#[test]
fn one_cheap_early_sample_does_not_pin_the_latency() {
    let asked = one_at_a_time(60, |peer, nth| match (peer, nth) {
        (0, 1) => Outcome::Reply { first_byte: 1, bytes: 300 },
        (0, _) => Outcome::Reply { first_byte: 600, bytes: 20_000 },
        _ => Outcome::Reply { first_byte: 200, bytes: 20_000 },
    });
    assert_eq!(asked[..2], [0, 0], "it does look fast at first");
    let load = asked.iter().filter(|peer| **peer == 0).count();
    assert!(load <= 6, "{load} of 60");
}

/// The better the times of its failures look, the more it would be asked.
#[test]
fn a_fast_failing_peer_does_not_draw_the_load() {
    use AttemptErrorKind::{Disconnected, Local, Overloaded, Refused, Timeout};
    for kind in [Refused, Timeout, Disconnected, Overloaded, Local] {
        let asked = one_at_a_time(200, |peer, _| match peer {
            0 => Outcome::Fails(kind),
            _ => Outcome::Reply { first_byte: 200, bytes: 20_000 },
        });
        let load = asked.iter().filter(|peer| **peer == 0).count();
        assert!((1..=12).contains(&load), "{kind}: {load} of 200");
    }
}
