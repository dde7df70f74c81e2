use std::{collections::BTreeMap, sync::Arc};

use super::PeerId;

/// A snapshot of the ledger of peers: which peers can be asked, for the layers above it. Clones are cheap.
///
/// ```
/// use qrinfo_core::stack::{KnownPeer, PeerId, PeerTable};
///
/// let peer = PeerId::Address(([203, 0, 113, 5], 9999).into());
/// let table = PeerTable::new([(peer, KnownPeer { height: 2_240_504, is_spent: false })]);
/// assert!(table.has_other_than(&[]));
/// assert!(!table.has_other_than(&[peer]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerTable {
    peers: Arc<BTreeMap<PeerId, KnownPeer>>,
    /// No further peer will join.
    pub is_closed: bool,
    /// Failures mount: more than 0.3 of the latest attempts failed of congestion, at two or more peers, while others
    /// were answered. Such a failure says little about the request that had it.
    pub failures_mount: bool,
}

/// An entry of a [`PeerTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPeer {
    /// The height of its tip, as it announced it.
    pub height: u32,
    /// It has refused as much as it may be made to refuse: it is connected, and is not asked again.
    pub is_spent: bool,
}

// === impl PeerTable ===

impl PeerTable {
    /// A table of these peers, while more may join.
    pub fn new(peers: impl IntoIterator<Item = (PeerId, KnownPeer)>) -> Self {
        Self { peers: Arc::new(peers.into_iter().collect()), ..Self::default() }
    }

    /// The number of peers.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is no peer.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The peers and what is known of them.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, KnownPeer)> + '_ {
        self.peers.iter().map(|(&peer, &known)| (peer, known))
    }

    /// Whether a peer can be asked that is not among `avoid`.
    pub fn has_other_than(&self, avoid: &[PeerId]) -> bool {
        self.peers.iter().any(|(peer, known)| !known.is_spent && !avoid.contains(peer))
    }

    /// Whether every peer that has the blocks of a request, by its height, is among `refused`, and at least two are: a
    /// lone peer's refusal proves nothing.
    pub fn all_refused(&self, height: u32, refused: &[PeerId]) -> bool {
        refused.len() >= 2
            && self.peers.iter().filter(|(_, known)| known.height >= height).all(|(peer, _)| refused.contains(peer))
    }
}
