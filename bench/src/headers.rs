//! Header sync from five nodes in virtual time: 150 ms round trip, 1.5 MB/s each.
//!
//! The times do not depend on the machine; hashing is left out.
#![allow(clippy::unwrap_used, reason = "a measurement")]

#[path = "../../spv-headers/tests/made/mod.rs"]
mod made;

use std::time::Duration;

use made::{Made, Node, run_by, stand_in};
use qrinfo_core::Network;
use spv_headers::{HeaderChain, HeaderRules, HeaderSyncConfig};
use spv_testkit::{HeaderFault, PeerProfile};
use tokio::time::Instant;

const RATE: u64 = 1_500_000;
const ROUND_TRIP: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy)]
enum Company {
    Five,
    WithSilent,
    WithSlow,
}

/// Measures chains of these lengths, by default those of mainnet above its newest checkpoint and above the start of
/// DIP-24.
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn run(lengths: &[u32]) {
    println!("headers  spacing  form        nodes        time     bound    factor");
    for &length in lengths {
        let made = Made::stand_in(length);
        for spacing in [2_000, 8_000, 24_000, length] {
            for compresses in [false, true] {
                for company in [Company::Five, Company::WithSilent, Company::WithSlow] {
                    measure(&made, spacing, compresses, company).await;
                }
            }
        }
    }
}

async fn measure(made: &Made, spacing: u32, compresses: bool, company: Company) {
    let profile = PeerProfile { round_trip: ROUND_TRIP, rate: Some(RATE), ..PeerProfile::default() };
    let node = || Node::new(made).profile(profile).compresses(compresses);
    let mut nodes: Vec<_> = (0..5).map(|_| node()).collect();
    match company {
        Company::Five => {}
        Company::WithSilent => nodes.insert(0, node().fault(HeaderFault::Silence)),
        Company::WithSlow => nodes.insert(0, node().profile(PeerProfile { rate: Some(20_000), ..profile })),
    }
    let checkpoints = (spacing..made.tip()).step_by(spacing as usize).map(|height| (height, made.hash_at(height)));
    let rules = HeaderRules::from(Network::Regtest).hash(stand_in).checkpoints(checkpoints);
    let config = HeaderSyncConfig { wanted_peers: 5, ..HeaderSyncConfig::default() };
    let from = HeaderChain::new(0, Network::Regtest.genesis_hash());
    let connections = made::connections(nodes).await;
    let start = Instant::now();
    let sync = run_by(rules, from, connections, config).await.unwrap();
    let took = start.elapsed();
    assert_eq!((sync.chain.tip(), sync.kept.len()), (made.tip(), made.tip() as usize));
    let bytes = f64::from(made.tip()) * if compresses { 43.0 } else { 81.0 };
    let ideal = bytes / (5 * RATE) as f64;
    let bound = 1.25 * ideal + 4.0 * ROUND_TRIP.as_secs_f64();
    let form = if compresses { "headers2" } else { "headers" };
    let (tip, company) = (made.tip(), format!("{company:?}"));
    println!(
        "{tip:7}  {spacing:7}  {form:8}  {company:10}  {:6.2} s  {bound:6.2} s  {:.2}",
        took.as_secs_f64(),
        took.as_secs_f64() / bound
    );
}
