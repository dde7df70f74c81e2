//! Budget and jitter, by the sum of many draws.

use std::time::{Duration, Instant};

use qrinfo_recovery::{Backoff, RetryBudget, RetryPolicy};

const DRAWS: usize = 100_000;

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// True if a figure is within one percent of the expected one.
fn near(figure: f64, expected: f64) -> bool {
    (figure - expected).abs() <= expected * 0.01
}

#[test]
fn the_budget_is_exact_at_fractions() {
    for share in [0.1, 0.25, 0.6, 0.9, 1.0, 1.5] {
        let mut budget = RetryBudget::new(share, 0.0);
        let now = now();
        let mut granted = 0_usize;
        for _ in 0..DRAWS {
            budget.earn();
            // Every request fails, twice.
            granted += usize::from(budget.take(now).is_ok());
            granted += usize::from(budget.take(now).is_ok());
        }
        let expected = share * DRAWS as f64;
        assert!((granted as f64 - expected).abs() < 1.0, "{share}: {granted}");
    }
}

#[test]
fn time_earns_retries() {
    let mut budget = RetryBudget::new(0.0, 2.5);
    let start = now();
    let mut granted = 0_u32;
    for millis in 0..DRAWS as u64 {
        granted += u32::from(budget.take(start + Duration::from_millis(millis)).is_ok());
    }
    assert!(near(f64::from(granted), 250.0), "{granted} in 100 s");
}

#[test]
fn a_budget_says_when_the_next_retry_is_earned() {
    let mut budget = RetryBudget::new(0.5, 0.25);
    let start = now();
    budget.earn();
    // Half is there; the other half takes two seconds.
    let at = budget.take(start).unwrap_err().unwrap();
    let wait = at.duration_since(start);
    assert!(wait >= Duration::from_secs(2) && wait < Duration::from_millis(2_001), "{wait:?}");
    assert!(budget.take(at).is_ok());
    assert_eq!(RetryBudget::new(0.5, 0.0).take(start), Err(None));
}

#[test]
fn a_retry_is_there_when_it_was_said_to_be_also_where_the_time_is_no_whole_number() {
    let mut budget = RetryBudget::new(0.0, 0.3);
    let start = now();
    let at = budget.take(start).unwrap_err().unwrap();
    assert_eq!(at.duration_since(start), Duration::from_micros(3_333_334));
    assert!(budget.take(at).is_ok());
}

#[test]
fn questions_that_come_too_soon_cost_nothing_of_what_time_earns() {
    // A millionth of a retry each second.
    let mut budget = RetryBudget::new(0.0, 0.000_001);
    let start = now();
    for millis in [0, 500, 500] {
        assert!(budget.take(start + Duration::from_millis(millis)).is_err());
    }
    assert!(budget.take(start + Duration::from_secs(1_000_000)).is_ok());
}

#[test]
fn jitter_is_drawn_evenly_from_the_whole_interval() {
    let bound = Duration::from_secs(8);
    let mut backoff = Backoff::new(1);
    let draws: Vec<f64> = (0..DRAWS).map(|_| backoff.draw(bound).as_secs_f64()).collect();
    assert!(draws.iter().all(|draw| (0.0..=8.0).contains(draw)));
    let mean = draws.iter().sum::<f64>() / DRAWS as f64;
    assert!(near(mean, 4.0), "mean {mean}");
    for tenth in 1..10 {
        let limit = 0.8 * f64::from(tenth);
        let below = draws.iter().filter(|draw| **draw < limit).count() as f64 / DRAWS as f64;
        assert!((below - f64::from(tenth) / 10.0).abs() < 0.01, "{below} below {limit}");
    }
}

#[test]
fn jitter_follows_from_the_seed() {
    let draws = |seed| {
        let mut backoff = Backoff::new(seed);
        (0..100).map(|_| backoff.draw(Duration::from_secs(1))).collect::<Vec<_>>()
    };
    assert_eq!(draws(7), draws(7));
    assert_ne!(draws(7), draws(8));
}

#[test]
fn nonsense_settings_do_no_harm() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX] {
        let mut budget = RetryBudget::new(value, value);
        budget.earn();
        let _ = budget.take(now());
    }
    let longest =
        RetryPolicy { first_backoff: Duration::MAX, longest_backoff: Duration::MAX, ..RetryPolicy::default() };
    assert_eq!(longest.backoff(u32::MAX), Duration::MAX);
    assert!(Backoff::new(1).draw(Duration::MAX) <= Duration::MAX);
}
