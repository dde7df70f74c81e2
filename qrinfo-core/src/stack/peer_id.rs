use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    str::FromStr,
};

/// A peer: its address, or its name where it has none.
///
/// It reads and prints as text, `203.0.113.5:9999` or `2fqxr...qd.onion:9999`.
///
/// ```
/// use qrinfo_core::PeerId;
///
/// let peer = PeerId::from(([203, 0, 113, 5], 9999));
/// assert_eq!("203.0.113.5:9999".parse(), Ok(peer));
/// let host: PeerId = "seed.example.org:9999".parse()?;
/// assert_eq!((host.address(), host.to_string()), (None, "seed.example.org:9999".to_owned()));
/// # Ok::<(), qrinfo_core::BadPeerName>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
pub enum PeerId {
    /// A peer with an IP address.
    #[display("{}", if *self == Self::ALL { "all peers".to_owned() } else { _0.to_string() })]
    Address(SocketAddr),
    /// A peer without one: behind Tor, a host name that a proxy resolves, or in memory.
    Name(PeerName),
}

/// The name of a peer: 1 to 70 bytes of printable ASCII without spaces.
///
/// For a peer that a proxy connects to it is `HOST:PORT`. The longest, a Tor address of version 3, has 68 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display, derive_more::Debug)]
#[display("{}", self.as_str())]
#[debug("PeerName({self})")]
pub struct PeerName {
    /// Filled up with zero bytes, which no name contains.
    bytes: [u8; PeerName::MAX],
}

/// Error of a text that is no peer's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a peer; use 1 to {max} characters of printable ASCII without spaces", max = PeerName::MAX)]
pub struct BadPeerName(String);

// === impl PeerId ===

impl PeerId {
    /// All peers of a network together, where the network does not say which peer sent a message: `0.0.0.0:0`.
    pub const ALL: Self = Self::Address(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));

    /// The peer's IP address and port, or `None` for a peer that is known by its name alone.
    pub const fn address(&self) -> Option<SocketAddr> {
        match *self {
            Self::Address(address) => Some(address),
            Self::Name(_) => None,
        }
    }
}

impl<A: Into<SocketAddr>> From<A> for PeerId {
    fn from(address: A) -> Self {
        Self::Address(address.into())
    }
}

impl FromStr for PeerId {
    type Err = BadPeerName;

    fn from_str(text: &str) -> Result<Self, BadPeerName> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => text.parse().map(Self::Name),
        }
    }
}

// === impl PeerName ===

impl PeerName {
    /// The longest name, in bytes.
    pub const MAX: usize = 70;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let length = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(Self::MAX);
        std::str::from_utf8(&self.bytes[..length]).unwrap_or_default()
    }
}

impl FromStr for PeerName {
    type Err = BadPeerName;

    fn from_str(text: &str) -> Result<Self, BadPeerName> {
        let fits = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err(BadPeerName(text.chars().take(Self::MAX).collect()));
        }
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_reads_back_from_its_text() {
        let onion = format!("{}.onion:9999", "a".repeat(56));
        for text in ["203.0.113.5:9999", "[2001:db8::1]:19999", "seed.example.org:9999", "memory-1", &onion] {
            assert_eq!(text.parse::<PeerId>().unwrap().to_string(), text);
        }
        assert_eq!(PeerId::ALL.to_string(), "all peers");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert!("x".repeat(70).parse::<PeerName>().is_ok());
        for text in ["", "two words", "naïve", "zero\0", &"x".repeat(71)] {
            assert_eq!(text.parse::<PeerId>(), Err(BadPeerName(text.chars().take(70).collect())), "{text}");
        }
    }
}
