use bytes::BufMut;

use crate::{
    chain::BlockHash,
    wire::{DecodeError, Reader, Wire},
};

/// `getmnlistd`: asks for the difference between the masternode lists at two blocks (DIP-4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GetMnListDiff {
    /// The base block, whose list the sender has. All zero means genesis, the empty list.
    pub base_block_hash: BlockHash,
    /// The target block, whose list is requested.
    pub block_hash: BlockHash,
}

impl Wire for GetMnListDiff {
    const MIN_SIZE: usize = 64;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { base_block_hash: BlockHash::decode(reader)?, block_hash: BlockHash::decode(reader)? })
    }

    fn encode(&self, out: &mut impl BufMut) {
        self.base_block_hash.encode(out);
        self.block_hash.encode(out);
    }
}
