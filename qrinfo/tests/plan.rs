//! The planner makes exactly the requests of the recorded syncs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use qrinfo::plan::{PlanKind, Planner, anchor};
use qrinfo_core::{Reply, Request, message::QRInfo, wire::Wire};
use spv_testkit::{
    Recording,
    recording::{Answer, Plan},
};

/// Compares every complete sync of a recording with the plan for it; says how many there were.
fn check(recording: &Recording) -> usize {
    for sync in recording.complete_syncs() {
        let kind = match sync.plan {
            Plan::Chained => PlanKind::Chained,
            Plan::FiveStep => PlanKind::FiveStep,
        };
        let planner = Planner {
            kind,
            anchor: anchor([recording.start_height()]),
            ..Planner::new(recording.network(), recording.tip())
        };
        assert_eq!(planner.anchor, Some(recording.anchor()));
        let plan = planner.plan(sync.first_cycle, recording.tip(), |height| recording.block_hash(height)).unwrap();
        let planned: Vec<_> =
            plan.into_iter().map(|spec| Request::from(spec).to_message().to_frame().payload).collect();
        let recorded: Vec<_> = recording.exchanges_of(sync).map(|exchange| exchange.request.clone()).collect();
        assert_eq!(planned.len(), recorded.len(), "{}", sync.name);
        for (index, (planned, recorded)) in planned.iter().zip(&recorded).enumerate() {
            assert_eq!(planned, recorded, "{}, request {index}", sync.name);
        }
    }
    recording.complete_syncs().len()
}

#[test]
fn plans_are_the_recorded_requests() {
    assert!(check(&Recording::bundled().unwrap()) >= 2);
    for name in ["regtest", "regtest-churn", "regtest-v3"] {
        if let Some(recording) = Recording::shared(name).unwrap() {
            assert_eq!(check(&recording), recording.complete_syncs().len());
        }
    }
}

#[test]
fn expected_replies_match_their_requests_and_no_others() {
    let recording = Recording::bundled().unwrap();
    let sync = &recording.complete_syncs()[0];
    let planner = Planner { anchor: Some(recording.anchor()), ..Planner::new(recording.network(), recording.tip()) };
    let plan = planner.plan(sync.first_cycle, recording.tip(), |height| recording.block_hash(height)).unwrap();
    let replies: Vec<_> = recording
        .exchanges_of(sync)
        .map(|exchange| match &exchange.answer {
            Answer::Reply(bytes) => Reply::QrInfo(Box::new(QRInfo::from_wire(bytes.clone()).unwrap())),
            Answer::Refused => panic!("a complete sync has no refusals"),
        })
        .collect();
    for (asked, spec) in plan.into_iter().enumerate() {
        let request = Request::from(spec);
        for (got, reply) in replies.iter().enumerate() {
            assert_eq!(request.check_reply(reply).is_ok(), asked == got, "request {asked}, reply {got}");
        }
    }
}
