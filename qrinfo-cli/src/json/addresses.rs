//! A masternode's addresses as a node of Dash Core 23.1 prints them, for entries of every version.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use qrinfo_core::message::{NetInfo, NetInfoEntry, NetInfoPurpose, SmlEntry, SmlEntryKind};
use serde::{Serialize, Serializer, ser::SerializeMap};
use sha3::{Digest, Sha3_256};

use super::{Hex, Items, Text};

/// The network numbers of BIP-155.
mod bip155 {
    pub(super) const IPV4: u8 = 1;
    pub(super) const IPV6: u8 = 2;
    pub(super) const TOR_V3: u8 = 4;
    pub(super) const I2P: u8 = 5;
    pub(super) const CJDNS: u8 = 6;
}

/// An address that is not set, as Dash Core prints it.
const UNSET: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// The addresses of an entry, by purpose.
pub(super) struct Addresses<'a>(Cow<'a, [(NetInfoPurpose, Vec<NetInfoEntry>)]>);

/// One address with its port.
struct Address<'a>(&'a NetInfoEntry);

// === impl Addresses ===

impl<'a> Addresses<'a> {
    pub(super) fn of(entry: &'a SmlEntry) -> Self {
        match &entry.net_info {
            NetInfo::Extended(purposes) => Self(Cow::Borrowed(purposes)),
            NetInfo::Unknown(_) => Self(Cow::Borrowed(&[])),
            NetInfo::Service { ip, port } => Self(Cow::Owned(from_service(*ip, *port, entry.kind))),
        }
    }

    /// The first address for the Core protocol, or the unset one; a domain is none.
    pub(super) fn service(&self) -> impl Display {
        match self.first(NetInfoPurpose::CORE_P2P) {
            Some(address @ NetInfoEntry::Address { .. }) => Address(address).to_string(),
            _ => UNSET.to_string(),
        }
    }

    /// The port of the first address of a purpose.
    pub(super) fn port_of(&self, purpose: NetInfoPurpose) -> Option<u16> {
        match self.first(purpose)? {
            NetInfoEntry::Address { port, .. } | NetInfoEntry::Domain { port, .. } => Some(*port),
            NetInfoEntry::Invalid => Some(0),
        }
    }

    fn first(&self, purpose: NetInfoPurpose) -> Option<&NetInfoEntry> {
        self.0.iter().find(|(found, _)| *found == purpose)?.1.first()
    }
}

/// The address of an entry of version 1 or 2. An Evo node has its HTTPS interface at the same one. Dash Core stores no
/// address for one that is all zero.
fn from_service(ip: [u8; 16], port: u16, kind: SmlEntryKind) -> Vec<(NetInfoPurpose, Vec<NetInfoEntry>)> {
    let v6 = Ipv6Addr::from(ip);
    if v6.is_unspecified() {
        return Vec::new();
    }
    let (network, address) = match v6.to_ipv4_mapped() {
        Some(v4) => (bip155::IPV4, v4.octets().to_vec()),
        None => (bip155::IPV6, ip.to_vec()),
    };
    let at = |port| vec![NetInfoEntry::Address { network, address: address.clone().into(), port }];
    let mut purposes = vec![(NetInfoPurpose::CORE_P2P, at(port))];
    if let SmlEntryKind::Evo { platform_http_port: Some(port), .. } = kind {
        purposes.push((NetInfoPurpose::PLATFORM_HTTPS, at(port)));
    }
    purposes
}

impl Serialize for Addresses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (purpose, entries) in self.0.iter() {
            let entries = Items(|| entries.iter().map(|entry| Text(Address(entry))));
            match *purpose {
                NetInfoPurpose::CORE_P2P => map.serialize_entry("core_p2p", &entries)?,
                NetInfoPurpose::PLATFORM_P2P => map.serialize_entry("platform_p2p", &entries)?,
                NetInfoPurpose::PLATFORM_HTTPS => map.serialize_entry("platform_https", &entries)?,
                NetInfoPurpose(other) => map.serialize_entry(&other, &entries)?,
            }
        }
        map.end()
    }
}

// === impl Address ===

impl Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            NetInfoEntry::Address { network, address, port } => fmt_address(f, *network, address, *port),
            NetInfoEntry::Domain { name, port } => write!(f, "{}:{port}", name.escape_ascii()),
            NetInfoEntry::Invalid => f.write_str("[invalid entry]"),
        }
    }
}

fn fmt_address(f: &mut fmt::Formatter<'_>, network: u8, address: &[u8], port: u16) -> fmt::Result {
    if let (bip155::IPV4, Ok(v4)) = (network, <[u8; 4]>::try_from(address)) {
        return SocketAddr::from((Ipv4Addr::from(v4), port)).fmt(f);
    }
    if let (bip155::IPV6 | bip155::CJDNS, Ok(v6)) = (network, <[u8; 16]>::try_from(address)) {
        return SocketAddr::from((v6, port)).fmt(f);
    }
    match (network, <[u8; 32]>::try_from(address)) {
        (bip155::TOR_V3, Ok(key)) => write!(f, "{}.onion:{port}", base32(&onion(&key))),
        (bip155::I2P, Ok(hash)) => write!(f, "{}.b32.i2p:{port}", base32(&hash)),
        _ => write!(f, "network {network} {}:{port}", Hex(address)),
    }
}

/// The bytes that a Tor name of version 3 spells: the key, two bytes of checksum, the version (rend-spec-v3, "Encoding
/// onion addresses").
fn onion(key: &[u8; 32]) -> Vec<u8> {
    const VERSION: u8 = 3;
    let checksum =
        Sha3_256::new().chain_update(b".onion checksum").chain_update(key).chain_update([VERSION]).finalize();
    let mut bytes = key.to_vec();
    bytes.extend_from_slice(&checksum[..2]);
    bytes.push(VERSION);
    bytes
}

/// Base32 of RFC 4648 in lower case and without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |place: usize| bytes.get(place / 8).map_or(0, |byte| byte >> (7 - place % 8) & 1);
    let digit = |start: usize| (start..start + 5).fold(0, |value, place| value << 1 | bit(place));
    (0..bytes.len() * 8).step_by(5).map(|start| char::from(ALPHABET[usize::from(digit(start))])).collect()
}
