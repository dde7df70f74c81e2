//! A follower over simulated nodes whose chain grows and reorganizes in virtual time.
#![cfg(feature = "follow")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use std::time::Duration;

use qrinfo::{
    book::{Lookup, QuorumBook},
    follow::{Degradation, FollowState, stored_lists},
};
use qrinfo_core::{Network, ProTxHash, message::InstantLock};
use qrinfo_verify::Level;
use spv_store::{Store, StoreError};
use spv_testkit::{Chain, Fault, Fork, HeaderFault, Keys, LiveChain, SyntheticChain, SyntheticParams};
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
    // On regtest a commitment may be mined behind the next cycle's work block, and replaced before the one after it: of the
    // blocks of the pause, no proven list has such a quorum.
    let unseen = |mined| watched.unseen(&history.last, mined);
    assert_eq!([unseen(start..=start + 250), unseen(start + 340..=history.last.tip())], [[""; 0]; 2]);
    assert_eq!(watched.seen.lock().unwrap().reorganizations, 3);
    assert!(watched.ledger.all_left().values().all(|why| !why.contains("given up")), "{:?}", watched.ledger.all_left());
}

/// Kills a follower at random moments, most of them while a block is taken in.
#[tokio::test(start_paused = true)]
async fn a_killed_follower_goes_on_from_what_it_stored_in_three_round_trips() {
    let start = 20 * 24 + 21;
    let history = History::new(13, &params(24), start, &[(start + 20, 2)]);
    let directory = tempfile::tempdir().unwrap();
    let world = World::new(history.first.clone(), 3);
    let mut random = fastrand::Rng::with_seed(5);
    let mut changes = history.changes.as_slice();
    let (mut first_bytes, mut stored) = (None, 0);
    for kill in 0..KILLS {
        let tip = world.live.now().tip();
        let store = open(directory.path()).await;
        let is_first = store.tip_height().unwrap().is_none() || store.lists().unwrap().is_empty();
        assert!(store.tip_height().unwrap().unwrap_or(0) + 1 >= stored, "kill {kill}: headers are lost");
        let (before, from) = (world.bytes(), Instant::now());
        let mut watched = world.follow(Some(store));
        if kill < 5 {
            // In the middle of the first sync.
            sleep(Duration::from_millis(random.u64(0..600))).await;
            watched.kill();
            continue;
        }
        watched.until_synced(tip).await;
        let (took, bytes) = (from.elapsed(), world.bytes() - before);
        if is_first {
            first_bytes = Some(bytes);
        } else {
            assert!(took <= 3 * world.round_trip + SLACK, "kill {kill} at {tip}: {took:?}");
            assert!(bytes <= first_bytes.unwrap_or(bytes), "kill {kill} at {tip}: {bytes} bytes");
        }
        let (now, later) = changes.split_at(random.usize(0..3).min(changes.len()));
        world.play(now).await;
        changes = later;
        sleep(Duration::from_millis(random.u64(0..600))).await;
        assert_eq!(watched.lies(), [""; 0]);
        stored = match watched.state() {
            FollowState::Synced { height } => height,
            _ => stored,
        };
        watched.kill();
    }
    assert!(changes.len() + 22 < history.changes.len(), "the reorganization was not reached");
}

/// More blocks than are taken above the agreed tip at a time.
#[tokio::test(start_paused = true)]
async fn a_pause_of_thousands_of_blocks_is_made_up_for() {
    let start = 20 * 24 + 21;
    let history = History::new(3, &params(192), start, &[]);
    let mut world = World::new(history.first.clone(), 4);
    let mut watched = world.follow(None);
    watched.until_synced(start).await;
    world.replace_nodes(0);
    world.play(&history.changes).await;
    watched.pool.add(world.replace_nodes(4), spv_pool::Source::Named);
    let from = Instant::now();
    watched.until_synced(history.last.tip()).await;
    assert!(from.elapsed() < Duration::from_secs(30), "{:?}", from.elapsed());
    assert_eq!(watched.lies(), [""; 0]);
}

/// Nodes that are of no use are left, and the one that lies is banned.
#[tokio::test(start_paused = true)]
async fn nodes_that_lie_fall_silent_or_fall_behind_are_replaced() {
    let start = 20 * 24 + 21;
    let history = History::new(17, &params(30), start, &[]);
    let mut world = World::new(history.first.clone(), 3);
    world.target = 8;
    let live = world.live.clone();
    world.add(&live, |node| node.header_fault(HeaderFault::Silence));
    world.add(&LiveChain::new(history.first.clone()), |node| node);
    let other = SyntheticChain::generate_fork(17, &params(30), Fork { height: start - 3, seed: 5 }).chain;
    world.add(&LiveChain::new(other.until(start + 1)), |node| node);
    let liar = world.add(&live, |node| {
        node.lie(.., |reply| reply.mn_list_diff_tip.deleted_masternodes = [ProTxHash::ZERO].into_iter().collect())
    });
    world.add(&live, |node| node.fault(.., Fault::Silent));
    let mut watched = world.follow(None);
    watched.until_synced(start).await;
    world.play(&history.changes).await;
    watched.until_synced(history.last.tip()).await;
    assert_eq!(watched.lies(), [""; 0]);
    let blamed: Vec<_> = world.names().into_iter().filter(|peer| watched.ledger.is_banned(*peer)).collect();
    assert_eq!(blamed, [liar]);
}

/// Real keys: members and signatures are verified, and each ChainLock that the nodes announce.
#[tokio::test(start_paused = true)]
async fn locks_are_asked_for_verified_and_told() {
    let start = 13 * 24 + 21;
    let params = SyntheticParams { keys: Keys::Bls, late_chain_locks: 0.0, ..params(14) };
    let history = History::new(19, &params, start, &[]);
    let mut world = World::of(LiveChain::new(history.first.clone()).with_locks(), 3);
    world.level = Level::Full;
    let mut watched = world.follow(None);
    watched.until_synced(start).await;
    world.play(&history.changes).await;
    watched.until_synced(history.last.tip()).await;
    sleep(Duration::from_secs(5)).await;
    let seen = watched.seen.lock().unwrap();
    assert_eq!(seen.locked, (start..history.last.tip()).collect());
    assert!(world.names().into_iter().all(|peer| !watched.ledger.is_banned(peer)));
}

/// InstantSend locks on their way through nodes: before and after their quorum is known, withheld by the node that
/// announces them first, and false.
#[tokio::test(start_paused = true)]
async fn instant_locks_are_asked_for_verified_and_told() {
    let start = 13 * 24 + 3;
    let params = SyntheticParams { keys: Keys::Bls, ..params(16) };
    let synthetic = SyntheticChain::generate(23, &params);
    let lock = |height, number| synthetic.instant_lock(height, number).unwrap();
    let mut world = World::new(synthetic.chain.until(start), 3);
    world.level = Level::Full;
    world.target = 8;
    // One node announces and sends nothing, another one lies.
    let silent = LiveChain::new(synthetic.chain.until(start)).withholding_locks();
    world.add(&silent, |node| node);
    let lies = LiveChain::new(synthetic.chain.until(start));
    let liar = world.add(&lies, |node| node);
    let mut watched = world.follow(None);
    watched.until_synced(start).await;
    let seen = watched.seen.clone();
    let reserved = || seen.lock().unwrap().reserved.clone();

    // Of a quorum that is there, and once more by all others.
    let first = lock(start, 1);
    world.live.lock(first.clone());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(reserved(), [first.txid]);
    // Announced first by the node that never sends it.
    let withheld = lock(start, 2);
    silent.lock(withheld.clone());
    sleep(Duration::from_secs(1)).await;
    world.live.lock(withheld.clone());
    sleep(Duration::from_secs(15)).await;
    assert_eq!(reserved(), [first.txid, withheld.txid]);
    // Of a cycle that has not begun: it waits, and is told when its quorums are there. The liar sends it first.
    let early: Vec<_> = (10..14).map(|number| lock(14 * 24 + 21, number)).collect();
    let next = synthetic.chain.block(14 * 24).unwrap().hash;
    let is_of_next = |lock: &&InstantLock| lock.cycle_hash == next;
    assert!(early.iter().filter(is_of_next).count() > 0);
    early.iter().for_each(|lock| lies.lock(lock.clone()));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(reserved().len(), 2 + early.len() - early.iter().filter(is_of_next).count());
    for height in start + 1..=synthetic.chain.tip() {
        sleep(world::SPACING).await;
        [&world.live, &silent, &lies].iter().for_each(|live| live.set(synthetic.chain.until(height)));
    }
    watched.until_synced(synthetic.chain.tip()).await;
    // A false one: nothing is told, and its sender alone is banned.
    let mut false_one = lock(16 * 24 + 2, 3);
    false_one.signature[90] ^= 1;
    lies.lock(false_one.clone());
    sleep(Duration::from_secs(5)).await;
    let mut told = reserved();
    told.sort_unstable();
    let mut expected: Vec<_> = [&first, &withheld].into_iter().chain(&early).map(|lock| lock.txid).collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
    let banned: Vec<_> = world.names().into_iter().filter(|peer| watched.ledger.is_banned(*peer)).collect();
    assert_eq!(banned, [liar]);
}

/// A reorganization far deeper than the blocks that are kept at hand, while one node stays on the old chain.
#[tokio::test(start_paused = true)]
async fn a_reorganization_of_hundreds_of_blocks_is_followed_and_is_no_fault() {
    let fork = 20 * 24 + 21;
    let [old, new] = branches(31, fork, [400, 410]);
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(old.clone(), 3);
    world.add(&LiveChain::new(old.clone()), |node| node);
    let mut watched = world.follow(Some(open(directory.path()).await));
    watched.until_synced(old.tip()).await;
    let gone = old.quorums().iter().filter(|quorum| quorum.mined_height > fork).last().unwrap();
    let key = |book: &QuorumBook| book.public_key(gone.commitment.llmq_type, &gone.commitment.quorum_hash);
    assert!(key(&watched.follower.book).found().is_some());

    let before = Instant::now();
    world.live.set(new.knowing(&old));
    watched.until_synced(new.tip()).await;
    assert!(before.elapsed() < Duration::from_secs(60), "{:?}", before.elapsed());
    assert_eq!(key(&watched.follower.book), Lookup::Unknown);
    assert_eq!(watched.seen.lock().unwrap().reorganizations, 1);
    assert!(world.names().into_iter().all(|peer| !watched.ledger.is_banned(peer)));
    assert_eq!(watched.lies(), [""; 0]);
    sleep(Duration::from_secs(1)).await;
    watched.kill();

    // What is stored is of the new chain.
    let store = open(directory.path()).await;
    let (height, _) = stored_lists(&store, Network::Regtest).unwrap().unwrap();
    assert_eq!(store.hash_at(new.tip()).unwrap(), new.block(new.tip()).map(|block| block.hash));
    assert!(
        store.lists().unwrap().iter().all(|(height, _)| *height <= fork || *height + 8 * 24 > new.tip()),
        "{height}"
    );
    let mut watched = world.follow(Some(store));
    let before = world.traffic();
    watched.until_synced(new.tip()).await;
    assert_eq!(world.traffic().bytes, before.bytes, "it asked for what it had stored");
}

/// Most nodes are on a long chain that is not that of the others, and then they are gone: with the next block the
/// follower is back, and without one after some time.
#[tokio::test(start_paused = true)]
async fn the_chain_of_the_nodes_that_are_left_wins_again() {
    let fork = 20 * 24 + 21;
    let [honest, long] = branches(37, fork, [20, 400]);
    for is_mined in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::new(honest.until(fork), 2);
        world.target = 8;
        let liars = LiveChain::new(long.clone());
        let names: Vec<_> = (0..3).map(|_| world.add(&liars, |node| node)).collect();
        let mut watched = world.follow(Some(open(directory.path()).await));
        watched.until(|state| *state == FollowState::Synced { height: long.tip() }).await;
        world.remove(&names);
        let from = Instant::now();
        if is_mined {
            sleep(Duration::from_secs(1)).await;
            world.live.set(honest.until(fork + 1));
        }
        let tip = world.live.now().tip();
        watched.until_synced(tip).await;
        let most = if is_mined { 60 } else { 15 * 60 };
        assert!(from.elapsed() < Duration::from_secs(most), "{:?}", from.elapsed());
        world.live.set(honest.clone());
        watched.until_synced(honest.tip()).await;
        assert!(world.names().into_iter().all(|peer| !watched.ledger.is_banned(peer)));
    }
}

/// Two chains that share their blocks up to a height, with so many blocks above.
fn branches(seed: u64, fork: u32, above: [u32; 2]) -> [Chain; 2] {
    let params = |above| SyntheticParams { tip: fork + above, ..SyntheticParams::regtest() };
    let other = SyntheticChain::generate_fork(seed, &params(above[1]), Fork { height: fork, seed: !seed });
    [SyntheticChain::generate(seed, &params(above[0])).chain, other.chain]
}

/// The time of messages and of a reply of some kilobytes, beside the round trips.
const SLACK: Duration = Duration::from_millis(60);

/// `cargo xtask bench follow` has more.
const KILLS: u32 = 40;

/// Opens the store, once the killed follower's last write has ended.
async fn open(directory: &std::path::Path) -> Store {
    loop {
        match Store::open(directory, Network::Regtest) {
            Err(StoreError::InUse(_)) => sleep(Duration::from_millis(1)).await,
            opened => return opened.unwrap(),
        }
    }
}
