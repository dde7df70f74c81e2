//! Settings of a sync: options replace the environment, which replaces the file, which replaces the defaults.

use std::{num::NonZeroUsize, time::Duration};

use anyhow::Result;
use qrinfo::{ParallelOptions, SequentialOptions, config};
use qrinfo_correlate::CorrelatorConfig;
use spv_config::{ClientConfig, ConfigErrors, LoadError};
use tokio::time::Instant;

use super::Options;

/// The longest wait for a node that has not failed a request yet. Others come within seconds or not at all, and a user
/// waits for the command.
const FOR_ANOTHER: Duration = Duration::from_secs(3);

/// Loads and validates the configuration. Peers named by options are not part of it, for they are yet to be resolved.
pub(super) fn load(options: &Options) -> Result<ClientConfig> {
    let mut config = options.nodes.load()?;
    if let Some(limit) = options.parallel {
        config.max_concurrent_qrinfo_requests = Some(limit.get());
        // The option replaces both limits.
        config.max_concurrent_filter_requests = config.max_concurrent_filter_requests.max(limit.get());
    }
    options.nodes.completed(config)
}

/// Returns true for an error of [`load`].
pub(crate) fn is_misconfigured(error: &anyhow::Error) -> bool {
    error.is::<LoadError>() || error.is::<ConfigErrors>()
}

pub(super) fn correlator(config: &ClientConfig, sequential: bool) -> CorrelatorConfig {
    if sequential { config::correlator_config(config) } else { config::parallel_correlator_config(config) }
}

/// The configuration with what is left of the time for the whole sync.
pub(super) fn with_time_left(config: &ClientConfig, until: Option<Instant>) -> ClientConfig {
    let mut config = config.clone();
    config.total_timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
    config
}

/// Returns the options of a sequential sync.
pub(super) fn sequential(config: &ClientConfig) -> SequentialOptions {
    SequentialOptions { total_timeout: config.total_timeout, ..SequentialOptions::default() }
}

/// Returns the options of a parallel sync. By default as many requests are in flight as the peers' speeds call for.
pub(super) fn parallel(config: &ClientConfig) -> ParallelOptions {
    let mut options = ParallelOptions::from(config);
    let retry = &mut options.recovery.retry;
    // A wait that was set holds.
    if retry.network_timeout == ClientConfig::default().qrinfo_network_timeout {
        retry.network_timeout = FOR_ANOTHER;
    }
    // So does a limit.
    let filters = config.max_concurrent_filter_requests;
    let limit = Some(filters).filter(|limit| *limit != ClientConfig::default().max_concurrent_filter_requests);
    let set = config.max_concurrent_qrinfo_requests.or(limit).and_then(NonZeroUsize::new);
    ParallelOptions { max_concurrent: set.unwrap_or(NonZeroUsize::MAX), ..options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_flight_have_a_limit_only_if_one_is_set() {
        let default = ClientConfig::regtest();
        let limited = default.clone().with_max_concurrent_filter_requests(2);
        let mut set = default.clone();
        set.max_concurrent_qrinfo_requests = Some(5);
        for (config, expected) in [(&default, usize::MAX), (&limited, 2), (&set, 5)] {
            assert_eq!(parallel(config).max_concurrent.get(), expected);
        }
    }
}
