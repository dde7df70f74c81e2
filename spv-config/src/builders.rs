use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::ClientConfig;

impl ClientConfig {
    /// Sets [`peers`](Self::peers).
    #[must_use]
    pub fn with_peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.peers = peers.into_iter().collect();
        self
    }

    /// Adds a peer to [`peers`](Self::peers).
    pub fn add_peer(&mut self, peer: SocketAddr) -> &mut Self {
        self.peers.push(peer);
        self
    }

    /// Sets [`max_peers`](Self::max_peers).
    #[must_use]
    pub fn with_max_peers(mut self, n: u32) -> Self {
        self.max_peers = n;
        self
    }

    /// Sets [`proxy`](Self::proxy).
    #[must_use]
    pub fn with_proxy(mut self, proxy: SocketAddr) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Sets [`devnet`](Self::devnet).
    #[must_use]
    pub fn with_devnet(mut self, name: impl Into<String>) -> Self {
        self.devnet = Some(name.into());
        self
    }

    /// Sets [`storage_path`](Self::storage_path).
    #[must_use]
    pub fn with_storage_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.storage_path = Some(path.into());
        self
    }

    /// Sets [`max_concurrent_filter_requests`](Self::max_concurrent_filter_requests).
    #[must_use]
    pub fn with_max_concurrent_filter_requests(mut self, n: usize) -> Self {
        self.max_concurrent_filter_requests = n;
        self
    }

    /// Sets [`connection_timeout`](Self::connection_timeout).
    #[must_use]
    pub fn with_connection_timeout(mut self, timeout: Duration) -> Self {
        self.connection_timeout = timeout;
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

    /// Sets [`total_timeout`](Self::total_timeout).
    #[must_use]
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }
}

/// Settings of parallel requests.
#[cfg(feature = "parallel-qrinfo")]
impl ClientConfig {
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

    /// Sets [`qrinfo_requests_per_second`](Self::qrinfo_requests_per_second) and
    /// [`qrinfo_requests_per_second_per_peer`](Self::qrinfo_requests_per_second_per_peer); `None` for no limit.
    #[must_use]
    pub fn with_qrinfo_rate_limits(mut self, overall: Option<f64>, per_peer: Option<f64>) -> Self {
        self.qrinfo_requests_per_second = overall;
        self.qrinfo_requests_per_second_per_peer = per_peer;
        self
    }

    /// Sets [`qrinfo_window_bytes`](Self::qrinfo_window_bytes).
    #[must_use]
    pub fn with_qrinfo_window_bytes(mut self, bytes: u64) -> Self {
        self.qrinfo_window_bytes = bytes;
        self
    }

    /// Sets [`qrinfo_max_attempts`](Self::qrinfo_max_attempts).
    #[must_use]
    pub fn with_qrinfo_max_attempts(mut self, n: u32) -> Self {
        self.qrinfo_max_attempts = n;
        self
    }

    /// Sets [`qrinfo_first_backoff`](Self#structfield.qrinfo_first_backoff) and
    /// [`qrinfo_longest_backoff`](Self::qrinfo_longest_backoff).
    #[must_use]
    pub fn with_qrinfo_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.qrinfo_first_backoff = Some(first);
        self.qrinfo_longest_backoff = longest;
        self
    }

    /// Sets [`qrinfo_retry_budget`](Self::qrinfo_retry_budget) and
    /// [`qrinfo_retry_budget_per_second`](Self::qrinfo_retry_budget_per_second).
    #[must_use]
    pub fn with_qrinfo_retry_budget(mut self, per_request: f64, per_second: f64) -> Self {
        self.qrinfo_retry_budget = per_request;
        self.qrinfo_retry_budget_per_second = per_second;
        self
    }

    /// Sets [`qrinfo_network_timeout`](Self::qrinfo_network_timeout).
    #[must_use]
    pub fn with_qrinfo_network_timeout(mut self, timeout: Duration) -> Self {
        self.qrinfo_network_timeout = timeout;
        self
    }

    /// Sets [`qrinfo_sequential_fallback`](Self::qrinfo_sequential_fallback).
    #[must_use]
    pub fn with_qrinfo_sequential_fallback(mut self, duration: Duration) -> Self {
        self.qrinfo_sequential_fallback = duration;
        self
    }
}
