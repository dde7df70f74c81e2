//! The settings of a [`ClientConfig`], translated for the parts of this library.
//!
//! [`ClientConfig::validate`] comes first: these take what they get.
//!
//! | setting | goes to |
//! |---|---|
//! | `network`, `connection_timeout` | [`peer_config`] |
//! | `message_timeout` | [`correlator_config`]: the head-of-line timeout of a sequential sync |
//! | `qrinfo_parallel_timeout` | [`parallel_correlator_config`]: that of a parallel one |
//! | `sync_timeout` | [`SequentialOptions`] and [`ParallelOptions`](crate::ParallelOptions): the time for one request after its first failure |
//! | the other `qrinfo_` settings | [`ParallelOptions`](crate::ParallelOptions), by `From` |
//!
//! `max_peers`, `peers`, `storage_path` and `max_concurrent_filter_requests` are for the client itself.
//!
//! ```
//! use std::time::Duration;
//! use spv_config::ClientConfig;
//!
//! let config = ClientConfig::regtest().with_message_timeout(Duration::from_secs(20));
//! let correlator = qrinfo::config::correlator_config(&config);
//! assert_eq!(correlator.head_timeout, Duration::from_secs(20));
//! ```

use qrinfo_core::{Network, stack::retry::RetryPolicy};
use qrinfo_correlate::CorrelatorConfig;
use spv_config::ClientConfig;
use spv_peer::PeerConfig;

use crate::SequentialOptions;

/// The network that the client is on.
pub fn network(config: &ClientConfig) -> Network {
    match config.network {
        spv_config::Network::Mainnet => Network::Mainnet,
        spv_config::Network::Testnet => Network::Testnet,
        spv_config::Network::Devnet => Network::Devnet,
        spv_config::Network::Regtest => Network::Regtest,
    }
}

/// Settings of a connection. The nonce tells our own connections from others'; draw it at random once.
pub fn peer_config(config: &ClientConfig, nonce: u64) -> PeerConfig {
    PeerConfig {
        connect_timeout: config.connection_timeout,
        handshake_timeout: config.connection_timeout,
        ..PeerConfig::new(network(config), nonce)
    }
}

/// Settings of the correlators of a [`SequentialSync`](crate::SequentialSync).
pub fn correlator_config(config: &ClientConfig) -> CorrelatorConfig {
    CorrelatorConfig { head_timeout: config.message_timeout, ..CorrelatorConfig::default() }
}

/// Settings of the correlators of a [`ParallelSync`](crate::ParallelSync).
#[cfg(feature = "parallel-qrinfo")]
pub fn parallel_correlator_config(config: &ClientConfig) -> CorrelatorConfig {
    CorrelatorConfig { head_timeout: config.qrinfo_parallel_timeout, ..CorrelatorConfig::default() }
}

impl From<&ClientConfig> for SequentialOptions {
    fn from(config: &ClientConfig) -> Self {
        Self { retry: retry_policy(config), total_timeout: None }
    }
}

#[cfg(feature = "parallel-qrinfo")]
impl From<&ClientConfig> for crate::ParallelOptions {
    fn from(config: &ClientConfig) -> Self {
        use std::num::NonZeroUsize;

        let recovery = qrinfo_recovery::RecoverySettings {
            retry: retry_policy(config),
            budget: config.qrinfo_retry_budget,
            budget_per_second: config.qrinfo_retry_budget_per_second,
            ..Default::default()
        };
        Self {
            max_concurrent: NonZeroUsize::new(config.max_concurrent_qrinfo_requests).unwrap_or(NonZeroUsize::MIN),
            adaptive: config.enable_adaptive_qrinfo_concurrency,
            sequential_for: config.qrinfo_sequential_fallback,
            rate: config.qrinfo_requests_per_second.and_then(rate),
            peer_rate: config.qrinfo_requests_per_second_per_peer.and_then(rate),
            window_bytes: config.qrinfo_window_bytes,
            recovery,
            total_timeout: None,
        }
    }
}

/// The rules for one request, in both modes.
#[cfg(feature = "parallel-qrinfo")]
fn retry_policy(config: &ClientConfig) -> RetryPolicy {
    RetryPolicy {
        max_attempts: config.qrinfo_max_attempts,
        first_backoff: config.qrinfo_first_backoff,
        longest_backoff: config.qrinfo_longest_backoff,
        deadline: config.sync_timeout,
        network_timeout: config.qrinfo_network_timeout,
    }
}

/// The rules for one request.
#[cfg(not(feature = "parallel-qrinfo"))]
fn retry_policy(config: &ClientConfig) -> RetryPolicy {
    RetryPolicy { deadline: config.sync_timeout, ..RetryPolicy::default() }
}

/// So many a second, with bursts of what a second allows; `None` for what no validated configuration has.
#[cfg(feature = "parallel-qrinfo")]
fn rate(per_second: f64) -> Option<qrinfo_scheduler::Rate> {
    let interval = std::time::Duration::try_from_secs_f64(1.0 / per_second).ok()?;
    // The cast saturates.
    Some(qrinfo_scheduler::Rate { interval, burst: per_second.ceil() as u32 })
}
