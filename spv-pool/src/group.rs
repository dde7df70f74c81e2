use std::net::IpAddr;

use qrinfo_core::PeerId;

/// Addresses that one operator is likely to hold together: the first 16 bits of an IPv4 address, the first 32 of an IPv6
/// address. A peer without an address is a group of its own.
///
/// Peers of different groups are harder for one attacker to own, so they are preferred.
///
/// ```
/// use spv_pool::NetworkGroup;
///
/// let group = |address: &str| address.parse().map(NetworkGroup::of);
/// assert_eq!(group("203.0.113.5:9999")?, group("203.0.7.7:19999")?);
/// assert_ne!(group("203.0.113.5:9999")?, group("203.1.113.5:9999")?);
/// # Ok::<(), qrinfo_core::BadPeerName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkGroup(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    V4([u8; 2]),
    V6([u8; 4]),
    Alone(PeerId),
}

// === impl NetworkGroup ===

impl NetworkGroup {
    /// The group of a peer.
    pub fn of(peer: PeerId) -> Self {
        Self(match peer.address().map(|address| address.ip().to_canonical()) {
            Some(IpAddr::V4(ip)) => {
                let [a, b, ..] = ip.octets();
                Kind::V4([a, b])
            }
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, ..] = ip.octets();
                Kind::V6([a, b, c, d])
            }
            None => Kind::Alone(peer),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(peer: &str) -> NetworkGroup {
        NetworkGroup::of(peer.parse().unwrap())
    }

    #[test]
    fn ipv6_counts_32_bits_and_names_stand_alone() {
        assert_eq!(group("[2001:db8::1]:9999"), group("[2001:db8:ffff::2]:1"));
        assert_ne!(group("[2001:db8::1]:9999"), group("[2001:db9::1]:9999"));
        assert_eq!(group("[::ffff:203.0.113.5]:1"), group("203.0.1.1:2"));
        assert_ne!(group("memory-1"), group("memory-2"));
    }
}
