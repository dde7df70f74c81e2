//! The parts of a chain against what real nodes sent.

use std::{fs, path::Path, sync::Arc};

use qrinfo_core::{WORK_BLOCK_OFFSET, message::MnListDiff, wire::Wire};

use super::{Chain, MasternodeLog, Modifier, Quarters};
use crate::Recording;

fn recordings() -> Vec<(&'static str, Recording)> {
    let shared = ["regtest", "regtest-churn"].map(|name| Some((name, Recording::shared(name).unwrap()?)));
    [Some(("bundled", Recording::bundled().unwrap()))].into_iter().chain(shared).flatten().collect()
}

#[test]
fn new_quarters_leave_the_snapshots_that_the_node_stored() {
    for (name, recording) in recordings() {
        let chain = Chain::from_recording(&recording, |_| true).unwrap();
        let params = chain.network().rotated_params();
        let list = |cycle: u32| chain.masternodes().core_order(cycle - WORK_BLOCK_OFFSET);
        let modifier = |cycle| Modifier::of_block(&chain, params.llmq_type, cycle).unwrap();
        let (mut checked, mut with_skips) = (0, 0);
        for (cycle, recorded) in &chain.data.snapshots {
            let past = [1, 2, 3].map(|back| {
                let start = cycle - back * params.interval;
                let snapshot = chain.snapshot(start)?;
                Some(Quarters::from_snapshot(&params, &list(start), modifier(start), snapshot))
            });
            let [Some(one), Some(two), Some(three)] = past else { continue };
            let past = [one, two, three];
            let (new, drawn) = Quarters::new(&params, &list(*cycle), modifier(*cycle), &past, true).unwrap();
            assert_eq!(drawn, *recorded, "{name}, cycle {cycle}");
            assert_eq!(Quarters::from_snapshot(&params, &list(*cycle), modifier(*cycle), &drawn), new);
            checked += 1;
            with_skips += usize::from(!drawn.skip_list.is_empty());
        }
        assert!(checked > 50, "{name}: {checked}");
        assert_eq!(with_skips > 0, name == "regtest-churn", "{name}: {with_skips}");
    }
}

#[test]
fn a_list_of_mainnets_size_is_walked_as_mainnet_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/mainnet");
    let read = |name: &str| {
        let bytes = fs::read(folder.join(name)).unwrap();
        MnListDiff::from_wire(bytes).unwrap()
    };
    if !folder.is_dir() {
        eprintln!("{} is missing: the order of mainnet's list is not tested", folder.display());
        return;
    }
    let full = read("mainnet_mnlistdiff_0_2227096.bin").new_masternodes.to_vec();
    assert_eq!(full.len(), 3147);
    for (height, name) in
        [(2_239_192, "mainnet_mnlistdiff_2227096_2239192.bin"), (2_241_332, "mainnet_mnlistdiff_2227096_2241332.bin")]
    {
        let mut log = MasternodeLog::default();
        // Whatever order it is learnt in.
        full.iter().rev().for_each(|entry| log.set(2_227_096, Arc::new(entry.clone())));
        assert!(log.core_order(2_227_096).iter().map(Arc::as_ref).eq(&full));
        let diff = read(name);
        diff.deleted_masternodes.iter().for_each(|hash| log.remove(height, hash));
        diff.new_masternodes.iter().for_each(|entry| log.set(height, Arc::new(entry)));
        let change = log.change(2_227_096, height);
        assert_eq!(change.deleted, diff.deleted_masternodes.to_vec());
        assert!(change.updated.iter().map(Arc::as_ref).eq(&diff.new_masternodes.to_vec()));
    }
}
