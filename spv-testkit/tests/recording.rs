//! Recordings against what is known of them otherwise: checksums, the node's own JSON, the headers' hash chain.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use qrinfo_core::{
    BlockHash,
    message::{GetQRInfo, QRInfo},
    wire::Wire,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use spv_testkit::{Answer, Exchange, Plan, Recording, RecordingError};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/regtest")
}

fn bundled() -> Recording {
    Recording::bundled().expect("the bundled recording is whole")
}

fn all() -> Vec<(&'static str, Recording)> {
    let shared = ["regtest", "regtest-churn", "regtest-v3"]
        .map(|name| Some((name, Recording::shared(name).expect("a whole recording")?)));
    [Some(("bundled", bundled()))].into_iter().chain(shared).flatten().collect()
}

#[test]
fn what_is_compiled_in_is_what_lies_on_disk() {
    let loaded = Recording::load(&data()).unwrap();
    assert_eq!(loaded.exchanges(), bundled().exchanges());
    assert_eq!(loaded.headers(), bundled().headers());
    let files = |folder: &str| fs::read_dir(data().join(folder)).unwrap().count();
    let distinct: HashSet<_> = loaded.exchanges().iter().filter_map(reply).collect();
    assert_eq!(files("replies"), distinct.len(), "every reply is used, and none twice");
    assert_eq!(files("rotationinfo"), loaded.exchanges().iter().filter(|e| e.rotation_info.is_some()).count());
}

#[test]
fn the_bundled_part_has_whole_syncs_and_every_refusal() {
    let recording = bundled();
    let syncs: Vec<_> = recording
        .complete_syncs()
        .iter()
        .map(|sync| (sync.protocol, sync.plan, sync.first_cycle, recording.exchanges_of(sync).count()))
        .collect();
    assert_eq!(
        syncs,
        [(70230, Plan::Chained, 240, 64), (70237, Plan::Chained, 240, 64), (70237, Plan::FiveStep, 240, 64)]
    );
    assert_eq!(recording.exchanges().iter().filter(|exchange| exchange.answer == Answer::Refused).count(), 24);
    assert_eq!((recording.tip(), recording.start_height(), recording.anchor()), (1772, 1772, 1764));
}

#[test]
fn the_bundled_part_is_a_part_of_the_whole() {
    let Some(whole) = Recording::shared("regtest").unwrap() else { return };
    assert_eq!(bundled().headers(), whole.headers());
    for exchange in bundled().exchanges() {
        let found = whole.find(exchange.protocol, &exchange.request).unwrap();
        let rotation_info = exchange.rotation_info.clone();
        assert_eq!(&Exchange { rotation_info, ..found.clone() }, exchange);
        assert!(exchange.rotation_info.is_none() || exchange.rotation_info == found.rotation_info);
    }
}

#[test]
fn replies_have_the_checksums_that_were_noted_when_they_were_recorded() {
    let index: Value = serde_json::from_slice(&fs::read(data().join("exchanges.json")).unwrap()).unwrap();
    let noted: HashMap<_, _> = index["exchanges"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| Some((entry["id"].as_u64()?, entry["sha256"].as_str()?)))
        .collect();
    let mut checked = 0;
    for exchange in bundled().exchanges() {
        let Some(reply) = reply(exchange) else { continue };
        let sum: String = Sha256::digest(reply).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Some(&sum.as_str()), noted.get(&u64::from(exchange.id)));
        checked += 1;
    }
    assert_eq!(checked, 191);
}

#[test]
fn requests_name_the_blocks_that_their_heights_say() {
    for (name, recording) in all() {
        for exchange in recording.exchanges() {
            let request = GetQRInfo::from_wire(exchange.request.clone()).unwrap();
            assert_eq!(request.extra_share, exchange.extra_share);
            let hash_at = |height: &u32| recording.block_hash(*height).unwrap();
            let bases: Vec<_> = exchange.base_heights.iter().map(hash_at).collect();
            let is_as_said = request.base_block_hashes == bases && request.block_hash == hash_at(&exchange.height);
            let leaves_bases_out = request.base_block_hashes.is_empty() && exchange.note.starts_with("empty base list");
            let names_a_stranger = exchange.note.starts_with("refused: ");
            assert!(is_as_said || leaves_bases_out || names_a_stranger, "{name}, exchange {}", exchange.id);
        }
    }
}

#[test]
fn replies_lead_to_the_work_block_of_their_height() {
    for (name, recording) in all() {
        let cycles = recording.network().cycles();
        for exchange in recording.exchanges() {
            let Some(reply) = reply(exchange) else { continue };
            let reply = QRInfo::from_wire(reply.to_vec()).unwrap();
            let height = recording.height(&reply.work_block_hash());
            assert_eq!(
                height,
                cycles.work_height(cycles.start_of(exchange.height)),
                "{name}, exchange {}",
                exchange.id
            );
        }
    }
}

#[test]
fn the_nodes_own_json_tells_of_the_same_reply() {
    for (name, recording) in all() {
        let mut checked = 0;
        for exchange in recording.exchanges() {
            let (Some(json), Some(reply)) = (&exchange.rotation_info, reply(exchange)) else { continue };
            let json: Value = serde_json::from_slice(json).unwrap();
            let reply = QRInfo::from_wire(reply.to_vec()).unwrap();
            assert_eq!(json["mnListDiffH"]["blockHash"].as_str(), Some(&*reply.work_block_hash().to_string()));
            assert_eq!(
                json["mnListDiffH"]["baseBlockHash"].as_str(),
                Some(&*reply.mn_list_diff_h.base_block_hash.to_string())
            );
            checked += 1;
        }
        assert!(checked >= 8, "{name}: {checked}");
    }
}

#[test]
fn hashes_and_heights_lead_to_each_other() {
    let recording = bundled();
    for height in 0..=recording.tip() {
        assert_eq!(recording.block_hash(height).and_then(|hash| recording.height(&hash)), Some(height));
    }
    assert_eq!(recording.block_hash(recording.tip() + 1), None);
    assert_eq!(recording.block_hash(u32::MAX), None);
    assert_eq!(recording.height(&BlockHash::ZERO), None);
    let tip = "5f9a5256983871d7e3299f127f31893f25080dcee89462d8a9d01e82b68896a5";
    assert_eq!(recording.block_hash(1772).unwrap().to_string(), tip);
}

#[test]
fn a_session_finds_the_highest_recorded_protocol_below_its_own() {
    let recording = bundled();
    let five_step = &recording.complete_syncs()[2];
    let exchange = recording.exchange(five_step.ids[30]).unwrap();
    for protocol in [70237, 70240] {
        assert_eq!(recording.find(protocol, &exchange.request), Some(exchange));
    }
    for protocol in [70230, 70235, 70229] {
        assert_eq!(recording.find(protocol, &exchange.request), None);
    }
    assert_eq!(recording.find(70237, b""), None);
}

#[test]
fn each_way_to_damage_a_recording_has_its_error() {
    let index: Value = serde_json::from_slice(&fs::read(data().join("exchanges.json")).unwrap()).unwrap();
    let headers = fs::read(data().join("headers.bin")).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("damaged");
    let load = |change: &dyn Fn(&mut Value, &mut Vec<u8>)| {
        let (mut index, mut headers) = (index.clone(), headers.clone());
        // The first exchanges are refusals, which need no other file.
        index["exchanges"].as_array_mut().unwrap().truncate(3);
        index["complete_syncs"] = serde_json::json!({});
        change(&mut index, &mut headers);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("exchanges.json"), index.to_string()).unwrap();
        fs::write(folder.join("headers.bin"), headers).unwrap();
        Recording::load(&folder)
    };
    assert!(load(&|_, _| {}).is_ok());
    assert!(matches!(load(&|index, _| index["network"] = "bitcoin".into()), Err(RecordingError::Network(_))));
    assert!(matches!(load(&|index, _| index["tip_hash"] = "00".into()), Err(RecordingError::TipHash(_))));
    assert!(matches!(load(&|index, _| index["tip"] = "1".into()), Err(RecordingError::Index(_))));
    let tip = |tip: u32| move |index: &mut Value, _: &mut Vec<u8>| index["tip"] = tip.into();
    assert!(matches!(load(&tip(1771)), Err(RecordingError::Headers { bytes: 141_840, tip: 1771 })));
    assert!(matches!(load(&tip(u32::MAX)), Err(RecordingError::Headers { .. })));
    assert!(matches!(load(&|_, headers| headers.truncate(100)), Err(RecordingError::Headers { .. })));
    assert!(matches!(load(&|_, headers| headers[84] ^= 1), Err(RecordingError::Genesis(_))));
    for request in ["0", "0g", "é0"] {
        let change = |index: &mut Value, _: &mut Vec<u8>| index["exchanges"][1]["request"] = request.into();
        assert!(matches!(load(&change), Err(RecordingError::Request(1))), "{request}");
    }
    let duplicate = |index: &mut Value, _: &mut Vec<u8>| index["exchanges"][2] = index["exchanges"][1].clone();
    assert!(matches!(load(&duplicate), Err(RecordingError::Duplicate(1))));
    let with_reply = |bytes: u32| {
        move |index: &mut Value, _: &mut Vec<u8>| {
            index["exchanges"][2]["answer"] = "qrinfo".into();
            index["exchanges"][2]["file"] = "headers.bin".into();
            index["exchanges"][2]["bytes"] = bytes.into();
        }
    };
    assert!(load(&with_reply(141_840)).is_ok());
    assert!(matches!(load(&with_reply(7)), Err(RecordingError::ReplyLength { id: 2, expected: 7, found: 141_840 })));
    let missing = |index: &mut Value, headers: &mut Vec<u8>| {
        with_reply(1)(index, headers);
        index["exchanges"][2]["file"] = "replies/none".into();
    };
    assert!(matches!(load(&missing), Err(RecordingError::File { .. })));
    let sync = |name: &'static str, id: u32| {
        move |index: &mut Value, _: &mut Vec<u8>| {
            index["complete_syncs"][name] = serde_json::json!({ "first_cycle": 0, "ids": [id] });
        }
    };
    assert!(load(&sync("70237 chained", 2)).is_ok());
    assert!(matches!(load(&sync("70237 chained", 3)), Err(RecordingError::UnknownExchange(3))));
    assert!(matches!(load(&sync("chained", 2)), Err(RecordingError::SyncName(_))));
}

#[test]
fn a_recording_that_is_not_there_is_none() {
    assert!(Recording::shared("no such recording").unwrap().is_none());
    assert!(matches!(Recording::load(Path::new("no such folder")), Err(RecordingError::File { .. })));
}

fn reply(exchange: &Exchange) -> Option<&[u8]> {
    match &exchange.answer {
        Answer::Reply(reply) => Some(reply),
        Answer::Refused => None,
    }
}
