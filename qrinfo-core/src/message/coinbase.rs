use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    chain::Hash256,
    wire::{DecodeError, DecodeErrorKind, Reader, Wire, put_compact_size, put_var_bytes},
};

/// The transaction type of a coinbase with a payload (DIP-4).
const TYPE_COINBASE: u16 = 5;

/// A block's coinbase transaction. Its bytes are kept as received; its payload is decoded.
///
/// ```
/// use qrinfo_core::{Hash256, message::{Coinbase, CoinbasePayload}};
///
/// let payload = CoinbasePayload {
///     version: 2,
///     height: 1_738_698,
///     merkle_root_mn_list: Hash256::from_bytes([1; 32]),
///     merkle_root_quorums: Some(Hash256::from_bytes([2; 32])),
///     credit_pool: None,
/// };
/// let coinbase = Coinbase::new(payload.clone());
/// assert_eq!(coinbase.payload(), Some(&payload));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coinbase {
    transaction: Bytes,
    payload: Option<CoinbasePayload>,
}

impl Coinbase {
    /// The least coinbase that carries `payload`: one empty input, no output.
    pub fn new(payload: CoinbasePayload) -> Self {
        let mut out = BytesMut::new();
        out.put_u16_le(3);
        out.put_u16_le(TYPE_COINBASE);
        put_compact_size(&mut out, 1_u64);
        out.put_slice(&[0; 32]);
        out.put_u32_le(u32::MAX);
        put_var_bytes(&mut out, &[]);
        out.put_u32_le(u32::MAX);
        put_compact_size(&mut out, 0_u64);
        out.put_u32_le(0);
        put_var_bytes(&mut out, &payload.to_wire());
        Self { transaction: out.freeze(), payload: Some(payload) }
    }

    /// The whole transaction's bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.transaction
    }

    /// The payload with the roots of both lists, since DIP-4; `None` in older blocks.
    pub fn payload(&self) -> Option<&CoinbasePayload> {
        self.payload.as_ref()
    }

    /// The transaction's id.
    pub fn txid(&self) -> Hash256 {
        Hash256::from_bytes(crate::chain::sha256d(&self.transaction))
    }
}

impl Wire for Coinbase {
    const MIN_SIZE: usize = 4 + 1 + 1 + 4;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let version = reader.u16("cbTx version")?;
        let transaction_type = reader.u16("cbTx type")?;
        let inputs = reader.count("cbTx inputs", 32 + 4 + 1 + 4)?;
        for _ in 0..inputs {
            reader.bytes("cbTx outpoint", 32 + 4)?;
            reader.var_bytes("cbTx scriptSig")?;
            reader.u32("cbTx sequence")?;
        }
        let outputs = reader.count("cbTx outputs", 8 + 1)?;
        for _ in 0..outputs {
            reader.u64("cbTx value")?;
            reader.var_bytes("cbTx scriptPubKey")?;
        }
        reader.u32("cbTx lockTime")?;
        let has_payload = version >= 3 && transaction_type != 0;
        let payload_bytes = if has_payload { Some(reader.var_bytes("cbTx extraPayload")?) } else { None };
        let end = reader.offset();
        let payload = match payload_bytes {
            Some(bytes) if transaction_type == TYPE_COINBASE => {
                let payload_start = end - bytes.len();
                let payload = CoinbasePayload::from_wire(bytes)
                    .map_err(|error| DecodeError { offset: payload_start + error.offset, ..error })?;
                Some(payload)
            }
            _ => None,
        };
        Ok(Self { transaction: reader.since(start), payload })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&self.transaction);
    }
}

/// The roots of the lists at a block and the data around them, from its coinbase (DIP-4, and DIP-29 from version 3 on).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoinbasePayload {
    /// 1, 2 or 3; determines which of the fields below are present.
    pub version: u16,
    /// The block's height.
    pub height: i32,
    /// The merkle root of the masternode list at this block.
    pub merkle_root_mn_list: Hash256,
    /// The merkle root of the active quorums' commitments; from version 2 on.
    pub merkle_root_quorums: Option<Hash256>,
    /// From version 3 on.
    pub credit_pool: Option<CreditPool>,
}

/// The newest ChainLock that a block's miner knew, and the credit pool's balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditPool {
    /// The number of blocks from the ChainLock's block up to the parent of this block.
    pub best_cl_height_diff: u32,
    /// The ChainLock's signature; all zero if the miner knew none.
    pub best_cl_signature: [u8; 96],
    /// In duffs.
    pub balance: i64,
}

impl Wire for CoinbasePayload {
    const MIN_SIZE: usize = 2 + 4 + 32;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let version = reader.u16("cbTx payload version")?;
        if !(1..=3).contains(&version) {
            let kind = DecodeErrorKind::UndefinedValue(i64::from(version));
            return Err(DecodeError { field: "cbTx payload version", offset: start, kind });
        }
        Ok(Self {
            version,
            height: reader.i32("cbTx payload height")?,
            merkle_root_mn_list: Hash256::decode(reader)?,
            merkle_root_quorums: if version >= 2 { Some(Hash256::decode(reader)?) } else { None },
            credit_pool: match version >= 3 {
                true => Some(CreditPool {
                    best_cl_height_diff: height_diff(reader)?,
                    best_cl_signature: reader.array("bestCLSignature")?,
                    balance: reader.i64("creditPoolBalance")?,
                }),
                false => None,
            },
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u16_le(self.version);
        out.put_i32_le(self.height);
        self.merkle_root_mn_list.encode(out);
        if let Some(root) = &self.merkle_root_quorums {
            root.encode(out);
        }
        if let Some(pool) = &self.credit_pool {
            put_compact_size(out, u64::from(pool.best_cl_height_diff));
            out.put_slice(&pool.best_cl_signature);
            out.put_i64_le(pool.balance);
        }
    }
}

fn height_diff(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let offset = reader.offset();
    let value = reader.compact_size("bestCLHeightDiff")?;
    u32::try_from(value).map_err(|_| DecodeError {
        field: "bestCLHeightDiff",
        offset,
        kind: DecodeErrorKind::UndefinedValue(i64::try_from(value).unwrap_or(i64::MAX)),
    })
}
