use std::time::Duration;

use qrinfo_core::Network;

use crate::{LongReads, PeerError};

/// The longest user agent that peers accept, in bytes (Dash Core's `MAX_SUBVERSION_LENGTH`).
const MAX_USER_AGENT: usize = 256;

/// The start of a devnet's full name, which Dash Core puts before the name that it is given.
const DEVNET_PREFIX: &str = "devnet-";

/// The settings of a connection to a peer, and the contents of our `version`.
///
/// ```
/// use qrinfo_core::Network;
/// use spv_peer::PeerConfig;
///
/// let config = PeerConfig { user_agent: "/my wallet:1.0/".into(), ..PeerConfig::new(Network::Testnet, 42) };
/// assert_eq!(config.handshake_timeout.as_secs(), 10);
///
/// let devnet = PeerConfig { devnet: Some("paloma".into()), ..PeerConfig::new(Network::DEVNET, 42) };
/// assert!(devnet.announced_user_agent().ends_with("(devnet.devnet-paloma)/"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The network whose frames are spoken; peers of another one are refused.
    pub network: Network,
    /// The number in our `version` by which a connection to ourselves is found. Draw one from the run's seed for each
    /// connection: peers that compare notes can link connections that share it.
    pub nonce: u64,
    /// Our name and version in the form of BIP 14, at most 256 bytes.
    pub user_agent: String,
    /// The name of the devnet, as `dashd -devnet=NAME` takes it. Nodes of a devnet close connections whose user agent
    /// does not have it. Default: none, which is right for every other network.
    pub devnet: Option<String>,
    /// The wish to hear of transactions. Nodes announce InstantSend locks only to clients that have it. Default: `false`.
    pub relay: bool,
    /// The time for the transport to connect. Default: 10 s, enough for two lost SYNs and their retries after 1 s and
    /// 3 s.
    pub connect_timeout: Duration,
    /// The time for the whole handshake, from the first byte sent to the peer's `verack`. Default: 10 s. An idle node
    /// answers within a second, one that connects a block within a few.
    pub handshake_timeout: Duration,
    /// The budget for long messages, shared with other connections. Default: one for the whole process.
    pub long_reads: LongReads,
}

// === impl PeerConfig ===

impl PeerConfig {
    /// The defaults, for this network and nonce.
    pub fn new(network: Network, nonce: u64) -> Self {
        Self {
            network,
            nonce,
            user_agent: concat!("/spv-peer:", env!("CARGO_PKG_VERSION"), "/").to_owned(),
            devnet: None,
            relay: false,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            long_reads: LongReads::default(),
        }
    }

    /// The user agent that is sent: [`user_agent`](Self::user_agent), with the devnet's name as a comment of BIP 14.
    pub fn announced_user_agent(&self) -> String {
        let Some(name) = &self.devnet else { return self.user_agent.clone() };
        let name = name.strip_prefix(DEVNET_PREFIX).unwrap_or(name);
        format!("{}(devnet.{DEVNET_PREFIX}{name})/", self.user_agent.trim_end_matches('/'))
    }

    /// Refuses what no peer would accept.
    pub(crate) fn check(&self) -> Result<(), PeerError> {
        match self.announced_user_agent().len() {
            0..=MAX_USER_AGENT => Ok(()),
            length => Err(PeerError::UserAgentTooLong { length, limit: MAX_USER_AGENT }),
        }
    }
}
