//! Settings of a [`ClientConfig`], mapped to those of the parts of this library.
//!
//! Call [`ClientConfig::validate`] first; the functions here do not check.
//!
//! | setting | mapped by |
//! |---|---|
//! | `network`, `devnet`, `connection_timeout` | [`peer_config`] |
//! | `message_timeout` | [`correlator_config`]: longest silence of a peer in a sequential sync |
//! | `qrinfo_parallel_timeout` | [`parallel_correlator_config`]: the same in a parallel sync |
//! | `sync_timeout` | [`SequentialOptions`] and [`ParallelOptions`](crate::ParallelOptions), by `From`: longest time for one request |
//! | `total_timeout` | the same two: longest time for the whole sync |
//! | the other `qrinfo` settings | [`ParallelOptions`](crate::ParallelOptions), by `From` |
//!
//! The client applies `peers`, `max_peers`, `proxy`, `storage_path` and `max_concurrent_filter_requests`.
//!
//! ```
//! use std::time::Duration;
//! use spv_config::ClientConfig;
//!
//! let config = ClientConfig::regtest().with_message_timeout(Duration::from_secs(20));
//! let correlator = qrinfo::config::correlator_config(&config);
//! assert_eq!(correlator.head_timeout, Duration::from_secs(20));
//! ```

use qrinfo_core::retry::RetryPolicy;
use qrinfo_correlate::CorrelatorConfig;
use spv_config::ClientConfig;

use crate::run::SequentialOptions;

/// Returns the settings of a connection. The nonce identifies connections to ourselves; draw it at random once.
#[cfg(feature = "tcp")]
pub fn peer_config(config: &ClientConfig, nonce: u64) -> spv_peer::PeerConfig {
    spv_peer::PeerConfig {
        devnet: config.devnet.name.clone(),
        connect_timeout: config.connection_timeout,
        handshake_timeout: config.connection_timeout,
        ..spv_peer::PeerConfig::new(config.network, nonce)
    }
}

/// Returns the settings of the correlators of a [`SequentialSync`](crate::SequentialSync).
pub fn correlator_config(config: &ClientConfig) -> CorrelatorConfig {
    CorrelatorConfig { head_timeout: config.message_timeout, ..CorrelatorConfig::default() }
}

/// Returns the settings of the correlators of a [`ParallelSync`](crate::ParallelSync).
#[cfg(feature = "parallel-qrinfo")]
pub fn parallel_correlator_config(config: &ClientConfig) -> CorrelatorConfig {
    CorrelatorConfig { head_timeout: config.qrinfo_parallel_timeout(), ..CorrelatorConfig::default() }
}

impl From<&ClientConfig> for SequentialOptions {
    fn from(config: &ClientConfig) -> Self {
        Self { retry: retry_policy(config), total_timeout: config.total_timeout }
    }
}

#[cfg(feature = "parallel-qrinfo")]
impl From<&ClientConfig> for crate::run::ParallelOptions {
    fn from(config: &ClientConfig) -> Self {
        use std::num::NonZeroUsize;

        let recovery = qrinfo_recovery::RecoverySettings {
            retry: retry_policy(config),
            budget: config.qrinfo_retry_budget,
            budget_per_second: config.qrinfo_retry_budget_per_second,
            ..Default::default()
        };
        Self {
            max_concurrent: NonZeroUsize::new(config.max_concurrent_qrinfo_requests()).unwrap_or(NonZeroUsize::MIN),
            adaptive: config.enable_adaptive_qrinfo_concurrency,
            sequential_for: config.qrinfo_sequential_fallback,
            rate: config.qrinfo_requests_per_second.and_then(rate),
            peer_rate: config.qrinfo_requests_per_second_per_peer.and_then(rate),
            window_bytes: config.qrinfo_window_bytes,
            recovery,
            total_timeout: config.total_timeout,
        }
    }
}

/// Returns the rules for one request, which hold in both modes.
#[cfg(feature = "parallel-qrinfo")]
fn retry_policy(config: &ClientConfig) -> RetryPolicy {
    RetryPolicy {
        max_attempts: config.qrinfo_max_attempts,
        first_backoff: config.qrinfo_first_backoff(),
        longest_backoff: config.qrinfo_longest_backoff,
        deadline: config.sync_timeout,
        network_timeout: config.qrinfo_network_timeout,
    }
}

/// Returns the rules for one request.
#[cfg(not(feature = "parallel-qrinfo"))]
fn retry_policy(config: &ClientConfig) -> RetryPolicy {
    RetryPolicy { deadline: config.sync_timeout, ..RetryPolicy::default() }
}

/// Returns a rate with bursts of one second's requests; `None` for values that validation refuses.
#[cfg(feature = "parallel-qrinfo")]
fn rate(per_second: f64) -> Option<qrinfo_scheduler::Rate> {
    let interval = std::time::Duration::try_from_secs_f64(1.0 / per_second).ok()?;
    // The cast saturates.
    Some(qrinfo_scheduler::Rate { interval, burst: per_second.ceil() as u32 })
}
