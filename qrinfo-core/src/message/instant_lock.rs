use bytes::{BufMut, BytesMut};

use crate::{
    chain::{BlockHash, Hash256, sha256d},
    wire::{DecodeError, DecodeErrorKind, Reader, Wire, put_len, put_var_bytes},
};

/// The only version of the deterministic form.
const VERSION: u8 = 1;

/// `isdlock`: a quorum's signature that reserves these inputs for one transaction (DIP-10, DIP-24).
///
/// The older `islock`, without version and cycle, is not decoded: quorums stopped signing it when rotation began.
///
/// ```
/// use qrinfo_core::{BlockHash, Hash256, message::{InstantLock, OutPoint}, wire::Wire};
///
/// let lock = InstantLock {
///     inputs: vec![OutPoint { txid: Hash256::from_bytes([1; 32]), vout: 0 }],
///     txid: Hash256::from_bytes([2; 32]),
///     cycle_hash: BlockHash::from_bytes([3; 32]),
///     signature: [4; 96],
/// };
/// let payload = lock.to_wire();
/// assert_eq!(payload.len(), 1 + 1 + 36 + 32 + 32 + 96);
/// assert_eq!(InstantLock::from_wire(payload)?, lock);
/// # Ok::<(), qrinfo_core::wire::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstantLock {
    /// The outputs that the transaction spends, in its order. A lock without any is decoded, and locks nothing.
    pub inputs: Vec<OutPoint>,
    /// The transaction.
    pub txid: Hash256,
    /// The first block of the cycle in which it was signed.
    pub cycle_hash: BlockHash,
    /// The quorum's BLS signature.
    pub signature: [u8; 96],
}

/// An output of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutPoint {
    /// The transaction.
    pub txid: Hash256,
    /// The position among its outputs.
    pub vout: u32,
}

impl InstantLock {
    /// The hash under which nodes announce the lock: that of all of it, the signature included.
    pub fn hash(&self) -> Hash256 {
        Hash256::from_bytes(sha256d(&self.to_wire()))
    }

    /// The id that quorums sign for these inputs, independent of the transaction. It selects the quorum (DIP-10).
    pub fn request_id(&self) -> Hash256 {
        let mut bytes = BytesMut::with_capacity(16 + 36 * self.inputs.len());
        put_var_bytes(&mut bytes, b"islock");
        self.encode_inputs(&mut bytes);
        Hash256::from_bytes(sha256d(&bytes))
    }

    fn encode_inputs(&self, out: &mut impl BufMut) {
        put_len(out, self.inputs.len());
        self.inputs.iter().for_each(|input| input.encode(out));
    }
}

// === impl InstantLock ===

impl Wire for InstantLock {
    const MIN_SIZE: usize = 1 + 1 + 32 + 32 + 96;

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let version = reader.u8("isdlock version")?;
        if version != VERSION {
            let kind = DecodeErrorKind::UndefinedValue(i64::from(version));
            return Err(DecodeError { field: "isdlock version", offset: start, kind });
        }
        let count = reader.count("isdlock inputs", OutPoint::MIN_SIZE)?;
        Ok(Self {
            inputs: (0..count).map(|_| OutPoint::decode(reader)).collect::<Result<_, _>>()?,
            txid: Hash256::decode(reader)?,
            cycle_hash: BlockHash::decode(reader)?,
            signature: reader.array("isdlock signature")?,
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(VERSION);
        self.encode_inputs(out);
        self.txid.encode(out);
        self.cycle_hash.encode(out);
        out.put_slice(&self.signature);
    }
}

// === impl OutPoint ===

impl Wire for OutPoint {
    const MIN_SIZE: usize = 36;

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { txid: Hash256::decode(reader)?, vout: reader.u32("vout")? })
    }

    fn encode(&self, out: &mut impl BufMut) {
        self.txid.encode(out);
        out.put_u32_le(self.vout);
    }
}
