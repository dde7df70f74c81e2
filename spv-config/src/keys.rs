//! Names of the settings, as keys of a file and as environment variables.

/// Prefix of every environment variable.
pub(crate) const PREFIX: &str = "QRINFO_";

/// The table of the devnet; alone, it is the key of its name.
pub(crate) const DEVNET: &str = "devnet";

const KEYS: [&str; 11] = [
    "network",
    "peers",
    "max_peers",
    "proxy",
    DEVNET,
    "storage_path",
    "max_concurrent_filter_requests",
    "connection_timeout",
    "message_timeout",
    "sync_timeout",
    "total_timeout",
];

/// Keys that need the feature `parallel-qrinfo`. They are known without it too, so that the error names the feature.
const PARALLEL_KEYS: [&str; 13] = [
    "max_concurrent_qrinfo_requests",
    "enable_adaptive_qrinfo_concurrency",
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
];

/// Keys of the table of the devnet.
const DEVNET_KEYS: [&str; 12] = [
    "devnet.name",
    "devnet.genesis",
    "devnet.port",
    "devnet.seeds",
    "devnet.chain_locks_type",
    "devnet.rotated_type",
    "devnet.rotated_size",
    "devnet.rotated_threshold",
    "devnet.rotated_interval",
    "devnet.rotated_active",
    "devnet.rotated_mining_start",
    "devnet.rotated_mining_end",
];

/// All keys, with or without the feature.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(PARALLEL_KEYS).chain(DEVNET_KEYS)
}

/// Returns true if the key needs a feature that is off.
pub(crate) fn is_off(key: &str) -> bool {
    cfg!(not(feature = "parallel-qrinfo")) && PARALLEL_KEYS.contains(&key)
}

/// Returns the environment variable of a key: the prefix and the key in capitals. A prefix in the key is not repeated.
pub(crate) fn variable(key: &str) -> String {
    let capitals = key.to_uppercase().replace('.', "_");
    if capitals.starts_with(PREFIX) { capitals } else { format!("{PREFIX}{capitals}") }
}

/// Returns the most similar of `names`, if any is similar. The prefix and the case do not count.
pub(crate) fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    // A longer name is not a typing error, and the cost of comparing is the product of both lengths.
    if name.len() > 100 {
        return None;
    }
    let stem = |name: &str| {
        let name = name.to_uppercase();
        name.strip_prefix(PREFIX).map(str::to_owned).unwrap_or(name)
    };
    let given = stem(name);
    names
        .map(|known| (strsim::normalized_damerau_levenshtein(&given, &stem(&known)), known))
        .filter(|(similarity, _)| *similarity >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ClientConfig, DevnetConfig};

    #[test]
    fn the_keys_are_the_fields() {
        let second = Duration::from_secs(1);
        let mut config = ClientConfig {
            proxy: Some(([127, 0, 0, 1], 9050).into()),
            storage_path: Some("data".into()),
            total_timeout: Some(second),
            ..ClientConfig::default()
        };
        #[cfg(feature = "parallel-qrinfo")]
        {
            config = config.with_parallel_qrinfo_settings(1, true, second);
            (config.qrinfo_requests_per_second, config.qrinfo_requests_per_second_per_peer) = (Some(1.0), Some(1.0));
            config.qrinfo_first_backoff = Some(second);
        }
        config.devnet = DevnetConfig {
            name: Some("paloma".into()),
            genesis: Some("00".repeat(32).parse().unwrap()),
            port: Some(1),
            seeds: vec!["localhost".into()],
            chain_locks_type: Some(1),
            rotated_type: Some(5),
            rotated_size: Some(60),
            rotated_threshold: Some(45),
            rotated_interval: Some(288),
            rotated_active: Some(32),
            rotated_mining_start: Some(42),
            rotated_mining_end: Some(50),
        };
        let written = toml::to_string(&config).unwrap();
        let (settings, devnet) = written.split_once("[devnet]").unwrap();
        let keys = |text: &str, table| {
            let keys = text.lines().filter_map(|line| Some(format!("{table}{}", line.split_once(" = ")?.0)));
            keys.collect::<Vec<_>>()
        };
        let fields = [keys(settings, ""), keys(devnet, "devnet.")].concat();
        assert_eq!(fields, all().filter(|key| !is_off(key) && *key != DEVNET).collect::<Vec<_>>());
        assert_eq!(ClientConfig::from_toml(&written).unwrap(), config);
    }

    #[test]
    fn no_two_keys_have_one_variable() {
        let mut variables: Vec<_> = all().map(variable).collect();
        variables.sort_unstable();
        variables.dedup();
        assert_eq!(variables.len(), all().count());
        assert_eq!(variable("qrinfo_parallel_timeout"), "QRINFO_PARALLEL_TIMEOUT");
        assert_eq!(variable("max_peers"), "QRINFO_MAX_PEERS");
    }
}
