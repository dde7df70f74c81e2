//! The answers of a node depend on the blocks that it knows.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing has failed")]

use qrinfo_core::{
    BlockHash,
    message::{GetMnListDiff, GetQRInfo, NetworkMessage, QRInfo},
};
use spv_testkit::{
    Chain, Fork, ServerSession, ServerVersion, SyntheticChain, SyntheticParams,
    builder::{self, Refusal},
};

const PROTOCOLS: [i32; 2] = [70230, 70237];

/// The session of a server with a client of its own protocol version.
fn session(server: ServerVersion) -> ServerSession {
    ServerSession::new(server, i32::MAX)
}

/// A chain, and another that leaves it in the cycle that starts at 720.
fn branches() -> (Chain, Chain) {
    let params = SyntheticParams::regtest();
    let fork = Fork { height: 725, seed: 2 };
    (SyntheticChain::generate(1, &params).chain, SyntheticChain::generate_fork(1, &params, fork).chain)
}

fn hash(chain: &Chain, height: u32) -> BlockHash {
    chain.block(height).unwrap().hash
}

fn ask(base: BlockHash, block: BlockHash) -> GetQRInfo {
    GetQRInfo { base_block_hashes: vec![base], block_hash: block, extra_share: true }
}

#[test]
fn a_node_behind_the_tip_does_not_know_newer_blocks() {
    let (chain, _) = branches();
    let behind = chain.until(800);
    for protocol in PROTOCOLS {
        let newer = hash(&chain, 801);
        let request = ask(hash(&chain, 0), newer);
        assert_eq!(builder::qr_info(&behind, &request, protocol), Err(Refusal::UnknownBlock(newer)));
        let request = ask(newer, hash(&chain, 700));
        assert_eq!(builder::qr_info(&behind, &request, protocol), Err(Refusal::UnknownBase(newer)));

        let request = ask(hash(&chain, 0), hash(&chain, 700));
        let (here, there) = (
            builder::qr_info(&chain, &request, protocol).unwrap(),
            builder::qr_info(&behind, &request, protocol).unwrap(),
        );
        assert_eq!(there.mn_list_diff_tip.block_hash, hash(&chain, 800));
        let with_tip_of = |reply: &qrinfo_core::message::QRInfo| qrinfo_core::message::QRInfo {
            mn_list_diff_tip: reply.mn_list_diff_tip.clone(),
            ..here.clone()
        };
        assert_eq!(with_tip_of(&there), there, "all but the tip is the same");
    }
}

#[test]
fn a_branch_that_is_not_active_serves_as_no_base() {
    let (chain, other) = branches();
    let stale = hash(&other, 726);
    let aware = chain.knowing(&other);
    for protocol in PROTOCOLS {
        let request = ask(stale, hash(&chain, 743));
        assert_eq!(builder::qr_info(&chain, &request, protocol), Err(Refusal::UnknownBase(stale)));
        assert_eq!(builder::qr_info(&aware, &request, protocol), Err(Refusal::StaleBase(stale)));
        // The branch's blocks that both share are fine.
        assert!(builder::qr_info(&aware, &ask(hash(&other, 725), hash(&chain, 743)), protocol).is_ok());
    }
}

#[test]
fn a_stale_block_is_answered_while_what_the_reply_leads_to_is_active() {
    let (chain, other) = branches();
    let aware = chain.knowing(&other);
    for protocol in PROTOCOLS {
        let ask = |block| builder::qr_info(&aware, &ask(hash(&chain, 0), block), protocol);
        // Its cycle's work block, 712, is shared; no commitment of the cycle is mined by then.
        let reply = ask(hash(&other, 726)).unwrap();
        assert_eq!(reply.work_block_hash(), hash(&chain, 712));
        // The next cycle's work block is not.
        assert_eq!(ask(hash(&other, 744)), Err(Refusal::StaleBlock(hash(&other, 744))));
    }
    let request = GetMnListDiff { base_block_hash: hash(&chain, 700), block_hash: hash(&other, 726) };
    assert_eq!(builder::mn_list_diff(&aware, &request), Err(Refusal::StaleBlock(hash(&other, 726))));
    let request = GetMnListDiff { base_block_hash: hash(&other, 726), block_hash: hash(&chain, 730) };
    assert_eq!(builder::mn_list_diff(&aware, &request), Err(Refusal::StaleBase(hash(&other, 726))));
}

#[test]
fn bases_may_come_in_any_order_and_more_than_once() {
    let (chain, _) = branches();
    let block_hash = hash(&chain, 743);
    for protocol in PROTOCOLS {
        let reply = |heights: &[u32]| {
            let base_block_hashes = heights.iter().map(|height| hash(&chain, *height)).collect();
            builder::qr_info(&chain, &GetQRInfo { base_block_hashes, block_hash, extra_share: true }, protocol).unwrap()
        };
        assert_eq!(reply(&[640, 0, 712, 640]), reply(&[0, 640, 712]));
        assert_ne!(reply(&[640, 0, 712, 640]), reply(&[0, 640]));
    }
}

#[test]
fn version_22_1_counts_no_base_at_a_targets_own_height_and_leaves_genesis_zero() {
    let (chain, _) = branches();
    let reply = |server, heights: &[u32]| {
        let base_block_hashes = heights.iter().map(|height| hash(&chain, *height)).collect();
        let request = GetQRInfo { base_block_hashes, block_hash: hash(&chain, 743), extra_share: true };
        builder::qr_info(&chain, &request, session(server)).unwrap()
    };
    // The work blocks are 712, 688, 664, 640 and 616.
    let old = reply(ServerVersion::V22_1, &[640]);
    let extra = old.extra_share.as_ref().unwrap();
    assert_eq!(extra.mn_list_diff_at_h_minus_4c.base_block_hash, BlockHash::ZERO, "no base lies below");
    assert_eq!(old.mn_list_diff_at_h_minus_3c.base_block_hash, BlockHash::ZERO, "640 itself does not count");
    assert_eq!(old.mn_list_diff_at_h_minus_2c.base_block_hash, hash(&chain, 640));
    assert_eq!(old.mn_list_diff_h.base_block_hash, hash(&chain, 640), "no target becomes a base");
    assert_eq!(old.mn_list_diff_tip.base_block_hash, hash(&chain, 640));
    let genesis = reply(ServerVersion::V22_1, &[]);
    assert_eq!(genesis.mn_list_diff_at_h_minus_3c.base_block_hash, hash(&chain, 0), "no base at all means genesis");
    // The lists are the same from either form of genesis.
    assert_eq!(old.mn_list_diff_at_h_minus_3c.new_masternodes, genesis.mn_list_diff_at_h_minus_3c.new_masternodes);

    let newer = reply(ServerVersion::V23_0, &[640]);
    assert_eq!(newer.mn_list_diff_at_h_minus_3c.base_block_hash, hash(&chain, 640), "an empty diff");
    assert_eq!(newer.mn_list_diff_h.base_block_hash, hash(&chain, 688));
}

#[test]
fn version_23_1_builds_trailing_lists_before_the_oldest_cycle() {
    let failing_index = Some((1, 20 * 24..=40 * 24));
    let params = SyntheticParams { failing_index, failed_dkgs: 0.0, ..SyntheticParams::regtest() };
    let chain = SyntheticChain::generate(1, &params).chain;
    let request = ask(hash(&chain, 0), hash(&chain, 37 * 24 - 1));
    let [newest, newer, old] = ServerVersion::ALL.map(|s| builder::qr_info(&chain, &request, session(s)).unwrap());
    // The index has its commitment of cycle 19, whose lists are those of the cycles 16 to 18.
    let targets: Vec<_> = newest.mn_list_diff_list.iter().map(|diff| diff.block_hash).collect();
    assert_eq!(targets, [16, 17, 18].map(|cycle| hash(&chain, cycle * 24 - 8)));
    let oldest = |reply: &QRInfo| reply.extra_share.as_ref().unwrap().mn_list_diff_at_h_minus_4c.base_block_hash;
    assert_eq!(oldest(&newest), targets[2]);
    assert_eq!(oldest(&newer), hash(&chain, 0));
    assert_eq!(oldest(&old), hash(&chain, 0));
    assert_eq!(newest.last_commitment_per_index, old.last_commitment_per_index);
}

#[test]
fn only_requests_are_answered() {
    let (chain, _) = branches();
    assert_eq!(builder::answer(&chain, &NetworkMessage::Ping(7), 70237), None);
    let request = NetworkMessage::GetQRInfo(ask(hash(&chain, 0), hash(&chain, 743)));
    assert!(matches!(builder::answer(&chain, &request, 70237), Some(Ok(qrinfo_core::Reply::QrInfo(_)))));
}
