use bytes::{BufMut, Bytes};

use super::{Coinbase, CoinbasePayload, Commitment, SmlEntry};
use crate::{
    chain::{BlockHash, Hash256, LlmqType, ProTxHash, QuorumHash},
    wire::{DecodeError, DecodeErrorKind, Reader, Seq, Wire, put_len, put_var_bytes},
};

/// The most masternodes that a diff may name as new or as deleted. Each locks at least 1,000 DASH, and there will never be
/// more than 18.92 million of them, so that no list can have more than 18,920. The figure is the next round one.
const MAX_MASTERNODES: usize = 20_000;

/// The most quorums that a diff may name as new or as deleted, and the most groups of their ChainLock signatures. At
/// most 132 are active at a time, those of all 14 types together; the rest is room for newer types.
const MAX_QUORUMS: usize = 1_024;

/// `mnlistdiff`: the changes of the masternode list and the active quorums from one block to another (DIP-4), with the
/// later block's coinbase and the proof that it is in that block.
///
/// A diff whose base is its target is empty but for the coinbase and its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MnListDiff {
    /// 1.
    pub version: u16,
    /// The base block: the list that the changes apply to. Genesis for a full list.
    pub base_block_hash: BlockHash,
    /// The target block: the list that results.
    pub block_hash: BlockHash,
    /// The number of transactions in the later block.
    pub total_transactions: u32,
    /// The partial merkle tree's hashes.
    pub merkle_hashes: Seq<Hash256>,
    /// The partial merkle tree's flag bits, least significant first.
    pub merkle_flags: Bytes,
    /// The later block's coinbase transaction.
    pub coinbase: Coinbase,
    /// Masternodes that are gone.
    pub deleted_masternodes: Seq<ProTxHash>,
    /// Masternodes that are new or changed.
    pub new_masternodes: Seq<SmlEntry>,
    /// Quorums that are no longer active.
    pub deleted_quorums: Seq<DeletedQuorum>,
    /// Quorums that became active.
    pub new_quorums: Seq<Commitment>,
    /// ChainLock signatures at the work blocks of new quorums (protocol 70230). Nothing proves them.
    pub quorums_cl_sigs: Seq<QuorumClSig>,
}

// === impl MnListDiff ===

impl MnListDiff {
    /// A diff without changes, with the least coinbase of a block at height 1. It proves nothing: for tests and
    /// simulations.
    ///
    /// ```
    /// use qrinfo_core::{BlockHash, message::MnListDiff, wire::Wire};
    ///
    /// let diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([3; 32]));
    /// assert_eq!(MnListDiff::from_wire(diff.to_wire())?, diff);
    /// # Ok::<(), qrinfo_core::wire::DecodeError>(())
    /// ```
    pub fn empty(base_block_hash: BlockHash, block_hash: BlockHash) -> Self {
        let payload = CoinbasePayload {
            version: 1,
            height: 1,
            merkle_root_mn_list: Hash256::from_bytes([0; 32]),
            merkle_root_quorums: None,
            credit_pool: None,
        };
        Self {
            version: 1,
            base_block_hash,
            block_hash,
            total_transactions: 1,
            merkle_hashes: Seq::default(),
            merkle_flags: Bytes::new(),
            coinbase: Coinbase::new(payload),
            deleted_masternodes: Seq::default(),
            new_masternodes: Seq::default(),
            deleted_quorums: Seq::default(),
            new_quorums: Seq::default(),
            quorums_cl_sigs: Seq::default(),
        }
    }
}

impl Wire for MnListDiff {
    const MIN_SIZE: usize = 2 + 32 + 32 + 4 + 1 + 1 + Coinbase::MIN_SIZE + 5;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.offset();
        let version = reader.u16("nVersion")?;
        if version != 1 {
            let kind = DecodeErrorKind::UndefinedValue(i64::from(version));
            return Err(DecodeError { field: "nVersion", offset: start, kind });
        }
        Ok(Self {
            version,
            base_block_hash: BlockHash::decode(reader)?,
            block_hash: BlockHash::decode(reader)?,
            total_transactions: reader.u32("totalTransactions")?,
            merkle_hashes: Seq::decode(reader)?,
            merkle_flags: reader.var_bytes("merkleFlags")?,
            coinbase: Coinbase::decode(reader)?,
            deleted_masternodes: Seq::decode_at_most(MAX_MASTERNODES, reader)?,
            new_masternodes: Seq::decode_at_most(MAX_MASTERNODES, reader)?,
            deleted_quorums: Seq::decode_at_most(MAX_QUORUMS, reader)?,
            new_quorums: Seq::decode_at_most(MAX_QUORUMS, reader)?,
            quorums_cl_sigs: Seq::decode_at_most(MAX_QUORUMS, reader)?,
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u16_le(self.version);
        self.base_block_hash.encode(out);
        self.block_hash.encode(out);
        out.put_u32_le(self.total_transactions);
        self.merkle_hashes.encode(out);
        put_var_bytes(out, &self.merkle_flags);
        self.coinbase.encode(out);
        self.deleted_masternodes.encode(out);
        self.new_masternodes.encode(out);
        self.deleted_quorums.encode(out);
        self.new_quorums.encode(out);
        self.quorums_cl_sigs.encode(out);
    }
}

/// Names a quorum that is no longer active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeletedQuorum {
    /// The kind of quorum.
    pub llmq_type: LlmqType,
    /// The block at which its DKG started.
    pub quorum_hash: QuorumHash,
}

impl Wire for DeletedQuorum {
    const MIN_SIZE: usize = 33;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { llmq_type: LlmqType(reader.u8("llmqType")?), quorum_hash: QuorumHash::decode(reader)? })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(self.llmq_type.0);
        self.quorum_hash.encode(out);
    }
}

/// A ChainLock signature and the new quorums whose members were drawn with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumClSig {
    /// The signature; all zero where there was none.
    pub signature: [u8; 96],
    /// Positions in the same diff's [`new_quorums`](MnListDiff::new_quorums).
    pub indexes: Vec<u16>,
}

impl QuorumClSig {
    /// Reads the signature and the bytes of the indexes.
    #[inline]
    fn read<'a>(reader: &mut Reader<'a>) -> Result<([u8; 96], &'a [[u8; 2]]), DecodeError> {
        let signature = reader.array("quorumsCLSigs")?;
        let count = reader.count("quorumsCLSigs indexes", 2)?;
        let (indexes, _) = reader.slice("quorumsCLSigs indexes", 2 * count)?.as_chunks();
        Ok((signature, indexes))
    }
}

impl Wire for QuorumClSig {
    const MIN_SIZE: usize = 96 + 1;

    #[inline]
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (signature, indexes) = Self::read(reader)?;
        Ok(Self { signature, indexes: indexes.iter().copied().map(u16::from_le_bytes).collect() })
    }

    #[inline]
    fn skip(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        Self::read(reader).map(drop)
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&self.signature);
        put_len(out, self.indexes.len());
        self.indexes.iter().for_each(|&index| out.put_u16_le(index));
    }
}
