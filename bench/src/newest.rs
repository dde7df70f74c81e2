//! The newest rotated quorums after a header sync, in virtual time: from the request to the first reply that is proven up
//! to the roots. Verification takes no time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qrinfo::{
    OrderedSync, ParallelOptions, ParallelSync, adopt,
    plan::{Planner, anchor},
};
use qrinfo_core::{BlockHeader, PeerId};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_verify::{HeaderMap, Level, ListStage};
use spv_peer::{PeerConfig, handshake};
use spv_testkit::{Chain, Fault, PeerProfile, SimulatedPeer, SyntheticChain, SyntheticParams};
use tokio::time::Instant;

use crate::headers::{Company, RATE, ROUND_TRIP, SLOW_RATE};

/// Measures the newest cycle of a made-up chain of mainnet's size.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let chain = SyntheticChain::generate(42, &SyntheticParams::mainnet_like(8)).chain;
    println!("newest quorums  nodes            time     bound      bytes");
    Company::ALL.into_iter().try_for_each(|company| runtime.block_on(measure(&chain, company)))
}

async fn measure(chain: &Chain, company: Company) -> Result<()> {
    let profile = PeerProfile { round_trip: ROUND_TRIP, rate: Some(RATE), ..PeerProfile::default() };
    let node = || SimulatedPeer::builder(chain.clone()).profile(profile);
    let mut nodes: Vec<_> = (0..5).map(|_| node()).collect();
    match company {
        Company::Five => {}
        Company::WithSilent => nodes.insert(0, node().fault(0.., Fault::Silent)),
        Company::WithSlow => nodes.insert(0, node().profile(PeerProfile { rate: Some(SLOW_RATE), ..profile })),
    }
    let (mut connections, mut running) = (Vec::new(), Vec::new());
    for (port, node) in (1..).zip(nodes) {
        let node = node.build();
        let id = PeerId::Address(([203, 0, 113, 1], port).into());
        connections.push(handshake(node.connect(), id, &PeerConfig::new(chain.network(), u64::from(port))).await?);
        running.push(node);
    }
    let mut headers = HeaderMap::default();
    for (height, header) in (0..).zip(chain.headers()) {
        let block = chain.block(height).context("a height without a block")?;
        headers.insert(height, block.hash, &BlockHeader::from_bytes(*header));
    }
    let planner = Planner { anchor: anchor([chain.tip()]), ..Planner::new(chain.network(), chain.tip()) };
    let plan = planner.plan(chain.tip(), chain.tip(), |height| chain.block(height).map(|block| block.hash))?;
    let spec = plan.first().context("nothing to ask for")?.clone();
    let start = Instant::now();
    let peers = connections.into_iter().map(|connection| adopt(connection, CorrelatorConfig::default())).collect();
    let mut sync = ParallelSync::new(plan, peers, ParallelOptions::default());
    let delivered = sync.next().await.context("no reply came")?;
    let took = start.elapsed();
    let mut stage = ListStage::new(chain.network(), Level::Roots);
    stage.apply(&spec.into(), &delivered.reply, |hash| headers.find(hash))?;
    let transfer = Duration::from_secs_f64(delivered.timing.bytes as f64 / RATE as f64);
    let bound = 4 * ROUND_TRIP + transfer;
    println!(
        "                {:12}  {:5.2} s   {:5.2} s  {:7}",
        format!("{company:?}"),
        took.as_secs_f64(),
        bound.as_secs_f64(),
        delivered.timing.bytes
    );
    // A node that is silent from its first question on is found out by the header sync, and is not asked for quorums.
    ensure!(took <= bound || matches!(company, Company::WithSilent), "the newest quorums took longer");
    Ok(())
}
