use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes};

use super::version::{decode_ip, encode_ip};
use crate::wire::{DecodeError, DecodeErrorKind, Reader, Wire, put_compact_size, put_len, put_var_bytes};

/// The most addresses in one message (Dash Core's `MAX_ADDR_TO_SEND`).
pub const MAX_ADDRESSES: usize = 1000;

/// The longest address of ADDRV2, in bytes (BIP-155).
const MAX_ADDRESS: usize = 512;

/// BIP-155's numbers of the networks that are read here.
mod bip155 {
    pub(super) const IPV4: u8 = 1;
    pub(super) const IPV6: u8 = 2;
}

/// A node that another node knows of. None of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode<A> {
    /// The time at which it was last seen, in seconds since 1970.
    pub last_seen: u32,
    /// Its services, as bits.
    pub services: u64,
    /// Its address.
    pub address: A,
}

/// `addr`: nodes with IP addresses, at most 1,000.
///
/// ```
/// use qrinfo_core::{message::{Addr, KnownNode}, wire::Wire};
///
/// let node = KnownNode { last_seen: 1_700_000_000, services: 1, address: ([203, 0, 113, 5], 9999).into() };
/// let message = Addr(vec![node]);
/// assert_eq!(message.to_wire().len(), 1 + 30);
/// assert_eq!(Addr::from_wire(message.to_wire())?, message);
/// # Ok::<(), qrinfo_core::wire::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addr(pub Vec<KnownNode<SocketAddr>>);

/// `addrv2`: nodes with addresses of any network, at most 1,000. A peer sends it in place of [`Addr`] if `sendaddrv2`
/// went to it before `verack` (BIP-155).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddrV2(pub Vec<KnownNode<NetAddress>>);

/// An address of `addrv2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetAddress {
    /// IPv4 or IPv6.
    Ip(SocketAddr),
    /// Another network.
    Other {
        /// BIP-155's network number: 4 is Tor, 5 I2P, 6 CJDNS.
        network: u8,
        /// The address, at most 512 bytes.
        address: Bytes,
        /// The port.
        port: u16,
    },
}

// === impl Addr ===

impl Wire for Addr {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_nodes(reader, 30, |reader| {
            let last_seen = reader.u32("last seen")?;
            let services = reader.u64("services")?;
            let address = decode_ip(reader)?;
            Ok(KnownNode { last_seen, services, address })
        })
        .map(Self)
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_len(out, self.0.len());
        for node in &self.0 {
            out.put_u32_le(node.last_seen);
            out.put_u64_le(node.services);
            encode_ip(node.address, out);
        }
    }
}

// === impl AddrV2 ===

impl Wire for AddrV2 {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_nodes(reader, 4 + 1 + NetAddress::MIN_SIZE, |reader| {
            let last_seen = reader.u32("last seen")?;
            let services = reader.compact_size("services")?;
            let address = NetAddress::decode(reader)?;
            Ok(KnownNode { last_seen, services, address })
        })
        .map(Self)
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_len(out, self.0.len());
        for node in &self.0 {
            out.put_u32_le(node.last_seen);
            put_compact_size(out, node.services);
            node.address.encode(out);
        }
    }
}

// === impl NetAddress ===

impl Wire for NetAddress {
    const MIN_SIZE: usize = 1 + 1 + 2;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let network = reader.u8("network")?;
        let offset = reader.offset();
        let address = reader.var_bytes("address")?;
        let wrong_length = DecodeError { field: "address", offset, kind: DecodeErrorKind::BadLength(address.len()) };
        let ip: Option<IpAddr> = match network {
            bip155::IPV4 => Some(<[u8; 4]>::try_from(&*address).map_err(|_| wrong_length)?.into()),
            bip155::IPV6 => Some(<[u8; 16]>::try_from(&*address).map_err(|_| wrong_length)?.into()),
            _ if address.len() > MAX_ADDRESS => return Err(wrong_length),
            _ => None,
        };
        let port = reader.u16_be("port")?;
        Ok(match ip {
            Some(ip) => Self::Ip((ip, port).into()),
            None => Self::Other { network, address, port },
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        let (network, port) = match self {
            Self::Ip(SocketAddr::V4(address)) => (bip155::IPV4, address.port()),
            Self::Ip(SocketAddr::V6(address)) => (bip155::IPV6, address.port()),
            Self::Other { network, port, .. } => (*network, *port),
        };
        out.put_u8(network);
        match self {
            Self::Ip(SocketAddr::V4(address)) => put_var_bytes(out, &address.ip().octets()),
            Self::Ip(SocketAddr::V6(address)) => put_var_bytes(out, &address.ip().octets()),
            Self::Other { address, .. } => put_var_bytes(out, address),
        }
        out.put_u16(port);
    }
}

fn decode_nodes<A>(
    reader: &mut Reader<'_>,
    least: usize,
    node: impl Fn(&mut Reader<'_>) -> Result<KnownNode<A>, DecodeError>,
) -> Result<Vec<KnownNode<A>>, DecodeError> {
    let offset = reader.offset();
    let count = reader.count("addresses", least)?;
    if count > MAX_ADDRESSES {
        return Err(DecodeError { field: "addresses", offset, kind: DecodeErrorKind::BadLength(count) });
    }
    (0..count).map(|_| node(reader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two addresses of BIP-155's own networks and one of a network that is not known, byte for byte.
    const MIXED: &[u8] = b"\x03\
        \x78\x56\x34\x12\xfd\x05\x0c\x01\x04\xcb\x00\x71\x05\x27\x0f\
        \x00\x00\x00\x00\x01\x02\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x4e\x1f\
        \x00\x00\x00\x00\x00\x63\x02\xab\xcd\x00\x01";

    #[test]
    fn an_addrv2_of_three_networks_reads_as_it_is_written() {
        let AddrV2(nodes) = AddrV2::from_wire(MIXED).unwrap();
        assert_eq!((nodes[0].last_seen, nodes[0].services), (0x1234_5678, 0xc05));
        let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
        assert_eq!(
            addresses,
            [
                NetAddress::Ip("203.0.113.5:9999".parse().unwrap()),
                NetAddress::Ip("[2001:db8::1]:19999".parse().unwrap()),
                NetAddress::Other { network: 0x63, address: Bytes::from_static(&[0xab, 0xcd]), port: 1 },
            ]
        );
        assert_eq!(AddrV2(nodes).to_wire(), MIXED);
    }

    #[test]
    fn an_address_of_a_wrong_length_is_refused() {
        for (network, length) in [(1, 5), (1, 16), (2, 4), (99, 513)] {
            let mut wire = vec![1, 0, 0, 0, 0, 0, network];
            put_var_bytes(&mut wire, &vec![7; length]);
            wire.extend([0, 1]);
            let error = AddrV2::from_wire(wire).unwrap_err();
            assert_eq!((error.field, error.kind), ("address", DecodeErrorKind::BadLength(length)));
        }
    }

    #[test]
    fn more_than_a_thousand_addresses_are_refused() {
        let node = KnownNode { last_seen: 0, services: 1, address: ([203, 0, 113, 5], 9999).into() };
        assert!(Addr::from_wire(Addr(vec![node.clone(); 1000]).to_wire()).is_ok());
        assert!(Addr::from_wire(Addr(vec![node; 1001]).to_wire()).is_err());
    }
}
