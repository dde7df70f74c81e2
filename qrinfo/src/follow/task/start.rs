//! The start: the first peer, and many headers side by side.

use std::{pin::Pin, time::Duration};

use futures_util::{StreamExt, stream};
use qrinfo_core::PeerEvent;
use spv_headers::{HeaderBatch, HeaderSync, HeaderSyncConfig, HeaderSyncError, LeftPeer, sync_headers};
use spv_peer::Connection;
use spv_pool::PoolEvent;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Task, headers::store_headers, peers::note};
use crate::{follow::FollowError, nodes::on_one_line};

/// The time without peers after which a follower that starts says so.
pub(super) const START: Duration = Duration::from_secs(15);

/// Blocks that are missing from which on many peers fetch them side by side.
const MANY: u32 = 4_000;

// === impl Task: the start ===

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<Io> {
    /// Waits for the first peer. If much is missing, many peers fetch headers side by side first.
    pub(super) async fn start(&mut self) -> Result<(), FollowError> {
        self.show();
        let connection = loop {
            let warn = self.moved + START;
            tokio::select! {
                event = self.pool.recv() => match event.ok_or(FollowError::NoPool)? {
                    PoolEvent::Ready(place, connection) => {
                        self.ledger.connected(place);
                        break connection;
                    }
                    event => self.on_pool(event),
                },
                () = sleep_until(warn), if Instant::now() < warn => self.show(),
            }
        };
        match connection.start_height() > self.chain.headers.tip().saturating_add(MANY) {
            true => self.fetch_headers(connection).await,
            false => {
                self.adopt(connection);
                Ok(())
            }
        }
    }

    /// Fetches headers from the first peer and those that join meanwhile.
    async fn fetch_headers(&mut self, first: Connection<Io>) -> Result<(), FollowError> {
        let ledger = self.ledger.clone();
        let pool = &mut self.pool;
        let more = stream::poll_fn(move |cx| pool.poll_recv(cx)).filter_map(|event| {
            let connection = match event {
                PoolEvent::Ready(place, connection) => {
                    ledger.connected(place);
                    Some(connection)
                }
                event => {
                    note(&ledger, event);
                    None
                }
            };
            std::future::ready(connection)
        });
        let connections = stream::once(std::future::ready(first)).chain(more);
        let (batches, mut kept) = mpsc::channel::<HeaderBatch>(4);
        let config = HeaderSyncConfig { wanted_peers: 2, ..HeaderSyncConfig::default() };
        let synced = sync_headers(
            Pin::from(Box::new(connections)),
            self.config.rules.clone(),
            self.chain.headers.clone(),
            config,
            batches,
        );
        let store = self.store.clone();
        let chain = &mut self.chain;
        let keep = async move {
            while let Some(batch) = kept.recv().await {
                store_headers(store.as_ref(), &batch).await?;
                chain.apply(&batch);
            }
            Ok::<(), FollowError>(())
        };
        let (synced, stored) = tokio::join!(synced, keep);
        stored?;
        self.chain.index();
        self.tracker = self.chain.tracker(&self.config);
        match synced {
            Ok(HeaderSync { peers, left, .. }) => {
                left.iter().for_each(|left| self.leave_synced(left));
                peers.into_iter().for_each(|peer| self.adopt(peer.connection));
            }
            Err(HeaderSyncError::NoPeers(left)) => left.iter().for_each(|left| self.leave_synced(left)),
            Err(HeaderSyncError::Timeout(_)) => {}
            Err(error) => return Err(FollowError::Headers(error)),
        }
        Ok(())
    }

    fn leave_synced(&self, left: &LeftPeer) {
        let why = on_one_line(&left.why);
        match left.event() {
            PeerEvent::Banned { peer, .. } => self.ledger.ban(peer, &why),
            _ => self.ledger.left(left.peer, &why),
        }
    }
}
