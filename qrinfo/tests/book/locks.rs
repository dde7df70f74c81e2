//! Locks that arrive before and after the quorums that signed them: each true one is told, no false one is.

use std::collections::{BTreeMap, BTreeSet};

use crate::lists::ListsByHeight;
use qrinfo::book::{
    QuorumBook,
    locks::{LockEvent, LockIntake, Taken},
};
use qrinfo_core::{
    BlockHash, BlockHeader, Hash256, Network, PeerId, QRInfoRequestSpec, Reply, Request,
    message::{ChainLock, InstantLock, InventoryItem, InventoryKind, OutPoint, QRInfo},
    sha256d,
    wire::Wire,
};
use qrinfo_verify::{KnownBlock, Level, ListStage, LockError};
use spv_testkit::{Answer, Chain, Exchange, Fork, Keys, Recording, SyntheticChain, SyntheticParams};

const HONEST: usize = 8;

/// The chain grows from here on under the eyes of the client.
const START: u32 = 264;

fn peer(number: usize) -> PeerId {
    PeerId::from(([203, 0, 113, u8::try_from(number).unwrap()], 9999))
}

fn liar() -> PeerId {
    peer(200)
}

fn synthetic(tip: u32) -> SyntheticChain {
    SyntheticChain::generate(11, &params(tip))
}

fn params(tip: u32) -> SyntheticParams {
    SyntheticParams { tip, keys: Keys::Bls, late_chain_locks: 0.0, ..SyntheticParams::regtest() }
}

/// A lock of either kind on its way.
#[derive(Debug, Clone)]
enum Lock {
    Chain(ChainLock),
    Instant(InstantLock),
}

impl Lock {
    fn take(&self, peer: PeerId, intake: &mut LockIntake, book: &QuorumBook) -> Taken {
        match self.clone() {
            Self::Chain(lock) => intake.take_chain_lock(lock, peer, book),
            Self::Instant(lock) => intake.take_instant_lock(lock, peer, book),
        }
    }

    fn event(&self) -> LockEvent {
        match self.clone() {
            Self::Chain(lock) => LockEvent::ChainLocked { height: lock.height.unsigned_abs(), hash: lock.block_hash },
            Self::Instant(lock) => LockEvent::InstantLocked { txid: lock.txid, inputs: lock.inputs },
        }
    }

    /// The lock with one thing changed, so that it is not signed.
    fn spoiled(&self, rng: &mut fastrand::Rng) -> Self {
        match self.clone() {
            Self::Chain(lock) => Self::Chain(match rng.u8(0..2) {
                0 => ChainLock { signature: turned(lock.signature), ..lock },
                _ => ChainLock { block_hash: BlockHash::from_bytes(sha256d(lock.block_hash.as_bytes())), ..lock },
            }),
            Self::Instant(lock) => Self::Instant(match rng.u8(0..3) {
                0 => InstantLock { signature: turned(lock.signature), ..lock },
                1 => InstantLock { txid: Hash256::from_bytes(sha256d(lock.txid.as_bytes())), ..lock },
                _ => InstantLock { inputs: vec![OutPoint { vout: 77, ..lock.inputs[0] }], ..lock },
            }),
        }
    }
}

fn turned(mut signature: [u8; 96]) -> [u8; 96] {
    signature[90] ^= 1;
    signature
}

/// The ChainLock of a block, as the chain's own quorums made it: it is in the coinbase of the block above.
fn chain_lock(chain: &Chain, height: u32) -> Option<ChainLock> {
    let payload = chain.block(height + 1)?.body.as_ref()?.coinbase.payload()?;
    let pool = payload.credit_pool.as_ref()?;
    let is_there = pool.best_cl_height_diff == 0 && pool.best_cl_signature != [0; 96];
    let block_hash = chain.block(height)?.hash;
    is_there.then_some(ChainLock { height: height.try_into().ok()?, block_hash, signature: pool.best_cl_signature })
}

/// Locks by the height of our newest list at which they arrive.
fn arrivals(locks: Vec<(u32, Lock)>, chain: &Chain, rng: &mut fastrand::Rng) -> BTreeMap<u32, Vec<(u32, Lock)>> {
    let mut arrivals: BTreeMap<u32, Vec<(u32, Lock)>> = BTreeMap::new();
    for (height, lock) in locks {
        let early = rng.u32(0..30);
        let at = if rng.bool() { height.saturating_sub(early) } else { height + early };
        arrivals.entry(at.clamp(START, chain.tip())).or_default().push((height, lock));
    }
    arrivals
}

/// Each true lock is told once, no false one is, and the senders of false ones alone are blamed.
fn assert_judged(synthetic: &SyntheticChain, locks: Vec<(u32, Lock)>, rng: &mut fastrand::Rng) {
    let chain = &synthetic.chain;
    let expected: BTreeSet<String> = locks.iter().map(|(_, lock)| format!("{:?}", lock.event())).collect();
    assert_eq!(expected.len(), 1_000);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    let mut intake = LockIntake::default();
    let lists = ListsByHeight::new(chain);
    let (mut told, mut blamed, mut waited, mut sent) = (BTreeSet::new(), 0, 0, [0; 2]);
    let mut tell = |event: LockEvent| match event {
        LockEvent::False { peer, error } => {
            assert_eq!((peer, error), (liar(), LockError::NotSigned));
            blamed += 1;
        }
        event => {
            let event = format!("{event:?}");
            assert!(expected.contains(&event), "a false lock was taken for a true one: {event}");
            assert!(told.insert(event), "told twice");
        }
    };
    let arrivals = arrivals(locks, chain, rng);
    for height in START..=chain.tip() {
        lists.advance(&mut writer, height);
        intake.advance(&book).into_iter().for_each(&mut tell);
        for (signed_at, lock) in arrivals.get(&height).into_iter().flatten() {
            // The lie comes first: it must not keep the true lock out.
            let lie = (rng.u8(0..3) == 0).then(|| (lock.spoiled(rng), liar()));
            for (lock, from) in lie.into_iter().chain([(lock.clone(), peer(rng.usize(0..HONEST)))]) {
                sent[usize::from(from == liar())] += 1;
                match lock.take(from, &mut intake, &book) {
                    Taken::Event(event) => tell(event),
                    Taken::Waits { wait_for } => {
                        assert!((height + 1..=height + 48).contains(&wait_for), "{wait_for} at {height}");
                        waited += u32::from(from != liar());
                    }
                    Taken::Dropped if from == liar() => {}
                    other => panic!("{other:?}: {lock:?} of {signed_at} at {height}"),
                }
            }
            assert_eq!(lock.take(peer(0), &mut intake, &book), Taken::Duplicate);
        }
    }
    let lost: Vec<_> = expected.difference(&told).take(3).collect();
    assert!(lost.is_empty(), "not told: {lost:?}");
    eprintln!("{} locks told, {waited} of them had to wait; {blamed} of {} false ones blamed", told.len(), sent[1]);
    assert!(waited > 100 && blamed > 100, "{waited} {blamed}");
}

#[test]
fn a_thousand_chain_locks_before_and_after_their_quorums() {
    let synthetic = synthetic(1_330);
    let heights = START + 8..synthetic.chain.tip() - 40;
    let lock = |height| Some((height, Lock::Chain(chain_lock(&synthetic.chain, height)?)));
    let locks = heights.filter_map(lock).take(1_000).collect();
    assert_judged(&synthetic, locks, &mut fastrand::Rng::with_seed(5));
}

#[test]
fn a_thousand_instant_locks_before_and_after_their_quorums() {
    let synthetic = synthetic(720);
    let mut rng = fastrand::Rng::with_seed(6);
    let mut lock = |number| {
        let height = rng.u32(START + 8..synthetic.chain.tip() - 40);
        (height, Lock::Instant(synthetic.instant_lock(height, number).unwrap()))
    };
    let locks = (0..1_000).map(&mut lock).collect();
    assert_judged(&synthetic, locks, &mut fastrand::Rng::with_seed(7));
}

/// On another branch other quorums sign. A lock of a block that is not ours is told if a quorum that both branches have
/// signed it, and otherwise dropped: its sender, a node on that branch, is honest.
#[test]
fn a_node_on_another_branch_is_not_blamed_for_its_locks() {
    let ours = synthetic(460);
    let theirs = SyntheticChain::generate_fork(11, &params(460), Fork { height: 400, seed: 12 });
    let lists = ListsByHeight::new(&ours.chain);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    let mut intake = LockIntake::default();
    let (mut told, mut dropped, mut events) = (0, 0, Vec::new());
    for height in 360..=460 {
        lists.advance(&mut writer, height);
        events.extend(intake.advance(&book));
        let mut locks: Vec<_> = chain_lock(&theirs.chain, height).map(Lock::Chain).into_iter().collect();
        locks.push(Lock::Instant(theirs.instant_lock(height, height).unwrap()));
        for lock in locks {
            match lock.take(peer(1), &mut intake, &book) {
                Taken::Event(event) => events.push(event),
                Taken::Dropped => dropped += 1,
                Taken::Waits { .. } => {}
                Taken::Duplicate => panic!("{lock:?}"),
            }
        }
    }
    for event in events {
        assert!(!matches!(event, LockEvent::False { .. }), "{event:?}");
        told += 1;
    }
    assert!(told > 80 && dropped > 20, "{told} {dropped}");
}

/// A node announces locks as soon as it is connected, long before the first list.
#[test]
fn locks_that_come_before_the_first_list_wait_for_it() {
    let synthetic = synthetic(300);
    let lists = ListsByHeight::new(&synthetic.chain);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    let mut intake = LockIntake::default();
    writer.set_tip(290);
    let locks = [
        Lock::Instant(synthetic.instant_lock(290, 1).unwrap()),
        Lock::Chain(chain_lock(&synthetic.chain, 290).unwrap()),
    ];
    for lock in &locks {
        assert_eq!(lock.take(peer(1), &mut intake, &book), Taken::Waits { wait_for: 290 });
    }
    for _ in 0..10 {
        assert!(intake.advance(&book).is_empty());
    }
    assert!(lists.advance(&mut writer, 280) && intake.advance(&book).is_empty());
    assert!(lists.advance(&mut writer, 290));
    assert_eq!(intake.advance(&book), locks.each_ref().map(Lock::event));
}

#[test]
fn only_locks_that_are_not_there_are_asked_for() {
    let synthetic = synthetic(300);
    let (mut writer, book) = QuorumBook::new(Network::Regtest);
    let lists = ListsByHeight::new(&synthetic.chain);
    assert!(lists.advance(&mut writer, 280) && lists.advance(&mut writer, 290));
    let mut intake = LockIntake::default();
    let known = chain_lock(&synthetic.chain, 290).unwrap();
    let early = ChainLock { height: 320, ..known.clone() };
    let far = ChainLock { height: 900, ..known.clone() };
    let locked = LockEvent::ChainLocked { height: 290, hash: known.block_hash };
    assert_eq!(intake.take_chain_lock(known.clone(), peer(1), &book), Taken::Event(locked));
    assert_eq!(intake.take_chain_lock(early.clone(), peer(1), &book), Taken::Waits { wait_for: 312 });
    assert_eq!(intake.take_chain_lock(far.clone(), peer(1), &book), Taken::Dropped, "too far ahead to be kept");

    let item = |kind, hash| InventoryItem { kind, hash };
    let chain_lock = |lock: &ChainLock| item(InventoryKind::CHAIN_LOCK, lock.hash());
    let instant = item(InventoryKind::INSTANT_LOCK, Hash256::from_bytes([5; 32]));
    let block = item(InventoryKind::BLOCK, Hash256::from_bytes([6; 32]));
    let announced = [chain_lock(&known), chain_lock(&early), chain_lock(&far), instant, block].into_iter().collect();
    let wanted = intake.wanted(&announced);
    assert_eq!(wanted.0.to_vec(), [chain_lock(&far), instant]);
}

/// The signatures in coinbases are what nodes took for ChainLocks of earlier blocks. Here every other one comes a cycle
/// before the lists of its quorum, and the rest after.
#[test]
fn real_chain_locks_of_the_recorded_chains() {
    let shared = ["regtest", "regtest-churn", "regtest-v3"].map(|name| Recording::shared(name).unwrap());
    for recording in shared.into_iter().flatten().chain([Recording::bundled().unwrap()]) {
        let find = |hash: &BlockHash| {
            let height = recording.height(hash)?;
            let merkle_root = BlockHeader::from_bytes(*recording.headers().get(height as usize)?).merkle_root();
            Some(KnownBlock { height, merkle_root })
        };
        let sync = recording.complete_syncs().iter().max_by_key(|sync| recording.exchanges_of(sync).count()).unwrap();
        let mut stage = ListStage::new(recording.network(), Level::Roots);
        let steps: Vec<_> = recording
            .exchanges_of(sync)
            .map(|exchange| {
                let Answer::Reply(payload) = &exchange.answer else { panic!("refused") };
                let reply = Reply::QrInfo(Box::new(QRInfo::from_wire(payload.clone()).unwrap()));
                let lists = stage.apply(&request(&recording, exchange), &reply, find).unwrap().lists.unwrap();
                let lock = lock_in(&reply, lists.height(), |height| recording.block_hash(height));
                (lists, lock)
            })
            .collect();

        let (mut writer, book) = QuorumBook::new(recording.network());
        let mut intake = LockIntake::default();
        let (mut told, mut waited, mut expected) = (BTreeSet::new(), 0, BTreeSet::new());
        for (place, (lists, lock)) in steps.iter().enumerate() {
            assert!(writer.advance(lists, find, |height| recording.block_hash(height)));
            told.extend(intake.advance(&book).iter().map(|event| format!("{event:?}")));
            let next = steps.get(place + 1).and_then(|(_, lock)| lock.as_ref());
            let is_early = |lock: &&ChainLock| lock.height % 2 == 0;
            let now = lock.as_ref().filter(|lock| !is_early(lock)).into_iter().chain(next.filter(is_early));
            for lock in now.filter(|_| place > 1) {
                // Miners that knew no newer one repeat the one before.
                if !expected.insert(format!("{:?}", Lock::Chain(lock.clone()).event())) {
                    continue;
                }
                let forged = ChainLock { signature: turned(lock.signature), ..lock.clone() };
                for (lock, from) in [(forged, liar()), (lock.clone(), peer(1))] {
                    match intake.take_chain_lock(lock, from, &book) {
                        Taken::Event(event) => {
                            told.insert(format!("{event:?}"));
                        }
                        Taken::Waits { wait_for } if from == peer(1) => {
                            assert!(wait_for > lists.height());
                            waited += 1;
                        }
                        other => assert_eq!(from, liar(), "{other:?}"),
                    }
                }
            }
        }
        // There is no list at the block of a recorded lock, so that no false one is proven to be.
        let lost: Vec<_> = expected.difference(&told).take(3).collect();
        assert!(lost.is_empty() && told.len() == expected.len(), "not told: {lost:?} of {}", expected.len());
        eprintln!("{} ChainLocks of {}, {waited} of them before their quorum", told.len(), recording.node());
        assert!(told.len() >= 6 && waited > 0, "{} {waited}", told.len());
    }
}

/// The ChainLock in the coinbase of the reply's work block.
fn lock_in(reply: &Reply, height: u32, hash_at: impl Fn(u32) -> Option<BlockHash>) -> Option<ChainLock> {
    let Reply::QrInfo(reply) = reply else { return None };
    let pool = reply.mn_list_diff_h.coinbase.payload()?.credit_pool.as_ref()?;
    let height = height - 1 - pool.best_cl_height_diff;
    let is_there = pool.best_cl_signature != [0; 96];
    let block_hash = hash_at(height)?;
    is_there.then_some(ChainLock { height: height.try_into().ok()?, block_hash, signature: pool.best_cl_signature })
}

fn request(recording: &Recording, exchange: &Exchange) -> Request {
    let network = recording.network();
    let cycle = network.cycles().start_of(exchange.height);
    let hash = |height| recording.block_hash(height).unwrap();
    QRInfoRequestSpec {
        network,
        cycle,
        base_block_hashes: exchange.base_heights.iter().map(|&height| hash(height)).collect(),
        block_hash: hash(exchange.height),
        extra_share: exchange.extra_share,
        work_block_hashes: [0, 1, 2, 3, 4].map(|back| hash(network.cycles().work_height_back(cycle, back).unwrap())),
    }
    .into()
}
