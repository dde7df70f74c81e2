//! Blocks that our headers do not have are no fault of a peer, and nothing that depends on them counts as proven.

use crate::common::{headers, qr_info, request};
use qrinfo_core::{
    BlockHash, QuorumHash, Reply,
    message::{Commitment, DeletedQuorum, MnListDiff, QRInfo, QuorumClSig},
    wire::{Seq, Wire},
};
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

/// The tip of a peer that is behind may be the work block itself. Nothing has changed from there to there.
#[test]
fn a_diff_from_a_block_to_itself_is_empty() {
    let (_, _, _, reply) = first();
    let work = &reply.mn_list_diff_h;
    let mut at_work = reply.clone();
    at_work.mn_list_diff_tip = MnListDiff {
        base_block_hash: work.block_hash,
        deleted_masternodes: Seq::default(),
        new_masternodes: Seq::default(),
        deleted_quorums: Seq::default(),
        new_quorums: Seq::default(),
        quorums_cl_sigs: Seq::default(),
        ..work.clone()
    };
    judge(&at_work).unwrap();
    let not_empty = |change: &dyn Fn(&mut MnListDiff)| {
        let mut reply = at_work.clone();
        change(&mut reply.mn_list_diff_tip);
        label(&reply)
    };
    let entry = work.new_masternodes.iter().next().unwrap();
    let quorum = recorded_commitment();
    let deleted = DeletedQuorum { llmq_type: quorum.llmq_type, quorum_hash: quorum.quorum_hash };
    let changes: [&dyn Fn(&mut MnListDiff); 4] = [
        &|diff| diff.deleted_masternodes = [entry.pro_reg_tx_hash].into_iter().collect(),
        &|diff| diff.new_masternodes = [entry.clone()].into_iter().collect(),
        &|diff| diff.deleted_quorums = [deleted].into_iter().collect(),
        &|diff| diff.new_quorums = [quorum.clone()].into_iter().collect(),
    ];
    for change in changes {
        assert_eq!(not_empty(change), "empty diff");
    }
}

fn recorded_commitment() -> Commitment {
    let recording = Recording::bundled().unwrap();
    let exchanges = recording.exchanges_of(&recording.complete_syncs()[0]);
    exchanges.filter_map(qr_info).find_map(|reply| reply.last_commitment_per_index.iter().next()).unwrap()
}

/// The last reply of the bundled sync, whose commitments and new quorums have all parts.
fn label_of_last(alter: impl FnOnce(&mut QRInfo)) -> &'static str {
    let recording = Recording::bundled().unwrap();
    let headers = headers(&recording);
    let exchange = recording.exchanges_of(&recording.complete_syncs()[0]).last().unwrap();
    let mut reply = qr_info(exchange).unwrap();
    alter(&mut reply);
    let reply = Reply::QrInfo(Box::new(reply));
    match check(&request(&recording, exchange), &reply, |hash| headers.find(hash)) {
        Ok(_) => "true",
        Err(VerifyError::False(falsehood)) => falsehood.label(),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_base_that_was_sent_is_not_above_its_target() {
    let from_later = |reply: &mut QRInfo| {
        reply.mn_list_diff_at_h_minus_2c.base_block_hash = reply.mn_list_diff_at_h_minus_c.block_hash;
    };
    assert_eq!(label_of_last(from_later), "base block");
}

#[test]
fn commitments_come_once_for_each_index_in_ascending_order() {
    let with = |indexes: [i16; 2]| {
        label_of_last(|reply| {
            let mut commitments = reply.last_commitment_per_index.to_vec();
            assert_eq!(commitments.iter().map(|quorum| quorum.quorum_index).collect::<Vec<_>>(), [Some(0), Some(1)]);
            commitments.iter_mut().zip(indexes).for_each(|(quorum, index)| quorum.quorum_index = Some(index));
            reply.last_commitment_per_index = commitments.into_iter().collect();
        })
    };
    assert_eq!(with([0, 1]), "true");
    for indexes in [[0, 0], [0, 2], [-1, 1]] {
        assert_eq!(with(indexes), "commitment index", "{indexes:?}");
    }
    let descending = |reply: &mut QRInfo| {
        let commitments = reply.last_commitment_per_index.to_vec();
        reply.last_commitment_per_index = commitments.into_iter().rev().collect();
    };
    assert_eq!(label_of_last(descending), "commitment index");
    let alone = |reply: &mut QRInfo| {
        reply.last_commitment_per_index = reply.last_commitment_per_index.iter().skip(1).collect();
    };
    assert_eq!(label_of_last(alone), "true", "the other index has none yet");
}

#[test]
fn signatures_of_chain_locks_name_each_new_quorum_once() {
    let with = |change: fn(&mut Vec<QuorumClSig>)| {
        label_of_last(|reply| {
            let mut groups = reply.mn_list_diff_h.quorums_cl_sigs.to_vec();
            assert!(groups.iter().map(|group| group.indexes.len()).sum::<usize>() > 1);
            change(&mut groups);
            reply.mn_list_diff_h.quorums_cl_sigs = groups.into_iter().collect();
        })
    };
    assert_eq!(with(|_| {}), "true");
    let changes: [fn(&mut Vec<QuorumClSig>); 4] = [
        |groups| groups.clear(),
        |groups| _ = groups[0].indexes.pop(),
        |groups| groups.push(groups[0].clone()),
        |groups| groups[0].indexes[0] = 1_000,
    ];
    for change in changes {
        assert_eq!(with(change), "chainlock indexes");
    }
}

#[test]
fn a_reply_without_its_tip_diff_passes_as_one_to_an_unknown_tip() {
    let (_, _, _, mut reply) = first();
    reply.drop_tip_diff();
    let reply = QRInfo::from_wire(reply.to_wire()).unwrap();
    let (recording, headers, exchange, good) = first();
    let tip_is_unknown = |reply: &QRInfo| {
        let reply = Reply::QrInfo(Box::new(reply.clone()));
        check(&request(&recording, &exchange), &reply, |hash| headers.find(hash)).unwrap().tip_is_unknown()
    };
    assert_eq!((tip_is_unknown(&good), tip_is_unknown(&reply)), (false, true));
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
