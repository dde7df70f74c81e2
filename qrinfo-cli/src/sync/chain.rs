//! Where block hashes come from: a file, the store, and the nodes.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use futures_util::stream;
use qrinfo::storage::Store;
use qrinfo_core::{BlockHash, Network, stack::PeerEvent};
use qrinfo_verify::HeaderMap;
use spv_headers::{CheckedHeader, HeaderBatch, HeaderChain, HeaderSync, HeaderSyncConfig, SyncedPeer, sync_headers};
use spv_peer::Connection;
use tokio::sync::mpsc;

use super::peers;
use crate::headers;

/// How many cycles old the newest quorum of an index may be, and three more, as verification asks for: the DKG of an
/// index may fail several times in a row.
const STRAGGLERS: u32 = 10;

/// How far a node may be behind our chain: one that is further behind lacks the anchor of the plan.
const MAX_BEHIND: u32 = 8;

/// Batches of headers that may wait to be stored.
const BATCHES: usize = 16;

/// The chain of headers that a sync works with.
pub(super) struct Source {
    network: Network,
    chain: HeaderChain,
    /// Whether the nodes are asked for what is not there yet.
    ask: bool,
    /// The newest height of the chain that the nodes agree on.
    agreed_tip: u32,
}

impl Source {
    /// Takes what is known already: all of a file, or what the store holds.
    pub(super) fn open(
        network: Network,
        from_cycle: Option<u32>,
        file: Option<&Path>,
        store: Option<&Store>,
    ) -> Result<Self> {
        if let Some(path) = file {
            let chain = headers::read(path, network, 0)?;
            return Ok(Self { network, chain, ask: false, agreed_tip: 0 });
        }
        let (start, hash) = network.checkpoint_below(first_needed(network, from_cycle));
        let mut chain = HeaderChain::new(start, hash);
        if let Some(store) = store {
            restore(&mut chain, store, network)?;
        }
        Ok(Self { network, chain, ask: true, agreed_tip: 0 })
    }

    /// Asks the nodes for headers that are not there yet, and for their tips. Gives those that can be asked for quorums;
    /// says of each other why it cannot.
    pub(super) async fn sync(&mut self, nodes: Vec<Connection>, store: Option<&Store>) -> Result<Vec<Connection>> {
        if !self.ask {
            self.agreed_tip = self.chain.tip();
            let is_near = |node: &Connection| node.start_height().saturating_add(MAX_BEHIND) >= self.agreed_tip;
            let (near, behind): (Vec<_>, Vec<_>) = nodes.into_iter().partition(is_near);
            for node in behind {
                eprintln!("qrinfo: {} is not asked: it is behind, at {}", node.peer(), node.start_height());
            }
            ensure!(!near.is_empty(), "no node is left that can be asked");
            return Ok(near);
        }
        let (keep, mut batches) = mpsc::channel::<HeaderBatch>(BATCHES);
        let config = HeaderSyncConfig::default();
        let chain = std::mem::replace(&mut self.chain, HeaderChain::new(0, self.network.genesis_hash()));
        let sync = sync_headers(stream::iter(nodes), self.network, chain, config, keep);
        let storing = async move {
            while let Some(batch) = batches.recv().await {
                if let Some(store) = store {
                    let headers: Vec<_> = batch.headers.iter().map(|checked| (checked.header, checked.hash)).collect();
                    tokio::task::block_in_place(|| store.store_headers(batch.first, &headers))?;
                }
            }
            anyhow::Ok(())
        };
        let (sync, stored) = tokio::join!(sync, storing);
        stored?;
        let HeaderSync { chain, peers: synced, left, .. } = sync?;
        for left in left {
            let (peer, is_false) = (left.peer, matches!(left.event(), PeerEvent::Banned { .. }));
            let why = anyhow::Error::new(left.why);
            if let (Some(store), true) = (store, is_false) {
                eprintln!("qrinfo: {peer} was given up: {why:#}");
                peers::ban(store, peer, &format!("{why:#}"))?;
            } else if is_false {
                eprintln!("qrinfo: {peer} was given up: {why:#}");
            } else {
                eprintln!("qrinfo: {peer} is not asked: {why:#}");
            }
        }
        self.chain = chain;
        self.agreed_tip = self.chain.tip();
        let mut usable = Vec::new();
        for SyncedPeer { connection, standing } in synced {
            // A node that is further behind, or on another branch, lacks blocks that the plan names.
            if standing.is_on_chain() && standing.shared.saturating_add(MAX_BEHIND) >= self.agreed_tip {
                usable.push(connection);
            } else {
                let (peer, shared) = (connection.peer(), standing.shared);
                eprintln!("qrinfo: {peer} is not asked: it has the chain up to {shared} of {}", self.agreed_tip);
            }
        }
        ensure!(!usable.is_empty(), "no node is left that can be asked");
        Ok(usable)
    }

    /// The newest height that can be asked for.
    pub(super) fn tip(&self) -> u32 {
        self.agreed_tip
    }

    /// Every block that there is a header of.
    pub(super) fn known_blocks(&self) -> HeaderMap {
        headers::known_blocks(&self.chain)
    }

    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.chain.hash_at(height)
    }
}

/// The oldest block whose hash a sync from this cycle needs.
fn first_needed(network: Network, from_cycle: Option<u32>) -> u32 {
    let cycles = network.cycles();
    let first = from_cycle.or(network.dip24_height()).unwrap_or(0);
    cycles.work_height_back(first, STRAGGLERS).unwrap_or(0)
}

/// Goes on from stored headers, if they start at or below what is needed.
fn restore(chain: &mut HeaderChain, store: &Store, network: Network) -> Result<()> {
    let Some(first) = store.first_height()? else { return Ok(()) };
    let oldest = store.header(first)?.context("the oldest stored header is gone")?;
    match first.checked_sub(1) {
        Some(height) if height <= chain.start() => *chain = HeaderChain::new(height, oldest.prev_block_hash()),
        _ => bail!(
            "the store of {network} starts at height {first}; this sync needs older headers: choose another --data-dir"
        ),
    }
    let mut result = Ok(());
    store.visit_headers(|_, header, hash| {
        result = chain.connect(&[CheckedHeader { header, hash }]).map(drop);
        result.is_ok()
    })?;
    result.context("stored headers do not fit together; move the data directory away")
}
