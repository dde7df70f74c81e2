//! Header sync over TCP from peers that answer as recorded.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use qrinfo_core::{BlockHash, Network, header::BlockHeader};
use spv_headers::{CheckedHeader, Extension, HeaderChain, HeaderError, HeaderSyncError, check, sync_headers};
use spv_peer::{Connection, PeerConfig, connect, round_trip};
use spv_testkit::{Chain, Fork, HeaderFault, RecordedPeer, Recording, SimulatedPeer, SyntheticChain, SyntheticParams};

fn recording() -> Arc<Recording> {
    Arc::new(Recording::bundled().unwrap())
}

async fn connection(server: &RecordedPeer) -> Connection {
    connect(server.address(), &PeerConfig::new(Network::Regtest, 7)).await.unwrap()
}

fn genesis() -> HeaderChain {
    HeaderChain::new(0, Network::Regtest.genesis_hash())
}

async fn sync(server: &RecordedPeer, chain: &mut HeaderChain) -> Result<Vec<CheckedHeader>, HeaderSyncError> {
    let mut kept = Vec::new();
    sync_headers(&mut connection(server).await, Network::Regtest, chain, |extension, headers| {
        assert_eq!(extension.count, headers.len());
        kept.extend_from_slice(headers);
        Ok(())
    })
    .await?;
    Ok(kept)
}

fn assert_whole(recording: &Recording, chain: &HeaderChain) {
    assert_eq!((chain.start(), chain.tip()), (0, recording.tip()));
    for height in 0..=recording.tip() {
        assert_eq!(chain.hash_at(height), recording.block_hash(height), "height {height}");
    }
}

#[tokio::test]
async fn a_chain_is_synced_from_genesis_and_from_the_middle() {
    let recording = recording();
    let server = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    let mut chain = genesis();
    let kept = sync(&server, &mut chain).await.unwrap();
    assert_whole(&recording, &chain);
    assert_eq!(kept.len(), 1772);

    let mut chain = genesis();
    chain.restore(kept[..1000].iter().copied()).unwrap();
    assert_eq!(sync(&server, &mut chain).await.unwrap(), kept[1000..]);
    assert_whole(&recording, &chain);
    assert_eq!(sync(&server, &mut chain).await.unwrap(), []);

    let mut chain = HeaderChain::new(1500, recording.block_hash(1500).unwrap());
    sync(&server, &mut chain).await.unwrap();
    assert_eq!((chain.start(), chain.tip(), chain.hash_at(1499)), (1500, 1772, None));
}

#[tokio::test]
async fn each_wrong_header_is_told_and_the_next_peer_goes_on() {
    let recording = recording();
    let good = RecordedPeer::builder(recording.clone()).spawn().await.unwrap();
    let faults = [
        HeaderFault::BrokenLink,
        HeaderFault::EasyTarget,
        HeaderFault::NoWork,
        HeaderFault::Unconnected,
        HeaderFault::Truncated,
    ];
    for fault in faults {
        let wrong = RecordedPeer::builder(recording.clone()).header_fault(fault).spawn().await.unwrap();
        let mut chain = genesis();
        let error = sync(&wrong, &mut chain).await.unwrap_err();
        let fits = match (fault, &error) {
            (HeaderFault::BrokenLink, HeaderSyncError::Headers(HeaderError::BrokenLink { position: 1771, .. }))
            | (HeaderFault::EasyTarget, HeaderSyncError::Headers(HeaderError::BadTarget { position: 1771, .. }))
            | (HeaderFault::NoWork, HeaderSyncError::Headers(HeaderError::NoWork { position: 1771, .. }))
            | (HeaderFault::Truncated, HeaderSyncError::Malformed(_)) => true,
            (HeaderFault::Unconnected, HeaderSyncError::Headers(HeaderError::Unconnected(hash))) => {
                Some(*hash) == recording.block_hash(1)
            }
            _ => false,
        };
        assert!(fits, "{fault:?}: {error:?}");
        assert_eq!(chain.tip(), 0, "{fault:?}");
        sync(&good, &mut chain).await.unwrap();
        assert_whole(&recording, &chain);
    }
}

#[tokio::test]
async fn what_cannot_be_kept_ends_the_sync() {
    let server = RecordedPeer::builder(recording()).spawn().await.unwrap();
    let mut connection = connection(&server).await;
    let keep = |_, _: &[CheckedHeader]| Err("disk full".into());
    let result = sync_headers(&mut connection, Network::Regtest, &mut genesis(), keep).await;
    assert!(matches!(result, Err(HeaderSyncError::Keep(_))));
}

#[tokio::test]
async fn a_round_trip_is_measured() {
    let server = RecordedPeer::builder(recording()).spawn().await.unwrap();
    let took = round_trip(&mut connection(&server).await, 99).await.unwrap();
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

/// Two branches of a made-up chain that part at block 4,000: a short one and a longer one.
fn branches() -> (Chain, Chain) {
    let params = |tip| SyntheticParams { tip, masternodes: 4, ..SyntheticParams::regtest() };
    let long = SyntheticChain::generate(7, &params(4_500));
    let short = SyntheticChain::generate_fork(7, &params(4_300), Fork { height: 4_000, seed: 8 });
    (short.chain, long.chain)
}

#[tokio::test]
async fn a_long_chain_takes_several_messages_and_a_branch_with_more_work_replaces_ours() {
    let (short, long) = branches();
    let (first, second) = (SimulatedPeer::builder(short.clone()).build(), SimulatedPeer::builder(long.clone()).build());
    let (first, second) = (first.listen().await.unwrap(), second.listen().await.unwrap());
    let config = PeerConfig::new(Network::Regtest, 7);
    let mut chain = genesis();
    let mut extensions = Vec::new();
    let mut keep = |extension: Extension, _: &[CheckedHeader]| {
        extensions.push((extension.first, extension.count, extension.replaced));
        Ok(())
    };
    for address in [first, second] {
        let mut connection = connect(address, &config).await.unwrap();
        sync_headers(&mut connection, Network::Regtest, &mut chain, &mut keep).await.unwrap();
    }
    // The branch point is found by the locator; what both share is not asked for again.
    assert_eq!(extensions, [(1, 2000, 0), (2001, 2000, 0), (4001, 300, 0), (4001, 500, 300)]);
    assert_eq!(chain.tip(), 4_500);
    for height in [1, 3_999, 4_000, 4_001, 4_300, 4_500] {
        assert_eq!(chain.hash_at(height), long.block(height).map(|block| block.hash), "height {height}");
    }
    // A node on the weaker branch does not take us back.
    let mut connection = connect(first, &config).await.unwrap();
    let error = sync_headers(&mut connection, Network::Regtest, &mut chain, |_, _| Ok(())).await.unwrap_err();
    assert!(matches!(error, HeaderSyncError::Headers(HeaderError::LessWork { fork: 4_000 })), "{error:?}");
    assert_eq!(chain.tip(), 4_500);
}
