use bytes::{BufMut, BytesMut};

use crate::{
    chain::{BlockHash, Hash256, sha256d},
    wire::{DecodeError, Reader, Wire, put_var_bytes},
};

/// `clsig`: a quorum's signature that makes a block final (DIP-8).
///
/// The form for several quorums that DIP-22 proposes is not read.
///
/// ```
/// use qrinfo_core::{BlockHash, message::ChainLock, wire::Wire};
///
/// let lock = ChainLock { height: 2_243_495, block_hash: BlockHash::from_bytes([1; 32]), signature: [2; 96] };
/// let payload = lock.to_wire();
/// assert_eq!(payload.len(), 4 + 32 + 96);
/// assert_eq!(ChainLock::from_wire(payload)?, lock);
/// # Ok::<(), qrinfo_core::wire::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLock {
    /// The block's height. A negative one is decoded, and is no block's.
    pub height: i32,
    /// The block.
    pub block_hash: BlockHash,
    /// The quorum's BLS signature.
    pub signature: [u8; 96],
}

impl ChainLock {
    /// The hash under which nodes announce the lock: that of all of it, the signature included.
    pub fn hash(&self) -> Hash256 {
        Hash256::from_bytes(sha256d(&self.to_wire()))
    }

    /// The id that quorums sign for a height, independent of the block. It selects the quorum (DIP-8).
    pub fn request_id(&self) -> Hash256 {
        let mut bytes = BytesMut::with_capacity(10);
        put_var_bytes(&mut bytes, b"clsig");
        bytes.put_i32_le(self.height);
        Hash256::from_bytes(sha256d(&bytes))
    }
}

impl Wire for ChainLock {
    const MIN_SIZE: usize = 4 + 32 + 96;

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            height: reader.i32("clsig height")?,
            block_hash: BlockHash::decode(reader)?,
            signature: reader.array("clsig signature")?,
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_i32_le(self.height);
        self.block_hash.encode(out);
        out.put_slice(&self.signature);
    }
}
