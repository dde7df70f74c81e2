//! Verification of a ChainLock: `cargo run -p qrinfo --features parallel-qrinfo,verify --example chain_lock`.
//!
//! Quorums are synced from three nodes, each reply is verified against the headers, and the quorums then tell whether a
//! ChainLock is signed. One of the nodes lies about a masternode list. The nodes are simulated, from a recorded chain.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::{error::Error, sync::Arc};

use qrinfo::{OrderedSync, ParallelOptions, ParallelSync, adopt, plan::Planner, verify::Verifier};
use qrinfo_core::{
    BlockHeader, Network, PeerId, ProTxHash, Reply,
    message::{ChainLock, QRInfo},
};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_verify::{CheckLayer, HeaderMap, Level, ListStage, Quorums, VerifyError};
use spv_peer::{PeerConfig, handshake};
use spv_testkit::{Chain, Recording, SimulatedPeer};
use tower::Layer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // What the client has: headers, a plan, and connections.
    let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
    let mut headers = HeaderMap::default();
    for (height, header) in (0..).zip(chain.headers()) {
        let hash = chain.block(height).ok_or("no block")?.hash;
        headers.insert(height, hash, &BlockHeader::from_bytes(*header));
    }
    let headers = Arc::new(headers);
    let plan = Planner::new(chain.network(), chain.tip())
        .plan(240, chain.tip(), |height| chain.block(height).map(|block| block.hash))?;
    let nodes = nodes(&chain);

    // A reply that the headers alone give the lie is a failed attempt of its peer.
    let for_checks = headers.clone();
    let check = CheckLayer::new(move |hash| for_checks.find(hash));
    let mut peers = Vec::new();
    for (host, node) in (1..).zip(&nodes) {
        let id = PeerId::Address(([203, 0, 113, host], 19899).into());
        let connection = handshake(node.connect(), id, &PeerConfig::new(Network::Regtest, 7)).await?;
        peers.push(adopt(connection, CorrelatorConfig::default()).map(|service| check.layer(service)));
    }

    // Whether its lists follow from those before is known in the order of the plan.
    let for_lists = headers.clone();
    let stage = ListStage::new(chain.network(), Level::Full);
    let mut verifier = Verifier::new(stage, move |hash| for_lists.find(hash));
    let mut quorums: Option<Quorums> = None;
    let (mut signed, mut newest) = (0, None);
    let mut sync = ParallelSync::new(plan.clone(), peers, ParallelOptions::default());
    while let Some(delivered) = sync.next().await {
        let verified = match verifier.take(plan[delivered.index].clone(), &delivered.reply).await {
            Ok(verified) => verified,
            Err(VerifyError::False(falsehood)) => {
                println!("{} lies: {falsehood} ({})", delivered.timing.peer, falsehood.label());
                sync.reject_last(falsehood);
                continue;
            }
            Err(missing) => return Err(missing.into()),
        };
        signed += verified.quorums.len();
        let Some(lists) = verified.lists else { continue };
        let quorums = quorums.get_or_insert_with(|| Quorums::starting_at(chain.network(), lists.height()));
        quorums.learn(&lists, |hash| headers.find(hash));
        newest = chain_lock(&delivered.reply, lists.height(), &chain).or(newest);
    }
    println!("{}; {signed} quorums with members and signatures", sync.into_report().outcome);

    let quorums = quorums.ok_or("no quorums")?;
    let lock = newest.ok_or("no ChainLock")?;
    let signer = quorums.verify_chainlock(&lock)?;
    println!("block {} is locked by quorum {}", lock.height, signer.quorum_hash);
    let forged = ChainLock { height: lock.height - 1, ..lock };
    println!(
        "the same signature for the block before: {}",
        match quorums.verify_chainlock(&forged) {
            Err(error) => error.to_string(),
            Ok(_) => return Err("a forgery was taken for a ChainLock".into()),
        }
    );
    Ok(())
}

/// The ChainLock in the coinbase of the reply's work block.
fn chain_lock(reply: &Reply, work_height: u32, chain: &Chain) -> Option<ChainLock> {
    let Reply::QrInfo(reply) = reply else { return None };
    let pool = reply.mn_list_diff_h.coinbase.payload()?.credit_pool.as_ref()?;
    let height = work_height.checked_sub(1)?.checked_sub(pool.best_cl_height_diff)?;
    let block_hash = chain.block(height)?.hash;
    let is_there = pool.best_cl_signature != [0; 96];
    is_there.then_some(ChainLock { height: height.try_into().ok()?, block_hash, signature: pool.best_cl_signature })
}

/// The first removes, once, a masternode that was never there.
fn nodes(chain: &Chain) -> [SimulatedPeer; 3] {
    let lie = |reply: &mut QRInfo| {
        reply.mn_list_diff_h.deleted_masternodes = [ProTxHash::from_bytes([9; 32])].into_iter().collect();
    };
    let node = || SimulatedPeer::builder(chain.clone());
    [node().lie(7..8, lie).build(), node().build(), node().build()]
}
