#[cfg(feature = "parallel-qrinfo")]
use std::ops::RangeInclusive;
use std::{fmt, net::SocketAddr, time::Duration};

use humantime::format_duration;

use crate::ClientConfig;

/// Everything that is wrong with a configuration: at least one [`Problem`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct ConfigErrors(Vec<Problem>);

/// A field whose value cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct Problem {
    /// The name of the field in [`ClientConfig`].
    pub field: &'static str,
    /// What is wrong with it, and what to do.
    pub reason: Reason,
}

/// Why a field's value cannot be used. Its text says what to do, and reads on from the field's name.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Nobody may be asked.
    #[error("is 0, so nobody could be asked: set it to at least 1")]
    NoPeers,
    /// No request may be under way.
    #[error("is 0, so nothing could be asked: set it to at least 1; 1 asks for one thing after the other")]
    NoRequests,
    /// Nothing is asked even once.
    #[error("is 0, so nothing would be asked even once: set it to at least 1; 1 never asks again")]
    NoAttempts,
    /// More than a client can make use of.
    #[error("is {value}: set it to at most {most}")]
    TooMany {
        /// What is set.
        value: u64,
        /// The most that may be set.
        most: u64,
    },
    /// More requests for rotated quorums than for filters.
    #[error(
        "is {value}, above max_concurrent_filter_requests, which is {filters}: lower it to {filters}, or raise \
         max_concurrent_filter_requests to {value}"
    )]
    AboveFilterRequests {
        /// What is set.
        value: usize,
        /// What is set for filters.
        filters: usize,
    },
    /// A wait that ends when it begins.
    #[error("is zero, so the wait would be over when it begins: give it a duration, such as \"30s\"")]
    NoTime,
    /// A wait longer than any that makes sense.
    #[error("is {}: set it to at most {}", format_duration(*value), format_duration(ClientConfig::LONGEST))]
    TooLong {
        /// What is set.
        value: Duration,
    },
    /// A wait that something else would always cut short.
    #[error(
        "is {}, longer than {longer}, which is {}: shorten it, or lengthen {longer}",
        format_duration(*value),
        format_duration(*bound)
    )]
    LongerThan {
        /// What is set.
        value: Duration,
        /// The field that has to be at least as long.
        longer: &'static str,
        /// What is set there.
        bound: Duration,
    },
    /// A peer nobody can connect to.
    #[error("has {0}, which has no port: give the port on which the node listens")]
    NoPort(SocketAddr),
    /// A peer that is named more than once. Several connections to one node gain nothing, as it answers in order.
    #[error("has {0} more than once: name each node once")]
    Repeated(SocketAddr),
    /// A path without a name.
    #[error("is empty: name a place, or leave it out to keep nothing")]
    EmptyPath,
    /// Not a rate at which requests can be sent.
    #[error(
        "is {value}: set it to {} to {} requests a second, or leave it out for no limit",
        ClientConfig::RATES.start(), ClientConfig::RATES.end()
    )]
    #[cfg(feature = "parallel-qrinfo")]
    NoRate {
        /// What is set.
        value: f64,
    },
    /// Not a number of retries.
    #[error("is {value}: set it to 0 to {} retries; 0.1 stands for one in ten", ClientConfig::MOST_RETRIES)]
    #[cfg(feature = "parallel-qrinfo")]
    NoBudget {
        /// What is set.
        value: f64,
    },
    /// A second attempt is wished for and never allowed.
    #[error(
        "is {attempts}, yet qrinfo_retry_budget and qrinfo_retry_budget_per_second are both 0, so nothing would ever be \
         asked again: raise one of them, or set qrinfo_max_attempts to 1"
    )]
    #[cfg(feature = "parallel-qrinfo")]
    NeverRetried {
        /// How many attempts are set.
        attempts: u32,
    },
    /// A window that one reply may fill.
    #[error("is {bytes}: one reply may have 3 MB; set it to at least {} bytes", ClientConfig::LEAST_WINDOW)]
    #[cfg(feature = "parallel-qrinfo")]
    SmallWindow {
        /// What is set.
        bytes: u64,
    },
}

// === impl ClientConfig ===

/// The bounds of what may be set.
impl ClientConfig {
    /// The most nodes that a client may be connected to. A node admits 125.
    pub const MOST_PEERS: u32 = 1_000;
    /// The most requests of a kind that may be under way at a time.
    pub const MOST_CONCURRENT: usize = 1_000;
    /// The longest wait of any kind.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    /// The requests a second that a rate limit may allow.
    #[cfg(feature = "parallel-qrinfo")]
    pub const RATES: RangeInclusive<f64> = 0.001..=10_000.0;
    /// The most retries for each request, or for each second.
    #[cfg(feature = "parallel-qrinfo")]
    pub const MOST_RETRIES: f64 = 1_000.0;
    /// The smallest window: 4 MiB. A reply that starts at the genesis block has about 3 MB.
    #[cfg(feature = "parallel-qrinfo")]
    pub const LEAST_WINDOW: u64 = 4 << 20;
    /// The largest window: 1 GiB.
    #[cfg(feature = "parallel-qrinfo")]
    pub const MOST_WINDOW: u64 = 1 << 30;

    /// Checks every field, alone and against the others.
    ///
    /// ```
    /// use spv_config::ClientConfig;
    ///
    /// let errors = ClientConfig::mainnet().with_max_peers(0).with_max_concurrent_filter_requests(0).validate().unwrap_err();
    /// let fields: Vec<_> = errors.iter().map(|problem| problem.field).collect();
    /// assert!(fields.starts_with(&["max_peers", "max_concurrent_filter_requests"]));
    /// ```
    ///
    /// # Errors
    /// All that is wrong, in the order of the fields.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut problems = Problems::default();
        self.check_peers(&mut problems);
        problems.note(
            "storage_path",
            self.storage_path.as_ref().is_some_and(|path| path.as_os_str().is_empty()),
            || Reason::EmptyPath,
        );
        problems.check_requests("max_concurrent_filter_requests", self.max_concurrent_filter_requests);
        let sync = ("sync_timeout", self.sync_timeout);
        problems.check_wait("connection_timeout", self.connection_timeout, None);
        problems.check_wait("message_timeout", self.message_timeout, Some(sync));
        problems.check_wait("sync_timeout", self.sync_timeout, None);
        #[cfg(feature = "parallel-qrinfo")]
        self.check_parallel(&mut problems);
        match problems.0.is_empty() {
            true => Ok(()),
            false => Err(ConfigErrors(problems.0)),
        }
    }

    fn check_peers(&self, problems: &mut Problems) {
        let mut peers = self.peers.clone();
        peers.sort_unstable();
        for same in peers.chunk_by(|a, b| a == b) {
            let Some(peer) = same.first() else { continue };
            problems.note("peers", peer.port() == 0, || Reason::NoPort(*peer));
            problems.note("peers", same.len() > 1, || Reason::Repeated(*peer));
        }
        problems.note("max_peers", self.max_peers == 0, || Reason::NoPeers);
        problems.check_most("max_peers", self.max_peers.into(), Self::MOST_PEERS.into());
    }

    #[cfg(feature = "parallel-qrinfo")]
    fn check_parallel(&self, problems: &mut Problems) {
        let (value, filters) = (self.max_concurrent_qrinfo_requests, self.max_concurrent_filter_requests);
        problems.check_requests("max_concurrent_qrinfo_requests", value);
        // Where filters have none, that is the problem.
        problems.note("max_concurrent_qrinfo_requests", filters > 0 && value > filters, || {
            Reason::AboveFilterRequests { value, filters }
        });
        let sync = ("sync_timeout", self.sync_timeout);
        problems.check_wait("qrinfo_parallel_timeout", self.qrinfo_parallel_timeout, Some(sync));
        problems.check_rate("qrinfo_requests_per_second", self.qrinfo_requests_per_second);
        problems.check_rate("qrinfo_requests_per_second_per_peer", self.qrinfo_requests_per_second_per_peer);
        let bytes = self.qrinfo_window_bytes;
        problems.note("qrinfo_window_bytes", bytes < Self::LEAST_WINDOW, || Reason::SmallWindow { bytes });
        problems.check_most("qrinfo_window_bytes", bytes, Self::MOST_WINDOW);
        self.check_retries(problems);
        problems.check_wait("qrinfo_network_timeout", self.qrinfo_network_timeout, None);
        problems.check_wait("qrinfo_sequential_fallback", self.qrinfo_sequential_fallback, None);
    }

    #[cfg(feature = "parallel-qrinfo")]
    fn check_retries(&self, problems: &mut Problems) {
        let attempts = self.qrinfo_max_attempts;
        problems.note("qrinfo_max_attempts", attempts == 0, || Reason::NoAttempts);
        let never = self.qrinfo_retry_budget == 0.0 && self.qrinfo_retry_budget_per_second == 0.0;
        problems.note("qrinfo_max_attempts", attempts > 1 && never, || Reason::NeverRetried { attempts });
        let longest = ("qrinfo_longest_backoff", self.qrinfo_longest_backoff);
        problems.check_wait("qrinfo_first_backoff", self.qrinfo_first_backoff, Some(longest));
        problems.check_wait("qrinfo_longest_backoff", self.qrinfo_longest_backoff, None);
        problems.check_budget("qrinfo_retry_budget", self.qrinfo_retry_budget);
        problems.check_budget("qrinfo_retry_budget_per_second", self.qrinfo_retry_budget_per_second);
    }
}

// === impl Problems ===

/// What was found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn note(&mut self, field: &'static str, is_wrong: bool, reason: impl FnOnce() -> Reason) {
        if is_wrong {
            self.0.push(Problem { field, reason: reason() });
        }
    }

    fn check_most(&mut self, field: &'static str, value: u64, most: u64) {
        self.note(field, value > most, || Reason::TooMany { value, most });
    }

    fn check_requests(&mut self, field: &'static str, value: usize) {
        self.note(field, value == 0, || Reason::NoRequests);
        self.check_most(field, value as u64, ClientConfig::MOST_CONCURRENT as u64);
    }

    /// A bound of zero is a problem of its own field.
    fn check_wait(&mut self, field: &'static str, value: Duration, longer: Option<(&'static str, Duration)>) {
        self.note(field, value.is_zero(), || Reason::NoTime);
        self.note(field, value > ClientConfig::LONGEST, || Reason::TooLong { value });
        if let Some((longer, bound)) = longer {
            self.note(field, !bound.is_zero() && value > bound, || Reason::LongerThan { value, longer, bound });
        }
    }

    #[cfg(feature = "parallel-qrinfo")]
    fn check_rate(&mut self, field: &'static str, rate: Option<f64>) {
        if let Some(value) = rate {
            self.note(field, !ClientConfig::RATES.contains(&value), || Reason::NoRate { value });
        }
    }

    #[cfg(feature = "parallel-qrinfo")]
    fn check_budget(&mut self, field: &'static str, value: f64) {
        self.note(field, !(0.0..=ClientConfig::MOST_RETRIES).contains(&value), || Reason::NoBudget { value });
    }
}

// === impl ConfigErrors ===

impl ConfigErrors {
    /// The problems, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl IntoIterator for ConfigErrors {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}
