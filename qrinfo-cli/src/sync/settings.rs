//! Settings of a sync: options replace the environment, which replaces the file, which replaces the defaults.

use std::{num::NonZeroUsize, time::Duration};

use anyhow::{Context, Result};
use qrinfo::{ParallelOptions, config};
use qrinfo_correlate::CorrelatorConfig;
use spv_config::{ClientConfig, ConfigErrors, LoadError};

use super::Options;
use crate::run::default_concurrency;

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
    config.validate().context("the configuration is invalid")?;
    options.nodes.ask_all(&mut config);
    Ok(config)
}

/// Returns true for an error of [`load`].
pub(crate) fn is_misconfigured(error: &anyhow::Error) -> bool {
    error.is::<LoadError>() || error.is::<ConfigErrors>()
}

pub(super) fn correlator(config: &ClientConfig, sequential: bool) -> CorrelatorConfig {
    if sequential { config::correlator_config(config) } else { config::parallel_correlator_config(config) }
}

/// Returns the options of a parallel sync. The default number of requests in flight depends on the number of peers.
pub(super) fn parallel(config: &ClientConfig, peers: usize) -> ParallelOptions {
    let mut options = ParallelOptions::from(config);
    let retry = &mut options.recovery.retry;
    // A wait that was set holds.
    if retry.network_timeout == ClientConfig::default().qrinfo_network_timeout {
        retry.network_timeout = FOR_ANOTHER;
    }
    let limit = NonZeroUsize::new(config.max_concurrent_filter_requests).unwrap_or(NonZeroUsize::MIN);
    let set = config.max_concurrent_qrinfo_requests.and_then(NonZeroUsize::new);
    let max_concurrent = set.unwrap_or(default_concurrency(peers).min(limit));
    ParallelOptions { max_concurrent, ..options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_flight_follow_the_setting_its_limit_and_the_peers() {
        let default = ClientConfig::regtest();
        let limited = default.clone().with_max_concurrent_filter_requests(2);
        let mut set = default.clone();
        set.max_concurrent_qrinfo_requests = Some(5);
        for (config, peers, expected) in
            [(&default, 1, 4), (&default, 3, 12), (&default, 8, 16), (&limited, 3, 2), (&set, 1, 5), (&set, 8, 5)]
        {
            assert_eq!(parallel(config, peers).max_concurrent.get(), expected);
        }
    }
}
