//! A follower over simulated nodes whose chain grows and reorganizes in virtual time.
#![cfg(feature = "follow")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::time::Duration;

use qrinfo::follow::{Degradation, FollowState};
use spv_testkit::SyntheticParams;
use tokio::time::{Instant, sleep};
use world::{History, World, smallest};

fn params(cycles: u32) -> SyntheticParams {
    SyntheticParams { tip: cycles * 24 + 22, ..SyntheticParams::regtest() }
}

#[tokio::test(start_paused = true)]
async fn a_new_client_syncs_and_then_follows_every_block() {
    let history = History::new(7, &params(40), 20 * 24 + 21, &[]);
    let world = World::new(history.first.clone(), 4);
    let mut watched = world.follow(None);
    watched.until_synced(history.first.tip()).await;
    let (before, first) = (world.bytes(), history.first.tip());
    world.play(&history.changes).await;
    watched.until_synced(history.last.tip()).await;
    assert_eq!(watched.lies(), [""; 0]);
    assert_eq!(watched.unseen(&history.last, first..=history.last.tip()), [""; 0]);
    let traffic = world.traffic();
    assert_eq!(traffic.refused, 0);
    for (cycle, (qr_infos, diffs)) in traffic.cycles.iter().skip(1) {
        assert!(*qr_infos <= 1 && *diffs <= 25, "cycle {cycle}: {qr_infos} qrinfo, {diffs} diffs");
    }
    let smallest = smallest(&history.last, first..history.last.tip());
    let ratio = (world.bytes() - before) as f64 / smallest as f64;
    println!("{} bytes, {ratio:.3} times the smallest", world.bytes() - before);
    assert!(ratio < 1.5, "{ratio}");
}

/// Three reorganizations, all nodes replaced twice, and a week of the chain's own time without any.
#[tokio::test(start_paused = true)]
async fn whatever_happens_to_chain_and_nodes_the_follower_ends_at_the_tip() {
    let start = 20 * 24 + 21;
    let history = History::new(11, &params(60), start, &[(start + 50, 1), (start + 200, 2), (start + 400, 8)]);
    let mut world = World::new(history.first.clone(), 4);
    let mut watched = world.follow(None);
    watched.until_synced(start).await;
    let mut changes = history.changes.as_slice();
    for part in [100, 160, 120] {
        let (now, later) = changes.split_at(part);
        world.play(now).await;
        changes = later;
        world.replace_nodes(0);
        watched.until(|state| matches!(state, FollowState::Degraded { reason: Degradation::NoPeers, .. })).await;
        if part == 160 {
            let (pause, later) = changes.split_at(60);
            world.play(pause).await;
            changes = later;
        }
        watched.pool.add(world.replace_nodes(4), spv_pool::Source::Named);
        watched.until_synced(world.live.now().tip()).await;
    }
    world.play(changes).await;
    watched.until_synced(history.last.tip()).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(watched.lies(), [""; 0]);
    assert_eq!(watched.unseen(&history.last, start..=history.last.tip()), [""; 0]);
    assert_eq!(watched.seen.lock().unwrap().reorganizations, 3);
    assert!(watched.ledger.all_left().values().all(|why| !why.contains("given up")), "{:?}", watched.ledger.all_left());
    println!("{:#?}", world.traffic());
}
