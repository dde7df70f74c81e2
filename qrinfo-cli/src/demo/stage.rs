//! The requests of a demo, the expected replies, and the peers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use qrinfo::plan::{Planner, anchor};
use qrinfo_core::{
    BlockHash, BlockHeader, CYCLES_BACK, HEADER_LEN, Network, QRInfoRequestSpec, Reply, Request,
    message::PROTOCOL_VERSION, wire::Wire,
};
use qrinfo_verify::HeaderMap;
use spv_testkit::{
    Answer, Chain, PeerProfile, Plan, RecordedAnswers, Recording, SimulatedPeer, SyntheticChain, SyntheticParams,
    builder,
};

/// The five peers, the fastest first: round trip and compute time in milliseconds, link in bytes per second. The spread
/// is that of nodes near and far, idle and busy.
pub(super) const PROFILES: [PeerProfile; 5] = [
    profile(80, 80, 2_000_000),
    profile(120, 100, 1_000_000),
    profile(150, 130, 500_000),
    profile(220, 180, 250_000),
    profile(300, 260, 120_000),
];

/// The cycles of the demo of mainnet's size.
const MAINNET_CYCLES: u32 = 48;

/// The seed of the mainnet-like chain.
const SEED: u64 = 2024;

const fn profile(round_trip: u64, compute: u64, rate: u64) -> PeerProfile {
    PeerProfile {
        round_trip: Duration::from_millis(round_trip),
        compute: Duration::from_millis(compute),
        rate: Some(rate),
    }
}

/// Requests, the replies that they must get, and peers to ask.
pub(super) struct Stage {
    pub(super) what: String,
    pub(super) network: Network,
    pub(super) headers: Arc<HeaderMap>,
    pub(super) plan: Vec<QRInfoRequestSpec>,
    pub(super) expected: Vec<Bytes>,
    /// The fastest first.
    pub(super) peers: Vec<(SimulatedPeer, SocketAddr)>,
}

impl Stage {
    /// All cycles of the recorded chain; the replies are those of the node.
    pub(super) async fn recorded() -> Result<Self> {
        let recording = Arc::new(Recording::bundled().context("the recorded chain")?);
        let sync = recording
            .complete_syncs()
            .iter()
            .find(|sync| sync.plan == Plan::Chained && sync.protocol == PROTOCOL_VERSION)
            .context("the recording holds no chained sync")?;
        let plan = Planner { anchor: Some(recording.anchor()), ..Planner::new(recording.network(), recording.tip()) }
            .plan(sync.first_cycle, recording.tip(), |height| recording.block_hash(height))?;
        let expected: Vec<_> = recording
            .exchanges_of(sync)
            .map(|exchange| match &exchange.answer {
                Answer::Reply(bytes) => Ok(bytes.clone()),
                Answer::Refused => bail!("recorded exchange {} is a refusal", exchange.id),
            })
            .collect::<Result<_>>()?;
        ensure!(plan.len() == expected.len(), "{} requests, {} recorded replies", plan.len(), expected.len());
        let peers = peers(|| SimulatedPeer::builder(RecordedAnswers::new(recording.clone()))).await?;
        let what = format!("{} cycles of a chain recorded from {}", plan.len(), recording.node());
        let headers = Arc::new(headers(recording.headers(), |height| recording.block_hash(height)));
        Ok(Self { what, network: recording.network(), headers, plan, expected, peers })
    }

    /// The newest cycles of a made-up chain of mainnet's size; the replies are built by Dash Core's rules.
    pub(super) async fn mainnet_size() -> Result<Self> {
        eprintln!("making a chain of mainnet's size ...");
        let params = SyntheticParams::mainnet_like(MAINNET_CYCLES + CYCLES_BACK + 1);
        let chain = tokio::task::spawn_blocking(move || SyntheticChain::generate(SEED, &params).chain).await?;
        let (network, tip) = (chain.network(), chain.tip());
        let first = network.cycles().start_of(tip).height() - (MAINNET_CYCLES - 1) * network.cycles().length();
        let plan = Planner { anchor: anchor([tip]), ..Planner::new(network, tip) }
            .plan(first, tip, |height| chain.block(height).map(|block| block.hash))?;
        let expected = plan.iter().map(|spec| reply(&chain, spec)).collect::<Result<_>>()?;
        let peers = peers(|| SimulatedPeer::builder(chain.clone())).await?;
        let what = format!("{} cycles of a made-up chain of mainnet's size", plan.len());
        let headers = Arc::new(headers(chain.headers(), |height| chain.block(height).map(|block| block.hash)));
        Ok(Self { what, network, headers, plan, expected, peers })
    }
}

/// The headers of a chain from block 0 on.
fn headers<'a>(
    headers: impl IntoIterator<Item = &'a [u8; HEADER_LEN]>,
    hash_at: impl Fn(u32) -> Option<BlockHash>,
) -> HeaderMap {
    let mut map = HeaderMap::default();
    for (height, header) in (0..).zip(headers) {
        if let Some(hash) = hash_at(height) {
            map.insert(height, hash, &BlockHeader::from_bytes(*header));
        }
    }
    map
}

async fn peers(builder: impl Fn() -> spv_testkit::SimulatedPeerBuilder) -> Result<Vec<(SimulatedPeer, SocketAddr)>> {
    let mut peers = Vec::new();
    for profile in PROFILES {
        let peer = builder().profile(profile).build();
        let address = peer.listen().await?;
        peers.push((peer, address));
    }
    Ok(peers)
}

fn reply(chain: &Chain, spec: &QRInfoRequestSpec) -> Result<Bytes> {
    let request = Request::from(spec.clone()).to_message();
    match builder::answer(chain, &request, PROTOCOL_VERSION) {
        Some(Ok(Reply::QrInfo(reply))) => Ok(reply.to_wire()),
        Some(Err(refusal)) => bail!("cycle {}: {refusal}", spec.cycle.height()),
        _ => bail!("cycle {}: no reply", spec.cycle.height()),
    }
}
