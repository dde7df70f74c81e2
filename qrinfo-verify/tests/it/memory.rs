//! Lists share what did not change, and keep no reply in memory.

use crate::common;
use allocation_counter::measure;
use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Hash256, Network, ProTxHash, Reply, Request,
    message::{Coinbase, CoinbasePayload, MnListDiff, NetInfo, QRInfo, SmlEntry, SmlEntryKind},
    wire::{Seq, Wire},
};
use qrinfo_verify::{Level, ListStage, Lists};
use spv_testkit::{SyntheticChain, SyntheticParams};

const MASTERNODES: u32 = 3_000;
const LISTS: u32 = 200;
/// The number that a cycle of mainnet brings.
const CHANGES: u32 = 60;

fn entry(number: u32, version: u32) -> SmlEntry {
    // Spread over the whole list, as hashes are.
    let hash = qrinfo_core::sha256d(&number.to_le_bytes());
    SmlEntry {
        version: 2,
        pro_reg_tx_hash: ProTxHash::from_bytes(hash),
        confirmed_hash: Hash256::from_bytes([1; 32]),
        net_info: NetInfo::Service { ip: [0; 16], port: 9999 },
        pub_key_operator: [version as u8; 48],
        key_id_voting: [3; 20],
        is_valid: true,
        kind: SmlEntryKind::Regular,
    }
}

fn block(height: u32) -> BlockHash {
    match height {
        0 => Network::Mainnet.genesis_hash(),
        _ => BlockHash::from_bytes(qrinfo_core::sha256d(&height.to_be_bytes())),
    }
}

fn diff(height: u32, entries: impl Iterator<Item = SmlEntry>) -> MnListDiff {
    let payload = CoinbasePayload {
        version: 2,
        height: height as i32,
        merkle_root_mn_list: Hash256::ZERO,
        merkle_root_quorums: Some(Hash256::ZERO),
        credit_pool: None,
    };
    let diff = MnListDiff {
        version: 1,
        base_block_hash: block(height - 1),
        block_hash: block(height),
        total_transactions: 1,
        merkle_hashes: Seq::default(),
        merkle_flags: Bytes::from_static(&[1]),
        coinbase: Coinbase::new(payload),
        deleted_masternodes: Seq::default(),
        new_masternodes: entries.collect(),
        deleted_quorums: Seq::default(),
        new_quorums: Seq::default(),
        quorums_cl_sigs: Seq::default(),
    };
    MnListDiff::from_wire(diff.to_wire()).unwrap()
}

#[test]
fn two_hundred_lists_of_three_thousand() {
    let full = diff(1, (0..MASTERNODES).map(|number| entry(number, 0)));
    let steps: Vec<_> = (2..=LISTS)
        .map(|height| diff(height, (0..CHANGES).map(|change| entry((height * 61 + change * 47) % MASTERNODES, height))))
        .collect();
    let mut lists = vec![Lists::at_genesis(Network::Mainnet)];
    let first = measure(|| lists.push(lists[0].apply(&full).unwrap()));
    let others = measure(|| {
        for step in &steps {
            let next = lists.last().unwrap().apply(step).unwrap();
            next.masternodes().merkle_root();
            lists.push(next);
        }
    });
    assert_eq!(lists.len() as u32, LISTS + 1);
    assert!(lists[1..].iter().all(|lists| lists.masternodes().len() as u32 == MASTERNODES));
    eprintln!(
        "first list {} bytes, {} others {} bytes each",
        first.bytes_current,
        LISTS - 1,
        others.bytes_current / i64::from(LISTS - 1)
    );
    assert!(first.bytes_current < 1_000_000, "{first:?}");
    // A pointer for each masternode, and the entries that changed.
    assert!(others.bytes_current < 45_000 * i64::from(LISTS - 1), "{others:?}");
}

#[test]
fn a_list_without_changes_is_the_same_list() {
    let list =
        Lists::at_genesis(Network::Mainnet).apply(&diff(1, (0..MASTERNODES).map(|number| entry(number, 0)))).unwrap();
    let empty = diff(2, std::iter::empty());
    let mut same = None;
    let cost = measure(|| same = Some(list.apply(&empty).unwrap()));
    assert!(cost.bytes_current < 100, "{cost:?}");
}

#[test]
fn no_reply_stays_in_memory() {
    // Entries of version 3 and commitments are the ones that are decoded as slices of the reply.
    let params = SyntheticParams { extended_addresses_height: 0, ..SyntheticParams::regtest() };
    let synthetic = SyntheticChain::generate(3, &params);
    let headers = common::synthetic::headers(&synthetic.chain);
    let mut stage = ListStage::new(Network::Regtest, Level::Roots);
    let mut extended = 0;
    for (spec, payload) in common::synthetic::sync(&synthetic.chain, 480) {
        let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone()).unwrap()));
        let verified = stage.apply(&Request::from(spec), &reply, |hash| headers.find(hash)).unwrap();
        drop(reply);
        assert!(payload.is_unique(), "something is a slice of the reply");
        let lists = verified.lists.unwrap();
        extended += lists.masternodes().iter().filter(|entry| matches!(entry.net_info, NetInfo::Extended(_))).count();
        assert!(!lists.quorums().is_empty());
    }
    assert!(extended > 0);
}
