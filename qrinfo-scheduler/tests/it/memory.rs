//! The memory that waiting requests take.

use std::time::Duration;

use qrinfo_core::Timing;
use qrinfo_scheduler::{Scheduler, Settings};

use crate::support::{HEIGHT, attempt, peer_id};

/// A request that waits takes its own bytes and a few hundred for its places, and gives them back.
#[test]
fn ten_thousand_waiting_requests_take_a_few_megabytes_and_give_them_back() {
    const REQUESTS: u64 = 10_000;
    let mut now = tokio::time::Instant::now().into_std();
    let mut scheduler = Scheduler::new(Settings { cap: 8, ..Settings::default() });
    scheduler.peer_joined(peer_id(0), HEIGHT, Duration::from_millis(50), now);
    let waiting = allocation_counter::measure(|| {
        for id in 0..REQUESTS {
            scheduler.submit(attempt(id), now).unwrap();
        }
    });
    let each = waiting.bytes_current / REQUESTS as i64;
    assert!((100..1_100).contains(&each), "{each} bytes a request");
    assert!(waiting.bytes_max <= 2 * waiting.bytes_current.unsigned_abs(), "{waiting:?}");

    let served = allocation_counter::measure(|| {
        while let Some(dispatch) = scheduler.next(now) {
            let (sent, peer) = (now, dispatch.send.peer);
            now += Duration::from_millis(1);
            let timing = Timing { peer, sent, head: None, first_byte: Some(now), done: now, bytes: 1_000 };
            scheduler.replied(dispatch.send, &timing);
            while scheduler.event().is_some() {}
        }
    });
    assert_eq!(scheduler.unfinished(), 0);
    let left = waiting.bytes_current + served.bytes_current;
    assert!(left < 2 * REQUESTS as i64, "{left} bytes stay");
}
