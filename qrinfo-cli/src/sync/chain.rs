//! Where block hashes come from: a file, the store, and the nodes.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use qrinfo_core::{BlockHash, Network};
use qrinfo_verify::HeaderMap;
use spv_headers::{CheckedHeader, Extension, HeaderChain, HeaderError, HeaderSyncError, sync_headers};
use spv_peer::Connection;
use spv_store::Store;

use super::peers;
use crate::headers;

/// How many cycles old the newest quorum of an index may be, and three more, as verification asks for: the DKG of an
/// index may fail several times in a row.
const STRAGGLERS: u32 = 10;

/// How far a node may be behind our chain: one that is further behind lacks the anchor of the plan.
const MAX_BEHIND: u32 = 8;

/// The chain of headers that a sync works with.
pub(super) struct Source {
    network: Network,
    chain: HeaderChain,
    /// Whether the nodes are asked for what is not there yet.
    ask: bool,
    /// The newest height that half of the nodes have.
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

    /// Asks the nodes, one after another, for headers that are not there yet. Gives those that can be asked for
    /// quorums; says of each other why it cannot.
    pub(super) async fn sync(&mut self, nodes: Vec<Connection>, store: Option<&Store>) -> Result<Vec<Connection>> {
        let mut usable = Vec::new();
        for mut node in nodes {
            let peer = node.peer();
            let keep = |extension: Extension, headers: &[CheckedHeader]| match store {
                Some(store) => {
                    let headers: Vec<_> = headers.iter().map(|checked| (checked.header, checked.hash)).collect();
                    tokio::task::block_in_place(|| store.store_headers(extension.first, &headers)).map_err(Into::into)
                }
                None => Ok(()),
            };
            match self.ask {
                false => usable.push(node),
                true => match sync_headers(&mut node, self.network, &mut self.chain, keep).await {
                    Ok(()) => usable.push(node),
                    Err(HeaderSyncError::Keep(error)) => bail!(error),
                    Err(error) => {
                        let false_headers = match &error {
                            // A node on a branch that lost is behind, not false.
                            HeaderSyncError::Headers(HeaderError::LessWork { .. }) => false,
                            HeaderSyncError::Headers(_) | HeaderSyncError::Malformed(_) => true,
                            _ => false,
                        };
                        let error = anyhow::Error::new(error);
                        eprintln!("qrinfo: {peer} was given up: {error:#}");
                        if let (Some(store), true) = (store, false_headers) {
                            peers::ban(store, peer, &format!("{error:#}"))?;
                        }
                    }
                },
            }
        }
        // One node must not make all others look behind, be it by a height or by headers that cost little: what half
        // of them have counts.
        let mut heights: Vec<_> = usable.iter().map(Connection::start_height).collect();
        heights.sort_unstable();
        let median = heights.get(heights.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        self.agreed_tip = self.chain.tip().min(median);
        usable.retain(|node| {
            let height = node.start_height();
            let is_near = height.saturating_add(MAX_BEHIND) >= self.agreed_tip;
            if !is_near {
                eprintln!("qrinfo: {} is not asked: it is behind, at {height}", node.peer());
            }
            is_near
        });
        ensure!(!usable.is_empty(), "no node is left that can be asked");
        Ok(usable)
    }

    /// The newest height that can be asked for: our chain has it, and half of the nodes.
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
    cycles.work_height_back(cycles.start_of(first), STRAGGLERS).unwrap_or(0)
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
