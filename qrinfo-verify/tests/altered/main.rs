//! Every field of real replies is altered, one at a time: a named check catches it, or the crate's documentation says
//! that nothing can.

#![allow(clippy::unwrap_used)]

#[path = "../it/common/mod.rs"]
mod common;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use bytes::Bytes;
use common::{headers, request};
use qrinfo_core::{Network, Reply, Request, message::QRInfo, wire::Wire};
use qrinfo_verify::{DiffName, HeaderMap, Level, ListStage, Unproven, Verified, VerifyError};
use spv_testkit::{Answer, Keys, Plan, SyntheticChain, SyntheticParams};

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

/// The same plan, verified as far as roots go, and in full if that is wanted.
struct Stages {
    roots: ListStage,
    full: Option<ListStage>,
}

impl Stages {
    fn all(&mut self) -> impl Iterator<Item = &mut ListStage> {
        [&mut self.roots].into_iter().chain(&mut self.full)
    }

    /// The snapshots of this reply that a signature vouches for.
    fn signed_snapshots(&self, request: &Request, payload: &Bytes, headers: &HeaderMap) -> Vec<&'static str> {
        let Some(full) = &self.full else { return Vec::new() };
        let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone()).unwrap()));
        let verified = full.clone().apply(request, &reply, |hash| headers.find(hash)).unwrap();
        let unproven: Vec<DiffName> = verified
            .unproven
            .into_iter()
            .flat_map(|unproven| match unproven {
                Unproven::Snapshots(names) => names,
                _ => Vec::new(),
            })
            .collect();
        let names =
            [(1, "quorumSnapshotAtHMinusC."), (2, "quorumSnapshotAtHMinus2C."), (3, "quorumSnapshotAtHMinus3C.")];
        let names = names.into_iter().filter(|(back, _)| !unproven.contains(&DiffName::Cycle { back: *back }));
        names.map(|(_, name)| name).collect()
    }

    /// The check that caught an alteration; `None` if nothing did. The full stage, which takes its time, is asked last. A
    /// part that
    /// `came` does not name as unproven, and the altered reply does, counts as caught.
    fn caught(&self, request: &Request, payload: Vec<u8>, headers: &HeaderMap, came: &Came) -> Option<&'static str> {
        let Ok(qr_info) = QRInfo::from_wire(payload) else { return Some("wire format") };
        let reply = Reply::QrInfo(Box::new(qr_info));
        [&self.roots].into_iter().chain(&self.full).find_map(|stage| {
            match stage.clone().apply(request, &reply, |hash| headers.find(hash)) {
                Ok(verified) => (!came.contains(&named(&verified))).then_some("named as unproven"),
                Err(VerifyError::False(falsehood)) => Some(falsehood.label()),
                Err(error) => panic!("no peer is to blame: {error}"),
            }
        })
    }

    /// The parts that are named as unproven of the blocks in a reply that was not altered.
    fn came(&self, request: &Request, payload: &Bytes, headers: &HeaderMap) -> Came {
        let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone()).unwrap()));
        let take = |stage: &ListStage| stage.clone().apply(request, &reply, |hash| headers.find(hash)).unwrap();
        [&self.roots].into_iter().chain(&self.full).map(|stage| named(&take(stage))).collect()
    }
}

/// The parts that are named as unproven at each level.
type Came = Vec<Vec<Unproven>>;

/// The parts of a reply that are unproven for the blocks that they name.
fn named(verified: &Verified) -> Vec<Unproven> {
    let is_of_block = |unproven: &&Unproven| matches!(unproven, Unproven::Commitments(_) | Unproven::TrailingDiffs(_));
    verified.unproven.iter().filter(is_of_block).cloned().collect()
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
    /// Each survivor is documented, and with all recordings at hand each documented one survives.
    fn assert_survivors<'a>(&self, documented: impl Iterator<Item = &'a &'a str>) {
        eprintln!("{:#?}\n{:#?}", self.by_check, self.survivors);
        let survivors: BTreeSet<&str> = self.survivors.keys().map(String::as_str).collect();
        let documented: BTreeSet<&str> = documented.copied().collect();
        assert!(survivors.is_subset(&documented), "{:?}", survivors.difference(&documented));
        if common::recordings().len() == 4 {
            assert_eq!(survivors, documented);
        }
        assert!(self.by_check.values().sum::<usize>() > 10_000);
    }

    fn run(&mut self, stages: &Stages, request: &Request, payload: &Bytes, headers: &HeaderMap) {
        let came = stages.came(request, payload, headers);
        assert_eq!(stages.caught(request, payload.to_vec(), headers, &came), None, "the reply as it came");
        let signed = stages.signed_snapshots(request, payload, headers);
        for Altered { what, payload } in alterations(payload) {
            match stages.caught(request, payload, headers, &came) {
                Some(check) => *self.by_check.entry(check).or_default() += 1,
                None => {
                    let is_signed = signed.iter().any(|name| what.starts_with(name));
                    let suffix = if is_signed { " (signed)" } else { "" };
                    *self.survivors.entry(without_place(&what) + suffix).or_default() += 1;
                }
            }
        }
    }
}

/// A request of a plan and its reply.
type Exchange = (Request, Bytes);

/// Alters the first and the newest reply of a plan, one in between, and one that has a trailing list.
fn run_plan(network: Network, headers: &HeaderMap, plan: &[Exchange], level: Level, tally: &mut Tally) {
    let full = (level == Level::Full).then(|| ListStage::new(network, level));
    let mut stages = Stages { roots: ListStage::new(network, Level::Roots), full };
    let mut chosen = BTreeSet::from([0, plan.len() / 2, plan.len() - 1]);
    let decode = |payload: &Bytes| QRInfo::from_wire(payload.clone()).unwrap();
    chosen.extend(plan.iter().position(|(_, payload)| !decode(payload).mn_list_diff_list.is_empty()));
    for (place, (request, payload)) in plan.iter().enumerate() {
        if chosen.contains(&place) {
            tally.run(&stages, request, payload, headers);
        }
        let reply = Reply::QrInfo(Box::new(decode(payload)));
        for stage in stages.all() {
            stage.apply(request, &reply, |hash| headers.find(hash)).unwrap();
        }
    }
}

/// Alters replies of the shortest recorded syncs.
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

/// The alterations that survive at every level.
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

/// Nothing of a snapshot is proven by roots.
const SNAPSHOTS_BY_ROOTS: [&str; 4] = [
    "quorumSnapshot.mnSkipListMode",
    "quorumSnapshot.activeQuorumMembers.bits",
    "quorumSnapshot.mnSkipList",
    "quorumSnapshot, items swapped",
];

/// At `Full`: bits of masternodes that did not sign, and snapshots that no quorum was selected with.
const SNAPSHOTS_IN_FULL: [&str; 4] = [
    "quorumSnapshot.mnSkipListMode",
    "quorumSnapshot.activeQuorumMembers.bits",
    "quorumSnapshot.activeQuorumMembers.bits (signed)",
    "quorumSnapshot.mnSkipList (signed)",
];

/// The alterations that only the full level catches. By roots such a commitment is named as unproven before and after.
const ONLY_BY_SIGNATURES: [&str; 5] = [
    "lastCommitmentPerIndex.quorumHash",
    "lastCommitmentPerIndex.quorumPublicKey",
    "lastCommitmentPerIndex.quorumVvecHash",
    "lastCommitmentPerIndex.quorumSig",
    "lastCommitmentPerIndex.membersSig",
];

/// Alters replies of a made-up chain with entries of every version and kind.
fn run_synthetic(params: &SyntheticParams, first: u32, level: Level, tally: &mut Tally) {
    let synthetic = SyntheticChain::generate(5, params);
    let plan = common::synthetic::sync(&synthetic.chain, first);
    let plan: Vec<_> = plan.into_iter().map(|(spec, payload)| (Request::from(spec), payload)).collect();
    let headers = common::synthetic::headers(&synthetic.chain);
    run_plan(synthetic.chain.network(), &headers, &plan, level, tally);
}

#[test]
fn at_roots() {
    let mut tally = run(Level::Roots);
    let params = SyntheticParams { changes_per_cycle: 6.0, ..SyntheticParams::regtest() };
    run_synthetic(&params, 480, Level::Roots, &mut tally);
    tally.assert_survivors(NEVER_PROVEN.iter().chain(&SNAPSHOTS_BY_ROOTS).chain(&ONLY_BY_SIGNATURES));
}

#[test]
fn at_full() {
    let mut tally = run(Level::Full);
    let params = SyntheticParams {
        changes_per_cycle: 4.0,
        masternodes: 12,
        tip: 20 * 24 + 22,
        extended_addresses_height: 200,
        v19_height: 0,
        v20_height: 100,
        keys: Keys::Bls,
        ..SyntheticParams::regtest()
    };
    run_synthetic(&params, 240, Level::Full, &mut tally);
    tally.assert_survivors(NEVER_PROVEN.iter().chain(&SNAPSHOTS_IN_FULL));
}
