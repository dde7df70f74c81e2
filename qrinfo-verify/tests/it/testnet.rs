//! Real testnet data: replies of Dash Core 20 to 22 with old stragglers, and a chain of lists.

use std::collections::BTreeSet;

use crate::common::testnet::{self, by_its_own_proofs, spec};
use qrinfo_core::{BlockHash, Hash256, LlmqType, Network, Reply, Request, message::QRInfo};
use qrinfo_verify::{
    DiffName, HeaderMap, KnownBlock, Level, ListStage, Proof, Quorums, Unproven, Verified, VerifiedQuorum,
};

fn headers() -> Option<HeaderMap> {
    let mut headers = HeaderMap::default();
    for (height, hash, header) in testnet::headers()? {
        headers.insert(height, hash, &header);
    }
    Some(headers)
}

fn take(level: Level, request: &Request, reply: &QRInfo, headers: &HeaderMap) -> Verified {
    let mut stage = ListStage::new(Network::Testnet, level);
    stage.apply(request, &Reply::QrInfo(Box::new(reply.clone())), |hash| headers.find(hash)).unwrap()
}

#[test]
fn headers_name_each_other_by_x11() {
    let Some(headers) = testnet::headers() else { return };
    for pair in headers.windows(2) {
        assert_eq!(pair[1].2.prev_block_hash(), pair[0].1, "{}", pair[0].0);
    }
}

#[test]
fn a_reply_with_its_headers_passes_at_every_level() {
    let (Some(reply), Some(headers)) = (testnet::qr_info("testnet/qrinfo_947248.bin"), headers()) else { return };
    let request = spec(Network::Testnet, &reply).into();
    take(Level::Structure, &request, &reply, &headers);
    take(Level::Roots, &request, &reply, &headers);
    let verified = take(Level::Full, &request, &reply, &headers);
    // The members of H-C's quorums are drawn from the four cycles before, whose snapshots they vouch for.
    assert!(verified.unproven.contains(&Unproven::Snapshots(vec![DiffName::Cycle { back: 1 }])), "{verified:?}");
    let is_drawn = |quorum: &&VerifiedQuorum| {
        quorum.commitment.llmq_type == LlmqType(5) && quorum.proof.members_sig == Proof::Verified
    };
    assert_eq!(verified.quorums.iter().filter(is_drawn).count(), 32);
}

/// There are no headers around this one: its blocks are known by its own proofs, and the work blocks alone.
#[test]
fn a_reply_by_its_own_proofs_passes_at_every_level() {
    let Some(reply) = testnet::qr_info("testnet/qrinfo_905770.bin") else { return };
    let spec = spec(Network::Testnet, &reply);
    // The anchor, from which the tip diff starts: a block between work block and tip.
    let anchor = KnownBlock { height: spec.cycle.height(), merkle_root: Hash256::ZERO };
    let headers = by_its_own_proofs(reply.diffs(), [(reply.mn_list_diff_tip.base_block_hash, anchor)]);
    for level in [Level::Structure, Level::Roots, Level::Full] {
        let verified = take(level, &spec.clone().into(), &reply, &headers);
        assert_eq!(verified.unproven.contains(&Unproven::TipDiff), level != Level::Structure);
    }
}

#[test]
fn a_devnets_reply_with_entries_of_version_3_passes_at_roots() {
    let Some(reply) = testnet::qr_info("paloma_qrinfo_v3.bin") else { return };
    let versions: BTreeSet<_> =
        reply.diffs().flat_map(|diff| &diff.new_masternodes).map(|entry| entry.version).collect();
    assert_eq!(versions, [2, 3].into());
    let headers = by_its_own_proofs(reply.diffs(), []);
    let mut stage = ListStage::new(Network::DEVNET, Level::Roots);
    let request = spec(Network::DEVNET, &reply).into();
    let verified = stage.apply(&request, &Reply::QrInfo(Box::new(reply)), |hash| headers.find(hash)).unwrap();
    // The list at the tip has the last commitments.
    assert!(verified.tip.is_some());
    assert!(!verified.unproven.iter().any(|unproven| matches!(unproven, Unproven::Commitments(_))));
}

/// All 24 Platform quorums of a list of testnet, and most others, are of blocks below headers that start at the list.
#[test]
fn active_quorums_are_complete_without_the_headers_of_their_blocks() {
    let Some(reply) = testnet::qr_info("testnet/qrinfo_905770.bin") else { return };
    let diff = reply.extra_share.unwrap().mn_list_diff_at_h_minus_4c;
    let (request, reply) = testnet::request_of(&diff);
    let headers = by_its_own_proofs([&diff], []);
    let find = |hash: &BlockHash| headers.find(hash);
    let lists = ListStage::new(Network::Testnet, Level::Roots).apply(&request, &reply, find).unwrap().lists.unwrap();
    assert_eq!(lists.height(), 904_600);
    let mut quorums = Quorums::starting_at(Network::Testnet, lists.height());
    quorums.learn(&lists, find);
    for commitment in lists.quorums().iter() {
        let found = quorums.quorum(commitment.llmq_type, &commitment.quorum_hash).unwrap();
        assert_eq!((&found.commitment, found.height), (commitment, None));
    }
    let active = |llmq_type| quorums.active_at(LlmqType(llmq_type), 904_600);
    let counts = [1, 2, 3, 5, 6].map(|llmq_type| active(llmq_type).settled.len());
    let of_type = |llmq_type| lists.quorums().iter().filter(|quorum| quorum.llmq_type == LlmqType(llmq_type)).count();
    assert_eq!(counts, [1, 2, 3, 5, 6].map(of_type));
    assert_eq!(counts[4], 24);
}

#[test]
fn the_roots_of_the_chain_of_lists() {
    let diffs = testnet::diffs();
    let headers = by_its_own_proofs(diffs.iter().map(|(_, _, diff)| diff), []);
    let mut held = BTreeSet::from([0]);
    let mut stage = ListStage::new(Network::Testnet, Level::Roots);
    let mut without_base = Vec::new();
    for (base, target, diff) in &diffs {
        if !held.contains(base) {
            without_base.push(*base);
            continue;
        }
        let (request, reply) = testnet::request_of(diff);
        let verified = stage.apply(&request, &reply, |hash| headers.find(hash)).unwrap();
        let lists = verified.lists.unwrap();
        assert_eq!(lists.height(), *target);
        stage.pin(lists);
        held.insert(*target);
    }
    // The last eight follow a list that is not among them.
    assert!(diffs.is_empty() || (held.len(), without_base.len()) == (70, 8), "{held:?}, {without_base:?}");
}
