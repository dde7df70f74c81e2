use qrinfo_core::{BlockHash, Devnet, DevnetError, LlmqParams, LlmqType};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::peers;

/// The devnet to sync: what its makers chose. Only read if the network is `devnet`.
///
/// In a file it is the table `[devnet]`. `devnet = "NAME"` stands for a table with a name alone.
///
/// ```
/// use spv_config::ClientConfig;
///
/// // dashd -devnet=paloma -llmqinstantsenddip0024=llmq_60_75 -llmqchainlocks=llmq_50_60
/// let text = "network = 'devnet'\n[devnet]\nname = 'paloma'\nrotated_type = 5\nchain_locks_type = 1";
/// let config = ClientConfig::from_toml(text)?;
/// assert_eq!(config.network().rotated_params().size, 60);
/// # Ok::<(), spv_config::LoadError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DevnetConfig {
    /// Name, as `dashd -devnet=NAME` takes it: letters, digits, `.`, `_` and `-`. Nodes of a devnet close connections
    /// without it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hash of the devnet's genesis block, which is block 1 (`dash-cli getblockhash 1`). Block 0 is the same on all
    /// devnets. Default: none; the nodes decide.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_hash", deserialize_with = "read_hash")]
    pub genesis: Option<BlockHash>,
    /// Port of nodes whose seeds name none. Default: 19799.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Hosts to find nodes at, with or without a port. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "peers::hosts")]
    pub seeds: Vec<String>,
    /// Type of the quorums that sign ChainLocks, as `-llmqchainlocks` sets it. Default: 101.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_locks_type: Option<u8>,
    /// Type of the rotated quorums, as `-llmqinstantsenddip0024` sets it: 5, 103 or 105. Default: 105. The defaults of
    /// the settings below are the type's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_type: Option<u8>,
    /// Members of a rotated quorum, a multiple of 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_size: Option<u16>,
    /// Members that sign, and that must take part in a DKG. Dash Core's options set both to one number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_threshold: Option<u16>,
    /// Blocks from one DKG to the next: the length of a cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_interval: Option<u32>,
    /// Rotated quorums that are active at a time, up to 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_active: Option<u16>,
    /// First block of the mining window, counted from the start of the cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_mining_start: Option<u32>,
    /// Last block of the mining window, counted from the start of the cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_mining_end: Option<u32>,
}

// === impl DevnetConfig ===

impl DevnetConfig {
    /// Returns the parameters of the chain.
    ///
    /// # Errors
    /// [`DevnetError`] if rotated quorums cannot have these parameters.
    pub fn parameters(&self) -> Result<Devnet, DevnetError> {
        let default = Devnet::default();
        let llmq_type = self.rotated_type.map_or(default.rotated().llmq_type, LlmqType);
        let own = llmq_type.params().ok_or(DevnetError::Type(llmq_type))?;
        let rotated = LlmqParams {
            size: self.rotated_size.unwrap_or(own.size),
            min_size: self.rotated_threshold.unwrap_or(own.min_size),
            threshold: self.rotated_threshold.unwrap_or(own.threshold),
            interval: self.rotated_interval.unwrap_or(own.interval),
            active: self.rotated_active.unwrap_or(own.active),
            mining_window_start: self.rotated_mining_start.unwrap_or(own.mining_window_start),
            mining_window_end: self.rotated_mining_end.unwrap_or(own.mining_window_end),
            ..own
        };
        let mut devnet = default.with_rotated(rotated)?;
        devnet.chain_locks = self.chain_locks_type.map_or(default.chain_locks, LlmqType);
        Ok(devnet)
    }

    /// Returns `false` for a name that no devnet can have: it is sent to nodes, and names files.
    pub(crate) fn has_fit_name(&self) -> bool {
        let is_fit = |name: &String| {
            let mut letters = name.chars();
            (1..=MAX_NAME).contains(&name.len())
                && !name.starts_with('.')
                && letters.all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
        };
        self.name.as_ref().is_none_or(is_fit)
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Longest name of a devnet.
const MAX_NAME: usize = 64;

fn write_hash<S: Serializer>(hash: &Option<BlockHash>, serializer: S) -> Result<S::Ok, S::Error> {
    match hash {
        Some(hash) => serializer.collect_str(hash),
        None => serializer.serialize_none(),
    }
}

fn read_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BlockHash>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
}
