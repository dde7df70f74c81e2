use qrinfo_core::{BlockHash, Network};

use crate::{
    check::{HashFn, Rules},
    waypoints::waypoints,
};

/// The rules that headers of a network follow, and blocks that are known to be on its chain.
///
/// Those of mainnet and testnet bring checkpoints and, from just below the first rotated quorums on, one waypoint for
/// each 1,728 blocks up to a few months before the release. A sync above the last one is slower: one peer at a time.
///
/// ```
/// use qrinfo_core::{BlockHash, Network};
/// use spv_headers::HeaderRules;
///
/// let mainnet = HeaderRules::from(Network::Mainnet);
/// // A devnet has the checkpoints that its users give it.
/// let devnet = HeaderRules::from(Network::DEVNET).checkpoints([(1_000, BlockHash::from_bytes([7; 32]))]);
/// # let _ = (mainnet, devnet);
/// ```
#[derive(Debug, Clone)]
#[must_use = "does nothing by itself"]
pub struct HeaderRules {
    pub(crate) rules: Rules,
    pub(crate) checkpoints: Vec<(u32, BlockHash)>,
    pub(crate) waypoints: Vec<(u32, BlockHash)>,
}

// === impl HeaderRules ===

impl HeaderRules {
    /// Replaces the checkpoints of the network: blocks taken on trust. The headers between each two of them are fetched
    /// side by side, so more checkpoints keep more peers busy.
    pub fn checkpoints(self, checkpoints: impl IntoIterator<Item = (u32, BlockHash)>) -> Self {
        Self { checkpoints: checkpoints.into_iter().collect(), ..self }
    }

    /// Adds blocks that are thought to be on the chain, best one for each 2,000 of its blocks, to those of the network.
    /// The headers between each two of them are fetched side by side, like those between checkpoints.
    ///
    /// They are not trusted: the chain has to reach each of them. One that peers do not know, or that the chain passes
    /// by, is given up; that costs a message or two, and no peer is blamed.
    pub fn waypoints(mut self, waypoints: impl IntoIterator<Item = (u32, BlockHash)>) -> Self {
        self.waypoints.extend(waypoints);
        self
    }

    /// Replaces the hash function X11, for chains that are made for a test.
    pub fn hash(self, hash: HashFn) -> Self {
        Self { rules: Rules::with_hash(self.rules.network, hash), ..self }
    }
}

impl From<Network> for HeaderRules {
    fn from(network: Network) -> Self {
        let checkpoints = network.checkpoints().iter().filter_map(|(height, hash)| Some((*height, hash.parse().ok()?)));
        Self { rules: Rules::new(network), checkpoints: checkpoints.collect(), waypoints: waypoints(network).collect() }
    }
}
