use qrinfo_core::{Network, PeerId};

/// The nodes that are shipped with the crate: about a hundred of mainnet, one for each network group, and 85 of testnet.
/// Other networks have none.
///
/// They are masternodes with fixed addresses that were reachable and at the tip in August 2026. Those of mainnet are,
/// with few exceptions, in masternode lists since 2023. They are starting points and are trusted no more than others.
///
/// ```
/// use qrinfo_core::Network;
///
/// assert_eq!(spv_pool::shipped_peers(Network::Mainnet).count(), 100);
/// assert_eq!(spv_pool::shipped_peers(Network::Regtest).count(), 0);
/// ```
pub fn shipped_peers(network: Network) -> impl Iterator<Item = PeerId> {
    let list = match network {
        Network::Mainnet => include_str!("seeds/mainnet.txt"),
        Network::Testnet => include_str!("seeds/testnet.txt"),
        Network::Devnet(_) | Network::Regtest => "",
    };
    list.lines().filter_map(|line| line.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{NetworkGroup, gossip::is_public};

    #[test]
    fn every_line_is_a_public_address_with_the_networks_port() {
        for (network, list) in [
            (Network::Mainnet, include_str!("seeds/mainnet.txt")),
            (Network::Testnet, include_str!("seeds/testnet.txt")),
        ] {
            let peers: BTreeSet<_> = shipped_peers(network).collect();
            assert_eq!(peers.len(), list.lines().count());
            for peer in peers {
                let address = peer.address().unwrap();
                assert!(is_public(address.ip()) && address.port() == network.default_port(), "{peer}");
            }
        }
    }

    #[test]
    fn mainnet_has_one_of_each_network_group() {
        let groups: BTreeSet<_> = shipped_peers(Network::Mainnet).map(NetworkGroup::of).collect();
        assert_eq!(groups.len(), shipped_peers(Network::Mainnet).count());
    }
}
