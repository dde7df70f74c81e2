use std::collections::BTreeMap;

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256, Network, QRInfoRequestSpec, Reply, Request,
    message::{Coinbase, MnListDiff, QRInfo},
    wire::Wire,
};
use qrinfo_verify::{KnownBlock, Level, ListStage, MasternodeList, QuorumList, check};

use crate::input::Input;

/// A `qrinfo` whose merkle proofs and roots are repaired where the first byte says so, verified with headers that fit.
pub fn replies(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choices = input.byte();
    let Ok(mut reply) = QRInfo::from_wire(Bytes::copy_from_slice(input.rest())) else { return };
    let network = if choices & 1 == 0 { Network::Regtest } else { Network::Mainnet };
    if choices & 2 != 0 {
        repair(&mut reply, choices & 4 != 0);
    }
    let headers = fitting_headers(network, &reply);
    let request = fitting_request(network, &reply);
    let reply = Reply::from(Box::new(reply));
    let find = |hash: &BlockHash| headers.get(hash).copied();
    let stateless = check(&request, &reply, find);
    for level in [Level::Structure, Level::Roots, Level::Full] {
        let mut stage = ListStage::new(network, level);
        if stage.apply(&request, &reply, find).is_ok() {
            assert!(stateless.is_ok(), "a stage accepts less than the check that it begins with");
            // Nothing that was accepted is false the second time.
            let again = stage.apply(&request, &reply, find);
            assert!(!matches!(again, Err(qrinfo_verify::VerifyError::False(_))), "{again:?}");
        }
    }
}

/// Gives every diff the proof of a block with one transaction, and on demand roots of the lists that it leads to.
fn repair(reply: &mut QRInfo, with_roots: bool) {
    let mut lists = (MasternodeList::default(), QuorumList::default());
    let mut repaired = |diff: &mut MnListDiff| {
        if with_roots && let Some(mut payload) = diff.coinbase.payload().cloned() {
            if let (Ok(masternodes), Ok(quorums)) = (lists.0.apply(diff), lists.1.apply(diff)) {
                payload.merkle_root_mn_list = masternodes.merkle_root();
                payload.merkle_root_quorums = payload.merkle_root_quorums.map(|_| quorums.merkle_root());
                lists = (masternodes, quorums);
            }
            diff.coinbase = Coinbase::new(payload);
        }
        diff.total_transactions = 1;
        diff.merkle_hashes = [diff.coinbase.txid()].into_iter().collect();
        diff.merkle_flags = Bytes::from_static(&[1]);
    };
    reply.mn_list_diff_list.iter_mut().for_each(&mut repaired);
    if let Some(share) = &mut reply.extra_share {
        repaired(&mut share.mn_list_diff_at_h_minus_4c);
    }
    repaired(&mut reply.mn_list_diff_at_h_minus_3c);
    repaired(&mut reply.mn_list_diff_at_h_minus_2c);
    repaired(&mut reply.mn_list_diff_at_h_minus_c);
    repaired(&mut reply.mn_list_diff_h);
    repaired(&mut reply.mn_list_diff_tip);
}

/// Headers that have every target at the height that a true reply would have it, with the root of its coinbase.
fn fitting_headers(network: Network, reply: &QRInfo) -> BTreeMap<BlockHash, KnownBlock> {
    let cycles = network.cycles();
    let start = cycles.start_of(10 * cycles.length());
    let mut headers = BTreeMap::new();
    let mut know = |hash: BlockHash, height: u32, merkle_root: Hash256| {
        headers.insert(hash, KnownBlock { height, merkle_root });
    };
    for (back, diff) in (5..).zip(&reply.mn_list_diff_list) {
        know(diff.block_hash, cycles.work_height_back(start, back).unwrap_or(1), diff.coinbase.txid());
    }
    let work = [
        Some(&reply.mn_list_diff_h),
        Some(&reply.mn_list_diff_at_h_minus_c),
        Some(&reply.mn_list_diff_at_h_minus_2c),
        Some(&reply.mn_list_diff_at_h_minus_3c),
        reply.extra_share.as_ref().map(|share| &share.mn_list_diff_at_h_minus_4c),
    ];
    for (back, diff) in (0..).zip(work) {
        if let (Some(diff), Some(height)) = (diff, cycles.work_height_back(start, back)) {
            know(diff.block_hash, height, diff.coinbase.txid());
        }
    }
    let tip = &reply.mn_list_diff_tip;
    know(tip.block_hash, cycles.end(start), tip.coinbase.txid());
    for (height, commitment) in (start.height()..).zip(reply.last_commitment_per_index.iter()) {
        know(BlockHash::from_bytes(*commitment.quorum_hash.as_bytes()), height, Hash256::from_bytes([0; 32]));
    }
    headers
}

/// The request that names the blocks that the reply leads to.
fn fitting_request(network: Network, reply: &QRInfo) -> Request {
    let cycles = network.cycles();
    let oldest = reply.extra_share.as_ref().map(|share| share.mn_list_diff_at_h_minus_4c.block_hash);
    QRInfoRequestSpec {
        network,
        cycle: cycles.start_of(10 * cycles.length()),
        base_block_hashes: reply.diffs().map(|diff| diff.base_block_hash).collect(),
        block_hash: reply.mn_list_diff_tip.block_hash,
        extra_share: reply.extra_share.is_some(),
        work_block_hashes: [
            reply.mn_list_diff_h.block_hash,
            reply.mn_list_diff_at_h_minus_c.block_hash,
            reply.mn_list_diff_at_h_minus_2c.block_hash,
            reply.mn_list_diff_at_h_minus_3c.block_hash,
            oldest.unwrap_or(BlockHash::ZERO),
        ],
    }
    .into()
}
