//! The Dash networks, and the values that identify them on the wire.

use std::str::FromStr;

use crate::chain::{BlockHash, Cycles, Devnet, LlmqParams, LlmqType, Target};

/// A Dash network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, derive_more::Display)]
pub enum Network {
    /// The main network.
    #[display("mainnet")]
    Mainnet,
    /// The public test network.
    #[display("testnet")]
    Testnet,
    /// A development network. All devnets share magic and block 0; they differ in their second block and in what their
    /// makers choose.
    #[display("devnet")]
    Devnet(Devnet),
    /// A private chain on one machine.
    #[display("regtest")]
    Regtest,
}

impl Network {
    /// A devnet with Dash Core's defaults.
    pub const DEVNET: Self = Self::Devnet(Devnet::DEFAULT);

    /// Every network; of devnets, the one with Dash Core's defaults.
    pub const ALL: [Self; 4] = [Self::Mainnet, Self::Testnet, Self::DEVNET, Self::Regtest];

    /// The four bytes that start every frame, in wire order.
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Mainnet => [0xbf, 0x0c, 0x6b, 0xbd],
            Self::Testnet => [0xce, 0xe2, 0xca, 0xff],
            Self::Devnet(_) => [0xe2, 0xca, 0xff, 0xce],
            Self::Regtest => [0xfc, 0xc1, 0xb7, 0xdc],
        }
    }

    /// The network whose frames start with these bytes.
    pub fn from_magic(magic: [u8; 4]) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.magic() == magic)
    }

    /// The default TCP port of nodes.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Mainnet => 9999,
            Self::Testnet => 19999,
            Self::Devnet(_) => 19799,
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
            Self::Devnet(_) | Self::Regtest => [
                0x2e, 0x3d, 0xf2, 0x3e, 0xec, 0x5c, 0xd6, 0xa8, 0x6e, 0xdd, 0x50, 0x95, 0x39, 0x02, 0x8e, 0x2c, 0x3a,
                0x3d, 0xc0, 0x53, 0x15, 0xeb, 0x28, 0xf2, 0xba, 0xa4, 0x32, 0x18, 0xca, 0x08, 0x00, 0x00,
            ],
        })
    }

    /// Returns `true` for the two hashes that stand for this network's genesis block as a base: its own, and all zeros,
    /// which `getmnlistd` allows and Dash Core before 22.1.2 writes in replies.
    ///
    /// ```
    /// use qrinfo_core::{BlockHash, Network};
    ///
    /// assert!(Network::Mainnet.is_genesis(&BlockHash::ZERO));
    /// assert!(Network::Mainnet.is_genesis(&Network::Mainnet.genesis_hash()));
    /// assert!(!Network::Mainnet.is_genesis(&Network::Testnet.genesis_hash()));
    /// ```
    pub fn is_genesis(self, hash: &BlockHash) -> bool {
        *hash == BlockHash::ZERO || *hash == self.genesis_hash()
    }

    /// Returns `true` for a hash that stands for the genesis block of one of the networks. No other block has it, so a
    /// base without its network can be told by this.
    pub fn any_has_genesis(hash: &BlockHash) -> bool {
        Self::ALL.iter().any(|network| network.is_genesis(hash))
    }

    /// The type of the rotated (DIP-24) quorums, which sign InstantSend locks.
    pub const fn rotated_llmq(self) -> LlmqType {
        self.rotated_params().llmq_type
    }

    /// The type of the quorums that sign ChainLocks.
    pub const fn chain_lock_llmq(self) -> LlmqType {
        match self {
            Self::Mainnet => LlmqType(2),
            Self::Testnet => LlmqType(1),
            Self::Devnet(devnet) => devnet.chain_locks,
            Self::Regtest => LlmqType(100),
        }
    }

    /// The parameters of the rotated quorums.
    pub const fn rotated_params(self) -> LlmqParams {
        match self {
            Self::Mainnet | Self::Testnet => LlmqParams::LLMQ_60_75,
            Self::Devnet(devnet) => devnet.rotated,
            Self::Regtest => LlmqParams::LLMQ_TEST_DIP0024,
        }
    }

    /// The parameters of a type of quorum; on a devnet those of the rotated type are the ones that were chosen. `None`
    /// for a number that Dash Core 23 does not know.
    pub fn llmq_params(self, llmq_type: LlmqType) -> Option<LlmqParams> {
        if llmq_type == self.rotated_llmq() { Some(self.rotated_params()) } else { llmq_type.params() }
    }

    /// The easiest target that a header may have.
    pub const fn easiest_target(self) -> Target {
        match self {
            Self::Mainnet | Self::Testnet => Target::with_leading_zeros(20),
            Self::Devnet(_) | Self::Regtest => Target::with_leading_zeros(1),
        }
    }

    /// Heights and hashes of blocks that are known to be on the chain, in ascending order. A client that needs no older
    /// blocks starts its headers at one of them.
    ///
    /// They are from Dash Core 23.1's chain parameters, with one block more on each network, just below its first rotated
    /// quorums. `docs/design.md` has the command that prints them from a node.
    pub fn checkpoints(self) -> &'static [(u32, &'static str)] {
        match self {
            Self::Mainnet => &MAINNET_CHECKPOINTS,
            Self::Testnet => &TESTNET_CHECKPOINTS,
            Self::Devnet(_) | Self::Regtest => &[],
        }
    }

    /// The newest checkpoint at or below a height; the genesis block where there is none.
    ///
    /// ```
    /// use qrinfo_core::Network;
    ///
    /// assert_eq!(Network::Mainnet.checkpoint_below(1_900_000).0, 1_889_000);
    /// assert_eq!(Network::Regtest.checkpoint_below(1_900_000), (0, Network::Regtest.genesis_hash()));
    /// ```
    pub fn checkpoint_below(self, height: u32) -> (u32, BlockHash) {
        let newest = self.checkpoints().iter().rev().find(|(checkpoint, _)| *checkpoint <= height);
        newest
            .and_then(|(checkpoint, hash)| Some((*checkpoint, hash.parse().ok()?)))
            .unwrap_or((0, self.genesis_hash()))
    }

    /// Names that resolve to nodes of the network (Dash Core's DNS seeds).
    pub const fn dns_seeds(self) -> &'static [&'static str] {
        match self {
            Self::Mainnet => &["dnsseed.dash.org"],
            Self::Testnet => &["testnet-seed.dashdot.io"],
            Self::Devnet(_) | Self::Regtest => &[],
        }
    }

    /// The height from which quorums are rotated, or `None` if each chain sets its own.
    pub const fn dip24_height(self) -> Option<u32> {
        match self {
            Self::Mainnet => Some(1_738_698),
            Self::Testnet => Some(770_730),
            Self::Devnet(_) | Self::Regtest => None,
        }
    }

    /// The arithmetic of this network's DIP-24 cycles.
    pub const fn cycles(self) -> Cycles {
        Cycles::of(self.rotated_params())
    }
}

const MAINNET_CHECKPOINTS: [(u32, &str); 12] = [
    (1_450_000, "00000000000000105cfae44a995332d8ec256850ea33a1f7b700474e3dad82bc"),
    // For a sync from the first rotated quorums on. Not in Dash Core's list.
    (1_735_488, "000000000000000285de795ec319bee8dcd565921f59ca4c4a7bfd258d9ac926"),
    (1_796_500, "000000000000001d531f36005159f19351bd49ca676398a561e55dcccb84eacd"),
    (1_850_400, "00000000000000261bdbe99c01fcba992e577efa6cc41aae564b8ca9f112b2a3"),
    (1_889_000, "00000000000000075300e852d5bf5380f905b2768241f8b442498442084807a7"),
    (1_969_000, "000000000000000c8b7a3bdcd8b9f516462122314529c8342244c685a4c899bf"),
    (2_029_000, "0000000000000020d5e38b6aef5bc8e430029444d7977b46f710c7d281ef1281"),
    (2_109_672, "000000000000001889bd33ef019065e250d32bd46911f4003d3fdd8128b5358d"),
    (2_175_051, "000000000000001cf26547602d982dcaa909231bbcd1e70c0eb3c65de25473ba"),
    (2_216_986, "0000000000000010b1135dc743f27f6fc8a138c6420a9d963fc676f96c2048f4"),
    (2_361_500, "0000000000000009ba1e8f47851d036bb618a4f6565eb3c32d1f647d450ff195"),
    (2_421_800, "000000000000000718ed026ebd644a8b70b42d4cbd7b25304c066c9bf15f85b7"),
];

const TESTNET_CHECKPOINTS: [(u32, &str); 11] = [
    (470_000, "0000009303aeadf8cf3812f5c869691dbd4cb118ad20e9bf553be434bafe6a52"),
    // As on mainnet.
    (767_232, "0000007fbb559f9ffb1c38c504ceefca57d85aa922d6757013fd410a59f250f5"),
    (808_000, "00000104cb60a2b5e00a8a4259582756e5bf0dca201c0993c63f0e54971ea91a"),
    (840_000, "000000cd7c3084499912ae893125c13e8c3c656abb6e511dcec6619c3d65a510"),
    (905_100, "0000020c5e0f86f385cbf8e90210de9a9fd63633f01433bf47a6b3227a2851fd"),
    (960_000, "0000000386cf5061ea16404c66deb83eb67892fa4f79b9e58e5eaab097ec2bd6"),
    (1_069_875, "00000034bfeb926662ba547c0b8dd4ba8cbb6e0c581f4e7d1bddce8f9ca3a608"),
    (1_143_608, "000000eef20eb0062abd4e799967e98bdebb165dd1c567ab4118c1c86c6e948f"),
    (1_189_000, "000001690314036dfbbecbdf382b230ead8e9c584241290a51f9f05a87a9cf7e"),
    (1_295_700, "00000107d42829a38e31c1a38c660d621e1ca376a880df1520e85e38af175d3a"),
    (1_380_000, "000000a98084beaf77ed26a905a7d59979009e23367a55b5d634962d7d65a1f9"),
];

/// Error of a name that is not a Dash network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Dash network; use mainnet, testnet, devnet or regtest")]
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
    fn each_network_has_the_parameters_of_dash_core() {
        let of = |network: Network| {
            (network.default_port(), network.dip24_height(), network.rotated_llmq().0, network.chain_lock_llmq().0)
        };
        assert_eq!(of(Network::Mainnet), (9_999, Some(1_738_698), 5, 2));
        assert_eq!(of(Network::Testnet), (19_999, Some(770_730), 5, 1));
        assert_eq!(of(Network::DEVNET), (19_799, None, 105, 101));
        assert_eq!(of(Network::Regtest), (19_899, None, 103, 100));
        assert_eq!(Network::ALL.map(|network| network.checkpoints().len()), [12, 11, 0, 0]);
    }

    #[test]
    fn a_devnet_changes_the_parameters_of_its_rotated_type_alone() {
        let rotated = LlmqParams { size: 64, ..LlmqParams::LLMQ_60_75 };
        let devnet = Network::Devnet(super::super::Devnet::default().with_rotated(rotated).unwrap());
        assert_eq!(devnet.llmq_params(LlmqType::LLMQ_60_75), Some(rotated));
        assert_eq!(devnet.llmq_params(LlmqType(101)), LlmqType(101).params());
        assert_eq!(devnet.llmq_params(LlmqType(200)), None);
        assert_eq!(LlmqType(2).params().map(|params| params.mining_window(1_000)), Some(1_020..=1_028));
    }

    #[test]
    fn checkpoints_are_hashes_in_ascending_order() {
        for network in Network::ALL {
            let checkpoints = network.checkpoints();
            assert!(checkpoints.is_sorted_by(|a, b| a.0 < b.0));
            for (height, hash) in checkpoints {
                assert_eq!(network.checkpoint_below(*height), (*height, hash.parse().unwrap()));
            }
        }
        assert_eq!(Network::Mainnet.checkpoint_below(1_449_999), (0, Network::Mainnet.genesis_hash()));
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
