use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use qrinfo_core::{
    Hash256, ProTxHash,
    message::{MnListDiff, NetInfo, SmlEntry},
    sha256d,
    wire::{DecodeError, Wire},
};

use super::{
    fault::ApplyFault,
    merkle,
    sorted::{Change, Conflict, Item, Sorted},
};

/// The masternodes at one block, in ascending order of the bytes of their `proRegTxHash`.
///
/// A clone shares everything. The list that a diff leads to shares every masternode that did not change, with its hash
/// in the merkle tree; entries are copied out of the diff, so that no received frame stays in memory for them.
///
/// ```
/// use qrinfo_core::Hash256;
/// use qrinfo_verify::MasternodeList;
///
/// let at_genesis = MasternodeList::default();
/// assert!(at_genesis.is_empty());
/// assert_eq!(at_genesis.merkle_root(), Hash256::ZERO);
/// ```
#[derive(Debug, Clone, Default)]
pub struct MasternodeList {
    masternodes: Sorted<Masternode>,
    /// Shared by clones, and by the lists that empty diffs lead to.
    root: Arc<OnceLock<Hash256>>,
}

#[derive(Debug)]
struct Masternode {
    entry: SmlEntry,
    leaf: [u8; 32],
}

// === impl MasternodeList ===

impl MasternodeList {
    /// Returns the number of masternodes, banned ones included.
    pub fn len(&self) -> usize {
        self.masternodes.len()
    }

    /// Returns true if there are no masternodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over the masternodes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SmlEntry> + Clone {
        self.masternodes.iter().map(|masternode| &masternode.entry)
    }

    /// Returns the masternode with this identity.
    pub fn get(&self, pro_reg_tx_hash: &ProTxHash) -> Option<&SmlEntry> {
        self.masternodes.get(pro_reg_tx_hash).map(|masternode| &masternode.entry)
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
        *self.root.get_or_init(|| merkle::root(self.masternodes.iter().map(|masternode| masternode.leaf).collect()))
    }

    /// Returns the list after `diff`.
    ///
    /// An update that changes nothing is accepted: it is harmless.
    ///
    /// # Errors
    /// [`ApplyFault::AbsentMasternode`] and [`ApplyFault::MasternodeTwice`].
    pub fn apply(&self, diff: &MnListDiff) -> Result<Self, ApplyFault> {
        if diff.deleted_masternodes.is_empty() && diff.new_masternodes.is_empty() {
            return Ok(self.clone());
        }
        let mut buffer = BytesMut::new();
        let deleted = diff.deleted_masternodes.iter().map(|key| Change { key, item: None });
        let updated = diff.new_masternodes.iter().map(|entry| {
            buffer.clear();
            entry.encode_without_version(&mut buffer);
            let leaf = sha256d(&buffer);
            let entry = detached(entry)?;
            Ok(Change { key: entry.pro_reg_tx_hash, item: Some(Masternode { entry, leaf }) })
        });
        let changes = deleted.map(Ok).chain(updated).collect::<Result<_, DecodeError>>()?;
        let masternodes = self.masternodes.changed(changes).map_err(|conflict| match conflict {
            Conflict::Absent(hash) => ApplyFault::AbsentMasternode(hash),
            Conflict::Twice(hash) | Conflict::Present(hash) => ApplyFault::MasternodeTwice(hash),
        })?;
        Ok(Self { masternodes, root: Arc::default() })
    }
}

impl PartialEq for MasternodeList {
    /// Returns true if both have the same entries.
    fn eq(&self, other: &Self) -> bool {
        self.masternodes.is_same(&other.masternodes) || self.iter().eq(other.iter())
    }
}

impl Eq for MasternodeList {}

// === impl Masternode ===

impl Item for Masternode {
    type Key = ProTxHash;

    const REPLACEABLE: bool = true;

    fn key(&self) -> ProTxHash {
        self.entry.pro_reg_tx_hash
    }
}

/// The entry without a part in the buffer that it was decoded from. Only extended addresses are slices of it.
fn detached(entry: SmlEntry) -> Result<SmlEntry, DecodeError> {
    match entry.net_info {
        NetInfo::Extended(_) => SmlEntry::from_wire(entry.to_wire()),
        NetInfo::Service { .. } | NetInfo::Unknown(_) => Ok(entry),
    }
}
