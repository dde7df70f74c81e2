use std::{collections::BTreeMap, sync::Arc};

use qrinfo_core::{
    LlmqType, QuorumHash,
    message::{Commitment, QuorumIndex},
};

/// A commitment that was mined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinedQuorum {
    /// The commitment.
    pub commitment: Commitment,
    /// The height of the block whose hash names the quorum: the start of its DKG.
    pub height: u32,
    /// The height of the block that the commitment was mined in.
    pub mined_height: u32,
    /// The ChainLock signature in the coinbase of the quorum's work block; all zero where there is none.
    pub chain_lock_signature: [u8; 96],
}

/// Every mined commitment, and from that the active quorums at any height.
#[derive(Debug, Clone, Default)]
pub struct QuorumLog {
    /// One lane per type, or per type and index where quorums are rotated; each in the order of mining.
    lanes: BTreeMap<(LlmqType, QuorumIndex), Vec<Arc<MinedQuorum>>>,
}

// === impl QuorumLog ===

impl QuorumLog {
    /// Notes a commitment. Those of one type and index must come in the order in which they were mined.
    pub(crate) fn push(&mut self, quorum: Arc<MinedQuorum>) {
        let index = quorum.commitment.quorum_index.unwrap_or(0);
        self.lanes.entry((quorum.commitment.llmq_type, index)).or_default().push(quorum);
    }

    /// The quorums that are active at `height`, by type and hash: of rotated quorums the newest of each index, of
    /// others as many of the newest as the type has active.
    pub fn active_at(&self, height: u32) -> BTreeMap<(LlmqType, QuorumHash), &Arc<MinedQuorum>> {
        let mut active = BTreeMap::new();
        for (&(llmq_type, _), lane) in &self.lanes {
            let Some(params) = llmq_type.params() else { continue };
            let count = if params.rotated { 1 } else { usize::from(params.active) };
            let newest = mined_until(lane, height).iter().rev().take(count);
            active.extend(newest.map(|quorum| ((llmq_type, quorum.commitment.quorum_hash), quorum)));
        }
        active
    }

    /// The newest commitment of each index of a rotated type as of `height`, by index.
    pub fn last_per_index(&self, llmq_type: LlmqType, height: u32) -> impl Iterator<Item = &Arc<MinedQuorum>> {
        let lanes = self.lanes.range((llmq_type, QuorumIndex::MIN)..=(llmq_type, QuorumIndex::MAX));
        lanes.filter_map(move |(_, lane)| mined_until(lane, height).last())
    }

    /// Every mined commitment, by type, index and order of mining.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<MinedQuorum>> {
        self.lanes.values().flatten()
    }
}

fn mined_until(lane: &[Arc<MinedQuorum>], height: u32) -> &[Arc<MinedQuorum>] {
    lane.get(..lane.partition_point(|quorum| quorum.mined_height <= height)).unwrap_or_default()
}
