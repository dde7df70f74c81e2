use qrinfo_core::{BlockHash, Hash256, LlmqType, message::SmlEntry, sha256d};
use sha2::{Digest, Sha256};

/// The value that orders the masternodes of a list when a quorum's members are selected: a hash that no single party
/// can choose.
///
/// ```
/// use qrinfo_core::{BlockHash, LlmqType};
/// use qrinfo_verify::Modifier;
///
/// let hash = BlockHash::from_bytes([7; 32]);
/// let of_hash = Modifier::new(LlmqType::LLMQ_60_75, 2_240_344, &hash, None);
/// // A null signature is none.
/// assert_eq!(Modifier::new(LlmqType::LLMQ_60_75, 2_240_344, &hash, Some(&[0; 96])), of_hash);
/// assert_ne!(Modifier::new(LlmqType::LLMQ_60_75, 2_240_344, &hash, Some(&[1; 96])), of_hash);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modifier([u8; 32]);

/// A score as Dash Core compares it: a little-endian number, here with its bytes reversed so that the derived order is
/// the numbers' order.
type Score = [u8; 32];

// === impl Modifier ===

impl Modifier {
    /// The modifier of the DKG (or cycle) whose work block this is (Dash Core's `GetHashModifier`).
    ///
    /// `chain_lock` is the `bestCLSignature` in the coinbase of that very block. If it is absent or null, and in every
    /// block before v20, the block's hash is used instead.
    ///
    /// The work block lies eight blocks below the start. Before v20 quorums that are not rotated have no work block:
    /// theirs is the start itself, for the modifier and for the list.
    pub fn new(llmq_type: LlmqType, height: u32, hash: &BlockHash, chain_lock: Option<&[u8; 96]>) -> Self {
        Self(match chain_lock {
            Some(signature) if *signature != [0; 96] => {
                sha256d(&[&[llmq_type.0], height.to_le_bytes().as_slice(), signature].concat())
            }
            _ => sha256d(&[[llmq_type.0].as_slice(), hash.as_bytes()].concat()),
        })
    }

    /// The 32 bytes as they are hashed; Dash Core prints them reversed.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn score(&self, entry: &SmlEntry) -> Score {
        let identity = Sha256::new()
            .chain_update(entry.pro_reg_tx_hash.as_bytes())
            .chain_update(entry.confirmed_hash.as_bytes())
            .finalize();
        let mut score: Score = Sha256::new().chain_update(identity).chain_update(self.0).finalize().into();
        score.reverse();
        score
    }

    /// Returns the eligible masternodes, the highest score first: those that are not banned and whose registration is
    /// confirmed.
    pub(crate) fn sort<'a>(&self, list: impl IntoIterator<Item = &'a SmlEntry>) -> Vec<&'a SmlEntry> {
        let can_be_drawn = |entry: &&SmlEntry| entry.is_valid && entry.confirmed_hash != Hash256::ZERO;
        let mut scored: Vec<(Score, &SmlEntry)> =
            list.into_iter().filter(can_be_drawn).map(|entry| (self.score(entry), entry)).collect();
        scored.sort_by(|(a, _), (b, _)| b.cmp(a));
        scored.into_iter().map(|(_, entry)| entry).collect()
    }
}
