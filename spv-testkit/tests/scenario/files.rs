//! The scenario files that lie beside the repository.

use spv_testkit::{Scenario, ScenarioError, Timeline, scenario::SHORTEST_REPLY};

use crate::{replay::replay, small};

const FILES: [&str; 8] =
    ["clean", "clean-window64", "eight-peers", "refusals", "stall", "stall-window64", "three-peers", "uniform"];

#[tokio::test(start_paused = true)]
async fn every_file_takes_the_arithmetic_times_to_the_microsecond() {
    // One run of each file, never the same: a run is some 75 MB of replies.
    for (run, name) in FILES.into_iter().enumerate().map(|(place, name)| (3 * place, name)) {
        let Some(scenario) = Scenario::shared(name).unwrap() else { continue };
        assert_eq!((scenario.name.as_str(), scenario.runs.len()), (name, 24));
        let replayed = replay(&scenario, run, Timeline::exact).await;
        assert_eq!((replayed.earliest, replayed.latest), (0.0, 0.0), "{name}, run {run}: off by so much");
        assert_eq!(replayed.done.len(), scenario.runs[run].jobs());
    }
}

#[test]
fn what_does_not_fit_together_has_its_error() {
    let inconsistent = |json: &str| match Scenario::from_json(json.as_bytes()) {
        Err(ScenarioError::Inconsistent { run: 0, what }) => what.split(' ').next().unwrap().to_owned(),
        other => format!("{other:?}"),
    };
    let json = |reply_bytes: &str, compute: &str, more: &str| {
        format!(
            r#"{{"name": "x", "send_buffer_bytes": 1, "runs": [{{"seed": 1, "reply_bytes": {reply_bytes},
            "peers": [{{"rtt_us": 1, "compute_us": {compute}, "transfer_us": [1, 2]}}],
            "floor_us": 1, "lower_bound_us": 1, "clairvoyant_us": 1 {more}}}]}}"#
        )
    };
    assert!(Scenario::from_json(json("[900, 900]", "[1, 2]", "").as_bytes()).is_ok());
    assert_eq!(inconsistent(&json("[900, 900]", "[1]", "")), "a");
    assert_eq!(inconsistent(&json("[900, 900]", "[1, 2]", r#", "refused": [[0], [1]]"#)), "there");
    assert_eq!(inconsistent(&json("[900, 900]", "[1, 2]", r#", "refused": [[2]]"#)), "a");
    assert_eq!(
        inconsistent(&json("[900, 900]", "[1, 2]", r#", "stall": {"peer": 1, "at_us": 1, "factor": 2}"#)),
        "the"
    );
    for bytes in [SHORTEST_REPLY - 1, (32 << 20) + 1] {
        let error = Scenario::from_json(json(&format!("[900, {bytes}]"), "[1, 2]", "").as_bytes());
        assert!(matches!(error, Err(ScenarioError::ReplyLength { run: 0, job: 1, .. })), "{error:?}");
    }
    for json in [json("[900, 900]", "[1, 2]", r#", "stal": null"#), "{}".into(), "[".into()] {
        assert!(matches!(Scenario::from_json(json.as_bytes()), Err(ScenarioError::Malformed(_))), "{json}");
    }
    assert!(matches!(Scenario::load("no such file".as_ref()), Err(ScenarioError::File { .. })));
    assert!(small().peer(3, 0, Timeline::real(tokio::time::Instant::now())).is_none());
    assert!(small().peer(0, 3, Timeline::real(tokio::time::Instant::now())).is_none());
}
