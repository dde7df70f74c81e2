//! A tower stack of one's own, of the crates below this one:
//! `cargo run -p qrinfo --features parallel-qrinfo --example own_stack`.
//!
//! Each peer is a service with a watch on its failures and, from tower itself, a bound on what it holds; a scheduler
//! chooses among them, recovery asks again elsewhere, and a rate limit from tower stands above it all. Two nodes answer;
//! a third hangs up after five replies.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream, stream::FuturesUnordered};
use qrinfo::{
    observe,
    plan::{Planner, anchor},
    slow_down,
};
use qrinfo_core::Attempt;
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use qrinfo_recovery::{FailureWatchLayer, RecoveryHandle, RecoveryLayer, RecoverySettings};
use qrinfo_scheduler::{Peer, SchedulerService, Settings, reports};
use spv_peer::PeerConfig;
use spv_testkit::{Fault, RecordedPeer, Recording};
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt, discover::Change, limit::ConcurrencyLimitLayer};

const CAP: usize = 6;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let recording = Arc::new(Recording::bundled()?);
    let nodes = [
        RecordedPeer::builder(recording.clone()).spawn().await?,
        RecordedPeer::builder(recording.clone()).fault(5.., Fault::Close).spawn().await?,
        RecordedPeer::builder(recording.clone()).spawn().await?,
    ];

    let recovery = RecoverySettings { max_concurrent: CAP, ..RecoverySettings::default() };
    let connected = RecoveryHandle::default();
    let (slower, slow_downs) = mpsc::unbounded_channel();
    let watch = FailureWatchLayer::new(&recovery, move |event| drop(slower.send(event.clone())));

    // One service for each peer: correlation, and what one wants to know of it.
    let (mut peers, mut heights) = (Vec::new(), Vec::new());
    for (nonce, node) in (1..).zip(&nodes) {
        let connection = spv_peer::connect(node.address(), &PeerConfig::new(recording.network(), nonce)).await?;
        let (id, round_trip) = (connection.peer(), connection.greeting_time());
        connected.peer_joined(id, connection.start_height());
        heights.push(connection.start_height());
        let (reporter, reports) = reports();
        let (service, driver) = PeerService::new(id, connection, CorrelatorConfig::default(), observe(reporter));
        let told = connected.clone();
        tokio::spawn(async move {
            let why = driver.await;
            println!("{id} ended: {why}");
            told.peer_left(id);
        });
        let service = ServiceBuilder::new().layer(watch.clone()).layer(ConcurrencyLimitLayer::new(4)).service(service);
        peers.push(Ok::<_, Infallible>(Change::Insert(id, Peer::new(service, round_trip).with_reports(reports))));
    }

    // The scheduler over them, and recovery over the scheduler.
    let (scheduler, driver) = SchedulerService::new(stream::iter(peers), Settings { cap: CAP, ..Settings::default() });
    let slowing = tokio::spawn(slow_down(CAP, slow_downs, scheduler.handle()));
    tokio::spawn(driver);
    let layer = RecoveryLayer::new(recovery).with_peers(connected).on_event(|event| println!("{event:?}"));
    let service = ServiceBuilder::new().layer(layer).service(scheduler);
    let service = ServiceBuilder::new().buffer(64).rate_limit(200, Duration::from_secs(1)).service(service);

    let planner = Planner { anchor: anchor(heights), ..Planner::new(recording.network(), recording.tip()) };
    let plan = planner.plan(240, recording.tip(), |height| recording.block_hash(height))?;
    let mut asked: FuturesUnordered<_> =
        (0..).zip(plan).map(|(id, spec)| service.clone().oneshot(Attempt::new(id, spec.into()))).collect();
    let mut replies = 0;
    while let Some(answer) = asked.next().await {
        let (_, timing) = answer?;
        replies += 1;
        if replies % 16 == 0 {
            println!("{replies} replies; the last {} bytes from {}", timing.bytes, timing.peer);
        }
    }
    slowing.abort();
    println!("{replies} replies");
    Ok(())
}
