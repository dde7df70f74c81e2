//! The figures of a sync that reach a recorder of the `metrics` facade.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use qrinfo::{OrderedSync, SequentialOptions, SequentialSync, adopt, plan::Planner};
use qrinfo_core::{Network, PeerId};
use qrinfo_correlate::CorrelatorConfig;
use spv_peer::{PeerConfig, handshake};
use spv_testkit::{Chain, Fault, Recording, SimulatedPeer};

#[test]
fn a_sync_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let report = metrics::with_local_recorder(&recorder, || {
        qrinfo::metrics::describe();
        runtime.block_on(async {
            let chain = Chain::from_recording(&Recording::bundled().unwrap(), |_| true).unwrap();
            let plan = Planner::new(chain.network(), chain.tip())
                .plan(240, 480, |height| chain.block(height).map(|block| block.hash))
                .unwrap();
            let (mut nodes, mut peers) = (Vec::new(), Vec::new());
            for (number, fault) in [(1, Some(Fault::Refuse)), (2, None)] {
                let mut node = SimulatedPeer::builder(chain.clone());
                if let Some(fault) = fault {
                    node = node.fault(3..4, fault);
                }
                let id = PeerId::Address(([203, 0, 113, number], 19899).into());
                let config = PeerConfig::new(Network::Regtest, 7);
                let node = node.build();
                let connection = handshake(node.connect(), id, &config).await.unwrap();
                nodes.push(node);
                peers.push(adopt(connection, CorrelatorConfig::default()));
            }
            let mut sync = SequentialSync::new(plan, peers, SequentialOptions::default());
            while sync.next().await.is_some() {}
            sync.into_report()
        })
    });
    let counters: BTreeMap<String, u64> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| match value {
            DebugValue::Counter(count) => Some((key.key().to_string(), count)),
            _ => None,
        })
        .collect();
    assert_eq!(report.stats.refusals, 1);
    let count = |name: &str| counters.iter().find(|(key, _)| key.contains(name)).map(|(_, count)| *count);
    assert_eq!(count("qrinfo_replies_total"), Some(report.stats.delivered), "{counters:?}");
    assert_eq!(count("qrinfo_reply_bytes_total"), Some(report.stats.bytes));
    assert_eq!(count("refused"), Some(1));
}
