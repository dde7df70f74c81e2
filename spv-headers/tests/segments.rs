//! Segments between blocks that are taken on trust.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod made;

use std::time::Duration;

use made::{Made, Node, Synced, connections, run_by, stand_in};
use qrinfo_core::{Network, PeerEvent};
use spv_headers::{HeaderChain, HeaderError, HeaderRules, HeaderSyncConfig, PeerProblem};
use spv_testkit::{HeaderFault, PeerProfile, Recording};

const SPACING: usize = 3_000;

/// A sync from genesis with a checkpoint at every 3,000 blocks of `made`.
async fn sync(rules: HeaderRules, made: &Made, nodes: Vec<Node>) -> Synced {
    let heights = (SPACING as u32..made.tip()).step_by(SPACING);
    let rules = rules.checkpoints(heights.map(|height| (height, made.hash_at(height))));
    let from = HeaderChain::new(0, Network::Regtest.genesis_hash());
    run_by(rules, from, connections(nodes).await, HeaderSyncConfig::default()).await.unwrap()
}

fn regtest() -> HeaderRules {
    HeaderRules::from(Network::Regtest)
}

#[tokio::test(start_paused = true)]
async fn segments_come_from_several_peers_and_are_kept_in_order() {
    let made = Made::stand_in(40_000);
    for compresses in [false, true] {
        let mut nodes: Vec<_> = (0..4).map(|_| Node::new(&made).compresses(compresses)).collect();
        nodes.push(Node::new(&made).fault(HeaderFault::Silence));
        // One that has no more than the first segments.
        nodes.push(Node::new(&made.until(7_000)).compresses(!compresses));
        let sync = sync(regtest().hash(stand_in), &made, nodes).await;
        assert_eq!(sync.kept, made.checked(1..=40_000));
        assert_eq!(sync.chain.tip_hash(), made.hash_at(40_000));
        assert!(sync.left.iter().all(|left| matches!(left.why, PeerProblem::Silent)), "{:?}", sync.left);
    }
}

/// A peer on a branch that leaves the chain below a checkpoint is not on the network's chain.
#[tokio::test(start_paused = true)]
async fn a_branch_below_a_checkpoint_is_refused_and_costs_little() {
    let made = Made::recorded(&Recording::bundled().unwrap()).grown(1_772, 6_000, 3);
    let other = made.grown(2_500, 5_272, 4);
    for compresses in [false, true] {
        let honest = || Node::new(&made).far().compresses(compresses);
        let nodes = vec![Node::new(&other).compresses(compresses), honest(), honest()];
        let sync = sync(regtest(), &made, nodes).await;
        assert_eq!(sync.kept, made.checked(1..=made.tip()));
        assert_eq!(sync.shared(), [7_772, 7_772]);
        let [left] = sync.left.as_slice() else { panic!("{:?}", sync.left) };
        let why = &left.why;
        assert!(
            matches!(why, PeerProblem::Headers(HeaderError::NotCheckpoint { .. } | HeaderError::Unconnected(_))),
            "{why:?}"
        );
        // One that has none of our blocks may be right: a checkpoint of ours may be wrong.
        let has_none = matches!(why, PeerProblem::Headers(HeaderError::Unconnected(_)));
        assert_eq!(matches!(left.event(), PeerEvent::Banned { .. }), !has_none, "{why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn false_headers_in_a_segment_are_fetched_again_from_others() {
    let made = Made::recorded(&Recording::bundled().unwrap()).grown(1_772, 6_000, 3);
    for fault in [HeaderFault::BrokenLink, HeaderFault::NoWork, HeaderFault::Unconnected, HeaderFault::Truncated] {
        let nodes = vec![Node::new(&made).fault(fault), Node::new(&made).far()];
        let sync = sync(regtest(), &made, nodes).await;
        assert_eq!(sync.kept, made.checked(1..=made.tip()), "{fault:?}");
        assert_eq!(sync.left.len(), 1, "{fault:?}");
    }
}

/// A sync whose peers all end below the next checkpoint ends soon, with the headers that they have.
#[tokio::test(start_paused = true)]
async fn peers_below_the_next_checkpoint_are_enough() {
    let made = Made::recorded(&Recording::bundled().unwrap()).grown(1_772, 6_000, 3);
    let behind = made.until(4_000);
    let start = tokio::time::Instant::now();
    // One announces more than it has.
    let nodes = vec![Node::new(&behind), Node::new(&behind), Node::new(&behind).announces(7_000)];
    let sync = sync(regtest(), &made, nodes).await;
    assert_eq!((sync.chain.tip(), sync.shared()), (4_000, vec![4_000; 3]));
    assert_eq!(sync.kept, made.checked(1..=4_000));
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

/// Two peers on a false branch and two on the chain, whose answers come mixed: the chain's are found, and no honest
/// peer is blamed.
#[tokio::test(start_paused = true)]
async fn a_mixed_segment_is_fetched_again_from_one_peer() {
    let made = Made::recorded(&Recording::bundled().unwrap()).grown(1_772, 10_000, 3);
    let other = made.grown(1_900, 9_872, 4);
    for order in [[0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]] {
        let nodes = order.map(|is_false| if is_false == 1 { Node::new(&other) } else { Node::new(&made) });
        let sync = sync(regtest(), &made, nodes.into()).await;
        assert_eq!(sync.kept, made.checked(1..=made.tip()), "{order:?}");
        assert_eq!(sync.shared(), [11_772, 11_772], "{order:?}: {:?}", sync.left);
    }
}

/// Five nodes at 1.5 MB/s and 150 ms: the time is at most 1.25 times that of the bytes at the rate of all, and four
/// round trips, also where one more node is silent or slow. One of each 2,000 blocks is known ahead.
#[tokio::test(start_paused = true)]
async fn the_rates_of_all_peers_add_up() {
    let made = Made::stand_in(173_000);
    let (rate, round_trip) = (1_500_000, Duration::from_millis(150));
    let profile = PeerProfile { round_trip, rate: Some(rate), ..PeerProfile::default() };
    let slow = PeerProfile { rate: Some(20_000), ..profile };
    for (compresses, spacing, bytes) in [(false, 2_000, 81), (true, 2_000, 43)] {
        let node = || Node::new(&made).profile(profile).compresses(compresses);
        for more in [None, Some(node().fault(HeaderFault::Silence)), Some(node().profile(slow))] {
            let company = format!("{compresses} {more:?}").chars().take(20).collect::<String>();
            let connections = connections(more.into_iter().chain((0..5).map(|_| node()))).await;
            let heights = (spacing..made.tip()).step_by(spacing as usize);
            let rules = regtest().hash(stand_in).checkpoints(heights.map(|height| (height, made.hash_at(height))));
            let from = HeaderChain::new(0, Network::Regtest.genesis_hash());
            let config = HeaderSyncConfig { wanted_peers: 5, ..HeaderSyncConfig::default() };
            let start = tokio::time::Instant::now();
            let sync = run_by(rules, from, connections, config).await.unwrap();
            let ideal = Duration::from_secs(1) * made.tip() * bytes / (5 * rate as u32);
            let bound = ideal * 5 / 4 + 4 * round_trip;
            assert_eq!(sync.kept.len(), 173_000);
            assert!(start.elapsed() <= bound, "{company}: {:?} of {bound:?}", start.elapsed());
        }
    }
}

/// No header of a long chain takes more than 60 bytes.
#[test]
fn a_chain_takes_at_most_sixty_bytes_a_header() {
    let made = Made::stand_in(173_000);
    let headers = made.checked(1..=173_000);
    let mut chain = HeaderChain::new(0, Network::Regtest.genesis_hash());
    let used = allocation_counter::measure(|| {
        for batch in headers.chunks(2_000) {
            chain.restore(batch.iter().copied()).unwrap();
        }
    });
    let bytes = used.bytes_current as f64 / 173_000.0;
    assert!(bytes <= 60.0, "{bytes} bytes a header");
    // Every block that a quorum is named after, and every one that a reply ends at, has its merkle root.
    let known: std::collections::BTreeMap<_, _> = chain.blocks().map(|(height, hash, _)| (height, hash)).collect();
    for cycle in (288..172_000).step_by(288) {
        for height in [cycle - 8, cycle - 1, cycle, cycle + 31] {
            assert_eq!(known.get(&height), Some(&made.hash_at(height)));
        }
    }
    assert!((170_700..=173_000).all(|height| known.contains_key(&height)));
}
