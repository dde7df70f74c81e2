//! A tower stack of one's own, made of the crates below this one:
//! `cargo run -p qrinfo --features parallel-qrinfo --example own_stack`.
//!
//! A scheduler chooses among the peers and keeps the ledger of them; recovery, one layer around it, follows that ledger
//! and asks again elsewhere. Buffer and rate limit above are tower's own. Two nodes answer; a third closes its
//! connection after five replies.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream, stream::FuturesUnordered};
use qrinfo::plan::{Planner, anchor};
use qrinfo_core::Attempt;
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use qrinfo_recovery::{RecoveryLayer, RecoverySettings};
use qrinfo_scheduler::{Peer, SchedulerService, Settings};
use spv_peer::PeerConfig;
use spv_testkit::{Fault, RecordedPeer, Recording};
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt, discover::Change};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let recording = Arc::new(Recording::bundled()?);
    let node = || RecordedPeer::builder(recording.clone());
    let nodes = [node().spawn().await?, node().fault(5.., Fault::Close).spawn().await?, node().spawn().await?];

    // One service for each peer. What it observes goes straight into the scheduler.
    let (mut peers, mut heights) = (Vec::new(), Vec::new());
    for (nonce, node) in (1..).zip(&nodes) {
        let connection = spv_peer::connect(node.address(), &PeerConfig::new(recording.network(), nonce)).await?;
        let (id, height, round_trip) = (connection.peer(), connection.start_height(), connection.greeting_time());
        let (sender, events) = mpsc::unbounded_channel();
        let observer = move |event| drop(sender.send(event));
        let (service, driver) = PeerService::new(id, connection, CorrelatorConfig::default(), observer);
        tokio::spawn(driver);
        peers.push(Ok::<_, Infallible>(Change::Insert(id, Peer::new(service, height, round_trip).with_events(events))));
        heights.push(height);
    }

    // The scheduler over them, and recovery over the scheduler.
    let (scheduler, driver) = SchedulerService::new(stream::iter(peers), Settings { cap: 6, ..Settings::default() });
    tokio::spawn(driver);
    let recovery = RecoveryLayer::new(RecoverySettings::default())
        .with_peers(scheduler.handle().peers())
        .on_event(|event| println!("{event:?}"));
    let service = ServiceBuilder::new().buffer(64).rate_limit(200, Duration::from_secs(1)).layer(recovery);
    let service = service.service(scheduler);

    let planner = Planner { anchor: anchor(heights), ..Planner::new(recording.network(), recording.tip()) };
    let plan = planner.plan(240, recording.tip(), |height| recording.block_hash(height))?;
    let asked = (0..).zip(plan).map(|(id, spec)| service.clone().oneshot(Attempt::new(id, spec.into())));
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut replies = 0;
    while let Some(answer) = asked.next().await {
        let timing = answer?.timing;
        replies += 1;
        println!("reply {replies}: {} bytes from {}", timing.bytes, timing.peer);
    }
    println!("{replies} replies");
    Ok(())
}
