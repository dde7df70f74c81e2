//! Blocks that our headers do not have are no fault of a peer, and nothing that depends on them counts as proven.

use crate::common::{headers, qr_info, request};
use qrinfo_core::{BlockHash, QuorumHash, Reply, message::QRInfo, wire::Wire};
use qrinfo_verify::{HeaderMap, Level, ListStage, Missing, Unproven, VerifyError, check};
use spv_testkit::{Exchange, Recording};

/// The bundled recording, and a first request from nothing with its reply.
fn first() -> (Recording, HeaderMap, Exchange, QRInfo) {
    let recording = Recording::bundled().unwrap();
    let sync = &recording.complete_syncs()[0];
    let exchange = recording.exchanges_of(sync).next().unwrap().clone();
    let reply = qr_info(&exchange).unwrap();
    (recording.clone(), headers(&recording), exchange, reply)
}

fn judge(reply: &QRInfo) -> Result<Vec<Unproven>, VerifyError> {
    let (recording, headers, exchange, _) = first();
    let mut stage = ListStage::new(recording.network(), Level::Full);
    let reply = Reply::QrInfo(Box::new(reply.clone()));
    stage.apply(&request(&recording, &exchange), &reply, |hash| headers.find(hash)).map(|verified| verified.unproven)
}

fn label(reply: &QRInfo) -> &'static str {
    match judge(reply) {
        Err(VerifyError::False(falsehood)) => falsehood.label(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_base_is_below_its_target() {
    let (_, _, _, reply) = first();
    let mut from_above = reply.clone();
    from_above.mn_list_diff_at_h_minus_2c.base_block_hash = reply.mn_list_diff_h.block_hash;
    assert_eq!(label(&from_above), "base block");
    // The target of the tip diff is never a base, also if it is unknown.
    let mut from_unknown_tip = reply;
    let unknown = BlockHash::from_bytes([9; 32]);
    from_unknown_tip.mn_list_diff_tip.block_hash = unknown;
    from_unknown_tip.mn_list_diff_at_h_minus_2c.base_block_hash = unknown;
    assert_eq!(label(&from_unknown_tip), "answers the request");
}

#[test]
fn a_reply_without_its_tip_diff_passes_as_one_to_an_unknown_tip() {
    let (_, _, _, mut reply) = first();
    reply.drop_tip_diff();
    let reply = QRInfo::from_wire(reply.to_wire()).unwrap();
    assert!(judge(&reply).unwrap().contains(&Unproven::TipDiff));
}

#[test]
fn a_commitment_of_an_unknown_block_is_named() {
    let (recording, headers, _, _) = first();
    let mut plan: Vec<_> = recording.exchanges_of(&recording.complete_syncs()[0]).collect();
    let has_quorums = |exchange: &&Exchange| !qr_info(exchange).unwrap().last_commitment_per_index.is_empty();
    let first = plan.iter().position(has_quorums).unwrap();
    plan.truncate(first + 3);
    let take = |level, alter: bool| {
        let mut stage = ListStage::new(recording.network(), level);
        let mut last = None;
        for (place, exchange) in plan.iter().enumerate() {
            let mut reply = qr_info(exchange).unwrap();
            if alter && place + 1 == plan.len() {
                let mut commitments = reply.last_commitment_per_index.to_vec();
                commitments[0].quorum_hash = QuorumHash::from_bytes([9; 32]);
                reply.last_commitment_per_index = commitments.into_iter().collect();
            }
            let reply = Reply::QrInfo(Box::new(reply));
            last = Some(stage.apply(&request(&recording, exchange), &reply, |hash| headers.find(hash)));
        }
        last.unwrap().map(|verified| verified.unproven)
    };
    assert!(!take(Level::Full, false).unwrap().iter().any(|part| matches!(part, Unproven::Commitments(_))));
    let by_roots = take(Level::Roots, true).unwrap();
    let names_it = |part: &Unproven| matches!(part, Unproven::Commitments(indexes) if indexes.contains(&0));
    assert!(by_roots.iter().any(names_it), "{by_roots:?}");
    // The quorum's signature covers its block.
    let Err(VerifyError::False(falsehood)) = take(Level::Full, true) else { panic!("accepted") };
    assert_eq!(falsehood.label(), "quorum signature");
}

/// A reorganisation took the requested block away: our side asks anew.
#[test]
fn a_requested_block_of_another_branch_is_missing() {
    let (recording, headers, exchange, reply) = first();
    let request = request(&recording, &exchange);
    let gone = recording.block_hash(exchange.height).unwrap();
    let find = |hash: &BlockHash| headers.find(hash).filter(|_| *hash != gone);
    let reply = Reply::QrInfo(Box::new(reply));
    let error = check(&request, &reply, find).unwrap_err();
    assert!(matches!(error, VerifyError::Missing(Missing::Header(hash)) if hash == gone), "{error:?}");
}
