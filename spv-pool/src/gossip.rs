//! The judgement of addresses that peers name. Nothing in such a message is proven.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qrinfo_core::{
    Network, PeerId,
    message::{KnownNode, NetAddress},
};

/// The services of a node with blocks: all of them (1) or the newest (1024). A node without is a light client.
const HAS_BLOCKS: u64 = 1 | 1 << 10;

/// The node's id, if it may be tried: it says that it has blocks, and its address is public and has the network's port.
///
/// Other ports are left out so that false addresses do not direct connections at services of others.
pub(crate) fn usable(network: Network, node: &KnownNode<NetAddress>) -> Option<PeerId> {
    let NetAddress::Ip(address) = node.address else { return None };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let fits = node.services & HAS_BLOCKS != 0 && address.port() == network.default_port() && is_public(address.ip());
    fits.then(|| address.into())
}

/// Returns `true` for addresses of the public internet.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// Leaves out the blocks of RFC 6890 that no node of the internet has.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let is_special = matches!(
        ip.octets(),
        [0 | 10 | 127 | 240..=255, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..]
    );
    !is_special && !ip.is_private() && !ip.is_link_local() && !ip.is_multicast() && !ip.is_documentation()
}

/// Takes the global addresses, 2000::/3, without documentation, Teredo and 6to4.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, 0 | 0xdb8, ..] | [0x2002, ..] => false,
        [first, ..] => first >> 13 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str) -> KnownNode<NetAddress> {
        KnownNode { last_seen: 0, services: 0xc05, address: NetAddress::Ip(address.parse().unwrap()) }
    }

    fn is_usable(node: &KnownNode<NetAddress>) -> bool {
        usable(Network::Mainnet, node).is_some()
    }

    #[test]
    fn public_nodes_with_blocks_are_usable() {
        assert!(is_usable(&node("8.8.8.8:9999")));
        assert!(is_usable(&node("[2a01:4f8::1]:9999")));
        assert_eq!(usable(Network::Mainnet, &node("[::ffff:8.8.8.8]:9999")), "8.8.8.8:9999".parse().ok());
        assert!(!is_usable(&KnownNode { services: 0, ..node("8.8.8.8:9999") }));
        assert!(!is_usable(&node("8.8.8.8:80")));
        let tor = NetAddress::Other { network: 4, address: vec![1; 32].into(), port: 9999 };
        assert!(!is_usable(&KnownNode { address: tor, ..node("8.8.8.8:9999") }));
    }

    #[test]
    fn addresses_that_are_not_public_are_left_out() {
        for ip in [
            "0.0.0.0",
            "10.1.1.1",
            "127.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.5",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_usable(&node(&format!("{ip}:9999"))), "{ip}");
            assert!(!is_usable(&node(&format!("[::ffff:{ip}]:9999"))), "{ip} in IPv6");
        }
        for ip in
            ["::", "::1", "fe80::1", "fc00::1", "fd87:d87e:eb43::1", "ff02::1", "2001:db8::1", "2001::1", "2002::1"]
        {
            assert!(!is_usable(&node(&format!("[{ip}]:9999"))), "{ip}");
        }
    }
}
