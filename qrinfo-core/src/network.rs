//! The Dash networks and what tells them apart on the wire.

use std::{fmt, str::FromStr};

use crate::{BlockHash, LlmqType, dip24::Cycles, llmq::LlmqParams};

/// A Dash network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// The main network.
    Mainnet,
    /// The public test network.
    Testnet,
    /// A development network. All devnets share magic and parameters; they differ in their second block.
    Devnet,
    /// A private chain on one machine.
    Regtest,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Testnet, Self::Devnet, Self::Regtest];

    /// The four bytes that start every frame, in wire order.
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Mainnet => [0xbf, 0x0c, 0x6b, 0xbd],
            Self::Testnet => [0xce, 0xe2, 0xca, 0xff],
            Self::Devnet => [0xe2, 0xca, 0xff, 0xce],
            Self::Regtest => [0xfc, 0xc1, 0xb7, 0xdc],
        }
    }

    /// The network whose frames start with these bytes.
    pub fn from_magic(magic: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.magic() == magic)
    }

    /// The TCP port that nodes listen on unless told otherwise.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Mainnet => 9999,
            Self::Testnet => 19999,
            Self::Devnet => 19799,
            Self::Regtest => 19899,
        }
    }

    /// The hash of block 0. An empty list of bases, and a base that a peer does not find among ours, mean this block.
    pub const fn genesis_hash(self) -> BlockHash {
        // Written in wire order; Dash Core's chain parameters print them reversed.
        BlockHash::from_bytes(match self {
            Self::Mainnet => [
                0xb6, 0x7a, 0x40, 0xf3, 0xcd, 0x58, 0x04, 0x43, 0x7a, 0x10, 0x8f, 0x10, 0x55, 0x33, 0x73, 0x9c, 0x37,
                0xe6, 0x22, 0x9b, 0xc1, 0xad, 0xca, 0xb3, 0x85, 0x14, 0x0b, 0x59, 0xfd, 0x0f, 0x00, 0x00,
            ],
            Self::Testnet => [
                0x2c, 0xbc, 0xf8, 0x3b, 0x62, 0x91, 0x3d, 0x56, 0xf6, 0x05, 0xc0, 0xe5, 0x81, 0xa4, 0x88, 0x72, 0x83,
                0x94, 0x28, 0xc9, 0x2e, 0x5e, 0xb7, 0x6c, 0xd7, 0xad, 0x94, 0xbc, 0xaf, 0x0b, 0x00, 0x00,
            ],
            Self::Devnet | Self::Regtest => [
                0x2e, 0x3d, 0xf2, 0x3e, 0xec, 0x5c, 0xd6, 0xa8, 0x6e, 0xdd, 0x50, 0x95, 0x39, 0x02, 0x8e, 0x2c, 0x3a,
                0x3d, 0xc0, 0x53, 0x15, 0xeb, 0x28, 0xf2, 0xba, 0xa4, 0x32, 0x18, 0xca, 0x08, 0x00, 0x00,
            ],
        })
    }

    /// The type of the rotated (DIP-24) quorums, which sign InstantSend locks.
    pub const fn rotated_llmq(self) -> LlmqType {
        match self {
            Self::Mainnet | Self::Testnet => LlmqType::LLMQ_60_75,
            Self::Devnet => LlmqType::LLMQ_DEVNET_DIP0024,
            Self::Regtest => LlmqType::LLMQ_TEST_DIP0024,
        }
    }

    /// The parameters of the rotated quorums.
    pub const fn rotated_params(self) -> LlmqParams {
        match self {
            Self::Mainnet | Self::Testnet => LlmqParams::LLMQ_60_75,
            Self::Devnet => LlmqParams::LLMQ_DEVNET_DIP0024,
            Self::Regtest => LlmqParams::LLMQ_TEST_DIP0024,
        }
    }

    /// The height from which quorums are rotated, or `None` where each chain sets its own.
    pub const fn dip24_height(self) -> Option<u32> {
        match self {
            Self::Mainnet => Some(1_738_698),
            Self::Testnet => Some(770_730),
            Self::Devnet | Self::Regtest => None,
        }
    }

    /// The arithmetic of this network's DIP-24 cycles.
    pub const fn cycles(self) -> Cycles {
        Cycles::of(self.rotated_params())
    }
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

/// A name that is no Dash network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Dash network; use mainnet, testnet, devnet or regtest")]
pub struct UnknownNetwork(String);

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|network| network.to_string() == name)
            .ok_or_else(|| UnknownNetwork(name.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genesis_hashes_print_as_in_dash_cores_chain_parameters() {
        assert_eq!(
            Network::Mainnet.genesis_hash().to_string(),
            "00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6"
        );
        assert_eq!(
            Network::Testnet.genesis_hash().to_string(),
            "00000bafbc94add76cb75e2ec92894837288a481e5c005f6563d91623bf8bc2c"
        );
        assert_eq!(
            Network::Regtest.genesis_hash().to_string(),
            "000008ca1832a4baf228eb1553c03d3a2c8e02399550dd6ea8d65cec3ef23d2e"
        );
    }

    #[test]
    fn names_and_magics_lead_back_to_their_network() {
        for network in Network::ALL {
            assert_eq!(network.to_string().parse(), Ok(network));
            assert_eq!(Network::from_magic(network.magic()), Some(network));
            assert_eq!(network.rotated_llmq().params(), Some(network.rotated_params()));
        }
        assert!("main".parse::<Network>().is_err());
    }
}
