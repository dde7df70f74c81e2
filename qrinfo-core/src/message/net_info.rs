use bytes::{BufMut, Bytes};

use crate::wire::{DecodeError, DecodeErrorKind, Reader, Wire, put_len, put_var_bytes};

/// The only version of the extended form that is defined.
const VERSION: u8 = 1;

/// The most addresses of one purpose. Dash Core allows four; the rest is room for a newer one.
const MAX_ENTRIES: usize = 32;

/// The longest domain name, in bytes.
const MAX_DOMAIN: usize = 253;

/// The longest address of ADDRV2 (BIP-155), in bytes.
const MAX_ADDRESS: usize = 512;

/// The addresses of a masternode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetInfo {
    /// Entry versions 1 and 2: one address. IPv4 is `::ffff:a.b.c.d`; an unset address is all zero.
    Service {
        /// 16 bytes as they came; never normalised, since they are hashed.
        ip: [u8; 16],
        /// The TCP port.
        port: u16,
    },
    /// Entry version 3: addresses by purpose, in ascending order of purpose.
    Extended(Vec<(NetInfoPurpose, Vec<NetInfoEntry>)>),
    /// Entry version 3 with a version of the extended form that is not defined; nothing follows it.
    Unknown(u8),
}

/// The purpose of an address: 0 `core_p2p`, 1 `platform_p2p`, 2 `platform_https`. Other numbers are kept as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetInfoPurpose(pub u8);

/// One address of the extended form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetInfoEntry {
    /// An address in the notation of ADDRV2 (BIP-155).
    Address {
        /// BIP-155's network number.
        network: u8,
        /// The address, at most 512 bytes.
        address: Bytes,
        /// The TCP port.
        port: u16,
    },
    /// A domain name.
    Domain {
        /// At most 253 bytes.
        name: Bytes,
        /// The TCP port.
        port: u16,
    },
    /// A place that holds no address.
    Invalid,
}

// === impl NetInfoPurpose ===

impl NetInfoPurpose {
    /// The protocol of Dash Core.
    pub const CORE_P2P: Self = Self(0);
    /// Platform's own network.
    pub const PLATFORM_P2P: Self = Self(1);
    /// Platform's HTTPS interface.
    pub const PLATFORM_HTTPS: Self = Self(2);
}

// === impl NetInfo ===

impl NetInfo {
    /// Reads the addresses of an entry of `version`.
    #[inline(always)]
    pub(super) fn decode(version: u16, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if version == 3 {
            // This call is too long to be inlined; with a copy of its own it leaves the caller's in registers.
            let mut addresses = *reader;
            let net_info = Self::decode_extended(&mut addresses)?;
            *reader = addresses;
            return Ok(net_info);
        }
        Ok(Self::Service { ip: reader.array("service address")?, port: reader.u16_be("service port")? })
    }

    /// Reads past the addresses of an entry of `version`, with the same checks.
    #[inline(always)]
    pub(super) fn skip(version: u16, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        Self::decode(version, reader).map(drop)
    }

    fn decode_extended(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.u8("netInfo version")?;
        if version != VERSION {
            return Ok(Self::Unknown(version));
        }
        let count = reader.count("netInfo purposes", 2)?;
        let mut purposes: Vec<(NetInfoPurpose, Vec<NetInfoEntry>)> = Vec::new();
        for _ in 0..count {
            let at = reader.offset();
            let purpose = NetInfoPurpose(reader.u8("netInfo purpose")?);
            if purposes.last().is_some_and(|(last, _)| *last >= purpose) {
                return Err(DecodeError { field: "netInfo purpose", offset: at, kind: DecodeErrorKind::Unsorted });
            }
            let offset = reader.offset();
            let entries = reader.count("netInfo entries", NetInfoEntry::MIN_SIZE)?;
            if entries > MAX_ENTRIES {
                let kind = DecodeErrorKind::BadLength(entries);
                return Err(DecodeError { field: "netInfo entries", offset, kind });
            }
            let entries = (0..entries).map(|_| NetInfoEntry::decode(reader)).collect::<Result<_, _>>()?;
            purposes.push((purpose, entries));
        }
        Ok(Self::Extended(purposes))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Service { ip, port } => {
                out.put_slice(ip);
                out.put_u16(*port);
            }
            Self::Extended(purposes) => {
                out.put_u8(VERSION);
                put_len(out, purposes.len());
                for (purpose, entries) in purposes {
                    out.put_u8(purpose.0);
                    put_len(out, entries.len());
                    entries.iter().for_each(|entry| entry.encode(out));
                }
            }
            Self::Unknown(version) => out.put_u8(*version),
        }
    }
}

impl Wire for NetInfoEntry {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let limited = |field, offset, bytes: &Bytes, limit| match bytes.len() {
            len if len <= limit => Ok(()),
            len => Err(DecodeError { field, offset, kind: DecodeErrorKind::BadLength(len) }),
        };
        match reader.u8("netInfo entry type")? {
            1 => {
                let network = reader.u8("netInfo network")?;
                let offset = reader.offset();
                let address = reader.var_bytes("netInfo address")?;
                limited("netInfo address", offset, &address, MAX_ADDRESS)?;
                Ok(Self::Address { network, address, port: reader.u16_be("netInfo port")? })
            }
            2 => {
                let offset = reader.offset();
                let name = reader.var_bytes("netInfo domain")?;
                limited("netInfo domain", offset, &name, MAX_DOMAIN)?;
                Ok(Self::Domain { name, port: reader.u16_be("netInfo port")? })
            }
            0xff => Ok(Self::Invalid),
            other => {
                let kind = DecodeErrorKind::UndefinedValue(i64::from(other));
                Err(DecodeError { field: "netInfo entry type", offset: start, kind })
            }
        }
    }

    fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Address { network, address, port } => {
                out.put_u8(1);
                out.put_u8(*network);
                put_var_bytes(out, address);
                out.put_u16(*port);
            }
            Self::Domain { name, port } => {
                out.put_u8(2);
                put_var_bytes(out, name);
                out.put_u16(*port);
            }
            Self::Invalid => out.put_u8(0xff),
        }
    }
}
