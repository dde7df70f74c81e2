use std::{net::SocketAddr, path::PathBuf, time::Duration};

#[cfg(feature = "parallel-qrinfo")]
use qrinfo_core::DEFAULT_WINDOW_BYTES;
use qrinfo_core::Network;
use serde::{Deserialize, Serialize};

use crate::{DevnetConfig, duration, network, peers};

/// Settings of a Dash light client.
///
/// The fields are public and can be read and set; `with_*` methods set the usual ones. Nothing is checked
/// until [`validate`](Self::validate) is called, so that a later source can still replace a value.
///
/// With `serde` it reads and writes as a table whose keys are the names of the fields. A missing key means the default;
/// an unknown key is an error.
///
/// ```
/// use std::time::Duration;
/// use spv_config::{ClientConfig, Network};
///
/// let mut config = ClientConfig::new(Network::Regtest)
///     .with_max_concurrent_filter_requests(8)
///     .with_sync_timeout(Duration::from_secs(120));
/// config.peers = vec!["127.0.0.1:19899".parse()?];
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Network to sync. Default: mainnet.
    #[serde(with = "network")]
    pub network: Network,
    /// Nodes to connect to, without duplicates. Default: none; the client discovers nodes.
    #[serde(deserialize_with = "peers::deserialize")]
    pub peers: Vec<SocketAddr>,
    /// Maximum number of connected nodes, within [`PEERS`](Self::PEERS). Default: 8.
    pub max_peers: u32,
    /// SOCKS5 proxy for all connections, such as Tor. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<SocketAddr>,
    /// Devnet to sync, if [`network`](Self#structfield.network) is one.
    #[serde(skip_serializing_if = "DevnetConfig::is_default")]
    pub devnet: DevnetConfig,
    /// Directory for synced data. Default: none; the data stays in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_path: Option<PathBuf>,
    /// Maximum number of requests for filters in flight, within [`CONCURRENT`](Self::CONCURRENT). Also the limit for
    /// every other kind of request. Default: 16.
    pub max_concurrent_filter_requests: usize,
    /// Timeout of connecting to a node, and of the handshake. Default: 30 s.
    #[serde(with = "duration")]
    pub connection_timeout: Duration,
    /// Longest silence of a node with a request in flight, in a sequential sync. At most
    /// [`sync_timeout`](Self::sync_timeout). Default: 60 s.
    #[serde(with = "duration")]
    pub message_timeout: Duration,
    /// Longest time for one request, including its retries. Default: 300 s.
    #[serde(with = "duration")]
    pub sync_timeout: Duration,
    /// Longest time for the whole sync. Requests that are unfinished by then are given up, also those within
    /// [`sync_timeout`](Self::sync_timeout). Default: none.
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,

    /// Maximum number of requests for rotated quorums in flight to all nodes together; adaptation stays at or below
    /// it. From 1 to [`max_concurrent_filter_requests`](Self::max_concurrent_filter_requests). Default: 3, or that
    /// limit if it is lower: gentle to the nodes, and three to eight times as slow as five nodes allow.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_qrinfo_requests: Option<usize>,
    /// Lowers the number of requests in flight while nodes time out or close connections. Default: true.
    #[cfg(feature = "parallel-qrinfo")]
    pub enable_adaptive_qrinfo_concurrency: bool,
    /// Longest silence of a node with a request in flight, in a parallel sync. At most
    /// [`sync_timeout`](Self::sync_timeout). Default: 30 s, or `sync_timeout` if it is shorter.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub qrinfo_parallel_timeout: Option<Duration>,
    /// Maximum number of requests per second to all nodes together, within [`RATES`](Self::RATES). Default: no limit.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrinfo_requests_per_second: Option<f64>,
    /// Maximum number of requests per second to one node, within [`RATES`](Self::RATES). Default: no limit.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrinfo_requests_per_second_per_peer: Option<f64>,
    /// Maximum number of bytes of replies that are in flight or wait for their turn, within
    /// [`WINDOW_BYTES`](Self::WINDOW_BYTES). Default: [`DEFAULT_WINDOW_BYTES`], 768 KiB, which keeps memory low; a larger
    /// window is faster.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_window_bytes: u64,
    /// Maximum number of attempts for one request, not counting refusals. At least 1, which means no retries.
    /// Default: 5.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_max_attempts: u32,
    /// Longest wait before the first retry of a request; it doubles for each further retry. At most
    /// [`qrinfo_longest_backoff`](Self::qrinfo_longest_backoff). Default: 1 s, or `qrinfo_longest_backoff` if it is
    /// shorter.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub qrinfo_first_backoff: Option<Duration>,
    /// Longest wait before any retry. Default: 30 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_longest_backoff: Duration,
    /// Retries that each request adds to the retry budget, within [`RETRIES`](Self::RETRIES). Default: 1.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_retry_budget: f64,
    /// Retries that each second adds to the retry budget, within [`RETRIES`](Self::RETRIES). Default: 1.
    #[cfg(feature = "parallel-qrinfo")]
    pub qrinfo_retry_budget_per_second: f64,
    /// Longest time to wait for a node while none is connected. Default: 300 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_network_timeout: Duration,
    /// Time for which a parallel sync sends one request at a time after many failures. Default: 60 s.
    #[cfg(feature = "parallel-qrinfo")]
    #[serde(with = "duration")]
    pub qrinfo_sequential_fallback: Duration,
}

// === impl ClientConfig ===

impl ClientConfig {
    /// Returns the defaults for a network.
    pub fn new(network: Network) -> Self {
        Self {
            network,
            peers: Vec::new(),
            max_peers: 8,
            proxy: None,
            devnet: DevnetConfig::default(),
            storage_path: None,
            max_concurrent_filter_requests: 16,
            connection_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(60),
            sync_timeout: Duration::from_secs(300),
            total_timeout: None,
            #[cfg(feature = "parallel-qrinfo")]
            max_concurrent_qrinfo_requests: None,
            #[cfg(feature = "parallel-qrinfo")]
            enable_adaptive_qrinfo_concurrency: true,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_parallel_timeout: None,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_requests_per_second: None,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_requests_per_second_per_peer: None,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_window_bytes: DEFAULT_WINDOW_BYTES,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_max_attempts: 5,
            #[cfg(feature = "parallel-qrinfo")]
            qrinfo_first_backoff: None,
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

    /// Returns the [field](Self#structfield.network); a devnet with the parameters of
    /// [`devnet`](Self#structfield.devnet), or Dash Core's if those are invalid.
    pub fn network(&self) -> Network {
        match self.network {
            Network::Devnet(_) => Network::Devnet(self.devnet.parameters().unwrap_or_default()),
            network => network,
        }
    }

    /// Returns the defaults for the main network.
    pub fn mainnet() -> Self {
        Self::new(Network::Mainnet)
    }

    /// Returns the defaults for the public test network.
    pub fn testnet() -> Self {
        Self::new(Network::Testnet)
    }

    /// Returns the defaults for a private chain on one machine.
    pub fn regtest() -> Self {
        Self::new(Network::Regtest)
    }

    /// Sets [`max_concurrent_filter_requests`](Self::max_concurrent_filter_requests).
    #[must_use]
    pub fn with_max_concurrent_filter_requests(mut self, n: usize) -> Self {
        self.max_concurrent_filter_requests = n;
        self
    }

    /// Sets [`message_timeout`](Self::message_timeout).
    #[must_use]
    pub fn with_message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = timeout;
        self
    }

    /// Sets [`sync_timeout`](Self::sync_timeout).
    #[must_use]
    pub fn with_sync_timeout(mut self, timeout: Duration) -> Self {
        self.sync_timeout = timeout;
        self
    }
}

/// Settings whose defaults depend on others. Thus a configuration that is valid without the feature is valid with it.
///
/// ```
/// use spv_config::ClientConfig;
///
/// let config = ClientConfig::default().with_max_concurrent_filter_requests(2);
/// assert_eq!(config.max_concurrent_qrinfo_requests(), 2);
/// ```
#[cfg(feature = "parallel-qrinfo")]
impl ClientConfig {
    /// Returns the [field](Self#structfield.max_concurrent_qrinfo_requests) or its default.
    pub fn max_concurrent_qrinfo_requests(&self) -> usize {
        self.max_concurrent_qrinfo_requests.unwrap_or(self.max_concurrent_filter_requests.min(3))
    }

    /// Returns the [field](Self#structfield.qrinfo_parallel_timeout) or its default.
    pub fn qrinfo_parallel_timeout(&self) -> Duration {
        self.qrinfo_parallel_timeout.unwrap_or(self.sync_timeout.min(Duration::from_secs(30)))
    }

    /// Returns the [field](Self#structfield.qrinfo_first_backoff) or its default.
    pub fn qrinfo_first_backoff(&self) -> Duration {
        self.qrinfo_first_backoff.unwrap_or(self.qrinfo_longest_backoff.min(Duration::from_secs(1)))
    }

    /// Sets [`max_concurrent_qrinfo_requests`](Self#structfield.max_concurrent_qrinfo_requests),
    /// [`enable_adaptive_qrinfo_concurrency`](Self::enable_adaptive_qrinfo_concurrency) and
    /// [`qrinfo_parallel_timeout`](Self#structfield.qrinfo_parallel_timeout).
    #[must_use]
    pub fn with_parallel_qrinfo_settings(mut self, max_concurrent: usize, adaptive: bool, timeout: Duration) -> Self {
        self.max_concurrent_qrinfo_requests = Some(max_concurrent);
        self.enable_adaptive_qrinfo_concurrency = adaptive;
        self.qrinfo_parallel_timeout = Some(timeout);
        self
    }
}

impl Default for ClientConfig {
    /// Returns the defaults for the main network.
    fn default() -> Self {
        Self::mainnet()
    }
}
