use bytes::BufMut;

use super::NetInfo;
use crate::{
    chain::{Hash256, ProTxHash},
    wire::{DecodeError, DecodeErrorKind, Reader, Wire},
};

/// A masternode as a simplified masternode list names it (DIP-4; Evo nodes DIP-28).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmlEntry {
    /// 1: legacy BLS key; 2: basic BLS key; 3: extended addresses.
    pub version: u16,
    /// The masternode's identity.
    pub pro_reg_tx_hash: ProTxHash,
    /// The block that confirmed the registration; zero until then.
    pub confirmed_hash: Hash256,
    /// The addresses.
    pub net_info: NetInfo,
    /// The operator's BLS key, in the legacy encoding exactly in version 1.
    pub pub_key_operator: [u8; 48],
    /// The hash of the key that votes in governance.
    pub key_id_voting: [u8; 20],
    /// False while the masternode is banned for failing its duties.
    pub is_valid: bool,
    /// Regular or Evo; version 1 knows only regular ones and does not send it.
    pub kind: SmlEntryKind,
}

/// The two kinds of masternode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SmlEntryKind {
    /// An ordinary masternode.
    Regular,
    /// A node that also serves Platform.
    Evo {
        /// The port of its HTTPS interface; version 3 moved it into the addresses.
        platform_http_port: Option<u16>,
        /// Its identity on Platform.
        platform_node_id: [u8; 20],
    },
}

impl SmlEntry {
    /// Reads an entry; `net_info` reads the addresses of an entry of a version.
    #[inline(always)]
    fn read(
        reader: &mut Reader<'_>,
        net_info: fn(u16, &mut Reader<'_>) -> Result<NetInfo, DecodeError>,
    ) -> Result<Self, DecodeError> {
        // A copy in registers: the bound of a field is one comparison.
        let mut fields = *reader;
        let version = fields.u16("entry version")?;
        if !(1..=3).contains(&version) {
            return Err(reader.error("entry version", DecodeErrorKind::UndefinedValue(i64::from(version))));
        }
        let entry = Self {
            version,
            pro_reg_tx_hash: ProTxHash::decode(&mut fields)?,
            confirmed_hash: Hash256::decode(&mut fields)?,
            net_info: net_info(version, &mut fields)?,
            pub_key_operator: fields.array("pubKeyOperator")?,
            key_id_voting: fields.array("keyIDVoting")?,
            is_valid: fields.bool("isValid")?,
            kind: decode_kind(version, &mut fields)?,
        };
        *reader = fields;
        Ok(entry)
    }

    /// Appends the entry without its version: what the list's merkle root is built from.
    pub fn encode_without_version(&self, out: &mut impl BufMut) {
        self.pro_reg_tx_hash.encode(out);
        self.confirmed_hash.encode(out);
        self.net_info.encode(out);
        out.put_slice(&self.pub_key_operator);
        out.put_slice(&self.key_id_voting);
        out.put_u8(u8::from(self.is_valid));
        if self.version < 2 {
            return;
        }
        match self.kind {
            SmlEntryKind::Regular => out.put_u16_le(0),
            SmlEntryKind::Evo { platform_http_port, platform_node_id } => {
                out.put_u16_le(1);
                if self.version < 3 {
                    out.put_u16_le(platform_http_port.unwrap_or_default());
                }
                out.put_slice(&platform_node_id);
            }
        }
    }
}

// === impl SmlEntry ===

impl Wire for SmlEntry {
    // A list of addresses may be one byte long from version 3 on, where there are two bytes of the kind.
    const MIN_SIZE: usize = 2 + 32 + 32 + 1 + 48 + 20 + 1 + 2;

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read(reader, NetInfo::decode)
    }

    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        Self::read(reader, |version, reader| NetInfo::skip(version, reader).map(|()| NetInfo::Unknown(0))).map(drop)
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u16_le(self.version);
        self.encode_without_version(out);
    }
}

#[inline]
fn decode_kind(version: u16, reader: &mut Reader<'_>) -> Result<SmlEntryKind, DecodeError> {
    if version < 2 {
        return Ok(SmlEntryKind::Regular);
    }
    let start = reader.offset();
    match reader.u16("entry type")? {
        0 => Ok(SmlEntryKind::Regular),
        1 => Ok(SmlEntryKind::Evo {
            platform_http_port: if version < 3 { Some(reader.u16("platformHTTPPort")?) } else { None },
            platform_node_id: reader.array("platformNodeID")?,
        }),
        other => {
            let kind = DecodeErrorKind::UndefinedValue(i64::from(other));
            Err(DecodeError { field: "entry type", offset: start, kind })
        }
    }
}
