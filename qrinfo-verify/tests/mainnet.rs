//! Lists of real mainnet size, beside roots that another program computed.

#![allow(clippy::unwrap_used)]

mod common;

use common::mainnet::Mainnet;
use qrinfo_core::{Reply, Request, hash::sha256d, wire::Wire};
use qrinfo_verify::{Level, ListStage, Lists, Unproven};
use serde_json::Value;

fn assert_is(lists: &Lists, truth: &Value) {
    assert_eq!(lists.height(), truth["coinbaseHeight"]);
    assert_eq!(lists.block_hash().to_string(), truth["blockHash"]);
    assert_eq!(lists.masternodes().len(), truth["nMNs"].as_u64().unwrap() as usize);
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
        let hash = qrinfo_core::QuorumHash::from_bytes(
            *quorum["quorumHash"].as_str().unwrap().parse::<qrinfo_core::Hash256>().unwrap().as_bytes(),
        );
        let active =
            lists.quorums().get(qrinfo_core::LlmqType(quorum["llmqType"].as_u64().unwrap() as u8), hash).unwrap();
        assert_eq!(qrinfo_core::Hash256::from_bytes(sha256d(&active.to_wire())).to_string(), expected);
    }
}

#[test]
fn the_roots_of_all_diffs() {
    let Some(mainnet) = Mainnet::load() else { return };
    let truth = mainnet.json("truth.json");
    let mut stage = ListStage::new(qrinfo_core::Network::Mainnet, Level::Roots);
    let full = mainnet.diff("mainnet_mnlistdiff_0_2227096");
    let start = stage.take(&full.0, &full.1, |hash| mainnet.headers.find(hash)).unwrap().lists.unwrap();
    assert_is(&start, &truth["mainnet_mnlistdiff_0_2227096"]);
    stage.hold(start);

    let names = mainnet.diff_names();
    assert!(names.len() >= 32, "{names:?}");
    let known = truth["engine_mnlistdiffs_applied_to_0_2227096"].as_array().unwrap();
    let mut found = 0;
    for name in names {
        let (request, reply) = mainnet.diff(&name);
        let verified = stage.take(&request, &reply, |hash| mainnet.headers.find(hash));
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
fn a_whole_reply() {
    let Some(mainnet) = Mainnet::load() else { return };
    let truth = mainnet.json("truth.json");
    let mut stage = ListStage::new(qrinfo_core::Network::Mainnet, Level::Roots);
    let full = mainnet.diff("mainnet_mnlistdiff_0_2227096");
    let start = stage.take(&full.0, &full.1, |hash| mainnet.headers.find(hash)).unwrap().lists.unwrap();
    stage.hold(start);
    let (spec, qr_info) = mainnet.qr_info();
    let reply = Reply::QrInfo(Box::new(qr_info));
    let verified = stage.take(&Request::from(spec), &reply, |hash| mainnet.headers.find(hash)).unwrap();
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
    eprintln!("{:?}", verified.unproven);
}
