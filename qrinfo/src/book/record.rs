use std::{collections::HashMap, ops::RangeInclusive};

use qrinfo_core::{
    LlmqType, QuorumHash,
    message::{Commitment, QuorumIndex},
};
use qrinfo_verify::{Lists, MinedQuorum};

/// A quorum of a proven list, active or retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownQuorum {
    /// The kind of quorum.
    pub llmq_type: LlmqType,
    /// The block that names it, at which its DKG started.
    pub quorum_hash: QuorumHash,
    /// Its index, if it is rotated.
    pub quorum_index: Option<QuorumIndex>,
    /// Its public key, as the commitment has it: a quorum made before v19 has the legacy encoding.
    pub public_key: [u8; 48],
    /// The height of the block that names it, or `None` if that block lies below the client's headers.
    pub height: Option<u32>,
    /// The heights at which its commitment may have been mined: one height if there was a list at each block.
    pub mined: RangeInclusive<u32>,
    /// The heights at which it was active, as far as lists prove it: from the last one at which it may have been mined
    /// to the newest list that has it.
    pub active: RangeInclusive<u32>,
    /// The height of the first list without it, or `None` while it is active.
    pub retired_by: Option<u32>,
}

/// The active quorums of a type at a height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSet {
    /// The active set without any of `unsettled`, the oldest quorum first.
    pub settled: Vec<KnownQuorum>,
    /// Quorums that may have been mined by this height, the oldest first. Each one that was mined replaces the oldest
    /// (of its index). Empty if there was a list at each block.
    pub unsettled: Vec<KnownQuorum>,
}

/// Every known quorum by type and hash.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    by_hash: HashMap<(LlmqType, QuorumHash), Record>,
}

/// A [`KnownQuorum`] without what names it.
#[derive(Debug, Clone, Copy)]
struct Record {
    quorum_index: Option<QuorumIndex>,
    public_key: [u8; 48],
    height: Option<u32>,
    first_mined: u32,
    last_mined: u32,
    /// The height of the newest list with it.
    seen: u32,
    retired_by: Option<u32>,
}

// === impl Records ===

impl Records {
    pub(super) fn get(&self, llmq_type: LlmqType, quorum_hash: QuorumHash) -> Option<KnownQuorum> {
        let record = self.by_hash.get(&(llmq_type, quorum_hash))?;
        Some(KnownQuorum {
            llmq_type,
            quorum_hash,
            quorum_index: record.quorum_index,
            public_key: record.public_key,
            height: record.height,
            mined: record.first_mined..=record.last_mined,
            active: record.last_mined..=record.seen.max(record.last_mined),
            retired_by: record.retired_by,
        })
    }

    /// The quorum with this commitment.
    pub(super) fn mined(&self, commitment: &Commitment) -> Option<MinedQuorum> {
        let record = self.by_hash.get(&(commitment.llmq_type, commitment.quorum_hash))?;
        let mined = record.first_mined..=record.last_mined;
        Some(MinedQuorum { commitment: commitment.clone(), height: record.height, mined })
    }

    /// The heights of the blocks that name the quorums of a type.
    pub(super) fn heights_of(&self, llmq_type: LlmqType) -> impl Iterator<Item = u32> {
        let of_type = self.by_hash.iter().filter(move |((of, _), _)| *of == llmq_type);
        of_type.filter_map(|(_, record)| record.height)
    }

    /// Learns that these quorums, and no others, are active at the height of the lists.
    pub(super) fn learn<'a>(&mut self, lists: &Lists, active: impl Iterator<Item = &'a MinedQuorum>) {
        for quorum in active {
            let commitment = &quorum.commitment;
            let record = Record {
                quorum_index: commitment.quorum_index,
                public_key: commitment.quorum_public_key,
                height: quorum.height,
                first_mined: *quorum.mined.start(),
                last_mined: *quorum.mined.end(),
                seen: lists.height(),
                retired_by: None,
            };
            self.by_hash.insert((commitment.llmq_type, commitment.quorum_hash), record);
        }
        for record in self.by_hash.values_mut().filter(|record| record.seen < lists.height()) {
            record.retired_by.get_or_insert(lists.height());
        }
    }

    /// Forgets the quorums that were replaced below a height.
    pub(super) fn forget_retired_below(&mut self, height: u32) {
        self.by_hash.retain(|_, record| record.retired_by.is_none_or(|retired| retired >= height));
    }

    /// Forgets what the lists above a height have shown.
    pub(super) fn forget_above(&mut self, height: u32) {
        self.by_hash.retain(|_, record| record.last_mined <= height);
        for record in self.by_hash.values_mut() {
            record.seen = record.seen.min(height);
            record.retired_by = record.retired_by.filter(|retired| *retired <= height);
        }
    }
}
