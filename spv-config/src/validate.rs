use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use qrinfo_core::DevnetError;

use crate::{ClientConfig, load_error::lines};

/// All problems of a configuration, at least one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigErrors(pub Vec<Problem>);

/// A setting with an invalid value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct Problem {
    /// Name of the field in [`ClientConfig`].
    pub field: &'static str,
    /// Cause and remedy.
    pub reason: Reason,
}

/// Cause of a [`Problem`]. Its text follows the name of the field and says what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The value is below its range, or not a number.
    #[error("must be at least {least}, not {value}")]
    TooSmall {
        /// Value of the setting.
        value: Quantity,
        /// Smallest valid value.
        least: Quantity,
    },
    /// The value is above its range.
    #[error("must be at most {most}, not {value}")]
    TooLarge {
        /// Value of the setting.
        value: Quantity,
        /// Largest valid value.
        most: Quantity,
    },
    /// The value is above another setting that limits it.
    #[error("must be at most {limit_field} ({limit}), not {value}: lower it, or raise {limit_field}")]
    AboveLimit {
        /// Value of the setting.
        value: Quantity,
        /// Field that limits it.
        limit_field: &'static str,
        /// Value of that field.
        limit: Quantity,
    },
    /// A peer has port 0.
    #[error("contains {0}, which has no port: add the port of the node")]
    NoPort(SocketAddr),
    /// A peer is listed more than once.
    #[error("contains {0} more than once: list each node once")]
    Repeated(SocketAddr),
    /// The path is empty.
    #[error("is empty: set a directory, or remove the setting to keep the data in memory")]
    EmptyPath,
    /// The devnet's name has letters that no name has, or is too long.
    #[error("is no name of a devnet: use up to 64 letters, digits, '.', '_' and '-', and no '.' at the start")]
    DevnetName,
    /// Rotated quorums cannot have the devnet's parameters.
    #[error("has rotated quorums that cannot be: {0}")]
    Devnet(DevnetError),
    /// More than one attempt, and a retry budget of zero.
    #[cfg(feature = "parallel-qrinfo")]
    #[error(
        "is {attempts}, but qrinfo_retry_budget and qrinfo_retry_budget_per_second are 0 and allow no retry: raise one of \
         them, or set qrinfo_max_attempts to 1"
    )]
    NoRetryBudget {
        /// Value of the setting.
        attempts: u32,
    },
}

/// Value of a setting in an error.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, derive_more::Display, derive_more::From)]
#[non_exhaustive]
pub enum Quantity {
    /// A number of things.
    #[from(u32, u64)]
    Count(u64),
    /// A rate or a share.
    #[from]
    Number(f64),
    /// A duration.
    #[from]
    #[display("{}", humantime::format_duration(*_0))]
    Time(Duration),
}

/// Ranges of valid values.
impl ClientConfig {
    /// Numbers of connected nodes.
    pub const PEERS: RangeInclusive<u32> = 1..=1_000;
    /// Numbers of requests of one kind in flight.
    pub const CONCURRENT: RangeInclusive<usize> = 1..=1_000;
    /// Timeouts and waits: up to one day, and not zero.
    pub const WAITS: RangeInclusive<Duration> = Duration::from_nanos(1)..=Duration::from_secs(24 * 60 * 60);
    /// Requests per second.
    #[cfg(feature = "parallel-qrinfo")]
    pub const RATES: RangeInclusive<f64> = 0.001..=10_000.0;
    /// Retries per request or per second.
    #[cfg(feature = "parallel-qrinfo")]
    pub const RETRIES: RangeInclusive<f64> = 0.0..=1_000.0;
    /// Sizes of the window: 64 KiB to 1 GiB. The reply whose turn it is passes whatever its length, so that a small
    /// window only makes a sync slow.
    #[cfg(feature = "parallel-qrinfo")]
    pub const WINDOW_BYTES: RangeInclusive<u64> = 64 << 10..=1 << 30;

    /// Checks every field, alone and against the others.
    ///
    /// ```
    /// use spv_config::ClientConfig;
    ///
    /// let mut config = ClientConfig::mainnet().with_max_concurrent_filter_requests(0);
    /// config.max_peers = 0;
    /// let errors = config.validate().unwrap_err();
    /// assert_eq!(
    ///     errors.to_string(),
    ///     "max_peers must be at least 1, not 0\nmax_concurrent_filter_requests must be at least 1, not 0"
    /// );
    /// ```
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem, in the order of the fields.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut problems = Problems::default();
        self.check_peers(&mut problems);
        problems.check_range("max_peers", self.max_peers, Self::PEERS);
        if !self.devnet.has_fit_name() {
            problems.add("devnet.name", Reason::DevnetName);
        }
        if let Err(error) = self.devnet.parameters() {
            problems.add("devnet", Reason::Devnet(error));
        }
        if self.storage_path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            problems.add("storage_path", Reason::EmptyPath);
        }
        problems.check_range("max_concurrent_filter_requests", self.max_concurrent_filter_requests, Self::CONCURRENT);
        problems.check_range("connection_timeout", self.connection_timeout, Self::WAITS);
        problems.check_range("message_timeout", self.message_timeout, Self::WAITS);
        problems.check_limit("message_timeout", self.message_timeout, "sync_timeout", self.sync_timeout);
        problems.check_range("sync_timeout", self.sync_timeout, Self::WAITS);
        problems.check_range("total_timeout", self.total_timeout, Self::WAITS);
        #[cfg(feature = "parallel-qrinfo")]
        self.check_parallel(&mut problems);
        if problems.0.is_empty() { Ok(()) } else { Err(ConfigErrors(problems.0)) }
    }

    fn check_peers(&self, problems: &mut Problems) {
        let mut peers = self.peers.clone();
        peers.sort_unstable();
        for same in peers.chunk_by(|a, b| a == b) {
            let Some(peer) = same.first() else { continue };
            if peer.port() == 0 {
                problems.add("peers", Reason::NoPort(*peer));
            }
            if same.len() > 1 {
                problems.add("peers", Reason::Repeated(*peer));
            }
        }
    }

    #[cfg(feature = "parallel-qrinfo")]
    fn check_parallel(&self, problems: &mut Problems) {
        let (field, filters) = ("max_concurrent_qrinfo_requests", "max_concurrent_filter_requests");
        problems.check_range(field, self.max_concurrent_qrinfo_requests, Self::CONCURRENT);
        problems.check_limit(
            field,
            self.max_concurrent_qrinfo_requests(),
            filters,
            self.max_concurrent_filter_requests,
        );
        let field = "qrinfo_parallel_timeout";
        problems.check_range(field, self.qrinfo_parallel_timeout, Self::WAITS);
        problems.check_limit(field, self.qrinfo_parallel_timeout(), "sync_timeout", self.sync_timeout);
        problems.check_range("qrinfo_requests_per_second", self.qrinfo_requests_per_second, Self::RATES);
        let field = "qrinfo_requests_per_second_per_peer";
        problems.check_range(field, self.qrinfo_requests_per_second_per_peer, Self::RATES);
        problems.check_range("qrinfo_window_bytes", self.qrinfo_window_bytes, Self::WINDOW_BYTES);
        self.check_retries(problems);
        problems.check_range("qrinfo_network_timeout", self.qrinfo_network_timeout, Self::WAITS);
        problems.check_range("qrinfo_sequential_fallback", self.qrinfo_sequential_fallback, Self::WAITS);
    }

    #[cfg(feature = "parallel-qrinfo")]
    fn check_retries(&self, problems: &mut Problems) {
        let attempts = self.qrinfo_max_attempts;
        problems.check_range("qrinfo_max_attempts", attempts, 1..=u32::MAX);
        if attempts > 1 && self.qrinfo_retry_budget == 0.0 && self.qrinfo_retry_budget_per_second == 0.0 {
            problems.add("qrinfo_max_attempts", Reason::NoRetryBudget { attempts });
        }
        let (field, longest) = ("qrinfo_first_backoff", self.qrinfo_longest_backoff);
        problems.check_range(field, self.qrinfo_first_backoff, Self::WAITS);
        problems.check_limit(field, self.qrinfo_first_backoff(), "qrinfo_longest_backoff", longest);
        problems.check_range("qrinfo_longest_backoff", longest, Self::WAITS);
        problems.check_range("qrinfo_retry_budget", self.qrinfo_retry_budget, Self::RETRIES);
        problems.check_range("qrinfo_retry_budget_per_second", self.qrinfo_retry_budget_per_second, Self::RETRIES);
    }
}

/// Problems found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &'static str, reason: Reason) {
        self.0.push(Problem { field, reason });
    }

    /// A value that is not set is in every range.
    fn check_range<T: Into<Quantity>>(
        &mut self,
        field: &'static str,
        value: impl Into<Option<T>>,
        range: RangeInclusive<T>,
    ) {
        let Some(value) = value.into().map(T::into) else { return };
        let (least, most) = range.into_inner();
        let (least, most) = (least.into(), most.into());
        if value > most {
            self.add(field, Reason::TooLarge { value, most });
        } else if !(least..=most).contains(&value) {
            // Below it, or NaN.
            self.add(field, Reason::TooSmall { value, least });
        }
    }

    /// A limit of zero is a problem of its own field.
    fn check_limit<T: Into<Quantity> + PartialOrd + Default>(
        &mut self,
        field: &'static str,
        value: T,
        limit_field: &'static str,
        limit: T,
    ) {
        if value > limit && limit != T::default() {
            self.add(field, Reason::AboveLimit { value: value.into(), limit_field, limit: limit.into() });
        }
    }
}

// === impl Quantity ===

impl From<usize> for Quantity {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}
