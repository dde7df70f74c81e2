//! A chain learnt from some of a node's replies gives all its other replies, to the byte, and its refusals.
#![allow(clippy::unwrap_used, reason = "a test that finds nothing has failed")]

use std::{fs, path::Path};

use qrinfo_core::{
    BlockHash,
    message::{GetMnListDiff, GetQRInfo, MnListDiff, QRInfo},
    wire::Wire,
};
use serde_json::Value;
use spv_testkit::{
    Answer, Chain, Exchange, Recording, ServerSession, ServerVersion,
    builder::{self, Refusal},
    chain::LoadError,
};

fn is_genesis_based(exchange: &Exchange) -> bool {
    matches!(exchange.note.as_str(), "genesis" | "genesis and anchor")
}

/// Answers every recorded request and counts replies and refusals.
fn replay(name: &str, server: ServerVersion, recording: &Recording, chain: &Chain) -> (usize, usize) {
    let (mut replies, mut refusals) = (0, 0);
    // The lowest cycle that the node answers for is the fourth after the first snapshot.
    let lowest = recording.complete_syncs().iter().map(|sync| sync.first_cycle).min().unwrap();
    let first_snapshot = lowest - 4 * 24;
    for exchange in recording.exchanges() {
        let request = GetQRInfo::from_wire(exchange.request.clone()).unwrap();
        let built = builder::qr_info(chain, &request, ServerSession::new(server, exchange.protocol));
        let place = format!("{name}, exchange {} ({}, {})", exchange.id, exchange.protocol, exchange.note);
        match (&exchange.answer, built) {
            (Answer::Reply(recorded), Ok(built)) => {
                assert!(built.to_wire() == *recorded, "{place}: other bytes");
                replies += 1;
            }
            (Answer::Refused, Err(refusal)) => {
                check_reason(exchange, &request, refusal, first_snapshot);
                refusals += 1;
            }
            (_, built) => panic!("{place}: {built:?}"),
        }
    }
    (replies, refusals)
}

fn check_reason(exchange: &Exchange, request: &GetQRInfo, refusal: Refusal, first_snapshot: u32) {
    let expected = match exchange.note.as_str() {
        "refused: unknown base" | "refused: all-zero base" => Refusal::UnknownBase(request.base_block_hashes[0]),
        "refused: unknown requested block" => Refusal::UnknownBlock(request.block_hash),
        // The fourth cycle before the requested one is needed.
        "genesis" if exchange.height < 4 * 24 => Refusal::BeforeGenesis,
        "genesis" => Refusal::NoSnapshot(0),
        note => panic!("a refusal that was not expected: {note}"),
    };
    match (expected, refusal) {
        (Refusal::NoSnapshot(_), Refusal::NoSnapshot(cycle)) => assert!(cycle < first_snapshot, "{cycle}"),
        (expected, refusal) => assert_eq!(refusal, expected, "{}", exchange.id),
    }
}

#[test]
fn genesis_based_replies_lead_to_all_others() {
    for (name, server, counts) in [
        ("regtest", ServerVersion::V23_0, (588, 24)),
        ("regtest-churn", ServerVersion::V23_0, (604, 24)),
        ("regtest-v3", ServerVersion::V23_1, (135, 39)),
    ] {
        let Some(recording) = Recording::shared(name).unwrap() else { continue };
        let chain = Chain::from_recording(&recording, is_genesis_based).unwrap();
        assert_eq!(replay(name, server, &recording, &chain), counts);
    }
}

#[test]
fn one_bundled_sync_leads_to_the_whole_bundle() {
    let recording = Recording::bundled().unwrap();
    for sync in recording.complete_syncs() {
        let chain = Chain::from_recording(&recording, |exchange| sync.ids.contains(&exchange.id)).unwrap();
        assert_eq!(replay(&sync.name, ServerVersion::V23_0, &recording, &chain), (192 - 1, 24));
    }
}

/// The ordered members of a rotated quorum.
struct Members {
    cycle: u32,
    index: usize,
    members: Vec<String>,
}

/// The node's own output (`quorum info`) for quorums of the recorded chain: the part that is bundled.
fn bundled_members() -> Vec<Members> {
    let json: Value = serde_json::from_str(include_str!("data/regtest_members.json")).unwrap();
    let members = json.as_array().unwrap().iter().map(|quorum| Members {
        cycle: quorum["cycle"].as_u64().unwrap() as u32,
        index: quorum["index"].as_u64().unwrap() as usize,
        members: strings(quorum["members"].as_array().unwrap().iter()),
    });
    members.collect()
}

/// The same of a whole recording.
fn shared_members(name: &str) -> Vec<Members> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(name).join("quorums.json");
    let json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let members = json.as_object().unwrap().values().map(|quorum| {
        let height = quorum["height"].as_u64().unwrap() as u32;
        Members {
            cycle: height - height % 24,
            index: quorum["quorumIndex"].as_u64().unwrap() as usize,
            members: strings(quorum["members"].as_array().unwrap().iter().map(|member| &member["proTxHash"])),
        }
    });
    members.collect()
}

fn strings<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<String> {
    values.map(|value| value.as_str().unwrap().to_owned()).collect()
}

#[test]
fn members_are_drawn_as_the_node_draws_them() {
    let mut cases = vec![("bundled", Recording::bundled().unwrap(), bundled_members(), 52)];
    for (name, count) in [("regtest", 52), ("regtest-churn", 45), ("regtest-v3", 12)] {
        if let Some(recording) = Recording::shared(name).unwrap() {
            cases.push((name, recording, shared_members(name), count));
        }
    }
    for (name, recording, truth, count) in cases {
        let chain = Chain::from_recording(&recording, |_| true).unwrap();
        assert_eq!(truth.len(), count);
        for Members { cycle, index, members } in truth {
            let drawn = chain.rotated_members(cycle).unwrap_or_else(|| panic!("{name}: no members at {cycle}"));
            let drawn: Vec<_> = drawn[index].iter().map(|entry| entry.pro_reg_tx_hash.to_string()).collect();
            assert_eq!(drawn, members, "{name}, cycle {cycle}, index {index}");
        }
    }
}

#[test]
fn a_diff_from_the_list_before_to_the_one_after_is_answered_as_well() {
    let recording = Recording::bundled().unwrap();
    let chain = Chain::from_recording(&recording, |_| true).unwrap();
    let hash = |height: u32| chain.block(height).unwrap().hash;
    let ask =
        |base_block_hash, block_hash| builder::mn_list_diff(&chain, &GetMnListDiff { base_block_hash, block_hash });
    // The recorded replies hold the same diffs.
    let mut compared = 0;
    for exchange in recording.exchanges() {
        let Answer::Reply(reply) = &exchange.answer else { continue };
        for diff in QRInfo::from_wire(reply.clone()).unwrap().diffs() {
            assert_eq!(&ask(diff.base_block_hash, diff.block_hash).unwrap(), diff);
            compared += 1;
        }
    }
    assert!(compared > 1000, "{compared}");

    let from_genesis = ask(hash(0), hash(1744)).unwrap();
    let from_zero = ask(BlockHash::ZERO, hash(1744)).unwrap();
    assert_eq!(from_zero.base_block_hash, BlockHash::ZERO, "the base comes back as it was sent");
    assert_eq!(MnListDiff { base_block_hash: hash(0), ..from_zero }, from_genesis);

    let nowhere = BlockHash::from_bytes([7; 32]);
    assert_eq!(ask(nowhere, hash(1744)), Err(Refusal::UnknownBase(nowhere)));
    assert_eq!(ask(hash(1720), nowhere), Err(Refusal::UnknownBlock(nowhere)));
    assert_eq!(ask(hash(1744), hash(1720)), Err(Refusal::BaseAboveBlock { base: 1744, target: 1720 }));
    assert_eq!(ask(hash(1720), hash(1743)), Err(Refusal::Unreadable(1743)));
}

#[test]
fn replies_that_leave_a_list_out_make_no_chain() {
    let recording = Recording::bundled().unwrap();
    let sync = &recording.complete_syncs()[0];
    let load = |ids: &[u32]| Chain::from_recording(&recording, |exchange| ids.contains(&exchange.id)).map(|_| ());
    // Without the first reply nothing leads to the list that the second starts from.
    assert!(matches!(load(&sync.ids[1..]), Err(LoadError::NoList(_))));
    // The first one's tip diff starts from the anchor, which only the newest one tells of.
    assert!(matches!(load(&sync.ids[..1]), Err(LoadError::NoList(1772))));
    assert!(load(&sync.ids).is_ok());
}
