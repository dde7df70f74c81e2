use bytes::BufMut;

use super::{Commitment, MnListDiff, QuorumSnapshot};
use crate::{
    chain::BlockHash,
    wire::{DecodeError, DecodeErrorKind, Reader, Seq, Wire, put_len},
};

/// The most trailing snapshots and diffs that are accepted. Each of at most 32 quorum indexes needs at most four; a
/// decoded diff is several times larger than its shortest form on the wire, so the count has to be bounded as well.
const MAX_TRAILING: usize = 128;

/// `qrinfo`: the data from which the members of one cycle's rotated quorums are computed (DIP-24).
///
/// `H` is the start of the requested block's cycle. Each diff "at H" leads to the list at that cycle's *work block*,
/// eight blocks below its start. The tip diff leads to the *server's own tip*, whatever was asked: it does not name
/// the request, [`work_block_hash`](Self::work_block_hash) does.
///
/// Clones share the bytes of the reply that was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QRInfo {
    /// The snapshot of cycle `H-C`.
    pub quorum_snapshot_at_h_minus_c: QuorumSnapshot,
    /// The snapshot of cycle `H-2C`.
    pub quorum_snapshot_at_h_minus_2c: QuorumSnapshot,
    /// The snapshot of cycle `H-3C`.
    pub quorum_snapshot_at_h_minus_3c: QuorumSnapshot,
    /// The list at the server's tip.
    pub mn_list_diff_tip: MnListDiff,
    /// The list at the work block of `H`.
    pub mn_list_diff_h: MnListDiff,
    /// The list at the work block of `H-C`.
    pub mn_list_diff_at_h_minus_c: MnListDiff,
    /// The list at the work block of `H-2C`.
    pub mn_list_diff_at_h_minus_2c: MnListDiff,
    /// The list at the work block of `H-3C`.
    pub mn_list_diff_at_h_minus_3c: MnListDiff,
    /// Cycle `H-4C`, if it was asked for.
    pub extra_share: Option<ExtraShare>,
    /// The newest commitment of each quorum index, as of the requested block.
    pub last_commitment_per_index: Seq<Commitment>,
    /// Snapshots of older cycles that some of those commitments need.
    pub quorum_snapshot_list: Vec<QuorumSnapshot>,
    /// The lists that belong to those snapshots.
    pub mn_list_diff_list: Vec<MnListDiff>,
}

/// The snapshot and list at `H-4C`, with which the members of the cycle before `H` can be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraShare {
    /// The snapshot of cycle `H-4C`.
    pub quorum_snapshot_at_h_minus_4c: QuorumSnapshot,
    /// The list at the work block of `H-4C`.
    pub mn_list_diff_at_h_minus_4c: MnListDiff,
}

impl QRInfo {
    /// The work block of the requested cycle. It identifies the reply.
    pub fn work_block_hash(&self) -> BlockHash {
        self.mn_list_diff_h.block_hash
    }

    /// Every diff: the trailing ones, `H-4C` if it is there, and so on to the tip diff, which is the last.
    ///
    /// This is not the order in which a server builds them, which differs from one version to another. Applied in the
    /// order of their targets' heights, each diff finds its base among the lists before it.
    pub fn diffs(&self) -> impl Iterator<Item = &MnListDiff> {
        let extra = self.extra_share.as_ref().map(|extra| &extra.mn_list_diff_at_h_minus_4c);
        self.mn_list_diff_list.iter().chain(extra).chain([
            &self.mn_list_diff_at_h_minus_3c,
            &self.mn_list_diff_at_h_minus_2c,
            &self.mn_list_diff_at_h_minus_c,
            &self.mn_list_diff_h,
            &self.mn_list_diff_tip,
        ])
    }

    /// Replaces the tip diff by an empty one to no block: base and target are all zero, and its coinbase commits to
    /// empty lists.
    ///
    /// Nothing proves a tip diff whose target is not in the client's headers, or whose base is a block without a known
    /// list, and a peer can fill it with any number of entries. A client that stores replies drops it first. The reply
    /// still encodes and decodes, and verification sets the tip diff aside as one to an unknown block.
    ///
    /// ```
    /// use qrinfo_core::{BlockHash, message::QRInfo, wire::{DecodeError, Wire}};
    ///
    /// fn to_store(payload: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    ///     let mut reply = QRInfo::from_wire(payload)?;
    ///     reply.drop_tip_diff();
    ///     assert_eq!(reply.mn_list_diff_tip.block_hash, BlockHash::ZERO);
    ///     Ok(reply.to_wire().to_vec())
    /// }
    /// ```
    pub fn drop_tip_diff(&mut self) {
        self.mn_list_diff_tip = MnListDiff::empty(BlockHash::ZERO, BlockHash::ZERO);
    }
}

// === impl QRInfo ===

impl Wire for QRInfo {
    const MIN_SIZE: usize = 3 * QuorumSnapshot::MIN_SIZE + 5 * MnListDiff::MIN_SIZE + 1 + 3;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            quorum_snapshot_at_h_minus_c: QuorumSnapshot::decode(reader)?,
            quorum_snapshot_at_h_minus_2c: QuorumSnapshot::decode(reader)?,
            quorum_snapshot_at_h_minus_3c: QuorumSnapshot::decode(reader)?,
            mn_list_diff_tip: MnListDiff::decode(reader)?,
            mn_list_diff_h: MnListDiff::decode(reader)?,
            mn_list_diff_at_h_minus_c: MnListDiff::decode(reader)?,
            mn_list_diff_at_h_minus_2c: MnListDiff::decode(reader)?,
            mn_list_diff_at_h_minus_3c: MnListDiff::decode(reader)?,
            extra_share: match reader.bool("extraShare")? {
                true => Some(ExtraShare {
                    quorum_snapshot_at_h_minus_4c: QuorumSnapshot::decode(reader)?,
                    mn_list_diff_at_h_minus_4c: MnListDiff::decode(reader)?,
                }),
                false => None,
            },
            last_commitment_per_index: Seq::decode(reader)?,
            quorum_snapshot_list: decode_list(reader, "quorumSnapshotList")?,
            mn_list_diff_list: decode_list(reader, "mnListDiffList")?,
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        self.quorum_snapshot_at_h_minus_c.encode(out);
        self.quorum_snapshot_at_h_minus_2c.encode(out);
        self.quorum_snapshot_at_h_minus_3c.encode(out);
        self.mn_list_diff_tip.encode(out);
        self.mn_list_diff_h.encode(out);
        self.mn_list_diff_at_h_minus_c.encode(out);
        self.mn_list_diff_at_h_minus_2c.encode(out);
        self.mn_list_diff_at_h_minus_3c.encode(out);
        out.put_u8(u8::from(self.extra_share.is_some()));
        if let Some(extra) = &self.extra_share {
            extra.quorum_snapshot_at_h_minus_4c.encode(out);
            extra.mn_list_diff_at_h_minus_4c.encode(out);
        }
        self.last_commitment_per_index.encode(out);
        encode_list(&self.quorum_snapshot_list, out);
        encode_list(&self.mn_list_diff_list, out);
    }
}

fn decode_list<T: Wire>(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<T>, DecodeError> {
    let offset = reader.offset();
    let count = reader.count(field, T::MIN_SIZE)?;
    if count > MAX_TRAILING {
        return Err(DecodeError { field, offset, kind: DecodeErrorKind::BadLength(count) });
    }
    (0..count).map(|_| T::decode(reader)).collect()
}

fn encode_list<T: Wire>(items: &[T], out: &mut impl BufMut) {
    put_len(out, items.len());
    items.iter().for_each(|item| item.encode(out));
}
