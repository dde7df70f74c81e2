use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::peer_id::PeerId;

/// A snapshot of the ledger of peers for the layers above it: the peers that can be asked. Clones are cheap.
///
/// ```
/// use qrinfo_core::{KnownPeer, PeerId, PeerTable};
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
    /// A peer has joined, whether or not it has left since.
    pub had_peers: bool,
    /// The instant at which the latest peer joined, if it is known: more may follow it.
    pub last_joined: Option<Instant>,
    /// Failures mount: more than 0.3 of the latest attempts failed of congestion, at two or more peers, while others
    /// were answered. Such a failure says little about the request that had it.
    pub failures_mount: bool,
}

/// An entry of a [`PeerTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPeer {
    /// The height of its tip, announced by the peer.
    pub height: u32,
    /// True once it has refused so many requests that further refusals would end its connection: it stays connected and
    /// is not asked again.
    pub is_spent: bool,
}

// === impl PeerTable ===

impl PeerTable {
    /// A table of these peers, while more may join.
    pub fn new(peers: impl IntoIterator<Item = (PeerId, KnownPeer)>) -> Self {
        let peers: BTreeMap<_, _> = peers.into_iter().collect();
        Self { had_peers: !peers.is_empty(), peers: Arc::new(peers), ..Self::default() }
    }

    /// The number of peers.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns true if there is no peer.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The peers with their entries.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, KnownPeer)> + '_ {
        self.peers.iter().map(|(&peer, &known)| (peer, known))
    }

    /// Returns true if a peer can be asked that is not among `avoid`.
    pub fn has_other_than(&self, avoid: &[PeerId]) -> bool {
        self.peers.iter().any(|(peer, known)| !known.is_spent && !avoid.contains(peer))
    }

    /// Returns true if every peer that has the blocks of a request, by its height, is among `refused`, and `refused`
    /// has at least two: the refusal of a single peer proves nothing.
    pub fn all_refused(&self, height: u32, refused: &[PeerId]) -> bool {
        refused.len() >= 2
            && self.peers.iter().filter(|(_, known)| known.height >= height).all(|(peer, _)| refused.contains(peer))
    }
}
