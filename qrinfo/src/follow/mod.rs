//! Headers, lists and quorums at the tip, for as long as a client runs.
//!
//! [`follow`] starts one task over a pool of peers. It follows their tips, asks for the step to the lists of each new
//! block (`getmnlistd`) and once a cycle for its rotated quorums (`qrinfo`), proves every reply, and stores headers and
//! lists. A [`Follower`] shows its state, its events, and the [`QuorumBook`] that answers for quorums and locks.
//!
//! It never ends by itself, unless its store fails: a peer that falls behind, falls silent or lies is replaced, and what
//! no peer answers is asked again, with growing waits. A reorganization is no peer's fault. The lists and quorums of the
//! blocks that left the chain are forgotten, and it goes on from the fork.
//!
//! ```no_run
//! use qrinfo::{follow::{FollowConfig, FollowState, follow}, nodes::{Announcements, OpenNodes, open_nodes}};
//! use spv_config::ClientConfig;
//! use spv_store::Store;
//!
//! # async fn example(config: ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("data".as_ref(), config.network)?;
//! let OpenNodes { ledger, events, .. } = open_nodes(&config, &[], Announcements::Locks, Some(&store), |line| eprintln!("{line}")).await?;
//! let mut follower = follow(events, ledger, Some(store), FollowConfig::new(config.network))?;
//! while follower.state.changed().await.is_ok() {
//!     match &*follower.state.borrow_and_update() {
//!         FollowState::Synced { height } => println!("synced to {height}"),
//!         state => println!("{state:?}"),
//!     }
//! }
//! follower.ended().await?;
//! # Ok(())
//! # }
//! ```

mod archive;
mod ask;
mod chain;
mod decide;
mod roster;
mod state;
mod tap;
mod task;
mod wanted;

use qrinfo_core::{BlockHash, Network};
use qrinfo_verify::{KnownBlock, ListSnapshot, Lists};
use spv_peer::Connection;
use spv_pool::PoolEvents;
use spv_store::{Store, StoreError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{broadcast, watch},
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::state::{Degradation, FollowConfig, FollowError, FollowEvent, FollowState};
use self::{
    archive::Archive,
    task::{Outputs, Task},
};
use crate::{book::QuorumBook, nodes::Ledger};

/// Events that wait for a slow listener before it misses the oldest.
const EVENTS: usize = 1024;

/// A running follower. Dropping it ends the task: what was stored stays.
#[derive(Debug)]
pub struct Follower {
    /// The state, as it changes.
    pub state: watch::Receiver<FollowState>,
    /// The quorums, masternodes and locks.
    pub book: QuorumBook,
    events: broadcast::Sender<FollowEvent>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), FollowError>>,
}

/// Starts to follow the chain of a pool's peers, and goes on from what is stored. `ledger` is the pool's.
///
/// Must be called within a tokio runtime. Reading a store takes about half a second for all headers of mainnet.
///
/// # Errors
/// [`FollowError`] if the store cannot be used.
pub fn follow<Io>(
    pool: PoolEvents<Connection<Io>>,
    ledger: Ledger,
    store: Option<Store>,
    config: FollowConfig,
) -> Result<Follower, FollowError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (state, shown) = watch::channel(FollowState::Syncing { lists: 0, tip: 0 });
    let (events, stop) = (broadcast::Sender::new(EVENTS), CancellationToken::new());
    let (writer, book) = QuorumBook::new(config.network);
    let outputs = Outputs { state, events: events.clone(), book: writer, handle: book.clone(), stop: stop.clone() };
    let span = tracing::info_span!("follow", network = %config.network);
    let task = Task::open(config, store, ledger, pool, outputs)?;
    let task = tokio::spawn(task.run().instrument(span));
    Ok(Follower { state: shown, book, events, stop, task })
}

/// The newest lists in a store with their height, proven by the stored headers; `None` if there are none. They are those
/// of a work block, if there are such lists: of other blocks most clients do not keep the whole header.
///
/// # Errors
/// [`StoreError::Read`].
pub fn stored_lists(store: &Store, network: Network) -> Result<Option<(u32, ListSnapshot)>, StoreError> {
    let mut archive = Archive::default();
    let headers = |hash: &BlockHash| {
        let height = store.height_of(hash).ok()??;
        let merkle_root = store.header(height).ok()??.merkle_root();
        Some(KnownBlock { height, merkle_root })
    };
    let lists = archive.restore(network, store.lists()?, headers);
    let is_of_work_block = |lists: &&Lists| network.cycles().is_work_height(lists.height());
    let newest = lists.iter().rfind(is_of_work_block).or(lists.last());
    Ok(newest.and_then(|lists| Some((lists.height(), archive.snapshot(lists)?))))
}

// === impl Follower ===

impl Follower {
    /// Returns the events from now on. A slow listener misses the oldest beyond a thousand.
    pub fn events(&self) -> broadcast::Receiver<FollowEvent> {
        self.events.subscribe()
    }

    /// Ends the follower and waits until everything is stored.
    ///
    /// # Errors
    /// The error that ended it before, or that of storing the useful nodes.
    pub async fn stop(self) -> Result<(), FollowError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The reason of the end.
    pub async fn ended(mut self) -> Result<(), FollowError> {
        match (&mut self.task).await.map_err(JoinError::try_into_panic) {
            Ok(ended) => ended,
            Err(Ok(panicked)) => std::panic::resume_unwind(panicked),
            Err(Err(_)) => Ok(()),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}
