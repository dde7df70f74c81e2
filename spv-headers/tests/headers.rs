//! Header sync from peers that answer as recorded, or otherwise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod made;

use std::{sync::Arc, time::Duration};

use made::{Made, Node, run, run_with};
use proptest::prelude::*;
use qrinfo_core::{BlockHash, BlockHeader, Network, PeerEvent};
use spv_headers::{HeaderChain, HeaderError, HeaderSyncConfig, HeaderSyncError, PeerProblem, check};
use spv_peer::{PeerConfig, connect, round_trip};
use spv_testkit::{HeaderFault, PeerProfile, RecordedPeer, Recording};
use tokio::time::Instant;

fn genesis() -> HeaderChain {
    HeaderChain::new(0, Network::Regtest.genesis_hash())
}

fn whole() -> Made {
    Made::recorded(&Recording::bundled().unwrap())
}

fn assert_is(chain: &HeaderChain, made: &Made) {
    assert_eq!(chain.tip(), made.tip());
    for height in chain.start()..=chain.tip() {
        assert_eq!(chain.hash_at(height), Some(made.hash_at(height)), "height {height}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_is_synced_from_genesis_from_the_middle_and_from_its_tip() {
    let made = whole();
    for compresses in [false, true] {
        let mut from = genesis();
        for expected in [1772, 772, 0] {
            let sync = run(from, [Node::new(&made).compresses(compresses)]).await;
            assert_is(&sync.chain, &made);
            assert_eq!(sync.kept.len(), expected);
            assert_eq!(sync.shared(), [1772]);
            from = genesis();
            from.restore(made.checked(1..=if expected == 1772 { 1000 } else { 1772 })).unwrap();
        }
    }
    let from = HeaderChain::new(1500, made.hash_at(1500));
    let sync = run(from, [Node::new(&made), Node::new(&made)]).await;
    assert_eq!((sync.chain.start(), sync.chain.tip(), sync.chain.hash_at(1499)), (1500, 1772, None));
}

/// A question costs 32 bytes for each hash. Nodes that have the newest block need two; the others are asked once more.
#[tokio::test(start_paused = true)]
async fn nodes_on_the_chain_are_asked_for_their_tips_with_two_hashes() {
    let made = whole();
    let sync = run(genesis(), [Node::new(&made), Node::new(&made), Node::new(&made), Node::new(&made)]).await;
    assert_eq!((sync.shared(), made.locators()), (vec![1772; 4], vec![1, 2, 2, 2]));
    for (tip, announced) in [(1771, 1771), (1700, 1700), (1700, 1772)] {
        let (made, behind) = (whole(), made.until(tip));
        let sync =
            run(genesis(), [Node::new(&made), Node::new(&made), Node::new(&behind).announces(announced).far()]).await;
        assert_eq!((sync.shared(), made.locators()), (vec![tip, 1772, 1772], vec![1, 2]));
        assert_eq!(behind.locators().first(), Some(&2), "{tip}");
        assert!(behind.locators().len() <= 4, "{:?}", behind.locators());
    }
}

#[tokio::test(start_paused = true)]
async fn each_wrong_header_is_told_its_peer_is_banned_and_the_next_one_goes_on() {
    let made = whole();
    let faults = [
        HeaderFault::BrokenLink,
        HeaderFault::EasyTarget,
        HeaderFault::NoWork,
        HeaderFault::Unconnected,
        HeaderFault::Truncated,
    ];
    for fault in faults {
        let sync = run(genesis(), [Node::new(&made).fault(fault), Node::new(&made).far()]).await;
        let [left] = sync.left.as_slice() else { panic!("{fault:?}: {:?}", sync.left) };
        let fits = match (fault, &left.why) {
            (HeaderFault::BrokenLink, PeerProblem::Headers(HeaderError::BrokenLink { position: 1771, .. }))
            | (HeaderFault::EasyTarget, PeerProblem::Headers(HeaderError::BadTarget { position: 1771, .. }))
            | (HeaderFault::NoWork, PeerProblem::Headers(HeaderError::NoWork { position: 1771, .. }))
            | (HeaderFault::Truncated, PeerProblem::Malformed(_)) => true,
            (HeaderFault::Unconnected, PeerProblem::Headers(HeaderError::Unconnected(hash))) => {
                *hash == made.hash_at(1)
            }
            _ => false,
        };
        assert!(fits, "{fault:?}: {left:?}");
        assert!(matches!(left.event(), PeerEvent::Banned { .. }));
        assert_is(&sync.chain, &made);
        assert_eq!(sync.kept, made.checked(1..=1772));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_ends_the_sync() {
    let (keep, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let connections = made::connections([Node::new(&whole())]).await;
    let config = HeaderSyncConfig::default();
    let result = spv_headers::sync_headers(connections, Network::Regtest, genesis(), config, keep).await;
    assert!(matches!(result, Err(HeaderSyncError::NotKept)));
}

#[tokio::test]
async fn a_round_trip_is_measured() {
    let server = RecordedPeer::builder(Arc::new(Recording::bundled().unwrap())).spawn().await.unwrap();
    let mut connection = connect(server.address(), &PeerConfig::new(Network::Regtest, 7)).await.unwrap();
    let took = round_trip(&mut connection, 99).await.unwrap();
    assert!(took.as_secs() < 10, "{took:?}");
}

/// Every header of the recorded chains: its X11 is the hash that the next one names.
#[test]
fn all_recorded_hashes_are_right() {
    let mut recordings = vec![Recording::bundled().unwrap()];
    recordings
        .extend(["regtest", "regtest-churn", "regtest-v3"].iter().filter_map(|name| Recording::shared(name).unwrap()));
    for recording in recordings {
        let headers: Vec<_> = recording.headers().iter().map(|header| BlockHeader::from_bytes(*header)).collect();
        let checked = check(Network::Regtest, &headers).unwrap();
        let expected: Vec<_> = (0..=recording.tip()).filter_map(|height| recording.block_hash(height)).collect();
        assert_eq!(checked.iter().map(|checked| checked.hash).collect::<Vec<BlockHash>>(), expected);
        assert!(expected.len() > 500);
    }
}

/// Asserts that no peer is blamed, and that the chain is this one.
#[track_caller]
fn assert_agreed(sync: &made::Synced, made: &Made) {
    assert_is(&sync.chain, made);
    let blamed = sync.left.iter().filter(|left| matches!(left.event(), PeerEvent::Banned { .. })).count();
    assert_eq!(blamed, 0, "{:?}", sync.left);
    assert_eq!(sync.kept, made.checked(1..=made.tip()));
}

#[tokio::test(start_paused = true)]
async fn silent_peers_cost_little() {
    let made = whole();
    for silent in [1, 7] {
        let start = Instant::now();
        let nodes = (0..silent).map(|_| Node::new(&made).fault(HeaderFault::Silence)).chain([Node::new(&made).far()]);
        let sync = run(genesis(), nodes).await;
        assert_agreed(&sync, &made);
        assert_eq!((sync.left.len(), sync.shared()), (silent, vec![1772]));
        assert!(start.elapsed() < Duration::from_secs(3), "{silent}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_costs_little() {
    let made = whole();
    let start = Instant::now();
    let slow = PeerProfile { rate: Some(1_000), ..PeerProfile::default() };
    let sync = run(genesis(), [Node::new(&made).profile(slow), Node::new(&made).far()]).await;
    assert_agreed(&sync, &made);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_headers_or_with_too_low_a_height_lowers_nothing() {
    let made = whole();
    let none = made.until(0);
    for (height, low, honest) in [(1772, 1, 1), (263, 1, 1), (263, 2, 1), (311, 2, 2), (1772, 2, 2)] {
        let nodes = (0..low).map(|_| Node::new(&none).announces(height));
        let sync = run(genesis(), nodes.chain((0..honest).map(|_| Node::new(&made).far()))).await;
        assert_agreed(&sync, &made);
        assert_eq!(sync.shared(), vec![1772; honest], "{height}: {:?}", sync.left);
        // It has the headers, and announces less.
        let nodes = (0..low).map(|_| Node::new(&made).announces(height));
        let sync = run(genesis(), nodes.chain((0..honest).map(|_| Node::new(&made).far()))).await;
        assert_agreed(&sync, &made);
    }
}

#[tokio::test(start_paused = true)]
async fn peers_that_are_behind_keep_their_place() {
    let (made, behind) = (whole(), whole().until(1729));
    for nodes in [vec![&behind, &behind, &made, &made], vec![&made, &behind, &behind], vec![&behind, &made]] {
        let mut expected: Vec<_> = nodes.iter().map(|made| made.tip()).collect();
        let sync = run(genesis(), nodes.into_iter().map(Node::new)).await;
        assert_agreed(&sync, &made);
        expected.sort_unstable();
        assert_eq!(sync.shared(), expected);
        assert!(sync.left.is_empty());
    }
    let sync = run(genesis(), [Node::new(&made.until(1500)).announces(1772), Node::new(&made).far()]).await;
    assert_agreed(&sync, &made);
    assert_eq!(sync.shared(), [1500, 1772]);
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_is_cut_where_its_peer_said() {
    let made = whole();
    let endless = made.grown(1772, 24_000, 5);
    let node = || Node::new(&endless);
    let sync = run(genesis(), [node().announces(1772), Node::new(&made).far()]).await;
    assert_agreed(&sync, &made);
    // A height that two others do not make plausible.
    let start = Instant::now();
    let sync = run(genesis(), [node(), Node::new(&made).far(), Node::new(&made).far()]).await;
    assert!(sync.chain.tip() <= 1772 + 2_000, "{}", sync.chain.tip());
    assert_eq!(sync.shared()[..2], [1772, 1772]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// The merkle roots of the newest blocks of a chain are not lost when a far longer one is left.
#[tokio::test(start_paused = true)]
async fn the_newest_blocks_are_known_after_an_endless_stream() {
    let made = whole();
    let endless = made.grown(1772, 24_000, 5);
    let far = || Node::new(&made).profile(PeerProfile { round_trip: Duration::from_secs(1), ..PeerProfile::default() });
    for nodes in [vec![Node::new(&endless), far(), far()], vec![Node::new(&made.grown(1700, 9_000, 5)), far(), far()]] {
        let sync = run(genesis(), nodes).await;
        let tip = sync.chain.tip();
        assert!((1772..=3772).contains(&tip), "{tip}");
        let known: Vec<_> = sync.chain.blocks().map(|(height, ..)| height).collect();
        assert!((tip - 200..=tip).all(|height| known.contains(&height)), "{tip}");
        assert_eq!(sync.kept.len(), tip as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn the_most_peers_decide_and_those_on_another_branch_keep_what_is_shared() {
    let made = whole();
    for (from, length) in [(1765, 12), (1700, 2_500)] {
        let longer = made.grown(from, length, 6);
        for nodes in [
            [Node::new(&longer), Node::new(&made).far(), Node::new(&made).far()],
            [Node::new(&made), Node::new(&made).far(), Node::new(&longer).far()],
        ] {
            let sync = run(genesis(), nodes).await;
            assert_is(&sync.chain, &made);
            assert_eq!(sync.kept, made.checked(1..=1772));
            assert_eq!((sync.shared(), sync.left.len()), (vec![from, 1772, 1772], 0));
        }
    }
    let (longer, longest) = (made.grown(1700, 2_500, 6), made.grown(1700, 5_000, 7));
    let nodes = [Node::new(&longer), Node::new(&longest).far(), Node::new(&longest).far()];
    let sync = run(genesis(), nodes).await;
    assert_agreed(&sync, &longest);
    assert_eq!(sync.shared(), [1700, 6_700, 6_700]);
}

/// Four peers are enough where they agree. Where they do not, the others are heard as well.
#[tokio::test(start_paused = true)]
async fn peers_that_disagree_are_not_enough() {
    let made = whole();
    let longer = made.grown(1700, 2_500, 6);
    let near = (0..3).map(|_| Node::new(&longer)).chain([Node::new(&made)]);
    let sync = run(genesis(), near.chain((0..4).map(|_| Node::new(&made).far()))).await;
    assert_agreed(&sync, &made);
    assert_eq!(sync.shared(), [1700, 1700, 1700, 1772, 1772, 1772, 1772, 1772]);
}

#[tokio::test(start_paused = true)]
async fn a_sync_whose_peers_are_all_silent_ends() {
    let start = Instant::now();
    let nodes = (0..2).map(|_| Node::new(&whole()).fault(HeaderFault::Silence));
    let result = run_with(genesis(), nodes, HeaderSyncConfig::default()).await;
    assert!(matches!(result, Err(HeaderSyncError::Timeout(_))));
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn twin_tips_are_told_apart_by_hash() {
    let (one, other) = (whole(), whole().grown(1771, 1, 8));
    let chosen = if one.hash_at(1772) < other.hash_at(1772) { &one } else { &other };
    for nodes in [[&one, &other], [&other, &one]] {
        let sync = run(genesis(), nodes.map(Node::new)).await;
        assert_agreed(&sync, chosen);
        assert_eq!(sync.shared(), [1771, 1772]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_branch_that_was_left_is_replaced_and_a_lock_decides() {
    let made = whole();
    let stale = made.grown(1760, 20, 9);
    let mut from = genesis();
    from.restore(stale.checked(1..=1780)).unwrap();
    let sync = run(from.clone(), [Node::new(&made), Node::new(&made)]).await;
    assert_is(&sync.chain, &made);
    assert_eq!(sync.kept, made.checked(1761..=1772));
    let config = HeaderSyncConfig { chain_lock: Some(stale.hash_at(1770)), ..HeaderSyncConfig::default() };
    let sync = run_with(from, [Node::new(&made), Node::new(&made), Node::new(&stale)], config).await.unwrap();
    assert_is(&sync.chain, &stale);
}

#[tokio::test(start_paused = true)]
async fn without_peers_there_is_an_error_and_no_wait() {
    let result = run_with(genesis(), [], HeaderSyncConfig::default()).await;
    assert!(matches!(result, Err(HeaderSyncError::NoPeers(_))));
    let start = Instant::now();
    let config = HeaderSyncConfig { total_time: Duration::from_secs(7), ..HeaderSyncConfig::default() };
    let result = run_with(genesis(), [Node::new(&whole()).fault(HeaderFault::Silence)], config).await;
    assert!(matches!(result, Err(HeaderSyncError::Timeout(_))));
    assert!(start.elapsed() < Duration::from_secs(8));
}

/// Any set of honest nodes on three branches, some of them behind, some silent: the branch of the most peers is
/// chosen, by the rule of ties where two have as many, every peer has its place, and none is blamed.
#[test]
fn any_company_agrees_on_the_branch_of_the_most_peers() {
    let trunk = whole();
    let branches = [trunk.until(1_772), trunk.grown(1_600, 300, 21), trunk.grown(1_680, 100, 22)];
    let node = (
        0..branches.len(),
        prop::sample::select(vec![1_500, 1_590, 1_650, 1_700, 1_772]),
        prop::bool::weighted(0.2),
        any::<bool>(),
    );
    let company = (prop::collection::vec(node, 1..6), 0..branches.len());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    proptest!(ProptestConfig::with_cases(40), |((nodes, stored) in company)| {
        prop_assume!(nodes.iter().any(|(.., is_silent, _)| !is_silent));
        let made = |&(branch, height, ..): &(usize, u32, bool, bool)| branches[branch].until(height.min(branches[branch].tip()));
        let start = |node: &(usize, u32, bool, bool)| {
            let peer = Node::new(&made(node)).compresses(node.3);
            if node.2 { peer.fault(HeaderFault::Silence) } else { peer }
        };
        let mut from = genesis();
        from.restore(branches[stored].checked(1..=1_650)).unwrap();
        let sync = runtime().block_on(run(from, nodes.iter().map(start)));
        let heard: Vec<_> = nodes.iter().filter(|(.., is_silent, _)| !is_silent).map(made).collect();
        prop_assert!(sync.left.iter().all(|left| matches!(left.why, PeerProblem::Silent)), "{:?}", sync.left);
        prop_assert_eq!(sync.standings.len(), heard.len());
        // The peers whose tips lie on the chain of a peer.
        let on = |chain: &Made| {
            heard.iter().filter(|peer| peer.tip() <= chain.tip() && chain.hash_at(peer.tip()) == peer.hash_at(peer.tip())).count()
        };
        let rank = |chain: &Made| (on(chain), chain.tip());
        let best = heard.iter().map(rank).max().unwrap();
        let tip = (sync.chain.tip(), sync.chain.tip_hash());
        let chosen = heard.iter().find(|chain| (chain.tip(), chain.hash_at(chain.tip())) == tip);
        prop_assert_eq!(chosen.map(rank), Some(best), "{:?}", tip);
        // The store holds the chosen chain: it began with the headers up to 1,650 of its branch.
        let chosen = chosen.unwrap();
        for (kept, height) in sync.kept.iter().rev().zip((0..=chosen.tip()).rev()) {
            prop_assert_eq!(kept.hash, chosen.hash_at(height));
        }
    });
}
