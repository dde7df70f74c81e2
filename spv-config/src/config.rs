use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Network, duration, peers};

/// What a Dash light client is told before it starts to sync.
///
/// The fields are public, to be read and set; `with_*` methods set them one after the other. A value that comes from
/// elsewhere is not judged until [`validate`](Self::validate) is called, so that a later source can still replace it.
///
/// With `serde` it reads and writes as a table whose keys are the names of the fields. Keys that are not given have
/// their defaults; keys that are unknown are refused.
///
/// ```
/// use std::time::Duration;
/// use spv_config::{ClientConfig, Network};
///
/// let config = ClientConfig::new(Network::Regtest)
///     .with_peers(["127.0.0.1:19899".parse()?])
///     .with_max_concurrent_filter_requests(8)
///     .with_sync_timeout(Duration::from_secs(120));
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The network to sync. Default: mainnet.
    pub network: Network,
    /// Nodes to connect to, each once. Default: none, so that the client finds some itself.
    #[serde(deserialize_with = "peers::deserialize")]
    pub peers: Vec<SocketAddr>,
    /// How many nodes to be connected to at a time, from 1 to [`MOST_PEERS`](Self::MOST_PEERS). Default: 8.
    pub max_peers: u32,
    /// Where what was synced is kept. Default: nowhere; it is held in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_path: Option<PathBuf>,
    /// How many requests for filters may be under way at a time, from 1 to
    /// [`MOST_CONCURRENT`](Self::MOST_CONCURRENT). No other kind of request may have more. Default: 16.
    pub max_concurrent_filter_requests: usize,
    /// How long it may take to connect to a node and to be greeted by it. Default: 30 s.
    #[serde(with = "duration")]
    pub connection_timeout: Duration,
    /// How long a node that was asked may be silent, when nodes are asked one at a time. Not above
    /// [`sync_timeout`](Self::sync_timeout). Default: 60 s.
    #[serde(with = "duration")]
    pub message_timeout: Duration,
    /// How long one request may take, with everything that is tried for it; then it is given up. Default: 300 s.
    #[serde(with = "duration")]
    pub sync_timeout: Duration,

    /// How many requests for rotated quorums may be under way at a time, all nodes together: a ceiling below which
    /// adaptation moves. From 1 to [`max_concurrent_filter_requests`](Self::max_concurrent_filter_requests).
    /// Default: 3.
    #[cfg(feature = "parallel-qrinfo")]
    pub max_concurrent_qrinfo_requests: usize,
    /// Whether fewer requests are sent while nodes time out and drop connections. Default: true.
    #[cfg(feature = "parallel-qrinfo")]
    pub enable_adaptive_qrinfo_concurrency: bool,
    /// How long a node that was asked may be silent, when several are asked at once. Not above
    /// [`sync_timeout`](Self::sync_timeout). Default: 30 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_parallel_timeout: Duration,
    /// How many requests a second may be sent to all nodes together, within
    /// [`RATES`](Self::RATES). Default: no limit.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrinfo_requests_per_second: Option<f64>,
    /// How many requests a second may be sent to one node, within [`RATES`](Self::RATES). Default: no limit.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrinfo_requests_per_second_per_peer: Option<f64>,
    /// How many bytes of replies may be under way or wait to be taken in their order, from
    /// [`LEAST_WINDOW`](Self::LEAST_WINDOW) to [`MOST_WINDOW`](Self::MOST_WINDOW). Default: 8 MiB.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_window_bytes: u64,
    /// How often one request is asked before it is given up, refusals not counted; at least once. Default: 5.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_max_attempts: u32,
    /// The bound of the wait after a request's first failure; it doubles with each further one. Not above
    /// [`qrinfo_longest_backoff`](Self::qrinfo_longest_backoff). Default: 1 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_first_backoff: Duration,
    /// The longest such bound. Default: 30 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_longest_backoff: Duration,
    /// How many retries there may be for each request, on the average: 0 to
    /// [`MOST_RETRIES`](Self::MOST_RETRIES). Default: 1.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_retry_budget: f64,
    /// How many retries there may be for each second on top of that: 0 to [`MOST_RETRIES`](Self::MOST_RETRIES).
    /// Default: 1.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_retry_budget_per_second: f64,
    /// How long to wait for a node when there is none. Default: 300 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_network_timeout: Duration,
    /// How long requests are made one at a time when failures mount. Default: 60 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_sequential_fallback: Duration,
}

// === impl ClientConfig ===

impl ClientConfig {
    /// The defaults, for this network.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            peers: Vec::new(),
            max_peers: 8,
            storage_path: None,
            max_concurrent_filter_requests: 16,
            connection_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(60),
            sync_timeout: Duration::from_secs(300),
            #[cfg(feature = "parallel-qrinfo")]
            max_concurrent_qrinfo_requests: 3,
            #[cfg(feature = "parallel-qrinfo")]
            enable_adaptive_qrinfo_concurrency: true,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_parallel_timeout: Duration::from_secs(30),
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_requests_per_second: None,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_requests_per_second_per_peer: None,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_window_bytes: 8 << 20,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_max_attempts: 5,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_first_backoff: Duration::from_secs(1),
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_longest_backoff: Duration::from_secs(30),
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_retry_budget: 1.0,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_retry_budget_per_second: 1.0,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_network_timeout: Duration::from_secs(300),
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_sequential_fallback: Duration::from_secs(60),
        }
    }

    /// The defaults, for the main network.
    pub fn mainnet() -> Self {
        Self::new(Network::Mainnet)
    }

    /// The defaults, for the public test network.
    pub fn testnet() -> Self {
        Self::new(Network::Testnet)
    }

    /// The defaults, for a private chain on one machine.
    pub fn regtest() -> Self {
        Self::new(Network::Regtest)
    }
}

impl Default for ClientConfig {
    /// The defaults, for the main network.
    fn default() -> Self {
        Self::mainnet()
    }
}
