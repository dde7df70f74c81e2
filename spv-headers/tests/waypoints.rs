//! Segments between blocks that are only thought to be on the chain.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod made;

use std::time::Duration;

use made::{Made, Node, Synced, connections, run_by, stand_in};
use qrinfo_core::{BlockHash, Network};
use spv_headers::{HeaderChain, HeaderRules, HeaderSyncConfig};
use spv_testkit::{HeaderFault, PeerProfile};
use tokio::time::Instant;

type Waypoints = Vec<(u32, BlockHash)>;

/// One of each 2,000 blocks.
fn waypoints(made: &Made) -> Waypoints {
    (2_000..made.tip()).step_by(2_000).map(|height| (height, made.hash_at(height))).collect()
}

fn wrong(height: u32) -> (u32, BlockHash) {
    (height, BlockHash::from_bytes([(height / 1_000) as u8; 32]))
}

/// A sync from genesis, and the time that it took.
async fn sync(waypoints: Waypoints, nodes: Vec<Node>) -> (Synced, Duration) {
    let rules = HeaderRules::from(Network::Regtest).hash(stand_in).waypoints(waypoints);
    let from = HeaderChain::new(0, Network::Regtest.genesis_hash());
    let connections = connections(nodes).await;
    let start = Instant::now();
    let config = HeaderSyncConfig { wanted_peers: 5, ..HeaderSyncConfig::default() };
    (run_by(rules, from, connections, config).await.unwrap(), start.elapsed())
}

fn assert_is(synced: &Synced, made: &Made, case: &str) {
    assert_eq!(synced.kept, made.checked(1..=made.tip()), "{case}");
    assert_eq!(synced.chain.tip_hash(), made.hash_at(made.tip()), "{case}");
}

#[tokio::test(start_paused = true)]
async fn wrong_waypoints_cost_little_and_blame_no_peer() {
    let made = Made::stand_in(21_000);
    let right = waypoints(&made);
    let mut one = right.clone();
    one[4] = wrong(10_000);
    let mut last = right.clone();
    last[9] = wrong(20_000);
    let every_other: Waypoints =
        right.iter().map(|&(height, hash)| if height % 4_000 == 0 { wrong(height) } else { (height, hash) }).collect();
    let all: Waypoints = right.iter().map(|&(height, _)| wrong(height)).collect();
    let beyond = right.iter().copied().chain([wrong(22_000), wrong(24_000)]).collect();
    let profile =
        PeerProfile { round_trip: Duration::from_millis(150), rate: Some(1_500_000), ..PeerProfile::default() };
    for (case, waypoints, limit) in [
        ("right", right.clone(), 1.0),
        ("one", one, 1.5),
        ("last", last, 1.5),
        ("every other", every_other, 2.5),
        ("all", all, 4.0),
        ("beyond", beyond, 2.0),
        ("none", Vec::new(), 3.5),
    ] {
        for compresses in [false, true] {
            for count in [1, 5] {
                let node = || Node::new(&made).profile(profile).compresses(compresses);
                let (synced, took) = sync(waypoints.clone(), (0..count).map(|_| node()).collect()).await;
                let case = format!("{case}, {count} nodes, compressed {compresses}, {took:?}: {:?}", synced.left);
                assert_is(&synced, &made, &case);
                assert_eq!((synced.left.len(), synced.standings.len()), (0, count), "{case}");
                assert!(count == 1 || took.as_secs_f64() <= limit, "{case}");
            }
        }
    }
}

/// Blocks of the chain at heights that are not theirs, and at no regular distances.
#[tokio::test(start_paused = true)]
async fn waypoints_at_irregular_or_wrong_heights_blame_no_peer() {
    let made = Made::stand_in(12_000);
    let right = waypoints(&made);
    let at = |heights: &[u32]| heights.iter().map(|&height| (height, made.hash_at(height))).collect::<Waypoints>();
    let mut one = right.clone();
    one[3].0 += 123;
    let shifted: Waypoints = right.iter().map(|&(height, hash)| (height - 7, hash)).collect();
    let mut swapped = right.clone();
    (swapped[2].1, swapped[4].1) = (right[4].1, right[2].1);
    for (case, waypoints) in [
        ("irregular", at(&[1, 2, 3, 1_999, 2_000, 7_500, 7_501, 12_000])),
        ("one", one),
        ("shifted", shifted),
        ("swapped", swapped),
    ] {
        for compresses in [false, true] {
            for count in [1, 5] {
                let nodes = (0..count).map(|_| Node::new(&made).compresses(compresses)).collect();
                let (synced, took) = sync(waypoints.clone(), nodes).await;
                let case = format!("{case}, {count} nodes, compressed {compresses}, {took:?}: {:?}", synced.left);
                assert_is(&synced, &made, &case);
                assert_eq!((synced.left.len(), synced.standings.len()), (0, count), "{case}");
                assert!(took < Duration::from_secs(5), "{case}");
            }
        }
    }
}

/// The waypoints of a false branch, and two peers that are on it: the chain is that of the three others.
#[tokio::test(start_paused = true)]
async fn waypoints_of_a_false_branch_lead_nowhere() {
    let made = Made::stand_in(20_000);
    let other = made.other(5_000, 15_000);
    for order in [[0, 1, 0, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]] {
        let nodes = order.map(|is_false| if is_false == 1 { Node::new(&other) } else { Node::new(&made) });
        let (synced, took) = sync(waypoints(&other), nodes.into()).await;
        let case = format!("{order:?}, {took:?}: {:?}", synced.left);
        assert_is(&synced, &made, &case);
        assert_eq!(synced.shared().iter().filter(|shared| **shared == 20_000).count(), 3, "{case}");
        assert!(took < Duration::from_secs(10), "{case}");
    }
}

/// A silent peer and one that is on no chain of ours hold up nothing at a wrong waypoint.
#[tokio::test(start_paused = true)]
async fn a_wrong_waypoint_beside_a_silent_peer_is_given_up() {
    let made = Made::stand_in(20_000);
    let mut waypoints = waypoints(&made);
    waypoints[3] = wrong(8_000);
    let silent = || Node::new(&made).fault(HeaderFault::Silence);
    let (synced, took) = sync(waypoints, vec![silent(), Node::new(&made), silent()]).await;
    assert_is(&synced, &made, &format!("{took:?}"));
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(synced.left.len(), 2);
}

/// Numbers that look random, the same in each run.
fn numbers(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) % u64::from(below)) as u32
    }
}

/// Tables in which some blocks are right and others on no chain, of the branch of a minority, or at a wrong height; and
/// peers of which some are on that branch.
#[tokio::test(start_paused = true)]
async fn whatever_the_waypoints_are_the_chain_is_that_of_the_most_peers_and_none_is_blamed() {
    let made = Made::stand_in(9_000);
    let other = made.other(3_000, 7_000);
    let at = |made: &Made, height: u32| made.hash_at(height.min(made.tip()));
    for seed in [2, 5, 110, 125, 128, 133, 319, 403, 447, 759, 1, 3] {
        let mut number = numbers(seed);
        let (step, wrong_in_ten) = (500 + number(2_000), number(10));
        let mut waypoints = Waypoints::new();
        for height in (step..9_500).step_by(step as usize) {
            let is_wrong = number(10) < wrong_in_ten;
            waypoints.push(match number(4) {
                _ if !is_wrong => (height, at(&made, height)),
                0 => wrong(height),
                1 => (height, at(&other, height)),
                2 => (height + number(300), at(&made, height)),
                _ => (height - number(300), at(&made, height)),
            });
        }
        let count = 1 + number(6);
        let few = number((count - 1) / 2 + 1);
        let mut nodes = Vec::new();
        for n in 0..count {
            let node = Node::new(if n < few { &other } else { &made }).compresses(number(2) == 1);
            nodes.push(if number(3) == 0 { node.far() } else { node });
        }
        nodes.rotate_left(number(count) as usize);
        let (synced, took) = sync(waypoints, nodes).await;
        let case = format!("seed {seed}, {count} nodes, {few} on the other branch, {took:?}: {:?}", synced.left);
        assert_is(&synced, &made, &case);
        assert!(synced.left.is_empty() && took < Duration::from_secs(9), "{case}");
    }
}
