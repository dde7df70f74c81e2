//! Proven lists as bytes: what real nodes sent, read back and proven again by the header.

use crate::common::{headers, mainnet::Mainnet, recordings, reply, request};
use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256, LlmqType, Network, ProTxHash, QuorumHash, Reply,
    message::{Coinbase, CoinbasePayload, Commitment, MnListDiff, NetInfo, SmlEntry, SmlEntryKind},
    wire::{Bits, Wire},
};
use qrinfo_verify::{
    ApplyFault, HeaderMap, KnownBlock, Level, ListSnapshot, ListSnapshotError, ListStage, Lists, ProofFault, RootFault,
};
use spv_testkit::Recording;

/// The lists at the work block of each cycle of a recording, and the diffs that led to them.
fn steps(recording: &Recording, headers: &HeaderMap) -> Vec<(Lists, MnListDiff)> {
    let sync = recording.complete_syncs().iter().max_by_key(|sync| recording.exchanges_of(sync).count()).unwrap();
    let mut stage = ListStage::new(recording.network(), Level::Roots);
    let mut step = |exchange| {
        let reply = reply(exchange).unwrap();
        let taken = stage.apply(&request(recording, exchange), &reply, |hash| headers.find(hash)).unwrap();
        let Reply::QrInfo(reply) = reply else { panic!("no qrinfo") };
        (taken.lists.unwrap(), reply.mn_list_diff_h)
    };
    recording.exchanges_of(sync).map(&mut step).collect()
}

#[test]
fn lists_of_recorded_chains_come_back_as_they_were() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let steps = steps(&recording, &headers);
        for (lists, diff) in &steps {
            let snapshot = ListSnapshot::new(lists, diff).unwrap();
            let read = ListSnapshot::decode(snapshot.encode()).unwrap();
            // The form wants a group that names each quorum, and no group where there is none.
            let groups = MnListDiff::from_wire(snapshot.encode()).unwrap().quorums_cl_sigs.to_vec();
            let named: Vec<_> = groups.iter().map(|group| group.indexes.len()).collect();
            let quorums = lists.quorums().len();
            assert_eq!(named, if quorums == 0 { vec![] } else { vec![quorums] }, "{name} {}", lists.height());
            assert_eq!((read.block_hash(), read.claimed_height()), (lists.block_hash(), Some(lists.height())));
            assert_eq!(read.verify(|hash| headers.find(hash)).unwrap(), *lists, "{name} {}", lists.height());
        }
        assert!(steps.len() >= 8, "{name}: {}", steps.len());
    }
}

#[test]
fn a_step_leads_from_one_list_to_the_next_and_names_its_new_quorums() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let mut quorums = 0;
        for pair in steps(&recording, &headers).windows(2) {
            let [(before, _), (after, diff)] = pair else { continue };
            let step = before.step_to(after, diff).unwrap();
            assert_eq!(before.prove_step(&step, |hash| headers.find(hash)).unwrap(), *after, "{name}");
            let groups = step.quorums_cl_sigs.to_vec();
            assert!(groups.len() <= 1 && groups.iter().all(|group| group.signature == [0; 96]), "{name}");
            let named: Vec<_> = groups.into_iter().flat_map(|group| group.indexes).map(usize::from).collect();
            assert_eq!(named, (0..step.new_quorums.len()).collect::<Vec<_>>(), "{name}");
            assert_eq!(before.step_to(before, diff), None, "{name}: the proof is of another block");
            quorums += named.len();
        }
        assert!(quorums > 0, "{name}");
        // Of a diff from elsewhere only the proof counts.
        let steps = steps(&recording, &headers);
        for apart in [2, 5, 20] {
            for ((before, _), (after, diff)) in steps.iter().zip(steps.iter().skip(apart)) {
                let step = before.step_to(after, diff).unwrap();
                assert_eq!(before.prove_step(&step, |hash| headers.find(hash)).unwrap(), *after, "{name}");
            }
        }
    }
}

/// No masternode or quorum that is gone is in the recorded syncs.
#[test]
fn a_step_names_what_is_gone_and_what_is_new() {
    let entry = |seed: u8| SmlEntry {
        version: 2,
        pro_reg_tx_hash: ProTxHash::from_bytes([seed; 32]),
        confirmed_hash: Hash256::from_bytes([1; 32]),
        net_info: NetInfo::Service { ip: [seed; 16], port: 9999 },
        pub_key_operator: [seed; 48],
        key_id_voting: [0; 20],
        is_valid: true,
        kind: SmlEntryKind::Regular,
    };
    let quorum = |seed: u8| Commitment {
        version: 3,
        llmq_type: LlmqType(100),
        quorum_hash: QuorumHash::from_bytes([seed; 32]),
        quorum_index: None,
        signers: Bits::default(),
        valid_members: Bits::default(),
        quorum_public_key: [0; 48],
        quorum_vvec_hash: Hash256::ZERO,
        quorum_sig: [0; 96],
        members_sig: [0; 96],
    };
    let lists = |seeds: [u8; 2], block: u8| {
        let payload = CoinbasePayload {
            version: 1,
            height: block.into(),
            merkle_root_mn_list: Hash256::ZERO,
            merkle_root_quorums: None,
            credit_pool: None,
        };
        let diff = MnListDiff {
            coinbase: Coinbase::new(payload),
            new_masternodes: seeds.map(entry).into_iter().collect(),
            new_quorums: seeds.map(quorum).into_iter().collect(),
            ..MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([block; 32]))
        };
        (Lists::at_genesis(Network::Regtest).apply(&diff).unwrap(), diff)
    };
    let (before, _) = lists([1, 2], 7);
    let (after, from_genesis) = lists([2, 3], 8);
    let step = before.step_to(&after, &from_genesis).unwrap();
    assert_eq!((step.base_block_hash, step.block_hash), (before.block_hash(), after.block_hash()));
    assert_eq!(step.deleted_masternodes.to_vec(), [entry(1).pro_reg_tx_hash]);
    assert_eq!(step.new_masternodes.to_vec(), [entry(3)]);
    let gone: Vec<_> = step.deleted_quorums.iter().map(|gone| (gone.llmq_type, gone.quorum_hash)).collect();
    assert_eq!(gone, [(LlmqType(100), quorum(1).quorum_hash)]);
    assert_eq!(step.new_quorums.to_vec(), [quorum(3)]);
    assert_eq!(before.apply(&step).unwrap(), after);
}

/// The answer of a mainnet node to a request from genesis is a snapshot. One that is made of the lists after many diffs
/// is as good.
#[test]
fn a_full_list_of_mainnet_is_a_snapshot() {
    let Some(mainnet) = Mainnet::load() else { return };
    let find = |hash: &BlockHash| mainnet.headers.find(hash);
    let (full, reply) = mainnet.diff("mainnet_mnlistdiff_0_2227096");
    let mut stage = ListStage::new(Network::Mainnet, Level::Roots);
    let start = stage.apply(&full, &reply, find).unwrap().lists.unwrap();
    let Reply::MnListDiff(diff) = &reply else { panic!("no diff") };
    let sent = ListSnapshot::decode(diff.to_wire()).unwrap();
    assert_eq!(sent.verify(find).unwrap(), start);
    assert_eq!(ListSnapshot::new(&start, diff).unwrap().verify(find).unwrap(), start);

    stage.pin(start);
    let (request, reply) = mainnet.diff("mainnet_mnlistdiff_2227096_2241332");
    let later = stage.apply(&request, &reply, find).unwrap().lists.unwrap();
    let Reply::MnListDiff(diff) = &reply else { panic!("no diff") };
    let bytes = ListSnapshot::new(&later, diff).unwrap().encode();
    eprintln!(
        "{} masternodes and {} quorums are {} bytes",
        later.masternodes().len(),
        later.quorums().len(),
        bytes.len()
    );
    assert!((400_000..600_000).contains(&bytes.len()));
    assert_eq!(ListSnapshot::decode(bytes).unwrap().verify(find).unwrap(), later);
}

/// A changed byte makes the snapshot false, or changes nothing that it says.
#[test]
fn no_changed_byte_changes_the_lists() {
    let recording = Recording::bundled().unwrap();
    let headers = headers(&recording);
    let (lists, diff) = steps(&recording, &headers).pop().unwrap();
    let bytes = ListSnapshot::new(&lists, &diff).unwrap().encode();
    let read = |bytes: Bytes| ListSnapshot::decode(bytes)?.verify(|hash| headers.find(hash));
    let mut harmless = 0;
    for place in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[place] ^= 1 << (place % 8);
        if let Ok(read) = read(changed.into()) {
            assert_eq!(read, lists, "byte {place}");
            harmless += 1;
        }
    }
    // The null signature and the order of the items prove nothing.
    assert!(harmless <= 110, "{harmless} of {}", bytes.len());
    for len in (0..bytes.len()).step_by(17) {
        assert!(matches!(read(bytes.slice(..len)), Err(ListSnapshotError::Malformed(_))), "{len}");
    }
}

#[test]
fn each_way_to_be_false_has_its_error() {
    let recording = Recording::bundled().unwrap();
    let headers = headers(&recording);
    let find = |hash: &BlockHash| headers.find(hash);
    let mut steps = steps(&recording, &headers);
    let ((lists, diff), (_, other)) = (steps.pop().unwrap(), steps.pop().unwrap());
    let sound = MnListDiff::from_wire(ListSnapshot::new(&lists, &diff).unwrap().encode()).unwrap();
    let read = |diff: MnListDiff| ListSnapshot::decode(diff.to_wire())?.verify(find);

    let expected = ListSnapshotError::OtherBlock { expected: lists.block_hash(), got: other.block_hash };
    assert_eq!(ListSnapshot::new(&lists, &other), Err(expected));
    let from = recording.block_hash(100).unwrap();
    let later = MnListDiff { base_block_hash: from, ..sound.clone() };
    assert_eq!(read(later), Err(ListSnapshotError::NotFromGenesis(from)));
    let elsewhere = MnListDiff { block_hash: BlockHash::from_bytes([7; 32]), ..sound.clone() };
    assert!(
        matches!(read(elsewhere), Err(ListSnapshotError::UnknownBlock { height, .. }) if height as u32 == lists.height())
    );
    let of_other = MnListDiff { block_hash: other.block_hash, ..sound.clone() };
    assert!(matches!(read(of_other), Err(ListSnapshotError::Proof(ProofFault::Root { .. }))));
    let mut entries = sound.new_masternodes.to_vec();
    entries[0].is_valid = !entries[0].is_valid;
    let banned = MnListDiff { new_masternodes: entries.iter().cloned().collect(), ..sound.clone() };
    assert!(matches!(read(banned), Err(ListSnapshotError::Roots(RootFault::Masternodes { .. }))));
    entries.push(entries[0].clone());
    let twice = MnListDiff { new_masternodes: entries.into_iter().collect(), ..sound.clone() };
    assert!(matches!(read(twice), Err(ListSnapshotError::Lists(ApplyFault::MasternodeTwice(_)))));
    let fewer = MnListDiff { new_quorums: sound.new_quorums.iter().skip(1).collect(), ..sound.clone() };
    assert!(matches!(read(fewer), Err(ListSnapshotError::Roots(RootFault::Quorums { .. }))));

    let long = Bytes::from(vec![0; (4 << 20) + 1]);
    assert!(matches!(ListSnapshot::decode(long), Err(ListSnapshotError::TooLong { limit: 4_194_304, .. })));
    let longest = Bytes::from(vec![0; 4 << 20]);
    assert!(matches!(ListSnapshot::decode(longest), Err(ListSnapshotError::Malformed(_))));
}

/// A coinbase from before DIP-8 commits to no quorums: they would be trusted.
#[test]
fn quorums_that_nothing_proves_are_refused() {
    let block = BlockHash::from_bytes([7; 32]);
    let mut diff = MnListDiff::empty(BlockHash::ZERO, block);
    diff.coinbase = Coinbase::new(diff.coinbase.payload().unwrap().clone());
    diff.merkle_hashes = [diff.coinbase.txid()].into_iter().collect();
    diff.merkle_flags = Bytes::from_static(&[1]);
    let known = KnownBlock { height: 1, merkle_root: diff.coinbase.txid() };
    let snapshot = ListSnapshot::decode(diff.to_wire()).unwrap();
    assert_eq!(snapshot.verify(|_| Some(known)), Err(ListSnapshotError::NoCommitment));
    let other_height = KnownBlock { height: 2, ..known };
    assert_eq!(snapshot.verify(|_| Some(other_height)), Err(ListSnapshotError::Height { expected: 2, got: 1 }));
    assert_ne!(known.merkle_root, Hash256::ZERO);
}
