use std::sync::Arc;

use bytes::BufMut;
use qrinfo_core::{BlockHash, Hash256, LlmqType, WORK_BLOCK_OFFSET, message::SmlEntry, sha256d};
use sha2::{Digest, Sha256};

use super::Chain;

/// The hash with which a quorum's members are selected. No party could choose it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modifier([u8; 32]);

// === impl Modifier ===

impl Modifier {
    /// The modifier of a DKG (or cycle) that starts eight blocks after this work block.
    pub(crate) fn new(llmq_type: LlmqType, height: u32, hash: &BlockHash, chain_lock: Option<[u8; 96]>) -> Self {
        let mut bytes = vec![llmq_type.0];
        match chain_lock {
            Some(signature) => {
                bytes.put_u32_le(height);
                bytes.put_slice(&signature);
            }
            None => bytes.put_slice(hash.as_bytes()),
        }
        Self(sha256d(&bytes))
    }

    /// The modifier of the DKG (or cycle) that starts at `start`, if the chain shows its work block's coinbase.
    pub(super) fn of_block(chain: &Chain, llmq_type: LlmqType, start: u32) -> Option<Self> {
        let height = start.checked_sub(WORK_BLOCK_OFFSET)?;
        let block = chain.block(height)?;
        Some(Self::new(llmq_type, height, &block.hash, block.body.as_ref()?.chain_lock_signature()))
    }

    fn score(self, entry: &SmlEntry) -> [u8; 32] {
        let identity = Sha256::new()
            .chain_update(entry.pro_reg_tx_hash.as_bytes())
            .chain_update(entry.confirmed_hash.as_bytes())
            .finalize();
        let mut score: [u8; 32] = Sha256::new().chain_update(identity).chain_update(self.0).finalize().into();
        // Scores compare as little-endian numbers.
        score.reverse();
        score
    }
}

/// The masternodes of a list that can be drawn (valid and confirmed), the highest score first.
pub(crate) fn by_score<'a>(
    list: impl IntoIterator<Item = &'a Arc<SmlEntry>>,
    modifier: Modifier,
) -> Vec<Arc<SmlEntry>> {
    let can_be_drawn = |entry: &&Arc<SmlEntry>| entry.is_valid && entry.confirmed_hash != Hash256::ZERO;
    let mut scored: Vec<_> =
        list.into_iter().filter(can_be_drawn).map(|entry| (modifier.score(entry), Arc::clone(entry))).collect();
    scored.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    scored.into_iter().map(|(_, entry)| entry).collect()
}
