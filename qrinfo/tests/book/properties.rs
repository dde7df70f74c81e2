//! Any order of lists and reorganisations: the book answers as the chain itself does, and never for a block that left
//! it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    thread,
    time::Duration,
};

use crate::lists::ListsByHeight;
use proptest::prelude::*;
use qrinfo::book::{BookClosed, BookWriter, KnownQuorum, Lookup, QuorumBook};
use qrinfo_core::{Hash256, LlmqType, Network, QuorumHash, sha256d};
use qrinfo_verify::Lists;
use spv_testkit::{Chain, Fork, SyntheticChain, SyntheticParams};
use tokio::time::timeout;

/// Both branches have the blocks up to here.
const FORK: u32 = 430;
const TIP: u32 = 620;
const TYPES: [LlmqType; 5] = [LlmqType(100), LlmqType(102), LlmqType(103), LlmqType(104), LlmqType(106)];

fn branches() -> &'static [Chain; 2] {
    static BRANCHES: OnceLock<[Chain; 2]> = OnceLock::new();
    BRANCHES.get_or_init(|| {
        let params = SyntheticParams { tip: TIP, ..SyntheticParams::regtest() };
        let fork = SyntheticChain::generate_fork(3, &params, Fork { height: FORK, seed: 4 });
        [SyntheticChain::generate(3, &params).chain, fork.chain]
    })
}

#[derive(Debug, Clone)]
enum Step {
    /// The next lists, so many blocks above those before.
    Advance(u32),
    /// Blocks one by one.
    Follow(u32),
    /// So many blocks leave the chain, and come back.
    Forget(u32),
    /// The other branch becomes the best chain.
    Switch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..24_u32).prop_map(Step::Advance),
        1 => (25..60_u32).prop_map(Step::Advance),
        4 => (1..12_u32).prop_map(Step::Follow),
        2 => (0..30_u32).prop_map(Step::Forget),
        1 => Just(Step::Switch),
    ];
    prop::collection::vec(step, 1..40)
}

/// The knowledge that the book is to have: the lists that are on our chain.
struct Model<'a> {
    branches: &'a [ListsByHeight<'a>; 2],
    branch: usize,
    lists: BTreeMap<u32, Lists>,
    /// The quorums of all lists so far that are of blocks on our chain.
    listed: BTreeMap<(LlmqType, QuorumHash), u32>,
    /// The height of the first list from which the active sets are known.
    start: Option<u32>,
    /// No block above is known.
    synced_to: u32,
}

impl Model<'_> {
    fn chain(&self) -> &Chain {
        self.branches[self.branch].chain
    }

    fn advance(&mut self, writer: &mut BookWriter, height: u32) {
        let height = height.min(TIP);
        let ours = &self.branches[self.branch];
        let is_above = self.start.is_none() || height > writer.synced_to();
        assert_eq!(ours.advance(writer, height), is_above);
        if is_above {
            // A quorum may have been replaced 16 blocks after it was mined.
            if self.start.is_none() || height - self.synced_to > 16 {
                self.start = Some(height);
            }
            for key in keys(&ours.at(height)) {
                self.listed.entry(key).or_insert(height);
            }
            self.lists.insert(height, ours.at(height));
            while self.lists.len() > 64 {
                self.lists.pop_first();
            }
            self.synced_to = height;
        }
    }

    fn forget_above(&mut self, writer: &mut BookWriter, height: u32) {
        let newest = self.lists.range(..=height).next_back().map(|(height, _)| *height);
        writer.forget_above(height);
        self.lists.retain(|at, _| *at <= height);
        self.listed.retain(|_, listed| *listed <= height);
        // What is certain between two lists stays known.
        let synced_to = writer.synced_to();
        assert!(synced_to <= height.min(self.synced_to) && newest.is_none_or(|newest| synced_to >= newest));
        let is_any = synced_to > 0;
        self.start = self.start.filter(|start| is_any && *start <= height).or(newest).or(is_any.then_some(synced_to));
        self.synced_to = synced_to;
    }

    fn check(&self, book: &QuorumBook) {
        assert_eq!(book.synced_to(), self.synced_to);
        self.check_masternodes(book);
        self.check_keys(book);
        for height in [self.synced_to.saturating_sub(40), self.synced_to.saturating_sub(9), self.synced_to, TIP] {
            TYPES.into_iter().for_each(|llmq_type| self.check_active(book, llmq_type, height));
        }
    }

    fn is_yet(&self, height: u32) -> bool {
        self.start.is_some() && height <= self.synced_to
    }

    fn check_masternodes(&self, book: &QuorumBook) {
        for height in self.synced_to.saturating_sub(80)..=self.synced_to + 1 {
            match (book.masternodes(height), self.lists.get(&height)) {
                (Lookup::Found(found), Some(lists)) => assert_eq!(&found, lists.masternodes()),
                (Lookup::Unknown, None) => assert!(self.is_yet(height)),
                (Lookup::NotYet { synced_to, wait_for }, None) => {
                    assert_eq!((synced_to, wait_for), (self.synced_to, height));
                    assert!(!self.is_yet(height));
                }
                (other, lists) => panic!("{other:?} at {height}, expected {lists:?}"),
            }
        }
    }

    fn check_keys(&self, book: &QuorumBook) {
        let now: BTreeSet<_> = self.lists.values().next_back().into_iter().flat_map(keys).collect();
        for quorum in self.branches.iter().flat_map(|lists| lists.chain.quorums().iter()) {
            let (llmq_type, hash) = (quorum.commitment.llmq_type, quorum.commitment.quorum_hash);
            let truth = self.chain().quorums().iter().find(|ours| ours.commitment == quorum.commitment);
            match book.public_key(llmq_type, &hash) {
                Lookup::Found(found) => {
                    let truth = truth.expect("a quorum of our chain");
                    assert_eq!(found.public_key, truth.commitment.quorum_public_key);
                    assert_eq!(found.height, Some(truth.height));
                    assert!(found.mined.contains(&truth.mined_height), "{found:?} {}", truth.mined_height);
                    assert!(*found.mined.end() <= self.synced_to.max(*found.active.end()));
                    self.check_range(&found);
                    let is_retired = !now.contains(&(llmq_type, hash));
                    assert!(found.retired_by.is_none() || is_retired, "{found:?}");
                }
                Lookup::Unknown => assert!(!self.listed.contains_key(&(llmq_type, hash)) && self.is_yet(book.tip())),
                Lookup::NotYet { .. } => {
                    assert!(!self.listed.contains_key(&(llmq_type, hash)) && !self.is_yet(book.tip()))
                }
            }
        }
    }

    fn check_range(&self, found: &KnownQuorum) {
        let is_active = |height| {
            let active = self.chain().quorums().active_at(height);
            active.contains_key(&(found.llmq_type, found.quorum_hash))
        };
        assert!(is_active(*found.active.start()) && is_active(*found.active.end()), "{found:?}");
        if let Some(retired) = found.retired_by {
            assert!(retired > *found.active.end() && !is_active(retired), "{found:?}");
        }
    }

    fn check_active(&self, book: &QuorumBook, llmq_type: LlmqType, height: u32) {
        let truth: BTreeSet<QuorumHash> = self
            .chain()
            .quorums()
            .active_at(height)
            .into_keys()
            .filter(|(active, _)| *active == llmq_type)
            .map(|(_, hash)| hash)
            .collect();
        let id = Hash256::from_bytes(sha256d(&height.to_le_bytes()));
        let signers = book.signing_quorum(llmq_type, &id, height + 8);
        match book.active(llmq_type, height) {
            Lookup::Found(active) => {
                assert!(self.is_yet(height));
                let hashes = |quorums: &[KnownQuorum]| -> BTreeSet<QuorumHash> {
                    quorums.iter().map(|quorum| quorum.quorum_hash).collect()
                };
                let (settled, unsettled) = (hashes(&active.settled), hashes(&active.unsettled));
                assert!(truth.is_subset(&(&settled | &unsettled)), "{active:?} at {height}");
                assert!(!unsettled.is_empty() || truth == settled, "{active:?} at {height}, expected {truth:?}");
                let signers = hashes(&signers.found().unwrap_or_default());
                match signer(self.chain(), llmq_type, &id, height) {
                    Some(signer) => assert!(signers.contains(&signer) && (!unsettled.is_empty() || signers.len() == 1)),
                    None => assert!(signers.is_empty() || !unsettled.is_empty()),
                }
            }
            Lookup::NotYet { .. } => assert!(!self.is_yet(height)),
            Lookup::Unknown => assert!(height < self.start.unwrap_or(u32::MAX) || height + 8 * 24 < TIP),
        }
    }
}

fn keys(lists: &Lists) -> Vec<(LlmqType, QuorumHash)> {
    lists.quorums().iter().map(|commitment| (commitment.llmq_type, commitment.quorum_hash)).collect()
}

/// The signer by the rules of DIP-7 and DIP-24, from the chain itself.
fn signer(chain: &Chain, llmq_type: LlmqType, id: &Hash256, height: u32) -> Option<QuorumHash> {
    let active =
        chain.quorums().active_at(height).into_values().filter(|quorum| quorum.commitment.llmq_type == llmq_type);
    if llmq_type == Network::Regtest.rotated_llmq() {
        let index = i16::from(id.as_bytes()[31] >> 6 & 1);
        let mut of_index = active.filter(|quorum| quorum.commitment.quorum_index == Some(index));
        return of_index.next().map(|quorum| quorum.commitment.quorum_hash);
    }
    let score = |hash: &QuorumHash| sha256d(&[&[llmq_type.0], &hash.as_bytes()[..], id.as_bytes()].concat());
    active.map(|quorum| quorum.commitment.quorum_hash).min_by_key(score)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_book_knows_what_the_chain_has(first in 260..300_u32, steps in steps()) {
        let [one, other] = branches();
        let branches = [ListsByHeight::new(one), ListsByHeight::new(other)];
        let (mut writer, book) = QuorumBook::new(Network::Regtest);
        let mut model = Model { branches: &branches, branch: 0, lists: BTreeMap::new(), listed: BTreeMap::new(), start: None, synced_to: 0 };
        model.check(&book);
        model.advance(&mut writer, first);
        for step in steps {
            let at = model.synced_to.max(first);
            match step {
                Step::Advance(blocks) => model.advance(&mut writer, at + blocks),
                Step::Follow(blocks) => (1..=blocks).for_each(|block| model.advance(&mut writer, at + block)),
                Step::Forget(blocks) => model.forget_above(&mut writer, at.saturating_sub(blocks)),
                Step::Switch => {
                    model.forget_above(&mut writer, at.min(FORK));
                    model.branch = 1 - model.branch;
                }
            }
            model.check(&book);
        }
    }
}

/// A wallet that kept a week's pause: the active sets start anew, the keys of before are still there.
#[test]
fn a_long_pause_loses_no_key_and_invents_no_active_set() {
    let lists = ListsByHeight::new(&branches()[0]);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    lists.advance(&mut writer, 300);
    lists.advance(&mut writer, 600);
    assert!(matches!(book.active(LlmqType(100), 600), Lookup::Found(_)));
    assert_eq!(book.active(LlmqType(100), 599), Lookup::Unknown);
    for (llmq_type, hash) in keys(&lists.at(300)) {
        let found = book.public_key(llmq_type, &hash).found().unwrap();
        assert!(found.active.contains(&300) && (found.retired_by == Some(600) || found.active.contains(&600)));
    }
}

/// Lists at or below the synced height change nothing, whichever block they are of.
#[test]
fn lists_below_are_not_taken() {
    let [one, other] = branches().each_ref().map(ListsByHeight::new);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    assert!(one.advance(&mut writer, 440));
    assert!(!other.advance(&mut writer, 440) && !one.advance(&mut writer, 430));
    assert_eq!(book.masternodes(440).found().as_ref(), Some(one.at(440).masternodes()));
    assert_eq!(book.masternodes(430), Lookup::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_height_is_waited_for() {
    let lists = ListsByHeight::new(&branches()[0]);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    lists.advance(&mut writer, 300);
    book.wait_for(300).await.unwrap();
    let waiting = tokio::spawn({
        let book = book.clone();
        async move { book.wait_for(302).await.map(|()| book.synced_to()) }
    });
    lists.advance(&mut writer, 301);
    timeout(Duration::from_secs(1), book.wait_for(302)).await.unwrap_err();
    lists.advance(&mut writer, 305);
    assert_eq!(waiting.await.unwrap(), Ok(305));
    drop(writer);
    book.wait_for(305).await.unwrap();
    assert_eq!(book.wait_for(306).await, Err(BookClosed { synced_to: 305 }));
}

/// Readers on other threads always see one page: the newest height that it names has its masternodes and its signer.
#[test]
fn threads_read_while_the_book_is_written() {
    let lists = ListsByHeight::new(&branches()[0]);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    lists.advance(&mut writer, 300);
    let reads = thread::scope(|scope| {
        let readers = [(); 3].map(|()| {
            let book = book.clone();
            scope.spawn(move || {
                let mut reads = 0_usize;
                while book.synced_to() < 500 {
                    let height = book.synced_to();
                    let rotated = Network::Regtest.rotated_llmq();
                    assert!(matches!(book.masternodes(height), Lookup::Found(list) if !list.is_empty()));
                    assert!(matches!(book.active(rotated, height), Lookup::Found(set) if set.settled.len() == 2));
                    reads += 1;
                }
                reads
            })
        });
        (301..=500).for_each(|height| assert!(lists.advance(&mut writer, height)));
        readers.map(|reader| reader.join().unwrap())
    });
    assert!(reads.iter().all(|reads| *reads > 0), "{reads:?}");
}
