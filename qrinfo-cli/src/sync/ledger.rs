//! The nodes of a sync: their places in the pool, and the reasons for which they left.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use qrinfo_core::{PeerId, client::Ban};
use spv_pool::{Place, PoolHandle};
use spv_store::Store;
use tokio::{sync::Notify, task::block_in_place};

/// The time for which a node that sent something false is not asked again.
const BAN: Duration = Duration::from_secs(24 * 60 * 60);

/// The nodes of a sync. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pool: PoolHandle,
    store: Option<Store>,
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
    pub(super) fn new(pool: PoolHandle, store: Option<Store>) -> Self {
        Self { pool, store, nodes: Arc::default(), ban: Arc::default() }
    }

    /// Notes a node that was connected to.
    pub(super) fn connected(&self, place: Place) {
        self.with(|nodes| nodes.places.insert(place.peer(), place));
    }

    /// Notes that a node is asked from now on. Its place is given up when the returned one is dropped.
    pub(super) fn used(&self, peer: PeerId) -> Option<Place> {
        self.with(|nodes| {
            nodes.used.insert(peer);
            nodes.left.remove(&peer);
            nodes.places.remove(&peer)
        })
    }

    /// Notes that a node is not asked, or not any further, without a proven fault. Logs it once.
    pub(super) fn left(&self, peer: PeerId, why: &str) {
        let is_news = self.with(|nodes| {
            nodes.places.remove(&peer);
            // A proven fault is the reason that counts.
            !nodes.banned.contains(&peer) && nodes.left.insert(peer, why.to_owned()).is_none()
        });
        if is_news {
            eprintln!("qrinfo: {peer}: {why}");
        }
    }

    /// Bans a node for a day, because it sent something false. Logs it once.
    pub(super) fn ban(&self, peer: PeerId, why: &str) {
        let is_news = self.with(|nodes| {
            nodes.places.remove(&peer);
            nodes.left.insert(peer, format!("given up: {why}"));
            nodes.banned.insert(peer)
        });
        if !is_news {
            return;
        }
        eprintln!("qrinfo: {peer} was given up: {why}");
        self.pool.ban(peer, BAN, why);
        self.ban.notify_one();
        let Some(store) = &self.store else { return };
        let ban = Ban { peer, until: unix_time().saturating_add(BAN.as_secs()), reason: why.to_owned() };
        if let Err(error) = block_in_place(|| store.ban(&ban)) {
            eprintln!("qrinfo: cannot keep the ban of {peer}: {error:#}");
        }
    }

    /// Stores the useful nodes for the next sync.
    pub(super) async fn remember(&self, good: impl IntoIterator<Item = PeerId>) -> anyhow::Result<()> {
        good.into_iter().for_each(|peer| self.pool.good(peer));
        let book = self.pool.book().await;
        match &self.store {
            Some(store) => Ok(block_in_place(|| store.store_good_peers(&book.good))?),
            None => Ok(()),
        }
    }

    pub(super) fn is_banned(&self, peer: PeerId) -> bool {
        self.with(|nodes| nodes.banned.contains(&peer))
    }

    /// Waits for a ban. A ban from before the call counts as well. Only one task may wait.
    pub(super) async fn next_ban(&self) {
        self.ban.notified().await;
    }

    /// The number of nodes that were asked.
    pub(super) fn count_used(&self) -> usize {
        self.with(|nodes| nodes.used.len())
    }

    /// The nodes that are not asked any further, each with the reason.
    pub(super) fn all_left(&self) -> BTreeMap<PeerId, String> {
        self.with(|nodes| nodes.left.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut Nodes) -> T) -> T {
        change(&mut self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The time in seconds since 1970.
pub(super) fn unix_time() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a ban outlives the process, so it ends by the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
