//! Lists of real mainnet size, beside roots that another program computed.

use crate::common::mainnet::Mainnet;
use qrinfo_core::{Hash256, LlmqType, Network, QuorumHash, Reply, Request, message::QRInfo, sha256d, wire::Wire};
use qrinfo_verify::{Level, ListStage, Lists, Proof, Unproven, VerifiedQuorum, VerifyError};
use serde_json::Value;

fn assert_is(lists: &Lists, truth: &Value) {
    assert_eq!(lists.height(), truth["coinbaseHeight"]);
    assert_eq!(lists.block_hash().to_string(), truth["blockHash"]);
    assert_eq!(lists.masternodes().len(), truth["nMNs"].as_u64().unwrap() as usize);
    assert_ne!(lists.masternodes(), &qrinfo_verify::MasternodeList::default());
    assert!(!lists.quorums().is_empty() && qrinfo_verify::QuorumList::default().is_empty());
    assert!(!lists.masternodes().is_empty() && qrinfo_verify::MasternodeList::default().is_empty());
    assert!(lists.masternodes().iter().all(|entry| lists.masternodes().get(&entry.pro_reg_tx_hash) == Some(entry)));
    let valid = lists.masternodes().iter().filter(|entry| entry.is_valid).count();
    assert_eq!(valid, truth["nValidMNs"].as_u64().unwrap() as usize);
    assert_eq!(lists.masternodes().merkle_root().to_string(), truth["mnRootCoreRule_noVersionInEntryHash"]);
    assert_eq!(lists.quorums().len(), truth["nQuorums"].as_u64().unwrap() as usize);
    assert_eq!(lists.quorums().merkle_root().to_string(), truth["quorumRoot"]);
    for (name, count) in truth["quorumsByType"].as_object().unwrap() {
        let of_type = lists.quorums().iter().filter(|quorum| format!("type{}", quorum.llmq_type) == *name).count();
        assert_eq!(of_type, count.as_u64().unwrap() as usize, "{name}");
    }
    for quorum in truth["hashes"]["quorums"].as_array().into_iter().flatten() {
        let expected = quorum["entryHash"].as_str().unwrap();
        let hash =
            QuorumHash::from_bytes(*quorum["quorumHash"].as_str().unwrap().parse::<Hash256>().unwrap().as_bytes());
        let active = lists.quorums().get(LlmqType(quorum["llmqType"].as_u64().unwrap() as u8), hash).unwrap();
        assert_eq!(Hash256::from_bytes(sha256d(&active.to_wire())).to_string(), expected);
    }
}

#[test]
fn the_roots_of_all_diffs() {
    let Some(mainnet) = Mainnet::load() else { return };
    let truth = mainnet.json("truth.json");
    let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
    let full = mainnet.diff("mainnet_mnlistdiff_0_2227096");
    let start = stage.apply(&full.0, &full.1, |hash| mainnet.headers.find(hash)).unwrap().lists.unwrap();
    assert_is(&start, &truth["mainnet_mnlistdiff_0_2227096"]);
    stage.pin(start);

    let names = mainnet.diff_names();
    assert!(names.len() >= 32, "{names:?}");
    let known = truth["engine_mnlistdiffs_applied_to_0_2227096"].as_array().unwrap();
    let mut found = 0;
    for name in names {
        let (request, reply) = mainnet.diff(&name);
        let verified = stage.apply(&request, &reply, |hash| mainnet.headers.find(hash));
        let verified = verified.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(verified.tip.is_none());
        let lists = verified.lists.unwrap();
        for truth in known.iter().filter(|truth| truth["coinbaseHeight"] == lists.height()) {
            assert_is(&lists, truth);
            found += 1;
        }
    }
    assert!(found >= known.len(), "{found} of {}", known.len());
    let applied = &truth["mainnet_mnlistdiff_2227096_2241332_applied"];
    assert_is(stage.lists(2_241_332).unwrap(), applied);
}

#[test]
fn the_signatures_of_a_whole_reply() {
    let Some(mainnet) = Mainnet::load() else { return };
    let mut stage = ListStage::new(Network::Mainnet, Level::Full);
    let full = mainnet.diff("mainnet_mnlistdiff_0_2227096");
    let verified = stage.apply(&full.0, &full.1, |hash| mainnet.headers.find(hash)).unwrap();
    // 24 of type 1 are of the scheme before v19; no members are known yet.
    assert_eq!(verified.quorums.len(), 88);
    let legacy = if cfg!(feature = "legacy-bls") { 0 } else { 24 };
    assert!(verified.unproven.contains(&Unproven::Signatures {
        legacy,
        legacy_members: 0,
        without_members: 88 - legacy
    }));
    stage.pin(verified.lists.unwrap());

    let (spec, qr_info) = mainnet.qr_info();
    let request = Request::from(spec);
    let take = |stage: &mut ListStage, qr_info: &QRInfo| {
        stage.apply(&request, &Reply::QrInfo(Box::new(qr_info.clone())), |hash| mainnet.headers.find(hash))
    };
    let verified = take(&mut stage.clone(), &qr_info).unwrap();
    let truth = mainnet.json("truth.json");
    let cycles = [
        truth["rotatedQuorums_lastCommitmentPerIndex"].as_object().unwrap().values().next().unwrap(),
        &truth["rotatedQuorums_previousCycle"],
    ];
    for quorum in cycles.into_iter().flat_map(|cycle| cycle["quorums"].as_array().unwrap()) {
        let hash = quorum["quorumHash"].as_str().unwrap();
        let is_it = |found: &&VerifiedQuorum| {
            found.commitment.llmq_type == LlmqType(5) && found.commitment.quorum_hash.to_string() == hash
        };
        let found = verified.quorums.iter().find(is_it).unwrap();
        assert_eq!((found.proof.quorum_sig, found.proof.members_sig), (Proof::Verified, Proof::Verified));
        let members: Vec<_> = found.members.iter().map(ToString::to_string).collect();
        let expected = quorum["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
        assert!(expected.eq(members.iter().map(String::as_str)), "{hash}");
    }
    // With the two cycles every snapshot has led to good signatures.
    assert!(!verified.unproven.iter().any(|unproven| matches!(unproven, Unproven::Snapshots(_))));

    let mut altered = qr_info.clone();
    let snapshot = &mut altered.quorum_snapshot_at_h_minus_c;
    let first = snapshot.active_quorum_members.iter().position(|bit| bit).unwrap();
    let bits = snapshot.active_quorum_members.iter().enumerate();
    snapshot.active_quorum_members = bits.map(|(place, bit)| bit && place != first).collect();
    let error = take(&mut stage, &altered).unwrap_err();
    let VerifyError::False(falsehood) = error else { panic!("{error:?}") };
    assert_eq!(falsehood.label(), "members' signature");
}

#[test]
fn a_whole_reply() {
    let Some(mainnet) = Mainnet::load() else { return };
    let truth = mainnet.json("truth.json");
    let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
    let full = mainnet.diff("mainnet_mnlistdiff_0_2227096");
    let start = stage.apply(&full.0, &full.1, |hash| mainnet.headers.find(hash)).unwrap().lists.unwrap();
    stage.pin(start);
    let (spec, qr_info) = mainnet.qr_info();
    let reply = Reply::QrInfo(Box::new(qr_info));
    let verified = stage.apply(&Request::from(spec), &reply, |hash| mainnet.headers.find(hash)).unwrap();
    let applied = truth["feed_qr_info"]["appliedInThisOrder"].as_array().unwrap();
    assert_eq!(applied.len(), 6);
    for truth in applied {
        let height = truth["coinbaseHeight"].as_u64().unwrap() as u32;
        assert_is(stage.lists(height).unwrap(), truth);
    }
    assert_is(&verified.lists.unwrap(), &applied[4]);
    assert_is(&verified.tip.unwrap(), &applied[5]);
    // The tip's list proves the commitments, as all of them are active there.
    assert!(!verified.unproven.iter().any(|unproven| matches!(unproven, Unproven::Commitments(_))));
}
