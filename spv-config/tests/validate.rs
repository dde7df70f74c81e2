//! Each misconfiguration is reported with its field and a message that says what to do, and all are reported at once.

use std::time::Duration;

use proptest::prelude::*;
use spv_config::{ClientConfig, Network};

const NO_TIME: &str = "is zero, so the wait would be over when it begins: give it a duration, such as \"30s\"";

/// A misconfiguration: what makes a good configuration bad, and what is said of it.
type Case = (fn(&mut ClientConfig), &'static [&'static str]);

#[allow(clippy::unwrap_used)]
const CASES: &[Case] = &[
    (|c| c.max_peers = 0, &["max_peers is 0, so nobody could be asked: set it to at least 1"]),
    (|c| c.max_peers = 1_001, &["max_peers is 1001: set it to at most 1000"]),
    (
        |c| c.peers = vec!["127.0.0.1:0".parse().unwrap()],
        &["peers has 127.0.0.1:0, which has no port: give the port on which the node listens"],
    ),
    (
        |c| c.peers = ["[::1]:1", "127.0.0.1:1", "[::1]:1", "[::1]:1"].map(|peer| peer.parse().unwrap()).into(),
        &["peers has [::1]:1 more than once: name each node once"],
    ),
    (|c| c.storage_path = Some("".into()), &["storage_path is empty: name a place, or leave it out to keep nothing"]),
    (
        |c| c.max_concurrent_filter_requests = 0,
        &[
            "max_concurrent_filter_requests is 0, so nothing could be asked: set it to at least 1; 1 asks for one thing \
           after the other",
        ],
    ),
    (|c| c.max_concurrent_filter_requests = 1_001, &["max_concurrent_filter_requests is 1001: set it to at most 1000"]),
    (|c| c.connection_timeout = Duration::ZERO, &["connection_timeout {NO_TIME}"]),
    (|c| c.message_timeout = Duration::ZERO, &["message_timeout {NO_TIME}"]),
    (|c| c.sync_timeout = Duration::ZERO, &["sync_timeout {NO_TIME}"]),
    (
        |c| c.connection_timeout = Duration::from_secs(86_401),
        &["connection_timeout is 1day 1s: set it to at most 1day"],
    ),
    (
        |c| c.message_timeout = Duration::from_millis(300_001),
        &["message_timeout is 5m 1ms, longer than sync_timeout, which is 5m: shorten it, or lengthen sync_timeout"],
    ),
    (|c| c.sync_timeout = Duration::from_secs(172_800), &["sync_timeout is 2days: set it to at most 1day"]),
];

#[cfg(feature = "parallel-qrinfo")]
const PARALLEL_CASES: &[Case] = &[
    (
        |c| c.max_concurrent_qrinfo_requests = 0,
        &[
            "max_concurrent_qrinfo_requests is 0, so nothing could be asked: set it to at least 1; 1 asks for one thing \
           after the other",
        ],
    ),
    (
        |c| c.max_concurrent_qrinfo_requests = 17,
        &[
            "max_concurrent_qrinfo_requests is 17, above max_concurrent_filter_requests, which is 16: lower it to 16, or \
           raise max_concurrent_filter_requests to 17",
        ],
    ),
    (
        |c| c.max_concurrent_qrinfo_requests = 1_001,
        &[
            "max_concurrent_qrinfo_requests is 1001: set it to at most 1000",
            "max_concurrent_qrinfo_requests is 1001, above max_concurrent_filter_requests, which is 16: lower it to 16, \
             or raise max_concurrent_filter_requests to 1001",
        ],
    ),
    (|c| c.qrinfo_parallel_timeout = Duration::ZERO, &["qrinfo_parallel_timeout {NO_TIME}"]),
    (
        |c| c.qrinfo_parallel_timeout = Duration::from_secs(301),
        &["qrinfo_parallel_timeout is 5m 1s, longer than sync_timeout, which is 5m: shorten it, or lengthen \
           sync_timeout"],
    ),
    (
        |c| c.qrinfo_requests_per_second = Some(0.0),
        &["qrinfo_requests_per_second is 0: set it to 0.001 to 10000 requests a second, or leave it out for no limit"],
    ),
    (
        |c| c.qrinfo_requests_per_second = Some(f64::INFINITY),
        &[
            "qrinfo_requests_per_second is inf: set it to 0.001 to 10000 requests a second, or leave it out for no limit",
        ],
    ),
    (
        |c| c.qrinfo_requests_per_second_per_peer = Some(f64::NAN),
        &[
            "qrinfo_requests_per_second_per_peer is NaN: set it to 0.001 to 10000 requests a second, or leave it out for \
           no limit",
        ],
    ),
    (
        |c| c.qrinfo_requests_per_second_per_peer = Some(-1.5),
        &[
            "qrinfo_requests_per_second_per_peer is -1.5: set it to 0.001 to 10000 requests a second, or leave it out for \
           no limit",
        ],
    ),
    (
        |c| c.qrinfo_window_bytes = 0,
        &["qrinfo_window_bytes is 0: one reply may have 3 MB; set it to at least 4194304 bytes"],
    ),
    (
        |c| c.qrinfo_window_bytes = (4 << 20) - 1,
        &["qrinfo_window_bytes is 4194303: one reply may have 3 MB; set it to at least 4194304 bytes"],
    ),
    (|c| c.qrinfo_window_bytes = (1 << 30) + 1, &["qrinfo_window_bytes is 1073741825: set it to at most 1073741824"]),
    (
        |c| c.qrinfo_max_attempts = 0,
        &["qrinfo_max_attempts is 0, so nothing would be asked even once: set it to at least 1; 1 never asks again"],
    ),
    (
        |c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (0.0, -0.0),
        &[
            "qrinfo_max_attempts is 5, yet qrinfo_retry_budget and qrinfo_retry_budget_per_second are both 0, so nothing \
           would ever be asked again: raise one of them, or set qrinfo_max_attempts to 1",
        ],
    ),
    (|c| c.qrinfo_first_backoff = Duration::ZERO, &["qrinfo_first_backoff {NO_TIME}"]),
    (
        |c| c.qrinfo_first_backoff = Duration::from_secs(31),
        &["qrinfo_first_backoff is 31s, longer than qrinfo_longest_backoff, which is 30s: shorten it, or lengthen \
           qrinfo_longest_backoff"],
    ),
    (|c| c.qrinfo_longest_backoff = Duration::ZERO, &["qrinfo_longest_backoff {NO_TIME}"]),
    (
        |c| c.qrinfo_retry_budget = -0.1,
        &["qrinfo_retry_budget is -0.1: set it to 0 to 1000 retries; 0.1 stands for one in ten"],
    ),
    (
        |c| c.qrinfo_retry_budget_per_second = f64::NAN,
        &["qrinfo_retry_budget_per_second is NaN: set it to 0 to 1000 retries; 0.1 stands for one in ten"],
    ),
    (|c| c.qrinfo_network_timeout = Duration::ZERO, &["qrinfo_network_timeout {NO_TIME}"]),
    (|c| c.qrinfo_sequential_fallback = Duration::ZERO, &["qrinfo_sequential_fallback {NO_TIME}"]),
];

#[cfg(not(feature = "parallel-qrinfo"))]
const PARALLEL_CASES: &[Case] = &[];

fn problems(config: &ClientConfig) -> Vec<String> {
    config.validate().err().map(|errors| errors.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn each_misconfiguration_has_its_message() {
    for (spoil, expected) in CASES.iter().chain(PARALLEL_CASES) {
        let mut config = ClientConfig::default();
        spoil(&mut config);
        let expected: Vec<_> = expected.iter().map(|message| message.replace("{NO_TIME}", NO_TIME)).collect();
        assert_eq!(problems(&config), expected);
    }
}

#[test]
fn every_problem_is_reported_at_once_and_in_the_order_of_the_fields() {
    let mut config = ClientConfig::default();
    config.add_peer("127.0.0.1:0".parse().unwrap());
    config.storage_path = Some("".into());
    config = config
        .with_max_peers(0)
        .with_max_concurrent_filter_requests(0)
        .with_connection_timeout(Duration::ZERO)
        .with_message_timeout(Duration::ZERO)
        .with_sync_timeout(Duration::ZERO);
    #[allow(unused_mut)]
    let mut expected = vec![
        "peers",
        "max_peers",
        "storage_path",
        "max_concurrent_filter_requests",
        "connection_timeout",
        "message_timeout",
        "sync_timeout",
    ];
    #[cfg(feature = "parallel-qrinfo")]
    {
        config = config
            .with_parallel_qrinfo_settings(0, true, Duration::ZERO)
            .with_qrinfo_rate_limits(Some(0.0), Some(-1.0))
            .with_qrinfo_window_bytes(0)
            .with_qrinfo_max_attempts(0)
            .with_qrinfo_backoff(Duration::ZERO, Duration::ZERO)
            .with_qrinfo_retry_budget(f64::NAN, -1.0)
            .with_qrinfo_network_timeout(Duration::ZERO)
            .with_qrinfo_sequential_fallback(Duration::ZERO);
        expected.extend([
            "max_concurrent_qrinfo_requests",
            "qrinfo_parallel_timeout",
            "qrinfo_requests_per_second",
            "qrinfo_requests_per_second_per_peer",
            "qrinfo_window_bytes",
            "qrinfo_max_attempts",
            "qrinfo_first_backoff",
            "qrinfo_longest_backoff",
            "qrinfo_retry_budget",
            "qrinfo_retry_budget_per_second",
            "qrinfo_network_timeout",
            "qrinfo_sequential_fallback",
        ]);
    }
    let errors = config.validate().unwrap_err();
    assert_eq!(errors.iter().map(|problem| problem.field).collect::<Vec<_>>(), expected);
    assert_eq!(errors.to_string().lines().count(), expected.len());
    assert_eq!(errors.into_iter().count(), expected.len());
}

#[test]
fn the_defaults_are_those_of_dash_spv_and_valid() {
    for network in Network::ALL {
        ClientConfig::new(network).validate().unwrap();
    }
    assert_eq!(ClientConfig::default(), ClientConfig::mainnet());
    assert_eq!(
        [ClientConfig::testnet().network, ClientConfig::regtest().network],
        [Network::Testnet, Network::Regtest]
    );
    let config = ClientConfig::default();
    assert_eq!((config.max_peers, config.max_concurrent_filter_requests), (8, 16));
    let waits = [config.connection_timeout, config.message_timeout, config.sync_timeout];
    assert_eq!(waits, [30, 60, 300].map(Duration::from_secs));
    #[cfg(feature = "parallel-qrinfo")]
    {
        assert_eq!(config.max_concurrent_qrinfo_requests, 3);
        assert!(config.enable_adaptive_qrinfo_concurrency);
        assert_eq!(config.qrinfo_parallel_timeout, Duration::from_secs(30));
        assert_eq!(config.qrinfo_window_bytes, 8 << 20);
    }
}

/// What is at a bound is allowed.
#[cfg(feature = "parallel-qrinfo")]
#[test]
fn bounds_belong_to_what_is_allowed() {
    let day = ClientConfig::LONGEST;
    let (slowest, fastest) = ClientConfig::RATES.into_inner();
    ClientConfig::default()
        .with_max_peers(ClientConfig::MOST_PEERS)
        .with_max_concurrent_filter_requests(ClientConfig::MOST_CONCURRENT)
        .with_connection_timeout(day)
        .with_message_timeout(day)
        .with_sync_timeout(day)
        .with_parallel_qrinfo_settings(ClientConfig::MOST_CONCURRENT, false, day)
        .with_qrinfo_rate_limits(Some(slowest), Some(fastest))
        .with_qrinfo_window_bytes(ClientConfig::MOST_WINDOW)
        .with_qrinfo_max_attempts(u32::MAX)
        .with_qrinfo_backoff(day, day)
        .with_qrinfo_retry_budget(0.0, ClientConfig::MOST_RETRIES)
        .with_qrinfo_network_timeout(day)
        .with_qrinfo_sequential_fallback(day)
        .validate()
        .unwrap();
    ClientConfig::default()
        .with_max_peers(1)
        .with_max_concurrent_filter_requests(1)
        .with_parallel_qrinfo_settings(1, true, Duration::from_nanos(1))
        .with_qrinfo_window_bytes(ClientConfig::LEAST_WINDOW)
        .with_qrinfo_max_attempts(1)
        .with_qrinfo_retry_budget(0.0, 0.0)
        .validate()
        .unwrap();
}

prop_compose! {
    fn arbitrary()(
        peers in proptest::collection::vec((any::<[u8; 4]>(), any::<u16>()), 0..4),
        max_peers: u32,
        storage_path in proptest::option::of(".{0,8}"),
        filters: usize,
        waits: [Duration; 3],
    ) -> ClientConfig {
        let mut config = ClientConfig::default()
            .with_peers(peers.into_iter().map(Into::into))
            .with_max_peers(max_peers)
            .with_max_concurrent_filter_requests(filters)
            .with_connection_timeout(waits[0])
            .with_message_timeout(waits[1])
            .with_sync_timeout(waits[2]);
        config.storage_path = storage_path.map(Into::into);
        config
    }
}

#[cfg(feature = "parallel-qrinfo")]
prop_compose! {
    fn arbitrary_parallel()(
        config in arbitrary(),
        concurrent: usize,
        adaptive: bool,
        waits: [Duration; 5],
        rates in [proptest::option::of(proptest::num::f64::ANY), proptest::option::of(proptest::num::f64::ANY)],
        window: u64,
        attempts: u32,
        budget in [proptest::num::f64::ANY, proptest::num::f64::ANY],
    ) -> ClientConfig {
        config
            .with_parallel_qrinfo_settings(concurrent, adaptive, waits[0])
            .with_qrinfo_rate_limits(rates[0], rates[1])
            .with_qrinfo_window_bytes(window)
            .with_qrinfo_max_attempts(attempts)
            .with_qrinfo_backoff(waits[1], waits[2])
            .with_qrinfo_retry_budget(budget[0], budget[1])
            .with_qrinfo_network_timeout(waits[3])
            .with_qrinfo_sequential_fallback(waits[4])
    }
}

#[cfg(not(feature = "parallel-qrinfo"))]
use arbitrary as arbitrary_parallel;

proptest! {
    #[test]
    fn no_value_makes_validation_panic(config in arbitrary_parallel()) {
        if let Err(errors) = config.validate() {
            prop_assert!(errors.iter().count() > 0);
            prop_assert!(errors.iter().all(|problem| problem.to_string().starts_with(problem.field)));
        }
    }
}
