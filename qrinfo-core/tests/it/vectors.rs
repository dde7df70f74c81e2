//! Real messages decode to the facts that others found in them, and encode to their own bytes again.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use crate::support::recording::{Recording, vectors};
use bytes::Bytes;
use qrinfo_core::{
    message::{
        Commitment, GetQRInfo, MnListDiff, NetInfo, NetworkMessage, QRInfo, QuorumSnapshot, SkipListMode, SmlEntry,
        SmlEntryKind,
    },
    wire::{Bits, Seq, Wire, frame::Command},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn reread<T: Wire>(payload: &[u8]) -> T {
    let message = T::from_wire(payload.to_vec()).unwrap();
    assert!(message.to_wire() == payload, "encodes to other bytes");
    message
}

fn reread_all(recording: &Recording) -> [usize; 2] {
    let mut replies = 0;
    for exchange in &recording.exchanges {
        let place = format!("exchange {} of {}", exchange.id, recording.name);
        let request: GetQRInfo = reread(&exchange.request);
        if let Some(reply) = &exchange.reply {
            // Some of the refused requests name blocks that are on no chain.
            let bases: Vec<_> = exchange.base_heights.iter().map(|&height| recording.hash(height)).collect();
            assert_eq!(request.base_block_hashes, bases, "{place}");
            assert_eq!(request.block_hash, recording.hash(exchange.height), "{place}");
            assert_eq!(request.extra_share, exchange.extra_share, "{place}");
            let message: QRInfo = reread(reply);
            // What encodes field by field, not as a slice of the frame, must give the same bytes as well.
            assert!(rebuilt(&message).to_wire() == reply[..], "{place}");
            let frame = NetworkMessage::QRInfo(Box::new(message.clone())).to_frame();
            assert_eq!((frame.command, &frame.payload[..]), (Command::QR_INFO, &reply[..]));
            assert_eq!(NetworkMessage::from_frame(frame), Ok(NetworkMessage::QRInfo(Box::new(message))));
            replies += 1;
        }
    }
    [recording.exchanges.len(), replies]
}

/// The same message made of items that were taken apart.
fn rebuilt(message: &QRInfo) -> QRInfo {
    fn seq<T: Wire>(items: &Seq<T>) -> Seq<T> {
        items.to_vec().into_iter().collect()
    }
    fn snapshot(snapshot: &QuorumSnapshot) -> QuorumSnapshot {
        let active_quorum_members = snapshot.active_quorum_members.iter().collect();
        QuorumSnapshot { active_quorum_members, ..snapshot.clone() }
    }
    fn diff(diff: &MnListDiff) -> MnListDiff {
        MnListDiff {
            merkle_hashes: seq(&diff.merkle_hashes),
            deleted_masternodes: seq(&diff.deleted_masternodes),
            new_masternodes: seq(&diff.new_masternodes),
            deleted_quorums: seq(&diff.deleted_quorums),
            new_quorums: seq(&diff.new_quorums),
            quorums_cl_sigs: seq(&diff.quorums_cl_sigs),
            ..diff.clone()
        }
    }
    let mut copy = message.clone();
    for part in [
        &mut copy.quorum_snapshot_at_h_minus_c,
        &mut copy.quorum_snapshot_at_h_minus_2c,
        &mut copy.quorum_snapshot_at_h_minus_3c,
    ] {
        *part = snapshot(part);
    }
    copy.mn_list_diff_tip = diff(&copy.mn_list_diff_tip);
    copy.mn_list_diff_h = diff(&copy.mn_list_diff_h);
    copy.mn_list_diff_at_h_minus_c = diff(&copy.mn_list_diff_at_h_minus_c);
    copy.last_commitment_per_index = seq(&copy.last_commitment_per_index);
    copy.mn_list_diff_list = copy.mn_list_diff_list.iter().map(diff).collect();
    copy
}

#[test]
fn kept_messages_encode_to_their_bytes() {
    let counts: Vec<_> = Recording::kept().iter().map(reread_all).collect();
    assert_eq!(counts, [[3, 3], [2, 2]]);
}

#[test]
fn all_recorded_messages_encode_to_their_bytes() {
    for recording in Recording::full() {
        let replies = recording.replies();
        // 24 refusals of Dash Core 23.0, 39 of 23.1.
        let refusals = if recording.is("regtest-v3") { 39 } else { 24 };
        assert_eq!(reread_all(&recording), [replies + refusals, replies], "{}", recording.name);
    }
}

fn kept(chain: &str, id: u64) -> QRInfo {
    let recordings = Recording::kept();
    let recording = recordings.iter().find(|recording| recording.name.ends_with(chain)).unwrap();
    let exchange = recording.exchanges.iter().find(|exchange| exchange.id == id).unwrap();
    reread(exchange.reply.as_ref().unwrap())
}

fn bits(pattern: &str) -> Bits {
    pattern.chars().map(|bit| bit == '1').collect()
}

/// The facts are those of the node's own JSON of this reply.
#[test]
fn a_reply_with_a_skip_list() {
    let message = kept("churn", 232);
    assert_eq!(
        message.quorum_snapshot_at_h_minus_c,
        QuorumSnapshot {
            skip_list_mode: SkipListMode::SkipFirst,
            active_quorum_members: bits("1011111"),
            skip_list: vec![1, 1],
        }
    );
    let extra = message.extra_share.as_ref().unwrap();
    assert_eq!(extra.quorum_snapshot_at_h_minus_4c.active_quorum_members, bits("1010111"));
    assert_eq!(extra.quorum_snapshot_at_h_minus_4c.skip_list_mode, SkipListMode::NoSkipping);
    assert_eq!(
        message.work_block_hash().to_string(),
        "4725b5d07eacfa13e1eb033bbf2e1751aa7d84ba3f594b4c1c1a85f9063c6a41"
    );
    let steps: Vec<_> = message.diffs().collect();
    assert_eq!(steps.len(), 6);
    assert_eq!(
        extra.mn_list_diff_at_h_minus_4c.base_block_hash.to_string(),
        "02f228842920fe4885682541edd3a679c8e01c9412ad0816d97e1a32e25baffc"
    );
    // Each step but the last starts where the one before ended.
    for pair in steps[..5].windows(2) {
        assert_eq!(pair[1].base_block_hash, pair[0].block_hash);
    }
    let payload = message.mn_list_diff_h.coinbase.payload().unwrap();
    assert_eq!((payload.version, payload.height), (3, 904));
    let pool = payload.credit_pool.as_ref().unwrap();
    assert_eq!((pool.best_cl_height_diff, pool.balance), (3, 0x1b47_8807));
    assert!(hex(&pool.best_cl_signature).starts_with("b4bf0ea2bd9147e4"));
}

/// The facts are those of the node's own JSON of this reply.
#[test]
fn a_reply_with_a_trailing_list() {
    let message = kept("churn", 308);
    assert_eq!(message.extra_share, None);
    let [snapshot] = &message.quorum_snapshot_list[..] else { panic!("one trailing snapshot") };
    assert_eq!(snapshot.active_quorum_members, bits("1111011"));
    let [list] = &message.mn_list_diff_list[..] else { panic!("one trailing list") };
    assert_eq!(list.base_block_hash, qrinfo_core::Network::Regtest.genesis_hash());
    assert_eq!((list.new_masternodes.len(), list.new_quorums.len()), (7, 6));
    let [first, second] = &list.quorums_cl_sigs.to_vec()[..] else { panic!("two signatures") };
    assert!(hex(&first.signature).starts_with("92621209b5559bfe"));
    assert_eq!((&first.indexes[..], &second.indexes[..]), (&[1, 3][..], &[0, 2, 4, 5][..]));
    let [entry] = &message.mn_list_diff_tip.new_masternodes.to_vec()[..] else { panic!("one changed masternode") };
    assert_eq!(entry.pro_reg_tx_hash.to_string(), "bbc2a15cba0001cb18160ac5fb99b739056683a88c60821a330298c277e2c2df");
    let ip = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    assert_eq!(entry.net_info, NetInfo::Service { ip, port: 15257 });
    assert_eq!((entry.version, entry.is_valid, entry.kind), (2, true, SmlEntryKind::Regular));
    assert_eq!(entry.to_wire().len(), 155);
    let deleted = message.mn_list_diff_tip.deleted_quorums.iter().next().unwrap();
    assert_eq!(
        (deleted.llmq_type.0, deleted.quorum_hash.to_string().as_str()),
        (100, "5470f638d4e9ffde214ef143f50ce2b06616b854e47aa3dd0e2d8ac078013919")
    );
    let indexes: Vec<_> = message.last_commitment_per_index.iter().map(|commitment| commitment.quorum_index).collect();
    assert_eq!(indexes, [Some(0), Some(1)]);
}

/// For the same cycle: in the legacy construction every step starts from the newest base that was sent and that lies
/// below its target.
#[test]
fn a_reply_in_the_legacy_construction() {
    let (efficient, legacy) = (kept("regtest", 136), kept("regtest", 505));
    let targets = |message: &QRInfo| message.diffs().map(|diff| diff.block_hash).collect::<Vec<_>>();
    assert_eq!(targets(&efficient), targets(&legacy));
    let recordings = Recording::kept();
    let bases: Vec<_> = legacy.diffs().map(|diff| diff.base_block_hash).collect();
    assert_eq!(bases, [136, 136, 136, 136, 136, 1764].map(|height| recordings[0].hash(height)));
}

// === mainnet ===

fn mainnet(extension: &str, prefix: &str) -> Vec<PathBuf> {
    let Some(path) = vectors("mainnet") else { return Vec::new() };
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
    files.filter(|path| path.extension().is_some_and(|found| found == extension) && named(path)).collect()
}

fn facts(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Checks every fact that `found` names; a fact that the file does not have is an error.
fn agree(facts: &Value, found: Value, place: &str) {
    for (name, value) in found.as_object().unwrap() {
        assert_eq!(facts.get(name), Some(value), "{name} of {place}");
    }
}

fn tally(names: impl Iterator<Item = String>) -> Value {
    let mut counts = BTreeMap::<String, u64>::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    json!(counts)
}

fn size_and_digest(wire: &Bytes) -> Value {
    json!({ "bytes": wire.len(), "sha256": hex(&Sha256::digest(wire)) })
}

fn kind_and_version(quorum: &Commitment) -> String {
    format!("type{}_v{}", quorum.llmq_type, quorum.version)
}

fn diff_agrees(diff: &MnListDiff, facts: &Value, place: &str) {
    let entries = diff.new_masternodes.to_vec();
    let count = |holds: fn(&SmlEntry) -> bool| entries.iter().filter(|entry| holds(entry)).count();
    agree(facts, size_and_digest(&diff.to_wire()), place);
    agree(
        facts,
        json!({
            "version": diff.version,
            "baseBlockHash": diff.base_block_hash.to_string(),
            "blockHash": diff.block_hash.to_string(),
            "totalTransactions": diff.total_transactions,
            "nMerkleHashes": diff.merkle_hashes.len(),
            "merkleFlagsHex": hex(&diff.merkle_flags),
            "nDeletedMNs": diff.deleted_masternodes.len(),
            "deletedMNs": diff.deleted_masternodes.iter().map(|hash| hash.to_string()).collect::<Vec<_>>(),
            "nNewMNs": entries.len(),
            "newMNsByVersion": tally(entries.iter().map(|entry| entry.version.to_string())),
            "newMNsByType": tally(entries.iter().map(|entry| match entry.kind {
                SmlEntryKind::Regular => "regular".to_owned(),
                SmlEntryKind::Evo { .. } => "evo".to_owned(),
            })),
            "newMNsValid": count(|entry| entry.is_valid),
            "newMNsNullConfirmedHash": count(|entry| entry.confirmed_hash.as_bytes() == &[0; 32]),
            "nDeletedQuorums": diff.deleted_quorums.len(),
            "deletedQuorumsByType": tally(diff.deleted_quorums.iter().map(|quorum| format!("type{}", quorum.llmq_type))),
            "nNewQuorums": diff.new_quorums.len(),
            "newQuorumsByTypeVersion": tally(diff.new_quorums.iter().map(|quorum| kind_and_version(&quorum))),
            "nQuorumsCLSigs": diff.quorums_cl_sigs.len(),
            "quorumsCLSigsIndexes": diff.quorums_cl_sigs.iter().map(|sig| sig.indexes.len()).sum::<usize>(),
            "quorumsCLSigsZeroed": diff.quorums_cl_sigs.iter().filter(|sig| sig.signature == [0; 96]).count(),
        }),
        place,
    );
    let payload = diff.coinbase.payload().unwrap();
    let pool = payload.credit_pool.as_ref().unwrap();
    agree(
        &facts["cbTx"],
        json!({ "txid": diff.coinbase.txid().to_string(), "bytes": diff.coinbase.as_bytes().len() }),
        place,
    );
    agree(
        &facts["cbTx"]["extraPayload"],
        json!({
            "version": payload.version,
            "height": payload.height,
            "merkleRootMNList": payload.merkle_root_mn_list.to_string(),
            "merkleRootQuorums": payload.merkle_root_quorums.unwrap().to_string(),
            "bestCLHeightDiff": pool.best_cl_height_diff,
            "bestCLSignature": hex(&pool.best_cl_signature),
            "creditPoolBalance": pool.balance,
        }),
        place,
    );
    for entry in &entries {
        let size = match (entry.version, entry.kind) {
            (1, SmlEntryKind::Regular) => 153,
            (2, SmlEntryKind::Regular) => 155,
            (2, SmlEntryKind::Evo { .. }) => 177,
            other => panic!("{other:?} in {place}"),
        };
        assert_eq!(entry.to_wire().len(), size, "{place}");
    }
}

fn snapshot_agrees(snapshot: &QuorumSnapshot, facts: &Value, place: &str) {
    agree(facts, size_and_digest(&snapshot.to_wire()), place);
    agree(
        facts,
        json!({
            "mnSkipListMode": snapshot.skip_list_mode as u8,
            "activeQuorumMembersCount": snapshot.active_quorum_members.len(),
            "activeQuorumMembersTrue": snapshot.active_quorum_members.count_ones(),
            "activeQuorumMembersHex": hex(snapshot.active_quorum_members.as_bytes()),
            "mnSkipList": snapshot.skip_list,
        }),
        place,
    );
}

#[test]
fn mainnet_diffs_agree_with_their_facts() {
    let files = mainnet("bin", "mainnet_mnlistdiff_");
    assert!(files.is_empty() || files.len() == 33, "{} diffs", files.len());
    for path in files {
        let diff: MnListDiff = reread(&fs::read(&path).unwrap());
        diff_agrees(&diff, &facts(&path.with_extension("json")), &path.display().to_string());
    }
}

#[test]
fn the_mainnet_qr_info_agrees_with_its_facts() {
    for path in mainnet("bin", "mainnet_qrinfo_") {
        let message: QRInfo = reread(&fs::read(&path).unwrap());
        let facts = facts(&path.with_extension("json"));
        let extra = message.extra_share.as_ref().unwrap();
        for (name, snapshot) in [
            ("quorumSnapshotAtHMinusC", &message.quorum_snapshot_at_h_minus_c),
            ("quorumSnapshotAtHMinus2C", &message.quorum_snapshot_at_h_minus_2c),
            ("quorumSnapshotAtHMinus3C", &message.quorum_snapshot_at_h_minus_3c),
            ("quorumSnapshotAtHMinus4C", &extra.quorum_snapshot_at_h_minus_4c),
        ] {
            snapshot_agrees(snapshot, &facts[name], name);
        }
        for (name, diff) in [
            ("mnListDiffTip", &message.mn_list_diff_tip),
            ("mnListDiffH", &message.mn_list_diff_h),
            ("mnListDiffAtHMinusC", &message.mn_list_diff_at_h_minus_c),
            ("mnListDiffAtHMinus2C", &message.mn_list_diff_at_h_minus_2c),
            ("mnListDiffAtHMinus3C", &message.mn_list_diff_at_h_minus_3c),
            ("mnListDiffAtHMinus4C", &extra.mn_list_diff_at_h_minus_4c),
        ] {
            diff_agrees(diff, &facts[name], name);
        }
        assert_eq!(message.last_commitment_per_index.len(), 32);
        for (commitment, facts) in
            message.last_commitment_per_index.iter().zip(facts["lastCommitmentPerIndex"].as_array().unwrap())
        {
            agree(
                facts,
                json!({
                    "version": commitment.version,
                    "llmqType": commitment.llmq_type.0,
                    "quorumHash": commitment.quorum_hash.to_string(),
                    "quorumIndex": commitment.quorum_index,
                    "signersLen": commitment.signers.len(),
                    "signersCount": commitment.signers.count_ones(),
                    "validMembersLen": commitment.valid_members.len(),
                    "validMembersCount": commitment.valid_members.count_ones(),
                    "wireBytes": commitment.to_wire().len(),
                }),
                "lastCommitmentPerIndex",
            );
        }
        assert!(message.quorum_snapshot_list.is_empty() && message.mn_list_diff_list.is_empty());
    }
}
