use std::collections::VecDeque;

use bytes::BufMut;

use crate::{
    chain::{BlockHash, BlockHeader, Hash256},
    wire::{DecodeError, DecodeErrorKind, Reader, Wire, put_len},
};

/// The most headers in one `headers2` message (Dash Core's limit at protocol 70235 and later).
pub const MAX_HEADERS2: usize = 8000;

/// The oldest protocol version of a session in which `headers2` carries up to [`MAX_HEADERS2`] headers.
pub const HEADERS2_PROTOCOL_VERSION: i32 = 70235;

/// The service bit of peers that answer `getheaders2` (`NODE_HEADERS_COMPRESSED` of DIP-25).
pub const NODE_HEADERS_COMPRESSED: u64 = 1 << 11;

/// The number of different versions that a header can refer to by an offset.
const VERSIONS: usize = 7;

/// Bits of a compressed header's first byte (DIP-25): the offset of the version, and which fields are complete.
const VERSION_OFFSET: u8 = 0b0000_0111;
const HAS_PREV: u8 = 1 << 3;
const HAS_TIME: u8 = 1 << 4;
const HAS_BITS: u8 = 1 << 5;
const DEFINED: u8 = 0b0011_1111;

/// `headers2`: at most 8,000 headers in the compressed form of DIP-25, in 39 to 81 bytes each.
///
/// A header leaves out what follows from the one before it in the same message: the previous block's hash, the version,
/// the target; its time is a difference. The first one is complete.
///
/// ```
/// use qrinfo_core::{BlockHash, BlockHeader, message::Headers2, wire::Wire};
///
/// // The hash of a header is X11, which this crate does not compute. Here: a stand-in.
/// let hash = |header: &BlockHeader| BlockHash::from_bytes(qrinfo_core::sha256d(header.as_bytes()));
/// let first = BlockHeader::from_bytes([1; 80]);
/// let mut second = [1; 80];
/// second[4..36].copy_from_slice(hash(&first).as_bytes());
/// let headers = [first, BlockHeader::from_bytes(second)];
///
/// let message = Headers2::compress(&headers);
/// assert_eq!(message.to_wire().len(), 1 + 81 + 39);
/// assert_eq!(message.decompress(hash), headers);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers2(Vec<Compressed>);

/// The fields of a header as they stand in the message. A field that is left out is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Compressed {
    version: Version,
    prev: Option<BlockHash>,
    merkle_root: Hash256,
    time: Time,
    bits: Option<[u8; 4]>,
    nonce: [u8; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Full([u8; 4]),
    /// The place among the versions last seen, from 0 to 6.
    Seen(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Full(u32),
    /// In seconds after the time of the header before.
    After(i16),
}

/// The versions last seen, each once, the newest first.
#[derive(Debug, Default)]
struct SeenVersions(VecDeque<[u8; 4]>);

// === impl Headers2 ===

impl Headers2 {
    /// Compresses headers of which each names the one before it.
    pub fn compress(headers: &[BlockHeader]) -> Self {
        let mut seen = SeenVersions::default();
        let mut before: Option<&BlockHeader> = None;
        let compressed = headers.iter().map(|header| {
            let version = match seen.find(header.field(0)) {
                Some(place) => Version::Seen(place),
                None => Version::Full(header.field(0)),
            };
            seen.see(header.field(0));
            let offset =
                before.and_then(|before| i16::try_from(i64::from(header.time()) - i64::from(before.time())).ok());
            let same_bits = before.is_some_and(|before| before.bits() == header.bits());
            let compressed = Compressed {
                version,
                prev: before.is_none().then(|| header.prev_block_hash()),
                merkle_root: header.merkle_root(),
                time: offset.map_or(Time::Full(header.time()), Time::After),
                bits: (!same_bits).then(|| header.bits().to_le_bytes()),
                nonce: header.field(76),
            };
            before = Some(header);
            compressed
        });
        Self(compressed.collect())
    }

    /// The number of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The hash of the block before the first header.
    pub fn prev_block_hash(&self) -> Option<BlockHash> {
        self.0.first()?.prev
    }

    /// Returns `true` for a message without headers: the peer has no more.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The complete headers. `hash` is the hash of a header, X11 on Dash's networks; it is called once for each header
    /// but the last one, in order.
    pub fn decompress(&self, mut hash: impl FnMut(&BlockHeader) -> BlockHash) -> Vec<BlockHeader> {
        let mut seen = SeenVersions::default();
        let mut headers: Vec<BlockHeader> = Vec::with_capacity(self.0.len());
        for compressed in &self.0 {
            let before = headers.last();
            // Decoding made sure that nothing of the first header is left out.
            let version = match compressed.version {
                Version::Full(version) => version,
                Version::Seen(place) => seen.get(place).unwrap_or_default(),
            };
            seen.see(version);
            let hash_before = before.map(&mut hash);
            let prev = compressed.prev.or(hash_before).unwrap_or(BlockHash::ZERO);
            let time = match compressed.time {
                Time::Full(time) => time,
                Time::After(offset) => before.map_or(0, BlockHeader::time).wrapping_add_signed(i32::from(offset)),
            };
            let bits = compressed.bits.unwrap_or_else(|| before.map_or(0, BlockHeader::bits).to_le_bytes());
            headers.push(complete(version, &prev, &compressed.merkle_root, time, bits, compressed.nonce));
        }
        headers
    }
}

impl Wire for Headers2 {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let count = reader.count("headers", Compressed::MIN_SIZE)?;
        if count > MAX_HEADERS2 {
            return Err(DecodeError { field: "headers", offset, kind: DecodeErrorKind::BadLength(count) });
        }
        let mut versions = SeenVersions::default();
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = reader.offset();
            let header = Compressed::decode(reader)?;
            let refused = |field, value: u8| {
                Err(DecodeError { field, offset, kind: DecodeErrorKind::UndefinedValue(i64::from(value)) })
            };
            let version = match header.version {
                Version::Full(version) => version,
                Version::Seen(place) => match versions.get(place) {
                    Some(version) => version,
                    None => return refused("version offset", place + 1),
                },
            };
            versions.see(version);
            if headers.is_empty() && !header.is_complete() {
                return refused("first header", header.first_byte());
            }
            headers.push(header);
        }
        Ok(Self(headers))
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_len(out, self.0.len());
        self.0.iter().for_each(|header| header.encode(out));
    }
}

// === impl Compressed ===

impl Compressed {
    fn is_complete(&self) -> bool {
        self.prev.is_some() && matches!(self.time, Time::Full(_)) && self.bits.is_some()
    }

    fn first_byte(&self) -> u8 {
        let version = match self.version {
            Version::Full(_) => 0,
            Version::Seen(place) => place + 1,
        };
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        version
            | flag(self.prev.is_some(), HAS_PREV)
            | flag(matches!(self.time, Time::Full(_)), HAS_TIME)
            | flag(self.bits.is_some(), HAS_BITS)
    }
}

impl Wire for Compressed {
    const MIN_SIZE: usize = 1 + 32 + 2 + 4;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let first = reader.u8("bit field")?;
        if first & !DEFINED != 0 {
            let kind = DecodeErrorKind::UndefinedValue(i64::from(first));
            return Err(DecodeError { field: "bit field", offset, kind });
        }
        let version = match (first & VERSION_OFFSET).checked_sub(1) {
            Some(place) => Version::Seen(place),
            None => Version::Full(reader.array("version")?),
        };
        let prev = (first & HAS_PREV != 0).then(|| BlockHash::decode(reader)).transpose()?;
        let merkle_root = Hash256::decode(reader)?;
        let time = match first & HAS_TIME {
            0 => Time::After(reader.i16("time offset")?),
            _ => Time::Full(reader.u32("time")?),
        };
        let bits = (first & HAS_BITS != 0).then(|| reader.array("bits")).transpose()?;
        Ok(Self { version, prev, merkle_root, time, bits, nonce: reader.array("nonce")? })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.first_byte());
        if let Version::Full(version) = self.version {
            out.put_slice(&version);
        }
        if let Some(prev) = &self.prev {
            prev.encode(out);
        }
        self.merkle_root.encode(out);
        match self.time {
            Time::Full(time) => out.put_u32_le(time),
            Time::After(offset) => out.put_i16_le(offset),
        }
        if let Some(bits) = &self.bits {
            out.put_slice(bits);
        }
        out.put_slice(&self.nonce);
    }
}

// === impl SeenVersions ===

impl SeenVersions {
    fn find(&self, version: [u8; 4]) -> Option<u8> {
        self.0.iter().position(|seen| *seen == version).and_then(|place| u8::try_from(place).ok())
    }

    fn get(&self, place: u8) -> Option<[u8; 4]> {
        self.0.get(usize::from(place)).copied()
    }

    /// Puts a version first.
    fn see(&mut self, version: [u8; 4]) {
        self.0.retain(|seen| *seen != version);
        self.0.push_front(version);
        self.0.truncate(VERSIONS);
    }
}

fn complete(
    version: [u8; 4],
    prev: &BlockHash,
    merkle_root: &Hash256,
    time: u32,
    bits: [u8; 4],
    nonce: [u8; 4],
) -> BlockHeader {
    let mut bytes = [0; 80];
    let mut rest = bytes.as_mut_slice();
    rest.put_slice(&version);
    prev.encode(&mut rest);
    merkle_root.encode(&mut rest);
    rest.put_u32_le(time);
    rest.put_slice(&bits);
    rest.put_slice(&nonce);
    BlockHeader::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(header: &BlockHeader) -> BlockHash {
        BlockHash::from_bytes(crate::chain::sha256d(header.as_bytes()))
    }

    /// A chain of headers with these versions, time steps and targets.
    fn chain(fields: &[(u32, i64, u32)]) -> Vec<BlockHeader> {
        let (mut prev, mut time) = (BlockHash::from_bytes([9; 32]), 1_700_000_000_i64);
        let header = |&(version, step, bits): &(u32, i64, u32)| {
            time += step;
            let root = Hash256::from_bytes([version as u8; 32]);
            let bits = bits.to_le_bytes();
            let header = complete(version.to_le_bytes(), &prev, &root, time as u32, bits, [7; 4]);
            prev = hash(&header);
            header
        };
        fields.iter().map(header).collect()
    }

    /// Bytes written by hand after the table of DIP-25.
    #[test]
    fn the_form_is_that_of_dip_25() {
        let headers =
            chain(&[(5, 0, 0x1e0f_fff0), (5, 150, 0x1e0f_fff0), (6, -3, 0x1d00_ffff), (5, 40_000, 0x1d00_ffff)]);
        let wire = Headers2::compress(&headers).to_wire();
        let mut expected = vec![4];
        expected.push(0b0011_1000);
        expected.extend_from_slice(headers[0].as_bytes());
        // The version is the newest one seen; only the root, two bytes of time and the nonce.
        expected.push(0b0000_0001);
        expected.extend_from_slice(&headers[1].as_bytes()[36..68]);
        expected.extend_from_slice(&[150, 0]);
        expected.extend_from_slice(&[7; 4]);
        // A new version and a new target.
        expected.push(0b0010_0000);
        expected.extend_from_slice(&[6, 0, 0, 0]);
        expected.extend_from_slice(&headers[2].as_bytes()[36..68]);
        expected.extend_from_slice(&[0xfd, 0xff, 0xff, 0xff, 0, 0x1d]);
        expected.extend_from_slice(&[7; 4]);
        // The version before the newest; a time that two bytes do not hold.
        expected.push(0b0001_0010);
        expected.extend_from_slice(&headers[3].as_bytes()[36..72]);
        expected.extend_from_slice(&[7; 4]);
        assert_eq!(wire, expected);
        let message = Headers2::from_wire(wire).unwrap();
        assert_eq!((message.len(), message.is_empty()), (4, false));
        assert_eq!(message.prev_block_hash(), Some(BlockHash::from_bytes([9; 32])));
        assert_eq!(message.decompress(hash), headers);
    }

    #[test]
    fn the_shortest_headers_have_39_bytes() {
        let headers = chain(&[(5, 1, 1); 60]);
        let wire = Headers2::compress(&headers).to_wire();
        assert_eq!(wire.len(), 1 + 81 + 59 * 39);
        assert_eq!(Headers2::from_wire(wire).map(|message| message.decompress(hash)), Ok(headers));
    }

    #[test]
    fn what_refers_to_nothing_is_refused() {
        let wire = Headers2::compress(&chain(&[(5, 0, 1), (5, 1, 1)])).to_wire().to_vec();
        let error = |at: usize, value: u8| {
            let mut wire = wire.clone();
            wire[at] = value;
            Headers2::from_wire(wire).unwrap_err().field
        };
        // Only one version was seen before the second header.
        assert_eq!(error(82, 0b0000_0010), "version offset");
        assert_eq!(error(82, 0b0100_0001), "bit field");
        assert_eq!(error(82, 0b1000_0001), "bit field");
        assert_eq!(error(1, 0b0011_1001), "version offset");
        // The first header is complete: without its target it is shorter, and something is left over or out of place.
        let mut first = wire[..82].to_vec();
        (first[0], first[1]) = (1, 0b0001_1000);
        first.drain(74..78);
        assert_eq!(Headers2::from_wire(first).unwrap_err().field, "first header");
        let none = Headers2::from_wire(vec![0]).unwrap();
        assert_eq!((none.len(), none.is_empty(), none.prev_block_hash()), (0, true, None));
        assert_eq!(NODE_HEADERS_COMPRESSED, 2_048);
    }

    #[test]
    fn more_than_fit_in_one_message_are_refused() {
        let message = |count| Headers2(vec![Headers2::compress(&chain(&[(5, 0, 1)])).0[0]; count]).to_wire();
        assert!(Headers2::from_wire(message(8000)).is_ok());
        assert_eq!(Headers2::from_wire(message(8001)).unwrap_err().kind, DecodeErrorKind::BadLength(8001));
    }

    proptest! {
        #[test]
        fn any_chain_reads_back(fields in prop::collection::vec((0_u32..12, -40_000_i64..40_000, 0_u32..3), 0..60)) {
            let headers = chain(&fields);
            let message = Headers2::from_wire(Headers2::compress(&headers).to_wire()).unwrap();
            prop_assert_eq!(message.decompress(hash), headers);
        }

        #[test]
        fn any_bytes_decode_or_fail_and_read_back(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(message) = Headers2::from_wire(bytes.clone()) {
                prop_assert_eq!(message.to_wire(), bytes);
                prop_assert_eq!(message.decompress(hash).len(), message.len());
            }
        }
    }
}
