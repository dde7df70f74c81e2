use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use qrinfo_core::{PeerId, client::Ban};
use spv_pool::{Place, PoolHandle};
use spv_store::{Store, StoreError};
use tokio::sync::Notify;

use super::{blocking, on_one_line};

/// The time for which a node that sent something false is not asked again.
const BAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Receives a sentence for the user about one node.
pub type NodeLog = fn(&str);

/// The nodes that are in use: their places in the pool, the reasons for which others left, and bans, which are stored.
/// Clones share them.
#[derive(Debug, Clone)]
pub struct Ledger {
    pool: PoolHandle,
    store: Option<Store>,
    log: NodeLog,
    nodes: Arc<Mutex<Nodes>>,
    ban: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Nodes {
    /// Nodes that are connected and not in use yet.
    places: BTreeMap<PeerId, Place>,
    used: BTreeSet<PeerId>,
    banned: BTreeSet<PeerId>,
    left: BTreeMap<PeerId, String>,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger of a pool's nodes. Bans and useful nodes go to `store`. `log` is told about each node that is left.
    pub fn new(pool: PoolHandle, store: Option<Store>, log: NodeLog) -> Self {
        Self { pool, store, log, nodes: Arc::default(), ban: Arc::default() }
    }

    /// Notes a node that was connected to.
    pub fn connected(&self, place: Place) {
        self.with(|nodes| nodes.places.insert(place.peer(), place));
    }

    /// Notes that a node is asked from now on. Its place is given up when the returned one is dropped.
    pub fn used(&self, peer: PeerId) -> Option<Place> {
        self.with(|nodes| {
            nodes.used.insert(peer);
            nodes.left.remove(&peer);
            nodes.places.remove(&peer)
        })
    }

    /// Notes that a node is not asked, or not any further, without a proven fault. Logs it once.
    pub fn left(&self, peer: PeerId, why: &str) {
        let is_news = self.with(|nodes| {
            nodes.places.remove(&peer);
            // A proven fault is the reason that counts.
            !nodes.banned.contains(&peer) && nodes.left.insert(peer, why.to_owned()).is_none()
        });
        if is_news {
            (self.log)(&format!("{peer}: {why}"));
        }
    }

    /// Bans a node for a day, because it sent something false. Logs it once.
    pub fn ban(&self, peer: PeerId, why: &str) {
        let is_news = self.with(|nodes| {
            nodes.places.remove(&peer);
            nodes.left.insert(peer, format!("given up: {why}"));
            nodes.banned.insert(peer)
        });
        if !is_news {
            return;
        }
        (self.log)(&format!("{peer} was given up: {why}"));
        self.pool.ban(peer, BAN, why);
        self.ban.notify_one();
        let Some(store) = &self.store else { return };
        let ban = Ban { peer, until: unix_time().saturating_add(BAN.as_secs()), reason: why.to_owned() };
        if let Err(error) = blocking(|| store.ban(&ban)) {
            (self.log)(&format!("cannot keep the ban of {peer}: {}", on_one_line(&error)));
        }
    }

    /// Stores the useful nodes for the next sync.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn remember(&self, good: impl IntoIterator<Item = PeerId>) -> Result<(), StoreError> {
        good.into_iter().for_each(|peer| self.pool.good(peer));
        let book = self.pool.book().await;
        match &self.store {
            Some(store) => blocking(|| store.store_good_peers(&book.good)),
            None => Ok(()),
        }
    }

    /// Reports that a node was useful, such as by a reply that was proven.
    pub fn useful(&self, peer: PeerId) {
        self.pool.good(peer);
    }

    /// Returns `true` for a node that was banned in this run.
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.with(|nodes| nodes.banned.contains(&peer))
    }

    /// Waits for a ban. A ban from before the call counts as well. Only one task may wait.
    pub async fn next_ban(&self) {
        self.ban.notified().await;
    }

    /// The number of nodes that were asked.
    pub fn count_used(&self) -> usize {
        self.with(|nodes| nodes.used.len())
    }

    /// The nodes that are not asked any further, each with the reason.
    pub fn all_left(&self) -> BTreeMap<PeerId, String> {
        self.with(|nodes| nodes.left.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Nodes) -> T) -> T {
        change(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The time in seconds since 1970.
pub fn unix_time() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a ban outlives the process, so it ends by the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
