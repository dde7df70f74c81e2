//! Header sync from five nodes in virtual time: 150 ms round trip, 1.5 MB/s each.
//!
//! The times do not depend on the machine; hashing is left out.
#![allow(clippy::unwrap_used, reason = "a measurement")]

#[path = "../../spv-headers/tests/made/mod.rs"]
mod made;
#[path = "../../spv-headers/src/waypoints.rs"]
mod waypoints;

use std::{env, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use made::{Made, Node, run_by, stand_in};
use qrinfo_core::{
    Network,
    message::{MAX_HEADERS, MAX_HEADERS2},
};
use spv_headers::{HeaderChain, HeaderRules, HeaderSyncConfig};
use spv_testkit::{HeaderFault, PeerProfile};
use tokio::time::Instant;
use waypoints::waypoints;

/// Fewer headers than this are those above the newest checkpoint.
const NEWEST: u32 = 400_000;

pub(crate) const RATE: u64 = 1_500_000;
pub(crate) const SLOW_RATE: u64 = 20_000;
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(150);

/// The nodes of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Company {
    Five,
    /// One more that answers nothing.
    WithSilent,
    /// One more that sends 20 kB/s.
    WithSlow,
}

impl Company {
    pub(crate) const ALL: [Self; 3] = [Self::Five, Self::WithSilent, Self::WithSlow];
}

/// Measures chains of these lengths, by default those of mainnet above its newest checkpoint and above the start of
/// DIP-24.
pub(crate) fn run(lengths: &[u32]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        println!("headers  waypoint every  form      nodes        time     bound    factor  one at a time");
        for &length in lengths {
            let made = Made::stand_in(length);
            let every = |spacing: u32| (spacing.to_string(), (spacing..length).step_by(spacing as usize).collect());
            let tables = [("shipped".to_owned(), shipped(length)), every(2_000), every(8_000), every(24_000)];
            for (name, ahead) in tables.into_iter().chain([("none".to_owned(), Vec::new())]) {
                for compresses in [false, true] {
                    for company in Company::ALL {
                        measure(&made, (&name, &ahead), compresses, company).await;
                    }
                }
            }
        }
    });
    Ok(())
}

/// Measures heap, writes and idle gaps of clients over real sockets.
pub(crate) fn run_live(lengths: &[u32]) -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--release", "--locked", "-p", "qrinfo-bench", "--example", "header_client", "--"])
        .args(lengths.iter().map(ToString::to_string))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the benchmark failed");
    Ok(())
}

/// The places of mainnet's waypoints above the block from which a sync of so many headers starts: the newest checkpoint,
/// or the one near the start of DIP-24.
fn shipped(length: u32) -> Vec<u32> {
    let network = Network::Mainnet;
    let base = if length < NEWEST { Some(u32::MAX) } else { network.dip24_height() };
    let start = base.map_or(0, |height| network.checkpoint_below(height).0);
    waypoints(network)
        .filter_map(|(height, _)| height.checked_sub(start))
        .filter(|place| (1..length).contains(place))
        .collect()
}

async fn measure(made: &Made, (name, ahead): (&str, &[u32]), compresses: bool, company: Company) {
    let profile = PeerProfile { round_trip: ROUND_TRIP, rate: Some(RATE), ..PeerProfile::default() };
    let node = || Node::new(made).profile(profile).compresses(compresses);
    let mut nodes: Vec<_> = (0..5).map(|_| node()).collect();
    match company {
        Company::Five => {}
        Company::WithSilent => nodes.insert(0, node().fault(HeaderFault::Silence)),
        Company::WithSlow => nodes.insert(0, node().profile(PeerProfile { rate: Some(SLOW_RATE), ..profile })),
    }
    let ahead = ahead.iter().map(|&height| (height, made.hash_at(height)));
    let rules = HeaderRules::from(Network::Regtest).hash(stand_in).waypoints(ahead);
    let config = HeaderSyncConfig { wanted_peers: 5, ..HeaderSyncConfig::default() };
    let from = HeaderChain::new(0, Network::Regtest.genesis_hash());
    let connections = made::connections(nodes).await;
    let start = Instant::now();
    let sync = run_by(rules, from, connections, config).await.unwrap();
    let took = start.elapsed();
    assert_eq!((sync.chain.tip(), sync.kept.len()), (made.tip(), made.tip() as usize));
    let (a_message, a_header) = if compresses { (MAX_HEADERS2, 43.0) } else { (MAX_HEADERS, 81.0) };
    let bytes = f64::from(made.tip()) * a_header;
    let ideal = bytes / (5 * RATE) as f64;
    let bound = 1.25 * ideal + 4.0 * ROUND_TRIP.as_secs_f64();
    let messages = (made.tip() as usize).div_ceil(a_message) as f64;
    let one_at_a_time = messages * ROUND_TRIP.as_secs_f64() + bytes / RATE as f64;
    let form = if compresses { "headers2" } else { "headers" };
    let (tip, company, took) = (made.tip(), format!("{company:?}"), took.as_secs_f64());
    println!(
        "{tip:7}  {name:>14}  {form:8}  {company:10}  {took:6.2} s  {bound:6.2} s  {:.2}    {one_at_a_time:6.2} s",
        took / bound
    );
}
