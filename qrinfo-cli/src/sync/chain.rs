//! The chain of headers, from a file, the store, and the nodes.

use std::{cmp::Reverse, future::ready, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{Stream, StreamExt, stream};
use qrinfo::nodes::{Ledger, on_one_line};
use qrinfo_core::{BlockHash, Network, PeerEvent};
use qrinfo_verify::HeaderMap;
use spv_config::ClientConfig;
use spv_headers::{
    CheckedHeader, HeaderBatch, HeaderChain, HeaderError, HeaderSync, HeaderSyncConfig, HeaderSyncError, LeftPeer,
    PeerProblem, SyncedPeer, sync_headers,
};
use spv_peer::{Connection, fence};
use spv_store::{HeaderWriter, Store};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{Range, nodes::Nodes};
use crate::headers;

/// The age in cycles of the newest quorum of an index, and three more, as verification asks for: the DKG of an index
/// may fail several times in a row.
const STRAGGLERS: u32 = 10;

/// The depth at which every node on the chain has the same block. A node that is further behind is not asked.
pub(super) const MAX_BEHIND: u32 = 8;

/// Batches of headers that wait for the store.
const BATCHES: usize = 1;

/// The time for further nodes after the first one, where headers come from a file.
const SETTLE: Duration = Duration::from_secs(1);

/// The time in which a node that joins late tells its tip.
const LATE: Duration = Duration::from_secs(10);

/// The source of headers.
pub(super) struct Source {
    network: Network,
    chain: HeaderChain,
    /// `true` for a sync of the newest cycle: the first needed header is not known before the tip is.
    is_newest: bool,
    /// `true` if headers come from the nodes.
    ask: bool,
}

/// The chain that a sync works with, and the nodes that are on it.
pub(super) struct Agreed {
    pub(super) network: Network,
    pub(super) chain: HeaderChain,
    /// Nodes whose newest block is on the chain, however far behind.
    pub(super) followers: usize,
    /// Nodes that can be asked, each with the height of the newest block of the chain that it has.
    pub(super) nodes: Vec<(Connection, u32)>,
    /// Nodes on the chain that are too far behind.
    behind: Vec<(Connection, u32)>,
    is_newest: bool,
    ask: bool,
}

/// The rule for nodes that come later: it decides whether a node can be asked.
#[derive(Clone)]
pub(super) struct Admission {
    network: Network,
    chain: HeaderChain,
    /// The height of the newest block that a node must have.
    needed: u32,
    ask: bool,
    ledger: Ledger,
}

impl Source {
    /// Takes the headers that are known already: those of a file or of the store.
    pub(super) fn open(
        config: &ClientConfig,
        range: Range,
        file: Option<&Path>,
        store: Option<&Store>,
    ) -> Result<Self> {
        let (network, genesis) = (config.network, genesis_of(config));
        let (chain, ask) = match file {
            Some(path) => (headers::read(path, network, 0)?.0, false),
            None => {
                let start = genesis.map(|hash| (1, hash));
                let (start, hash) = start.unwrap_or_else(|| network.checkpoint_below(first_needed(network, range)));
                let mut chain = HeaderChain::new(start, hash);
                if let Some(store) = store {
                    restore(&mut chain, store)?;
                }
                (chain, true)
            }
        };
        ensure!(
            genesis.is_none() || chain.hash_at(1) == genesis,
            "the headers are those of another devnet: block 1 is not the genesis block of the configuration"
        );
        Ok(Self { network, chain, is_newest: matches!(range, Range::Newest), ask })
    }

    /// Asks all nodes for the headers that are not there yet, and finds the chain that they agree on.
    /// Ends at `until` with the headers that are there.
    pub(super) async fn sync(self, nodes: &mut Nodes, store: Option<&Store>, until: Option<Instant>) -> Result<Agreed> {
        let ledger = nodes.ledger.clone();
        let agreed = match self.ask {
            true => self.ask(nodes.first(), &ledger, store, until).await?,
            false => self.take_as_they_are(nodes).await,
        };
        ensure!(!agreed.nodes.is_empty(), "no node can be asked; add more with --peer");
        Ok(agreed)
    }

    async fn ask(
        self,
        connections: impl Stream<Item = Connection>,
        ledger: &Ledger,
        store: Option<&Store>,
        until: Option<Instant>,
    ) -> Result<Agreed> {
        let (batches, waiting) = mpsc::channel(BATCHES);
        let store = store.cloned();
        let keeping = spawn_blocking(move || keep(waiting, store.as_ref()));
        let mut config = HeaderSyncConfig::default();
        if let Some(until) = until {
            config.total_time = until.saturating_duration_since(Instant::now());
        }
        let synced = sync_headers(connections, self.network, self.chain, config, batches).await;
        keeping.await??;
        let HeaderSync { chain, peers, left, .. } = match synced {
            Err(HeaderSyncError::NoPeers(left)) => {
                left.iter().for_each(|left| leave(ledger, left));
                bail!("no node can be asked: none can be connected to, or none sends headers; name others with --peer")
            }
            synced => synced?,
        };
        if self.is_newest {
            check_start(self.network, &chain)?;
        }
        left.iter().for_each(|left| leave(ledger, left));
        let followers = peers.iter().filter(|peer| peer.standing.is_on_chain()).count();
        let near = chain.tip().saturating_sub(MAX_BEHIND);
        let (mut usable, mut behind) = (Vec::new(), Vec::new());
        for SyncedPeer { connection, standing } in peers {
            match (standing.shared >= near, standing.is_on_chain()) {
                (true, _) => usable.push((connection, standing.shared)),
                (false, true) => behind.push((connection, standing.shared)),
                (false, false) => ledger.left(connection.peer(), &not_asked(standing.shared, standing.tip.0)),
            }
        }
        usable.sort_by_key(|(connection, _)| connection.greeting_time());
        let Self { network, is_newest, .. } = self;
        Ok(Agreed { network, chain, followers, nodes: usable, behind, is_newest, ask: true })
    }

    /// Accepts the heights that the nodes announce, because the headers come from a file.
    async fn take_as_they_are(self, nodes: &mut Nodes) -> Agreed {
        let tip = self.chain.tip();
        let ledger = nodes.ledger.clone();
        let (mut usable, mut end) = (Vec::new(), None);
        let mut first = std::pin::pin!(nodes.first());
        while let Ok(Some(connection)) = match end {
            Some(end) => timeout_at(end, first.next()).await,
            None => Ok(first.next().await),
        } {
            end = end.or(Some(Instant::now() + SETTLE));
            let height = connection.start_height().min(tip);
            match height >= tip.saturating_sub(MAX_BEHIND) {
                true => usable.push((connection, height)),
                false => ledger.left(connection.peer(), &not_asked(height, height)),
            }
        }
        let followers = usable.len();
        let Self { network, chain, is_newest, .. } = self;
        Agreed { network, chain, followers, nodes: usable, behind: Vec::new(), is_newest, ask: false }
    }
}

// === impl Agreed ===

impl Agreed {
    /// Every block of which the header is known.
    pub(super) fn known_blocks(&self) -> HeaderMap {
        headers::known_blocks(&self.chain)
    }

    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.chain.hash_at(height)
    }

    /// The height of the newest block of the chain that two nodes have: one node alone must not decide which block is
    /// asked for. With a single node, the height of its newest block.
    pub(super) fn common_height(&self) -> u32 {
        second_highest(self.nodes.iter().map(|(_, height)| *height))
    }

    /// The height of the newest block that another node has as well, if one node alone has blocks far above it.
    pub(super) fn above_others(&self) -> Option<u32> {
        let newest = self.behind.iter().map(|(_, height)| *height).max();
        newest.filter(|_| self.nodes.len() == 1)
    }

    /// The chain that the other nodes agree on, without the one that alone has blocks far above theirs.
    pub(super) async fn by_others(
        self,
        ledger: &Ledger,
        store: Option<&Store>,
        until: Option<Instant>,
    ) -> Result<Self> {
        let Self { network, chain, is_newest, ask, behind, .. } = self;
        let connections = stream::iter(behind).map(|(connection, _)| fence(connection, SETTLE));
        let connections = connections.buffer_unordered(usize::MAX).filter_map(ready);
        let source = Source { network, chain, is_newest, ask };
        let agreed = source.ask(connections, ledger, store, until).await?;
        ensure!(!agreed.nodes.is_empty(), "no node can be asked; add more with --peer");
        Ok(agreed)
    }

    /// Leaves the nodes that are too far behind.
    pub(super) fn leave_behind(&mut self, ledger: &Ledger) {
        for (connection, height) in self.behind.drain(..) {
            ledger.left(connection.peer(), &not_asked(height, height));
        }
    }

    /// The rule for nodes that come later.
    pub(super) fn admission(self, needed: u32, ledger: Ledger) -> Admission {
        Admission { network: self.network, chain: self.chain, needed, ask: self.ask, ledger }
    }
}

// === impl Admission ===

impl Admission {
    /// The connection, and the height of the newest block of our chain that the node has, if it can be asked.
    pub(super) async fn admit(&self, connection: Connection) -> Option<(Connection, u32)> {
        let peer = connection.peer();
        let (connection, height) = match self.ask {
            false => {
                let height = connection.start_height().min(self.chain.tip());
                (connection, height)
            }
            true => self.ask(connection).await?,
        };
        if height < self.needed {
            self.ledger.left(peer, &not_asked(height, height));
            return None;
        }
        Some((connection, height))
    }

    async fn ask(&self, connection: Connection) -> Option<(Connection, u32)> {
        let (batches, mut unused) = mpsc::channel(BATCHES);
        let config = HeaderSyncConfig { total_time: LATE, settle: Duration::ZERO, ..HeaderSyncConfig::default() };
        let peer = connection.peer();
        let chain = self.chain.clone();
        let asked = sync_headers(stream::iter([connection]), self.network, chain, config, batches);
        let (synced, ()) = tokio::join!(asked, async { while unused.recv().await.is_some() {} });
        match synced {
            Ok(synced) => {
                synced.left.iter().for_each(|left| leave(&self.ledger, left));
                let SyncedPeer { connection, standing } = synced.peers.into_iter().next()?;
                Some((connection, self.shared(&synced.chain).min(standing.shared)))
            }
            Err(HeaderSyncError::NoPeers(left)) => {
                left.iter().for_each(|left| leave(&self.ledger, left));
                None
            }
            Err(error) => {
                self.ledger.left(peer, &format!("is not asked: {error}"));
                None
            }
        }
    }

    /// The height of the newest block of our chain that is on another one as well.
    fn shared(&self, other: &HeaderChain) -> u32 {
        let (mut low, mut high) = (self.chain.start(), self.chain.tip().min(other.tip()));
        while low < high {
            let middle = high - (high - low) / 2;
            match self.chain.hash_at(middle) == other.hash_at(middle) {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        low
    }
}

/// The second highest, or the only one.
fn second_highest(heights: impl Iterator<Item = u32>) -> u32 {
    let mut heights: Vec<_> = heights.collect();
    heights.sort_unstable_by_key(|height| Reverse(*height));
    heights.get(1).or(heights.first()).copied().unwrap_or_default()
}

fn not_asked(shared: u32, tip: u32) -> String {
    match tip > shared {
        true => format!("is not asked: it is on another branch since block {shared}"),
        false => format!("is not asked: it is behind, at block {shared}"),
    }
}

fn leave(ledger: &Ledger, left: &LeftPeer) {
    // A node that has none of the blocks that it was told sends those after its block 0. It is no liar: the genesis block
    // of our configuration may be wrong.
    if let PeerProblem::Headers(HeaderError::Unconnected(block)) = &left.why
        && Network::any_has_genesis(block)
    {
        return ledger.left(left.peer, "is not asked: it is on another chain, with none of our blocks");
    }
    let why = on_one_line(&left.why);
    match left.event() {
        PeerEvent::Banned { peer, .. } => ledger.ban(peer, &why),
        _ => ledger.left(left.peer, &format!("is not asked: {why}")),
    }
}

/// Stores headers as they come. Stored ones that start above them give way: the store has no gaps.
fn keep(mut batches: mpsc::Receiver<HeaderBatch>, store: Option<&Store>) -> Result<()> {
    let mut writer: Option<HeaderWriter> = None;
    while let Some(HeaderBatch { first, headers }) = batches.blocking_recv() {
        if let (None, Some(store)) = (&writer, store) {
            if let Some(lowest) = store.first_height()?.filter(|lowest| first < *lowest) {
                store.store_headers(lowest, &[]).context("cannot keep headers")?;
            }
            writer = Some(HeaderWriter::new(store).context("cannot keep headers")?);
        }
        if let Some(writer) = &mut writer {
            let headers = headers.into_iter().map(|checked| (checked.header, checked.hash)).collect();
            writer.write(first, headers).context("cannot keep headers")?;
        }
    }
    writer.map_or(Ok(()), HeaderWriter::finish).context("cannot keep headers")
}

/// The hash of the block that tells a devnet from others: block 1, because all have the same block 0.
fn genesis_of(config: &ClientConfig) -> Option<BlockHash> {
    config.devnet.genesis.filter(|_| matches!(config.network, Network::Devnet(_)))
}

/// The oldest block whose header a sync needs.
fn first_needed(network: Network, range: Range) -> u32 {
    let first = match range {
        Range::Newest => return u32::MAX,
        Range::From(height) => height,
        Range::History => network.dip24_height().unwrap_or(0),
    };
    oldest_of(network, first)
}

/// The oldest block whose header the cycle at a height needs.
fn oldest_of(network: Network, height: u32) -> u32 {
    let cycles = network.cycles();
    cycles.work_height_back(cycles.start_of(height), STRAGGLERS).unwrap_or(0)
}

/// Checks that the headers start low enough for the newest cycle: the newest checkpoint may be too near to the tip.
fn check_start(network: Network, chain: &HeaderChain) -> Result<()> {
    let oldest = oldest_of(network, chain.tip());
    ensure!(
        chain.start() <= oldest.max(1),
        "the headers begin at block {}, and the newest cycle needs them from {oldest} on; use --from-cycle {}",
        chain.start(),
        chain.tip()
    );
    Ok(())
}

/// Goes on from stored headers. If they start above what is needed, all headers are fetched from `chain` on, and
/// [replace](keep) the stored ones.
fn restore(chain: &mut HeaderChain, store: &Store) -> Result<()> {
    let Some(first) = store.first_height()? else { return Ok(()) };
    let oldest = store.header(first)?.context("the oldest stored header is gone")?;
    match first.checked_sub(1) {
        Some(height) if height <= chain.start() => *chain = HeaderChain::new(height, oldest.prev_block_hash()),
        _ => return Ok(()),
    }
    let mut result = Ok(());
    store.visit_headers(|_, header, hash| {
        result = chain.restore([CheckedHeader { header, hash }]);
        result.is_ok()
    })?;
    result.context("stored headers do not fit together; move the data directory away")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_alone_neither_raises_nor_lowers_the_height_that_is_asked_for() {
        let common = |heights: &[u32]| second_highest(heights.iter().copied());
        assert_eq!([common(&[1777, 1772, 1772]), common(&[1772, 1765, 1772])], [1772, 1772]);
        assert_eq!([common(&[1772, 1771]), common(&[1772]), common(&[])], [1771, 1772, 0]);
    }
}
