use bytes::BufMut;

use crate::{
    chain::{BlockHash, BlockHeader},
    wire::{DecodeError, DecodeErrorKind, Reader, Wire, put_len},
};

/// The most headers in one message (Dash Core's `MAX_HEADERS_RESULTS`).
pub const MAX_HEADERS: usize = 2000;

/// The most hashes in a locator (Dash Core's `MAX_LOCATOR_SZ`).
const MAX_LOCATOR: usize = 101;

/// `getheaders`: asks for the headers behind the newest of the given blocks that the receiver has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetHeaders {
    /// The protocol version. Receivers ignore it.
    pub version: u32,
    /// Blocks that the sender has, the newest first.
    pub locator: Vec<BlockHash>,
    /// The last block wanted; zero for as many as there are.
    pub stop: BlockHash,
}

impl Wire for GetHeaders {
    const MIN_SIZE: usize = 4 + 1 + 32;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.u32("version")?;
        let offset = reader.offset();
        let count = reader.count("locator", BlockHash::MIN_SIZE)?;
        if count > MAX_LOCATOR {
            return Err(DecodeError { field: "locator", offset, kind: DecodeErrorKind::BadLength(count) });
        }
        let locator = (0..count).map(|_| BlockHash::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Self { version, locator, stop: BlockHash::decode(reader)? })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u32_le(self.version);
        put_len(out, self.locator.len());
        self.locator.iter().for_each(|hash| hash.encode(out));
        self.stop.encode(out);
    }
}

/// `headers`: at most 2,000 headers, each following the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers(pub Vec<BlockHeader>);

impl Wire for Headers {
    const MIN_SIZE: usize = 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let count = reader.count("headers", BlockHeader::MIN_SIZE + 1)?;
        if count > MAX_HEADERS {
            return Err(DecodeError { field: "headers", offset, kind: DecodeErrorKind::BadLength(count) });
        }
        let header = |_| {
            let header = BlockHeader::decode(reader)?;
            // The position of a block's transaction count, which is always zero here.
            let offset = reader.offset();
            match reader.u8("transaction count")? {
                0 => Ok(header),
                other => {
                    let kind = DecodeErrorKind::UndefinedValue(i64::from(other));
                    Err(DecodeError { field: "transaction count", offset, kind })
                }
            }
        };
        (0..count).map(header).collect::<Result<_, _>>().map(Self)
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_len(out, self.0.len());
        for header in &self.0 {
            header.encode(out);
            out.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_a_transaction_count_is_refused() {
        let headers = Headers(vec![BlockHeader::from_bytes([7; 80]); 3]);
        let mut wire = headers.to_wire().to_vec();
        assert_eq!(wire.len(), 1 + 3 * 81);
        assert_eq!(Headers::from_wire(wire.clone()), Ok(headers));
        wire[81] = 1;
        let error = Headers::from_wire(wire).unwrap_err();
        assert_eq!((error.field, error.offset), ("transaction count", 81));
    }

    #[test]
    fn more_than_fit_in_one_message_are_refused() {
        let headers = |count| Headers(vec![BlockHeader::from_bytes([7; 80]); count]).to_wire();
        assert!(Headers::from_wire(headers(2000)).is_ok());
        assert_eq!(Headers::from_wire(headers(2001)).unwrap_err().kind, DecodeErrorKind::BadLength(2001));
        let locator = |count| GetHeaders { version: 1, locator: vec![BlockHash::ZERO; count], stop: BlockHash::ZERO };
        assert_eq!(GetHeaders::from_wire(locator(101).to_wire()), Ok(locator(101)));
        assert!(GetHeaders::from_wire(locator(102).to_wire()).is_err());
    }
}
