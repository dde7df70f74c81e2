//! Every field of real replies is altered, one at a time: a named check catches it, or the crate's documentation says
//! that nothing can.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use bytes::Bytes;
use common::{headers, request};
use qrinfo_core::{Network, Reply, Request, message::QRInfo, wire::Wire};
use qrinfo_verify::{HeaderMap, Level, ListStage, VerifyError};
use spv_testkit::{Answer, Plan, SyntheticChain, SyntheticParams};

/// One alteration of a payload.
struct Altered {
    what: String,
    payload: Vec<u8>,
}

/// Flips bits in every field, and drops, repeats and swaps the items of every list.
fn alterations(payload: &[u8]) -> Vec<Altered> {
    let map = walk::qr_info(payload);
    let mut altered = Vec::new();
    for field in &map.fields {
        let Range { start, end } = field.range;
        let places = BTreeSet::from([
            (start, 0x01),
            (start, 0x80),
            (start + (end - start) / 2, 0x10),
            (end - 1, 0x01),
            (end - 1, 0x40),
        ]);
        // Versions, types and modes turn into every other small number.
        let is_choice = ["ersion", "ype", "Mode"].iter().any(|last| field.name.ends_with(last));
        let numbers = (1..8).filter(|_| is_choice).map(|bits| (start, bits));
        for (at, bits) in places.into_iter().chain(numbers).collect::<BTreeSet<_>>() {
            let mut payload = payload.to_vec();
            payload[at] ^= bits;
            altered.push(Altered { what: field.name.clone(), payload });
        }
    }
    for list in &map.lists {
        let items: Vec<_> = list.items.iter().map(|range| &payload[range.clone()]).collect();
        let end = list.items.last().map_or(list.count.end, |last| last.end);
        let mut add = |what: &str, items: &[&[u8]]| {
            let count = compact_size(items.len());
            let payload = [&payload[..list.count.start], &count, &items.concat(), &payload[end..]].concat();
            altered.push(Altered { what: format!("{}, {what}", list.name), payload });
        };
        for place in 0..items.len() {
            let mut dropped = items.clone();
            dropped.remove(place);
            add("an item dropped", &dropped);
            let mut repeated = items.clone();
            repeated.insert(place, items[place]);
            add("an item repeated", &repeated);
            let mut swapped = items.clone();
            swapped.swap(place, (place + 1) % items.len());
            if swapped != items {
                add("items swapped", &swapped);
            }
        }
    }
    altered.retain(|altered| altered.payload != payload);
    altered
}

fn compact_size(value: usize) -> Vec<u8> {
    match u8::try_from(value) {
        Ok(small) if small < 0xfd => vec![small],
        _ => [&[0xfd][..], &u16::try_from(value).unwrap().to_le_bytes()].concat(),
    }
}

/// What caught an alteration; `None` if nothing did.
fn caught(stage: &ListStage, request: &Request, payload: Vec<u8>, headers: &HeaderMap) -> Option<&'static str> {
    let Ok(qr_info) = QRInfo::from_wire(payload) else { return Some("wire format") };
    let reply = Reply::QrInfo(Box::new(qr_info));
    match stage.clone().take(request, &reply, |hash| headers.find(hash)) {
        Ok(_) => None,
        Err(VerifyError::False(falsehood)) => Some(falsehood.label()),
        Err(error) => panic!("nobody is blamed: {error}"),
    }
}

/// The field's name in its structure, wherever that stands in the reply.
fn without_place(what: &str) -> String {
    let (first, rest) = what.split_at(what.find(['.', ',']).unwrap_or(what.len()));
    match first {
        "mnListDiffTip" if rest == ".blockHash" => "mnListDiff.blockHash (tip)".to_owned(),
        _ if first.starts_with("mnListDiff") => format!("mnListDiff{rest}"),
        _ if first.starts_with("quorumSnapshot") && rest.starts_with(".mnSkipList,") => {
            "quorumSnapshot.mnSkipList".to_owned()
        }
        _ if first.starts_with("quorumSnapshot") => format!("quorumSnapshot{rest}"),
        _ => what.to_owned(),
    }
}

#[derive(Default)]
struct Tally {
    by_check: BTreeMap<&'static str, usize>,
    survivors: BTreeMap<String, usize>,
}

impl Tally {
    /// Each survivor is documented, and each documented one survives.
    fn assert_survivors<'a>(&self, documented: impl Iterator<Item = &'a &'a str>) {
        eprintln!("{:#?}\n{:#?}", self.by_check, self.survivors);
        let survivors: BTreeSet<&str> = self.survivors.keys().map(String::as_str).collect();
        assert_eq!(survivors, documented.copied().collect());
    }

    fn run(&mut self, stage: &ListStage, request: &Request, payload: &Bytes, headers: &HeaderMap) {
        assert_eq!(caught(stage, request, payload.to_vec(), headers), None, "the reply as it came");
        for Altered { what, payload } in alterations(payload) {
            match caught(stage, request, payload, headers) {
                Some(check) => *self.by_check.entry(check).or_default() += 1,
                None => *self.survivors.entry(without_place(&what)).or_default() += 1,
            }
        }
    }
}

/// A request of a plan and its reply.
type Exchange = (Request, Bytes);

/// Alters the first and the newest reply of a plan, one in between, and one that has a trailing list.
fn run_plan(network: Network, headers: &HeaderMap, plan: &[Exchange], level: Level, tally: &mut Tally) {
    let mut stage = ListStage::new(network, level);
    let mut chosen = BTreeSet::from([0, plan.len() / 2, plan.len() - 1]);
    let decode = |payload: &Bytes| QRInfo::from_wire(payload.clone()).unwrap();
    chosen.extend(plan.iter().position(|(_, payload)| !decode(payload).mn_list_diff_list.is_empty()));
    for (place, (request, payload)) in plan.iter().enumerate() {
        if chosen.contains(&place) {
            tally.run(&stage, request, payload, headers);
        }
        stage.take(request, &Reply::QrInfo(Box::new(decode(payload))), |hash| headers.find(hash)).unwrap();
    }
}

/// The shortest recorded sync, and a made-up chain with entries of every version and kind.
fn run(level: Level) -> Tally {
    let mut tally = Tally::default();
    for (_, recording) in common::recordings() {
        let chained = recording.complete_syncs().iter().filter(|sync| sync.plan == Plan::Chained);
        let sync = chained.min_by_key(|sync| sync.ids.len()).unwrap();
        let exchange = |exchange: &spv_testkit::Exchange| match &exchange.answer {
            Answer::Reply(payload) => (request(&recording, exchange), payload.clone()),
            Answer::Refused => panic!("a refusal in a sync"),
        };
        let plan: Vec<_> = recording.exchanges_of(sync).map(exchange).collect();
        run_plan(recording.network(), &headers(&recording), &plan, level, &mut tally);
    }
    tally
}

/// What survives at every level.
const NEVER_PROVEN: [&str; 9] = [
    "mnListDiff.blockHash (tip)",
    "mnListDiff.totalTransactions",
    "mnListDiff.quorumsCLSigs.signature",
    "mnListDiff.quorumsCLSigs, items swapped",
    "mnListDiff.quorumsCLSigs.indexes, items swapped",
    "mnListDiff.mnList, items swapped",
    "mnListDiff.deletedMNs, items swapped",
    "mnListDiff.newQuorums, items swapped",
    "mnListDiff.deletedQuorums, items swapped",
];

/// What only signatures can prove.
const NOT_PROVEN_BY_ROOTS: [&str; 8] = [
    "quorumSnapshot.mnSkipListMode",
    "quorumSnapshot.activeQuorumMembers.bits",
    "quorumSnapshot.mnSkipList",
    "lastCommitmentPerIndex.version",
    "lastCommitmentPerIndex.quorumPublicKey",
    "lastCommitmentPerIndex.quorumVvecHash",
    "lastCommitmentPerIndex.quorumSig",
    "lastCommitmentPerIndex.membersSig",
];

#[test]
fn at_roots() {
    let mut tally = run(Level::Roots);
    let synthetic =
        SyntheticChain::generate(5, &SyntheticParams { changes_per_cycle: 6.0, ..SyntheticParams::regtest() });
    let plan = common::synthetic::sync(&synthetic.chain, 480);
    let plan: Vec<_> = plan.into_iter().map(|(spec, payload)| (Request::from(spec), payload)).collect();
    let headers = common::synthetic::headers(&synthetic.chain);
    run_plan(synthetic.chain.network(), &headers, &plan, Level::Roots, &mut tally);
    tally.assert_survivors(NEVER_PROVEN.iter().chain(&NOT_PROVEN_BY_ROOTS));
}
