//! Chains that are made for a test, nodes that have them, and a sync from such nodes.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Stream, stream};
use qrinfo_core::{
    BlockHash, BlockHeader, Network, PeerId, Target,
    message::{Headers, MAX_HEADERS, MAX_HEADERS2},
    wire::frame::Frame,
};
use spv_headers::{
    CheckedHeader, HeaderBatch, HeaderChain, HeaderRules, HeaderSyncConfig, HeaderSyncError, LeftPeer, Standing,
    sync_headers,
};
use spv_peer::{Connection, PeerConfig, handshake};
use spv_testkit::{Answers, HeaderFault, NodeFacts, PeerProfile, Recording, Response, ServerSession, SimulatedPeer};
use tokio::{io::DuplexStream, sync::mpsc};

/// A chain of headers from genesis on, the heights of its blocks, and the lengths of the locators that its nodes were sent.
#[derive(Debug, Clone)]
pub(crate) struct Made(Arc<Vec<CheckedHeader>>, Arc<HashMap<BlockHash, u32>>, Arc<Mutex<Vec<usize>>>);

/// A node that has a chain.
#[derive(Debug)]
pub(crate) struct Node {
    made: Made,
    height: u32,
    profile: PeerProfile,
    fault: Option<HeaderFault>,
    compresses: bool,
}

/// The outcome of a sync.
pub(crate) struct Synced {
    pub(crate) chain: HeaderChain,
    pub(crate) left: Vec<LeftPeer>,
    pub(crate) standings: Vec<Standing>,
    /// The headers that a store would hold if it was empty at the start.
    pub(crate) kept: Vec<CheckedHeader>,
    pub(crate) batches: usize,
}

// === impl Made ===

impl Made {
    fn new(headers: Vec<CheckedHeader>) -> Self {
        let heights = (0..).zip(&headers).map(|(height, header)| (header.hash, height)).collect();
        Self(Arc::new(headers), Arc::new(heights), Arc::default())
    }

    pub(crate) fn recorded(recording: &Recording) -> Self {
        let header = |(height, header): (u32, &[u8; 80])| CheckedHeader {
            header: BlockHeader::from_bytes(*header),
            hash: recording.block_hash(height).unwrap(),
        };
        Self::new((0..).zip(recording.headers()).map(header).collect())
    }

    pub(crate) fn tip(&self) -> u32 {
        self.0.len() as u32 - 1
    }

    pub(crate) fn hash_at(&self, height: u32) -> BlockHash {
        self.0[height as usize].hash
    }

    pub(crate) fn checked(&self, heights: RangeInclusive<u32>) -> Vec<CheckedHeader> {
        self.0[*heights.start() as usize..=*heights.end() as usize].to_vec()
    }

    /// The chain up to this height.
    pub(crate) fn until(&self, tip: u32) -> Self {
        Self::new(self.checked(0..=tip))
    }

    /// A long chain above genesis whose hash function is [`stand_in`]; as on mainnet, no two targets are the same.
    pub(crate) fn stand_in(length: u32) -> Self {
        let genesis = Self::recorded(&Recording::bundled().unwrap()).checked(0..=0);
        Self::stand_in_on(genesis, length, 0)
    }

    /// A chain with the same hash function that leaves this one at a height and has this many blocks above it.
    pub(crate) fn other(&self, from: u32, length: u32) -> Self {
        Self::stand_in_on(self.checked(0..=from), length, 9)
    }

    fn stand_in_on(mut headers: Vec<CheckedHeader>, length: u32, branch: u8) -> Self {
        headers.reserve_exact(length as usize);
        let first = headers.len() as u32 - 1;
        for index in first..first + length {
            let mut bytes = [0; 80];
            bytes[40] = branch;
            bytes[4..36].copy_from_slice(headers[index as usize].hash.as_bytes());
            bytes[36..40].copy_from_slice(&(index + 1).to_le_bytes());
            bytes[68..72].copy_from_slice(&(1_500_000_000 + 150 * index).to_le_bytes());
            bytes[72..76].copy_from_slice(&(0x207f_ffff_u32 - index % 2).to_le_bytes());
            headers.push(CheckedHeader {
                header: BlockHeader::from_bytes(bytes),
                hash: BlockHash::from_bytes(stand_in(&bytes)),
            });
        }
        Self::new(headers)
    }

    /// A chain that leaves this one at a height and has this many blocks above it, with the work of regtest's target.
    pub(crate) fn grown(&self, from: u32, length: u32, branch: u8) -> Self {
        let mut headers = self.checked(0..=from);
        let target = Target::from_bits(0x207f_ffff).unwrap();
        for index in 0..length {
            let before = headers.last().unwrap();
            let mut bytes = [branch; 80];
            bytes[4..36].copy_from_slice(before.hash.as_bytes());
            bytes[36..40].copy_from_slice(&index.to_le_bytes());
            bytes[68..72].copy_from_slice(&(before.header.time() + 150).to_le_bytes());
            bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
            let mined = (0_u32..).find_map(|nonce| {
                bytes[76..].copy_from_slice(&nonce.to_le_bytes());
                let hash = BlockHash::from_bytes(spv_x11::x11(&bytes));
                target.is_met_by(&hash).then_some(CheckedHeader { header: BlockHeader::from_bytes(bytes), hash })
            });
            headers.push(mined.unwrap());
        }
        Self::new(headers)
    }

    /// The number of hashes in each question for headers so far, in ascending order.
    pub(crate) fn locators(&self) -> Vec<usize> {
        let mut lengths = self.2.lock().unwrap().clone();
        lengths.sort_unstable();
        lengths
    }

    fn behind(&self, locator: &[BlockHash], most: usize) -> Vec<BlockHeader> {
        self.2.lock().unwrap().push(locator.len());
        let shared = locator.iter().find_map(|hash| self.1.get(hash)).copied().unwrap_or(0);
        self.0.iter().skip(shared as usize + 1).take(most).map(|header| header.header).collect()
    }
}

impl Answers for Made {
    fn node(&self) -> NodeFacts {
        let (network, user_agent) = (Network::Regtest, "/made/".to_owned());
        NodeFacts { network, user_agent, start_height: self.tip(), time: 0 }
    }

    fn answer(&self, _: &Frame, _: ServerSession) -> Response {
        Response::Ignore
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        Headers(self.behind(locator, MAX_HEADERS))
    }

    fn compressed_headers(&self, locator: &[BlockHash]) -> Vec<BlockHeader> {
        self.behind(locator, MAX_HEADERS2)
    }
}

/// A hash function that takes no time: the merkle root.
pub(crate) fn stand_in(header: &[u8]) -> [u8; 32] {
    header[36..68].try_into().unwrap()
}

// === impl Node ===

impl Node {
    pub(crate) fn new(made: &Made) -> Self {
        let profile = PeerProfile { round_trip: Duration::from_millis(1), ..PeerProfile::default() };
        Self { made: made.clone(), height: made.tip(), profile, fault: None, compresses: false }
    }

    pub(crate) fn announces(self, height: u32) -> Self {
        Self { height, ..self }
    }

    pub(crate) fn fault(self, fault: HeaderFault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    pub(crate) fn profile(self, profile: PeerProfile) -> Self {
        Self { profile, ..self }
    }

    pub(crate) fn compresses(self, compresses: bool) -> Self {
        Self { compresses, ..self }
    }

    /// Gives the node a longer round trip, so that another one is asked first.
    pub(crate) fn far(self) -> Self {
        let profile = PeerProfile { round_trip: Duration::from_millis(5), ..self.profile };
        Self { profile, ..self }
    }

    pub(crate) fn start(self) -> SimulatedPeer {
        let mut peer = SimulatedPeer::builder(self.made).start_height(self.height).profile(self.profile);
        if let Some(fault) = self.fault {
            peer = peer.header_fault(fault);
        }
        if self.compresses {
            peer = peer.compresses_headers();
        }
        peer.build()
    }
}

/// Connections to nodes, which live as long as the stream.
pub(crate) async fn connections(nodes: impl IntoIterator<Item = Node>) -> impl Stream<Item = Connection<DuplexStream>> {
    let (mut connected, mut peers) = (Vec::new(), Vec::new());
    for (port, node) in (1..).zip(nodes) {
        let peer = node.start();
        let name = PeerId::Address(([203, 0, 113, 1], port).into());
        let config = PeerConfig::new(Network::Regtest, u64::from(port));
        connected.push(handshake(peer.connect(), name, &config).await.unwrap());
        peers.push(peer);
    }
    // The peers stop when they are dropped.
    std::mem::forget(peers);
    stream::iter(connected)
}

pub(crate) async fn run(from: HeaderChain, nodes: impl IntoIterator<Item = Node>) -> Synced {
    run_with(from, nodes, HeaderSyncConfig::default()).await.unwrap()
}

pub(crate) async fn run_with(
    from: HeaderChain,
    nodes: impl IntoIterator<Item = Node>,
    config: HeaderSyncConfig,
) -> Result<Synced, HeaderSyncError> {
    run_by(Network::Regtest, from, connections(nodes).await, config).await
}

pub(crate) async fn run_by(
    rules: impl Into<HeaderRules>,
    from: HeaderChain,
    connections: impl Stream<Item = Connection<DuplexStream>>,
    config: HeaderSyncConfig,
) -> Result<Synced, HeaderSyncError> {
    let (keep, mut batches) = mpsc::channel::<HeaderBatch>(4);
    let start = from.tip();
    let store = tokio::spawn(async move {
        let (mut kept, mut first, mut count) = (Vec::new(), start + 1, 0);
        while let Some(batch) = batches.recv().await {
            count += 1;
            first = first.min(batch.first);
            kept.truncate((batch.first - first) as usize);
            kept.extend(batch.headers);
        }
        (kept, count)
    });
    let sync = sync_headers(connections, rules, from, config, keep).await?;
    let (kept, batches) = store.await.unwrap();
    let standings = sync.peers.iter().map(|peer| peer.standing).collect();
    Ok(Synced { chain: sync.chain, left: sync.left, standings, kept, batches })
}

// === impl Synced ===

impl Synced {
    /// The heights up to which the peers have the chain, in ascending order.
    pub(crate) fn shared(&self) -> Vec<u32> {
        let mut shared: Vec<_> = self.standings.iter().map(|standing| standing.shared).collect();
        shared.sort_unstable();
        shared
    }
}
