use bytes::BufMut;

use crate::{
    chain::BlockHash,
    wire::{DecodeError, Reader, Wire, put_len},
};

/// `getqrinfo`: asks for the rotated quorums around one block (DIP-24).
///
/// A server that does not have one of the blocks on its active chain sends no reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GetQRInfo {
    /// Blocks whose lists the sender has. Empty means genesis. Send few (at most about ten), sorted by height.
    pub base_block_hashes: Vec<BlockHash>,
    /// The requested block; see [`Cycles::block_to_ask`](crate::Cycles::block_to_ask).
    pub block_hash: BlockHash,
    /// True if the snapshot and list at `H-4C` are requested too.
    pub extra_share: bool,
}

impl Wire for GetQRInfo {
    const MIN_SIZE: usize = 1 + 32 + 1;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count("baseBlockHashes", BlockHash::MIN_SIZE)?;
        let base_block_hashes = (0..count).map(|_| BlockHash::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Self { base_block_hashes, block_hash: BlockHash::decode(reader)?, extra_share: reader.bool("extraShare")? })
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_len(out, self.base_block_hashes.len());
        self.base_block_hashes.iter().for_each(|hash| hash.encode(out));
        self.block_hash.encode(out);
        out.put_u8(u8::from(self.extra_share));
    }
}
