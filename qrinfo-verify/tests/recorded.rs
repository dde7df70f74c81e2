//! What a node really answered is true, reply by reply and as whole syncs.

#![allow(clippy::unwrap_used)]

mod common;

use common::{headers, recordings, reply, request};
use qrinfo_verify::{Level, ListStage, Unproven, check};

#[test]
fn every_recorded_reply_is_true_by_its_headers() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let mut count = 0;
        for exchange in recording.exchanges() {
            let Some(reply) = reply(exchange) else { continue };
            let checked = check(&request(&recording, exchange), &reply, |hash| headers.find(hash));
            let checked = checked.unwrap_or_else(|error| panic!("{name} {}: {error:?}", exchange.id));
            assert!(!checked.tip_is_unknown());
            assert!(checked.diffs().is_sorted_by_key(|diff| diff.height));
            count += 1;
        }
        let expected = match name {
            "regtest" => 588,
            "regtest-churn" => 604,
            _ => 1,
        };
        assert!(count >= expected, "{name}: {count}");
    }
}

#[test]
fn complete_syncs_lead_to_proven_lists() {
    let mut syncs = 0;
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        for sync in recording.complete_syncs() {
            let mut stage = ListStage::new(recording.network(), Level::Roots);
            for exchange in recording.exchanges_of(sync) {
                let reply = reply(exchange).unwrap();
                let verified = stage.take(&request(&recording, exchange), &reply, |hash| headers.find(hash));
                let verified =
                    verified.unwrap_or_else(|error| panic!("{name} {} {}: {error:?}", sync.name, exchange.id));
                let is_newest = exchange.height == recording.tip();
                assert_eq!(verified.unproven.contains(&Unproven::TipDiff), !is_newest, "{name} {}", exchange.id);
                assert_eq!(verified.tip.is_some(), is_newest);
                // Genesis, and the work blocks of H to H-6C.
                let kept: Vec<_> = stage.kept().collect();
                assert!(kept.len() <= 1 + 7 + usize::from(is_newest), "{kept:?}");
            }
            syncs += 1;
        }
    }
    eprintln!("{syncs} syncs");
}
