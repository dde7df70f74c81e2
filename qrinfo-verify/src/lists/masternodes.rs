use bytes::BytesMut;
use qrinfo_core::{
    Hash256, ProTxHash,
    message::{MnListDiff, NetInfo, SmlEntry},
    sha256d,
    wire::{DecodeError, Wire},
};

use super::{
    fault::ApplyFault,
    sorted::{Conflict, Item, Sorted},
};

/// The masternodes at one block, in ascending order of the bytes of their `proRegTxHash`.
///
/// A clone shares everything. The list that a diff leads to shares every masternode that did not change, with its hash
/// in the merkle tree; entries are copied out of the diff, so that no received frame stays in memory for them. Two lists
/// are equal if they have the same entries.
///
/// ```
/// use qrinfo_core::Hash256;
/// use qrinfo_verify::MasternodeList;
///
/// let at_genesis = MasternodeList::default();
/// assert!(at_genesis.is_empty());
/// assert_eq!(at_genesis.merkle_root(), Hash256::ZERO);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MasternodeList(Sorted<SmlEntry>);

// === impl MasternodeList ===

impl MasternodeList {
    /// Returns the number of masternodes, banned ones included.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Returns true if there are no masternodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the masternodes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SmlEntry> + Clone {
        self.0.iter()
    }

    /// Returns the masternode with this identity.
    pub fn get(&self, pro_reg_tx_hash: &ProTxHash) -> Option<&SmlEntry> {
        self.0.get(pro_reg_tx_hash)
    }

    /// Returns the number of masternodes with a score: those that are not banned and whose registration is confirmed.
    pub(crate) fn scored(&self) -> usize {
        self.iter().filter(|entry| entry.is_valid && entry.confirmed_hash != Hash256::ZERO).count()
    }

    /// Returns the value of `merkleRootMNList` in the block's coinbase: the merkle root over the hash of each entry
    /// serialised without its version (DIP-4; Dash Core's `CSimplifiedMNListEntry::CalcHash`). Zero for an empty list.
    ///
    /// It is computed once; the hashes of entries are kept from list to list.
    pub fn merkle_root(&self) -> Hash256 {
        self.0.merkle_root()
    }

    /// Returns the list after `diff`.
    ///
    /// An update that changes nothing is accepted: it is harmless.
    ///
    /// # Errors
    /// [`ApplyFault::AbsentMasternode`] and [`ApplyFault::MasternodeTwice`].
    pub fn apply(&self, diff: &MnListDiff) -> Result<Self, ApplyFault> {
        self.0.changed(diff.deleted_masternodes.iter(), diff.new_masternodes.iter()).map(Self)
    }
}

// === impl SmlEntry ===

impl Item for SmlEntry {
    type Key = ProTxHash;

    const REPLACEABLE: bool = true;

    const SORTED_LEAVES: bool = false;

    fn key(&self) -> ProTxHash {
        self.pro_reg_tx_hash
    }

    fn leaf(&self) -> [u8; 32] {
        let mut bytes = BytesMut::new();
        self.encode_without_version(&mut bytes);
        sha256d(&bytes)
    }

    /// Only extended addresses are slices of the buffer that an entry was decoded from.
    fn detached(self) -> Result<Self, DecodeError> {
        match self.net_info {
            NetInfo::Extended(_) => Self::from_wire(self.to_wire()),
            NetInfo::Service { .. } | NetInfo::Unknown(_) => Ok(self),
        }
    }

    fn fault(conflict: Conflict<ProTxHash>) -> ApplyFault {
        match conflict {
            Conflict::Absent(hash) => ApplyFault::AbsentMasternode(hash),
            Conflict::Twice(hash) | Conflict::Present(hash) => ApplyFault::MasternodeTwice(hash),
        }
    }
}
