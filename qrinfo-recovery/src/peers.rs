use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use qrinfo_core::PeerId;
use tokio::{sync::watch, time::timeout};

/// Tells a [`Recovery`](crate::Recovery) who is connected. Clones tell the same one.
///
/// Without it nothing is known of the peers: a request is then given up only when the service below says that there is
/// nobody to ask, or by its number of attempts or its deadline.
///
/// ```
/// use qrinfo_core::PeerId;
/// use qrinfo_recovery::RecoveryHandle;
///
/// let handle = RecoveryHandle::default();
/// let peer = PeerId(([203, 0, 113, 5], 9999).into());
/// handle.peer_joined(peer, 2_240_504);
/// assert_eq!(handle.connected(), 1);
/// handle.peer_left(peer);
/// assert_eq!(handle.connected(), 0);
/// ```
#[derive(Debug, Clone)]
pub struct RecoveryHandle {
    book: Arc<Mutex<PeerBook>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

/// Who is connected, and who is not to be asked.
#[derive(Debug, Default)]
pub(crate) struct PeerBook {
    /// The newest connection of each.
    pub(crate) connected: BTreeMap<PeerId, Connected>,
    /// How many connections there were.
    connections: u64,
    /// Peers that sent something false.
    pub(crate) banned: BTreeSet<PeerId>,
    /// Somebody tells of the peers. Otherwise `connected` says nothing.
    pub(crate) watched: bool,
    /// No peer will connect any more.
    pub(crate) closed: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Connected {
    connection: u64,
    /// The height that the peer announced.
    start_height: u32,
}

// === impl RecoveryHandle ===

impl Default for RecoveryHandle {
    fn default() -> Self {
        Self { book: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl RecoveryHandle {
    /// A peer has connected. `start_height` is the height of its tip. Gives a number for
    /// [`connection_ended`](Self::connection_ended).
    pub fn peer_joined(&self, peer: PeerId, start_height: u32) -> u64 {
        let connection = {
            let mut book = self.book();
            book.connections += 1;
            let connection = book.connections;
            book.connected.insert(peer, Connected { connection, start_height });
            connection
        };
        self.changed();
        connection
    }

    /// A peer is gone, with whatever connection it had.
    pub fn peer_left(&self, peer: PeerId) {
        self.book().connected.remove(&peer);
        self.changed();
    }

    /// This connection of a peer has ended. A later one, which the peer may have by now, has not.
    pub fn connection_ended(&self, peer: PeerId, connection: u64) {
        {
            let mut book = self.book();
            if book.connected.get(&peer).is_none_or(|connected| connected.connection != connection) {
                return;
            }
            book.connected.remove(&peer);
        }
        self.changed();
    }

    /// Whether a peer sent something false, and is not asked any more.
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.book().banned.contains(&peer)
    }

    /// A peer has sent something false, as was found only after its reply was taken. It is not asked any more, and counts
    /// as gone. Whether that is news.
    pub fn ban(&self, peer: PeerId) -> bool {
        let is_new = {
            let mut book = self.book();
            book.connected.remove(&peer);
            book.banned.insert(peer)
        };
        self.changed();
        is_new
    }

    /// No peer will connect any more: nobody waits for one from now on.
    pub fn no_more_peers(&self) {
        self.book().closed = true;
        self.changed();
    }

    /// How many peers are connected.
    pub fn connected(&self) -> usize {
        self.book().connected.len()
    }

    /// Peers that sent something false, and are not asked any more.
    pub fn banned(&self) -> Vec<PeerId> {
        self.book().banned.iter().copied().collect()
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, PeerBook> {
        // What is kept stays whole whoever panics: each change is one call.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of changes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until no peer has been connected for so long, or none is and none will be.
    pub(crate) async fn deserted(&self, patience: Duration) {
        let mut changes = self.changes();
        loop {
            let (nobody, closed) = {
                let book = self.book();
                (book.watched && book.connected.is_empty(), book.closed)
            };
            if nobody && (closed || timeout(patience, changes.changed()).await.is_err()) {
                return;
            }
            if !nobody {
                // It fails only without a sender, and that lives in `self`.
                let _ = changes.changed().await;
            }
        }
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

// === impl PeerBook ===

impl PeerBook {
    /// Whether every connected peer that has the blocks of a request, by its height, is among `refused`, and at least
    /// two have refused.
    pub(crate) fn all_refused(&self, height: u32, refused: &[PeerId]) -> bool {
        self.watched
            && refused.len() >= 2
            && self
                .connected
                .iter()
                .filter(|(peer, connected)| connected.start_height >= height && !self.banned.contains(peer))
                .all(|(peer, _)| refused.contains(peer))
    }

    /// Whether there is a connected peer that is not among `avoid`.
    pub(crate) fn has_other_than(&self, avoid: &[PeerId]) -> bool {
        self.connected.keys().any(|peer| !self.banned.contains(peer) && !avoid.contains(peer))
    }
}
