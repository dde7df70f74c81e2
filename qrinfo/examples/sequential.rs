//! Asks one peer at a time, the default: `cargo run -p qrinfo --example sequential`.
//!
//! The peers here answer as recorded; with the addresses of real nodes and a client's own headers, the same code syncs
//! from them.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::{error::Error, sync::Arc};

use qrinfo::{
    OrderedSync, SequentialOptions, SequentialSync, connect,
    plan::{Planner, anchor},
};
use qrinfo_correlate::CorrelatorConfig;
use spv_peer::PeerConfig;
use spv_testkit::{Fault, RecordedPeer, Recording};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Two nodes; the first falls away after ten replies.
    let recording = Arc::new(Recording::bundled()?);
    let nodes = [
        RecordedPeer::builder(recording.clone()).fault(10.., Fault::Close).spawn().await?,
        RecordedPeer::builder(recording.clone()).spawn().await?,
    ];

    let mut peers = Vec::new();
    for (nonce, node) in (1..).zip(&nodes) {
        let config = PeerConfig::new(recording.network(), nonce);
        peers.push(connect(node.address(), &config, CorrelatorConfig::default()).await?);
    }

    // The plan needs hashes by height: a client's headers. Here they are the recording's.
    let anchor = anchor(peers.iter().map(|peer| peer.start_height));
    let planner = Planner { anchor, ..Planner::new(recording.network(), recording.tip()) };
    let plan = planner.plan(240, recording.tip(), |height| recording.block_hash(height))?;
    println!("{} requests", plan.len());

    let mut sync = SequentialSync::new(plan, peers, SequentialOptions::default());
    while let Some(delivered) = sync.next().await {
        if delivered.index % 8 == 0 {
            println!(
                "reply {:>2}: {:>5} bytes from {}",
                delivered.index, delivered.timing.bytes, delivered.timing.peer
            );
        }
    }
    let report = sync.into_report();
    for lost in &report.lost {
        println!("{} was given up: {}", lost.peer, lost.why);
    }
    println!("{}: {} replies, {} retries", report.outcome, report.stats.delivered, report.stats.retries);
    Ok(())
}
