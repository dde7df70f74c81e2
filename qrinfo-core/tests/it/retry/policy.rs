//! Waits of requests and rests of peers.

use qrinfo_core::retry::{Rest, RetryPolicy};

use super::{seconds, start};

#[test]
fn waits_double_up_to_their_bound() {
    let waits: Vec<_> = (0..7).map(|waits| RetryPolicy::default().backoff(waits).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(RetryPolicy::default().backoff(u32::MAX), seconds(30));
}

#[test]
fn rests_double_with_failures_in_a_row_up_to_five_minutes() {
    let now = start();
    let mut rest = Rest::default();
    let mut fail = || (rest.failed(now) - now).as_secs();
    assert_eq!([(); 9].map(|()| fail()), [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    rest.answered();
    assert_eq!(rest.failed(now), now + seconds(5));
}

#[test]
fn a_rest_begins_with_its_failure() {
    let now = start();
    let mut rest = Rest::default();
    rest.failed(now);
    assert_eq!(rest.failed(now + seconds(100)), now + seconds(110));
}
