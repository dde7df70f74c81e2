//! Each misconfiguration has its error, all errors are reported at once, and features are additive.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use spv_config::{ClientConfig, Network};
use support::Set as _;

/// A misconfiguration: a change that spoils a good configuration, and the errors it causes.
type Case = (fn(&mut ClientConfig), &'static [&'static str]);

#[allow(clippy::unwrap_used)]
const CASES: &[Case] = &[
    (|c| c.max_peers = 0, &["max_peers must be at least 1, not 0"]),
    (|c| c.max_peers = 1_001, &["max_peers must be at most 1000, not 1001"]),
    (
        |c| c.peers = vec!["127.0.0.1:0".parse().unwrap()],
        &["peers contains 127.0.0.1:0, which has no port: add the port of the node"],
    ),
    (
        |c| c.peers = ["[::1]:1", "127.0.0.1:1", "[::1]:1", "[::1]:1"].map(|peer| peer.parse().unwrap()).into(),
        &["peers contains [::1]:1 more than once: list each node once"],
    ),
    (
        |c| c.storage_path = Some("".into()),
        &["storage_path is empty: set a directory, or remove the setting to keep the data in memory"],
    ),
    (|c| c.max_concurrent_filter_requests = 0, &["max_concurrent_filter_requests must be at least 1, not 0"]),
    (|c| c.max_concurrent_filter_requests = 1_001, &["max_concurrent_filter_requests must be at most 1000, not 1001"]),
    (|c| c.connection_timeout = Duration::ZERO, &["connection_timeout must be at least 1ns, not 0s"]),
    (|c| c.message_timeout = Duration::ZERO, &["message_timeout must be at least 1ns, not 0s"]),
    (|c| c.sync_timeout = Duration::ZERO, &["sync_timeout must be at least 1ns, not 0s"]),
    (|c| c.total_timeout = Some(Duration::ZERO), &["total_timeout must be at least 1ns, not 0s"]),
    (|c| c.connection_timeout = Duration::from_secs(86_401), &["connection_timeout must be at most 1day, not 1day 1s"]),
    (
        |c| c.message_timeout = Duration::from_millis(300_001),
        &["message_timeout must be at most sync_timeout (5m), not 5m 1ms: lower it, or raise sync_timeout"],
    ),
    (|c| c.sync_timeout = Duration::from_secs(172_800), &["sync_timeout must be at most 1day, not 2days"]),
    (
        |c| c.total_timeout = Some(Duration::MAX),
        &["total_timeout must be at most 1day, not 584542046090years 7months 15days 17h 5m 3s 999ms 999us 999ns"],
    ),
];

#[cfg(feature = "parallel-qrinfo")]
const PARALLEL_CASES: &[Case] = &[
    (|c| c.max_concurrent_qrinfo_requests = Some(0), &["max_concurrent_qrinfo_requests must be at least 1, not 0"]),
    (
        |c| c.max_concurrent_qrinfo_requests = Some(17),
        &[
            "max_concurrent_qrinfo_requests must be at most max_concurrent_filter_requests (16), not 17: lower it, or raise \
           max_concurrent_filter_requests",
        ],
    ),
    (
        |c| c.max_concurrent_qrinfo_requests = Some(1_001),
        &[
            "max_concurrent_qrinfo_requests must be at most 1000, not 1001",
            "max_concurrent_qrinfo_requests must be at most max_concurrent_filter_requests (16), not 1001: lower it, or \
             raise max_concurrent_filter_requests",
        ],
    ),
    (|c| c.qrinfo_parallel_timeout = Some(Duration::ZERO), &["qrinfo_parallel_timeout must be at least 1ns, not 0s"]),
    (
        |c| c.qrinfo_parallel_timeout = Some(Duration::from_secs(301)),
        &["qrinfo_parallel_timeout must be at most sync_timeout (5m), not 5m 1s: lower it, or raise sync_timeout"],
    ),
    (|c| c.qrinfo_requests_per_second = Some(0.0), &["qrinfo_requests_per_second must be at least 0.001, not 0"]),
    (
        |c| c.qrinfo_requests_per_second = Some(f64::INFINITY),
        &["qrinfo_requests_per_second must be at most 10000, not inf"],
    ),
    (
        |c| c.qrinfo_requests_per_second_per_peer = Some(f64::NAN),
        &["qrinfo_requests_per_second_per_peer must be at least 0.001, not NaN"],
    ),
    (
        |c| c.qrinfo_requests_per_second_per_peer = Some(-1.5),
        &["qrinfo_requests_per_second_per_peer must be at least 0.001, not -1.5"],
    ),
    (|c| c.qrinfo_window_bytes = 0, &["qrinfo_window_bytes must be at least 65536, not 0"]),
    (|c| c.qrinfo_window_bytes = (64 << 10) - 1, &["qrinfo_window_bytes must be at least 65536, not 65535"]),
    (|c| c.qrinfo_window_bytes = (1 << 30) + 1, &["qrinfo_window_bytes must be at most 1073741824, not 1073741825"]),
    (|c| c.qrinfo_max_attempts = 0, &["qrinfo_max_attempts must be at least 1, not 0"]),
    (
        |c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (0.0, -0.0),
        &[
            "qrinfo_max_attempts is 5, but qrinfo_retry_budget and qrinfo_retry_budget_per_second are 0 and allow no retry: \
           raise one of them, or set qrinfo_max_attempts to 1",
        ],
    ),
    (|c| c.qrinfo_first_backoff = Some(Duration::ZERO), &["qrinfo_first_backoff must be at least 1ns, not 0s"]),
    (
        |c| c.qrinfo_first_backoff = Some(Duration::from_secs(31)),
        &["qrinfo_first_backoff must be at most qrinfo_longest_backoff (30s), not 31s: lower it, or raise \
           qrinfo_longest_backoff"],
    ),
    (|c| c.qrinfo_longest_backoff = Duration::ZERO, &["qrinfo_longest_backoff must be at least 1ns, not 0s"]),
    (|c| c.qrinfo_retry_budget = -0.1, &["qrinfo_retry_budget must be at least 0, not -0.1"]),
    (|c| c.qrinfo_retry_budget_per_second = f64::NAN, &["qrinfo_retry_budget_per_second must be at least 0, not NaN"]),
    (|c| c.qrinfo_network_timeout = Duration::ZERO, &["qrinfo_network_timeout must be at least 1ns, not 0s"]),
    (|c| c.qrinfo_sequential_fallback = Duration::ZERO, &["qrinfo_sequential_fallback must be at least 1ns, not 0s"]),
];

#[cfg(not(feature = "parallel-qrinfo"))]
const PARALLEL_CASES: &[Case] = &[];

fn problems(config: &ClientConfig) -> Vec<String> {
    config.validate().err().map(|errors| errors.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn each_misconfiguration_has_its_message() {
    for (spoil, expected) in CASES.iter().chain(PARALLEL_CASES) {
        let mut config = ClientConfig::default();
        spoil(&mut config);
        assert_eq!(problems(&config), *expected);
    }
}

#[test]
fn every_problem_is_reported_at_once_and_in_the_order_of_the_fields() {
    let mut config = ClientConfig::default();
    config.peers.push("127.0.0.1:0".parse().unwrap());
    config.storage_path = Some("".into());
    config = config
        .set(|c| c.max_peers = 0)
        .with_max_concurrent_filter_requests(0)
        .set(|c| c.connection_timeout = Duration::ZERO)
        .with_message_timeout(Duration::ZERO)
        .with_sync_timeout(Duration::ZERO)
        .set(|c| c.total_timeout = Some(Duration::ZERO));
    #[allow(unused_mut)]
    let mut expected = vec![
        "peers",
        "max_peers",
        "storage_path",
        "max_concurrent_filter_requests",
        "connection_timeout",
        "message_timeout",
        "sync_timeout",
        "total_timeout",
    ];
    #[cfg(feature = "parallel-qrinfo")]
    {
        config = config
            .with_parallel_qrinfo_settings(0, true, Duration::ZERO)
            .set(|c| (c.qrinfo_requests_per_second, c.qrinfo_requests_per_second_per_peer) = (Some(0.0), Some(-1.0)))
            .set(|c| c.qrinfo_window_bytes = 0)
            .set(|c| c.qrinfo_max_attempts = 0)
            .set(|c| (c.qrinfo_first_backoff, c.qrinfo_longest_backoff) = (Some(Duration::ZERO), Duration::ZERO))
            .set(|c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (f64::NAN, -1.0))
            .set(|c| c.qrinfo_network_timeout = Duration::ZERO)
            .set(|c| c.qrinfo_sequential_fallback = Duration::ZERO);
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
    assert_eq!(errors.0.iter().map(|problem| problem.field).collect::<Vec<_>>(), expected);
    assert_eq!(errors.to_string().lines().count(), expected.len());
    assert_eq!(errors.0.len(), expected.len());
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
    assert_eq!(config.total_timeout, None);
    #[cfg(feature = "parallel-qrinfo")]
    {
        assert_eq!(config.max_concurrent_qrinfo_requests(), 3);
        assert!(config.enable_adaptive_qrinfo_concurrency);
        assert_eq!(config.qrinfo_parallel_timeout(), Duration::from_secs(30));
        assert_eq!(config.qrinfo_first_backoff(), Duration::from_secs(1));
        assert_eq!(config.qrinfo_window_bytes, qrinfo_core::DEFAULT_WINDOW_BYTES);
    }
}

#[cfg(feature = "parallel-qrinfo")]
#[test]
fn ranges_include_their_bounds() {
    let (shortest, day) = ClientConfig::WAITS.into_inner();
    let (slowest, fastest) = ClientConfig::RATES.into_inner();
    let (smallest, largest) = ClientConfig::WINDOW_BYTES.into_inner();
    ClientConfig::default()
        .set(|c| c.max_peers = *ClientConfig::PEERS.end())
        .with_max_concurrent_filter_requests(*ClientConfig::CONCURRENT.end())
        .set(|c| c.connection_timeout = day)
        .with_message_timeout(day)
        .with_sync_timeout(day)
        .set(|c| c.total_timeout = Some(day))
        .with_parallel_qrinfo_settings(*ClientConfig::CONCURRENT.end(), false, day)
        .set(|c| (c.qrinfo_requests_per_second, c.qrinfo_requests_per_second_per_peer) = (Some(slowest), Some(fastest)))
        .set(|c| c.qrinfo_window_bytes = largest)
        .set(|c| c.qrinfo_max_attempts = u32::MAX)
        .set(|c| (c.qrinfo_first_backoff, c.qrinfo_longest_backoff) = (Some(day), day))
        .set(|c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (0.0, *ClientConfig::RETRIES.end()))
        .set(|c| c.qrinfo_network_timeout = day)
        .set(|c| c.qrinfo_sequential_fallback = day)
        .validate()
        .unwrap();
    ClientConfig::default()
        .set(|c| c.max_peers = 1)
        .with_max_concurrent_filter_requests(1)
        .with_parallel_qrinfo_settings(1, true, shortest)
        .set(|c| c.qrinfo_window_bytes = smallest)
        .set(|c| c.qrinfo_max_attempts = 1)
        .set(|c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (0.0, 0.0))
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
        total: Option<Duration>,
    ) -> ClientConfig {
        let mut config = ClientConfig::default()
            .set(|c| c.peers = Vec::from_iter(peers.into_iter().map(Into::into)))
            .set(|c| c.max_peers = max_peers)
            .with_max_concurrent_filter_requests(filters)
            .set(|c| c.connection_timeout = waits[0])
            .with_message_timeout(waits[1])
            .with_sync_timeout(waits[2]);
        config.storage_path = storage_path.map(Into::into);
        config.total_timeout = total;
        config
    }
}

prop_compose! {
    /// Valid settings that exist without the feature `parallel-qrinfo`.
    fn valid_sequential()(sync in wait(*ClientConfig::WAITS.end()))(
        peers in proptest::collection::btree_set((any::<[u8; 4]>(), 1..=u16::MAX), 0..4),
        max_peers in ClientConfig::PEERS,
        filters in prop_oneof![1..=4_usize, ClientConfig::CONCURRENT],
        connection in wait(*ClientConfig::WAITS.end()),
        message in wait(sync),
        sync in Just(sync),
        total in proptest::option::of(wait(*ClientConfig::WAITS.end())),
    ) -> ClientConfig {
        let mut config = ClientConfig::default()
            .set(|c| c.peers = Vec::from_iter(peers.into_iter().map(Into::into)))
            .set(|c| c.max_peers = max_peers)
            .with_max_concurrent_filter_requests(filters)
            .set(|c| c.connection_timeout = connection)
            .with_message_timeout(message)
            .with_sync_timeout(sync);
        config.total_timeout = total;
        config
    }
}

/// Durations of every magnitude up to a longest one.
fn wait(longest: Duration) -> impl Strategy<Value = Duration> {
    (0..47_u32, 0.0..=1.0).prop_map(move |(halvings, part)| {
        (longest / 2_u32.saturating_pow(halvings)).mul_f64(part).max(*ClientConfig::WAITS.start())
    })
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
            .set(|c| (c.qrinfo_requests_per_second, c.qrinfo_requests_per_second_per_peer) = (rates[0], rates[1]))
            .set(|c| c.qrinfo_window_bytes = window)
            .set(|c| c.qrinfo_max_attempts = attempts)
            .set(|c| (c.qrinfo_first_backoff, c.qrinfo_longest_backoff) = (Some(waits[1]), waits[2]))
            .set(|c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (budget[0], budget[1]))
            .set(|c| c.qrinfo_network_timeout = waits[3])
            .set(|c| c.qrinfo_sequential_fallback = waits[4])
    }
}

#[cfg(not(feature = "parallel-qrinfo"))]
use arbitrary as arbitrary_parallel;

/// Each of these was refused with the feature and accepted without it.
#[test]
fn low_limits_need_no_settings_of_the_feature() {
    for text in [
        "max_concurrent_filter_requests = 1",
        "message_timeout = '10s'\nsync_timeout = '20s'",
        "max_concurrent_filter_requests = 2\nmessage_timeout = '1ns'\nsync_timeout = '1ns'\ntotal_timeout = '1ns'",
    ] {
        ClientConfig::from_toml(text).unwrap().validate().unwrap();
    }
    #[cfg(feature = "parallel-qrinfo")]
    {
        let config = ClientConfig::from_toml("max_concurrent_filter_requests = 1\nsync_timeout = '20s'").unwrap();
        assert_eq!(config.max_concurrent_qrinfo_requests(), 1);
        assert_eq!(config.qrinfo_parallel_timeout(), Duration::from_secs(20));
        ClientConfig::from_toml("qrinfo_longest_backoff = '500ms'").unwrap().validate().unwrap();
    }
}

proptest! {
    #[test]
    fn a_configuration_that_is_valid_without_the_feature_is_valid_with_it(config in valid_sequential()) {
        prop_assert_eq!(config.validate(), Ok(()));
        let written = toml::to_string(&config).unwrap();
        prop_assert_eq!(ClientConfig::from_toml(&written).unwrap(), config);
    }

    #[test]
    fn no_value_makes_validation_panic(config in arbitrary_parallel()) {
        if let Err(errors) = config.validate() {
            prop_assert!(!errors.0.is_empty());
            prop_assert!(errors.0.iter().all(|problem| problem.to_string().starts_with(problem.field)));
        }
    }
}
