use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A Dash network.
///
/// ```
/// use spv_config::Network;
///
/// assert_eq!("testnet".parse(), Ok(Network::Testnet));
/// assert_eq!(Network::Testnet.to_string(), "testnet");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Network {
    /// The main network.
    #[default]
    Mainnet,
    /// The public test network.
    Testnet,
    /// A development network.
    Devnet,
    /// A private chain on one machine.
    Regtest,
}

/// A name that is no Dash network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Dash network; use mainnet, testnet, devnet or regtest")]
pub struct UnknownNetwork(String);

// === impl Network ===

impl Network {
    /// Every network.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Testnet, Self::Devnet, Self::Regtest];
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Devnet => "devnet",
            Self::Regtest => "regtest",
        })
    }
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|network| network.to_string() == name)
            .ok_or_else(|| UnknownNetwork(name.chars().take(40).collect()))
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
