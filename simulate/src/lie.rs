//! Lies: replies of which a field is changed.

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256, ProTxHash, QuorumHash,
    message::{Commitment, DeletedQuorum, MnListDiff, NetworkMessage, QRInfo, QuorumSnapshot, SmlEntry},
    wire::{Seq, Wire, frame::Frame},
};

/// Changes a random field of a reply. A change that changes nothing is a truth.
pub(crate) fn lie(frame: &Frame, rng: &mut fastrand::Rng) -> Option<Frame> {
    change(frame, rng, diff, |reply, rng| match rng.u8(0..10) {
        0..=5 => with_diff(reply, rng, diff),
        6 => with_snapshot(reply, rng, snapshot),
        7 => commitments(reply, rng),
        8 => lists(reply, rng),
        _ => reply.extra_share = None,
    })
}

/// Adds much that nothing proves.
pub(crate) fn stuff(frame: &Frame, rng: &mut fastrand::Rng) -> Option<Frame> {
    let stuffed = |diff: &mut MnListDiff, rng: &mut fastrand::Rng| {
        let count = [300, 8_000, 19_000, 19_000][rng.usize(0..4)];
        let hash = |_| ProTxHash::from_bytes(random(rng));
        diff.deleted_masternodes = (0..count).map(hash).collect();
    };
    change(frame, rng, stuffed, |reply, rng| match rng.bool() {
        true => stuffed(&mut reply.mn_list_diff_tip, rng),
        false => with_diff(reply, rng, stuffed),
    })
}

fn change(
    frame: &Frame,
    rng: &mut fastrand::Rng,
    diff: impl Fn(&mut MnListDiff, &mut fastrand::Rng),
    qr_info: impl Fn(&mut QRInfo, &mut fastrand::Rng),
) -> Option<Frame> {
    match NetworkMessage::from_frame(frame.clone()).ok()? {
        NetworkMessage::QRInfo(mut reply) => {
            qr_info(&mut reply, rng);
            Some(Frame { command: frame.command, payload: reply.to_wire() })
        }
        NetworkMessage::MnListDiff(mut reply) => {
            diff(&mut reply, rng);
            Some(Frame { command: frame.command, payload: reply.to_wire() })
        }
        _ => None,
    }
}

fn with_diff(reply: &mut QRInfo, rng: &mut fastrand::Rng, with: impl Fn(&mut MnListDiff, &mut fastrand::Rng)) {
    let mut diffs = vec![
        &mut reply.mn_list_diff_tip,
        &mut reply.mn_list_diff_h,
        &mut reply.mn_list_diff_at_h_minus_c,
        &mut reply.mn_list_diff_at_h_minus_2c,
        &mut reply.mn_list_diff_at_h_minus_3c,
    ];
    diffs.extend(reply.extra_share.as_mut().map(|extra| &mut extra.mn_list_diff_at_h_minus_4c));
    diffs.extend(&mut reply.mn_list_diff_list);
    let index = rng.usize(0..diffs.len());
    with(diffs.swap_remove(index), rng);
}

fn with_snapshot(reply: &mut QRInfo, rng: &mut fastrand::Rng, with: impl Fn(&mut QuorumSnapshot, &mut fastrand::Rng)) {
    let mut snapshots = vec![
        &mut reply.quorum_snapshot_at_h_minus_c,
        &mut reply.quorum_snapshot_at_h_minus_2c,
        &mut reply.quorum_snapshot_at_h_minus_3c,
    ];
    snapshots.extend(reply.extra_share.as_mut().map(|extra| &mut extra.quorum_snapshot_at_h_minus_4c));
    snapshots.extend(&mut reply.quorum_snapshot_list);
    let index = rng.usize(0..snapshots.len());
    with(snapshots.swap_remove(index), rng);
}

fn diff(diff: &mut MnListDiff, rng: &mut fastrand::Rng) {
    match rng.u8(0..16) {
        0 => diff.base_block_hash = BlockHash::from_bytes(random(rng)),
        1 => diff.block_hash = BlockHash::from_bytes(random(rng)),
        2 => diff.total_transactions = [0, 1, diff.total_transactions + 1, u32::MAX][rng.usize(0..4)],
        3 => diff.merkle_hashes = shorter(&diff.merkle_hashes, rng),
        4 => diff.merkle_hashes = diff.merkle_hashes.iter().chain([Hash256::from_bytes(random(rng))]).collect(),
        5 => diff.merkle_flags = Bytes::from(vec![rng.u8(..); diff.merkle_flags.len()]),
        6 => diff.deleted_masternodes = shorter(&diff.deleted_masternodes, rng),
        7 => diff.deleted_masternodes = [ProTxHash::from_bytes(random(rng))].into_iter().collect(),
        8 => diff.new_masternodes = shorter(&diff.new_masternodes, rng),
        9 => diff.new_masternodes = changed(&diff.new_masternodes, rng, masternode),
        10 => diff.deleted_quorums = shorter(&diff.deleted_quorums, rng),
        11 => {
            let quorum = diff.new_quorums.iter().next().map(|quorum| quorum.llmq_type);
            let more =
                quorum.map(|llmq_type| DeletedQuorum { llmq_type, quorum_hash: QuorumHash::from_bytes(random(rng)) });
            diff.deleted_quorums = diff.deleted_quorums.iter().chain(more).collect();
        }
        12 => diff.new_quorums = shorter(&diff.new_quorums, rng),
        13 => diff.new_quorums = changed(&diff.new_quorums, rng, commitment),
        14 => diff.quorums_cl_sigs = shorter(&diff.quorums_cl_sigs, rng),
        _ => {
            diff.quorums_cl_sigs = changed(&diff.quorums_cl_sigs, rng, |entry, rng| rng.fill(&mut entry.signature));
        }
    }
}

fn masternode(entry: &mut SmlEntry, rng: &mut fastrand::Rng) {
    match rng.u8(0..4) {
        0 => rng.fill(&mut entry.pub_key_operator),
        1 => rng.fill(&mut entry.key_id_voting),
        2 => entry.confirmed_hash = Hash256::from_bytes(random(rng)),
        _ => entry.is_valid = !entry.is_valid,
    }
}

fn commitment(commitment: &mut Commitment, rng: &mut fastrand::Rng) {
    match rng.u8(0..4) {
        0 => rng.fill(&mut commitment.quorum_public_key),
        1 => commitment.quorum_hash = QuorumHash::from_bytes(random(rng)),
        2 => commitment.quorum_vvec_hash = Hash256::from_bytes(random(rng)),
        _ => rng.fill(&mut commitment.members_sig),
    }
}

fn snapshot(snapshot: &mut QuorumSnapshot, rng: &mut fastrand::Rng) {
    match rng.bool() {
        true => {
            let bits: Vec<bool> = snapshot.active_quorum_members.iter().collect();
            let at = rng.usize(0..bits.len().max(1));
            let flipped = bits.iter().enumerate().map(|(index, bit)| *bit != (index == at));
            snapshot.active_quorum_members = flipped.collect();
        }
        false => snapshot.skip_list.push(rng.i32(-2..10)),
    }
}

fn commitments(reply: &mut QRInfo, rng: &mut fastrand::Rng) {
    let all = &reply.last_commitment_per_index;
    reply.last_commitment_per_index = match rng.u8(0..3) {
        0 => shorter(all, rng),
        1 => changed(all, rng, commitment),
        _ => {
            let mut all = all.to_vec();
            all.reverse();
            all.into_iter().collect()
        }
    };
}

fn lists(reply: &mut QRInfo, rng: &mut fastrand::Rng) {
    let (snapshots, diffs) = (&mut reply.quorum_snapshot_list, &mut reply.mn_list_diff_list);
    match rng.u8(0..3) {
        0 => drop((snapshots.pop(), diffs.pop())),
        1 => diffs.reverse(),
        _ => diffs.extend(diffs.first().cloned()),
    }
}

fn shorter<T: Wire>(all: &Seq<T>, rng: &mut fastrand::Rng) -> Seq<T> {
    let without = rng.usize(0..all.len().max(1));
    all.iter().enumerate().filter(|(index, _)| *index != without).map(|(_, item)| item).collect()
}

fn changed<T: Wire>(all: &Seq<T>, rng: &mut fastrand::Rng, change: fn(&mut T, &mut fastrand::Rng)) -> Seq<T> {
    let at = rng.usize(0..all.len().max(1));
    let mut all = all.to_vec();
    if let Some(item) = all.get_mut(at) {
        change(item, rng);
    }
    all.into_iter().collect()
}

fn random(rng: &mut fastrand::Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    bytes
}
