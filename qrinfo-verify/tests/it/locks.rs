//! ChainLocks that a real chain has in its coinbases, and InstantSend locks that the test signs.

use std::collections::BTreeSet;

use crate::common::{headers, recordings, reply, request};
use blst::min_pk::SecretKey;
use dash_pkc::bls::{BlsScChia, BlsSecretKey};
use qrinfo_core::{
    BlockHash, Hash256, LlmqType, Network, QuorumHash,
    message::{ChainLock, Coinbase, CoinbasePayload, Commitment, InstantLock, MnListDiff, OutPoint},
    sha256d,
    wire::Bits,
};
use qrinfo_verify::{ApplyFault, HeaderMap, KnownBlock, Level, ListStage, Lists, LockError, MinedQuorum, Quorums};

const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

/// The signatures in coinbases are what nodes took for ChainLocks of earlier blocks: with the quorums of the lists, each
/// verifies for its own block and for no other.
#[test]
fn chain_locks_of_the_recorded_chains_verify() {
    for (name, recording) in recordings() {
        let headers = headers(&recording);
        let Some(sync) = recording.complete_syncs().iter().max_by_key(|sync| recording.exchanges_of(sync).count())
        else {
            continue;
        };
        let mut stage = ListStage::new(recording.network(), Level::Roots);
        let mut quorums: Option<Quorums> = None;
        let (mut verified, mut below) = (0, 0);
        for exchange in recording.exchanges_of(sync) {
            let reply = reply(exchange).unwrap();
            let taken = stage.apply(&request(&recording, exchange), &reply, |hash| headers.find(hash)).unwrap();
            let lists = taken.lists.unwrap();
            let quorums = quorums.get_or_insert_with(|| Quorums::starting_at(recording.network(), lists.height()));
            quorums.learn(&lists, |hash| headers.find(hash));
            let qrinfo_core::Reply::QrInfo(qr_info) = &reply else { panic!() };
            let payload = qr_info.mn_list_diff_h.coinbase.payload().unwrap();
            let Some(pool) = payload.credit_pool.as_ref().filter(|pool| pool.best_cl_signature != [0; 96]) else {
                continue;
            };
            let height = lists.height() - 1 - pool.best_cl_height_diff;
            let block_hash = recording.block_hash(height).unwrap();
            let lock =
                ChainLock { height: i32::try_from(height).unwrap(), block_hash, signature: pool.best_cl_signature };
            match quorums.verify_chainlock(&lock) {
                Ok(signed) => assert_eq!(signed.llmq_type, recording.network().chain_lock_llmq()),
                Err(LockError::NotCovered(at)) => {
                    assert!(at < *quorums.covered().start(), "{name} {height}: {at}");
                    below += 1;
                    continue;
                }
                Err(error) => panic!("{name} {height}: {error}"),
            }
            let other = ChainLock { block_hash: recording.block_hash(height - 1).unwrap(), ..lock.clone() };
            assert_eq!(quorums.verify_chainlock(&other).unwrap_err(), LockError::NotSigned);
            let mut altered = lock;
            altered.signature[90] ^= 1;
            assert_eq!(quorums.verify_chainlock(&altered).unwrap_err(), LockError::NotSigned);
            verified += 1;
        }
        eprintln!("{name}: {verified} ChainLocks, {below} from before the first list");
        let expected = if name == "regtest-v3" { 8 } else { 36 };
        assert!(verified >= expected && below <= 1, "{name}: {verified}, {below}");
    }
}

/// A rotated quorum with a key that the test knows.
fn quorum(seed: u8, cycle: u32, index: i16) -> (SecretKey, MinedQuorum) {
    let key = SecretKey::key_gen(&[seed; 32], &[]).unwrap();
    let all = || Bits::from_iter([true; 4]);
    let commitment = Commitment {
        version: 4,
        llmq_type: LlmqType(103),
        quorum_hash: QuorumHash::from_bytes([seed; 32]),
        quorum_index: Some(index),
        signers: all(),
        valid_members: all(),
        quorum_public_key: key.sk_to_pk().to_bytes(),
        quorum_vvec_hash: Hash256::ZERO,
        quorum_sig: [0; 96],
        members_sig: [0; 96],
    };
    (key, MinedQuorum::new(Network::Regtest, commitment, cycle + u32::try_from(index).unwrap()))
}

/// The bytes that Dash Core signs: type, quorum, id of the request, message.
fn sign_hash(quorum: &MinedQuorum, request_id: Hash256, message: Hash256) -> [u8; 32] {
    let commitment = &quorum.commitment;
    let mut signed = vec![commitment.llmq_type.0];
    signed.extend(commitment.quorum_hash.as_bytes());
    signed.extend(request_id.as_bytes());
    signed.extend(message.as_bytes());
    sha256d(&signed)
}

fn sign(key: &SecretKey, quorum: &MinedQuorum, request_id: Hash256, message: Hash256) -> [u8; 96] {
    key.sign(&sign_hash(quorum, request_id, message), DST, &[]).to_bytes()
}

fn lock(number: u8) -> InstantLock {
    InstantLock {
        inputs: vec![OutPoint { txid: Hash256::from_bytes([number; 32]), vout: 1 }],
        txid: Hash256::from_bytes([number + 1; 32]),
        cycle_hash: BlockHash::from_bytes([9; 32]),
        signature: [0; 96],
    }
}

/// Cycles 240, 264 and 288 of regtest, two quorums each, all active in their turn.
fn three_cycles() -> (Vec<(SecretKey, MinedQuorum)>, Quorums) {
    let mut signers = Vec::new();
    let mut quorums = Quorums::starting_at(Network::Regtest, 262);
    for (place, cycle) in (0..).zip([240, 264, 288]) {
        for index in 0..2 {
            let (key, quorum) = quorum(10 * (place + 1) + index, cycle, i16::from(index));
            quorums.insert(quorum.clone());
            signers.push((key, quorum));
        }
    }
    quorums.cover_until(320);
    (signers, quorums)
}

/// The one bit below the highest of the id's last eight bytes, as a little-endian number (DIP-24).
fn selected(lock: &InstantLock) -> usize {
    usize::from(lock.request_id().as_bytes()[31] >> 6 & 1)
}

#[test]
fn instant_locks_are_verified_by_the_quorum_of_the_index_that_they_select() {
    let (signers, quorums) = three_cycles();
    let mut seen = [0; 2];
    for number in 0..40 {
        let mut lock = lock(number);
        let index = selected(&lock);
        seen[index] += 1;
        // The quorums of cycle 264 are active at its end.
        let (key, quorum) = &signers[2 + index];
        lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
        let signed = quorums.verify_islock(&lock, 264, 320).unwrap();
        assert_eq!((signed.quorum_hash, signed.quorum_index), (quorum.commitment.quorum_hash, Some(index as i16)));

        // Those of the cycle before may have signed as well, and no others.
        let (key, quorum) = &signers[index];
        lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
        assert_eq!(quorums.verify_islock(&lock, 264, 320).unwrap().quorum_hash, quorum.commitment.quorum_hash);
        for wrong in [2 + (1 - index), 4 + index] {
            let (key, quorum) = &signers[wrong];
            lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
            assert_eq!(quorums.verify_islock(&lock, 264, 320).unwrap_err(), LockError::NotSigned);
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

/// Since protocol 70237 a lock names the cycle of the quorum that signed it: one whose successors all failed is active for
/// many cycles.
#[test]
fn a_straggler_signs_by_the_cycle_that_is_its_own() {
    let mut quorums = Quorums::starting_at(Network::Regtest, 600);
    let signers: Vec<_> = (0..2).map(|index| quorum(50 + index, 240, i16::from(index))).collect();
    signers.iter().for_each(|(_, quorum)| quorums.insert(quorum.clone()));
    quorums.cover_until(700);
    for number in 0..20 {
        let mut lock = lock(number);
        let (key, quorum) = &signers[selected(&lock)];
        lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
        let signed = quorums.verify_islock(&lock, 240, 700).unwrap();
        assert_eq!(signed.quorum_hash, quorum.commitment.quorum_hash);
        // By the older meaning: active at the end of the cycle that is named.
        assert_eq!(quorums.verify_islock(&lock, 648, 700), Ok(signed));
        let (key, quorum) = &signers[1 - selected(&lock)];
        lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
        assert_eq!(quorums.verify_islock(&lock, 648, 700), Err(LockError::NotSigned));
        // At that time another quorum may have been active, as far as is known here.
        assert!(matches!(quorums.verify_islock(&lock, 240, 700), Err(LockError::NotCovered(_))));
    }
}

#[test]
fn a_lock_of_a_cycle_that_starts_above_our_tip_is_not_judged() {
    let (signers, quorums) = three_cycles();
    let mut lock = lock(3);
    let (key, quorum) = &signers[4 + selected(&lock)];
    lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
    assert_eq!(quorums.verify_islock(&lock, 288, 270), Err(LockError::NotCovered(288)));
    assert_eq!(quorums.verify_islock(&lock, 312, 311), Err(LockError::NotCovered(312)));
    assert!(quorums.verify_islock(&lock, 288, 320).is_ok());
}

#[test]
fn an_instant_lock_for_another_transaction_or_other_inputs_is_not_signed() {
    let (signers, quorums) = three_cycles();
    let mut lock = lock(3);
    let (key, quorum) = &signers[2 + selected(&lock)];
    lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
    quorums.verify_islock(&lock, 264, 320).unwrap();
    let other = InstantLock { txid: Hash256::from_bytes([77; 32]), ..lock.clone() };
    assert!(quorums.verify_islock(&other, 264, 320).unwrap_err().is_false());
    let inputs = vec![OutPoint { vout: 2, ..lock.inputs[0] }];
    assert!(quorums.verify_islock(&InstantLock { inputs, ..lock.clone() }, 264, 320).unwrap_err().is_false());

    let malformed = [
        InstantLock { inputs: Vec::new(), ..lock.clone() },
        InstantLock { inputs: vec![lock.inputs[0]; 2], ..lock.clone() },
        InstantLock { txid: Hash256::ZERO, ..lock.clone() },
    ];
    for lock in malformed {
        assert_eq!(quorums.verify_islock(&lock, 264, 320).unwrap_err(), LockError::Malformed);
    }
    assert_eq!(quorums.verify_islock(&lock, 265, 320).unwrap_err(), LockError::Malformed, "no cycle's start");
}

/// A client that has just begun lacks the quorums of the cycle before. As long as the lock's own cycle may bring its
/// quorum, it is the end of that cycle's mining window to wait for, not a height that never comes.
#[test]
fn a_lock_waits_for_the_mining_window_of_its_cycle() {
    let (signers, _) = three_cycles();
    let mut quorums = Quorums::starting_at(Network::Regtest, 264);
    signers[..2].iter().for_each(|(_, quorum)| quorums.insert(quorum.clone()));
    let mut lock = lock(3);
    let (key, quorum) = &signers[2 + selected(&lock)];
    lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
    assert_eq!(quorums.verify_islock(&lock, 264, 264), Err(LockError::NotCovered(284)));
    // With the whole window, and the cycle before, it is known that there is no other.
    let mut without = Quorums::starting_at(Network::Regtest, 252);
    signers[..2].iter().for_each(|(_, quorum)| without.insert(quorum.clone()));
    without.cover_until(284);
    assert_eq!(without.verify_islock(&lock, 264, 284), Err(LockError::NotSigned));
    quorums.insert(quorum.clone());
    quorums.cover_until(284);
    assert_eq!(quorums.verify_islock(&lock, 264, 284).unwrap().quorum_hash, quorum.commitment.quorum_hash);
}

#[test]
fn unknown_quorums_make_no_lock_false() {
    let (signers, quorums) = three_cycles();
    let mut lock = lock(3);
    let (key, quorum) = &signers[2 + selected(&lock)];
    lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
    let later = quorums.verify_islock(&lock, 336, 360).unwrap_err();
    assert!(matches!(later, LockError::NotCovered(_)) && !later.is_false());
    let empty = Quorums::starting_at(Network::Regtest, 300);
    let mut empty = empty;
    empty.cover_until(400);
    let error = empty.verify_islock(&lock, 336, 400).unwrap_err();
    assert!(matches!(error, LockError::NoQuorum(_)) && !error.is_false());
}

/// A client that starts at a checkpoint does not know the blocks of the quorums that are active there. They sign all the
/// same.
#[test]
fn quorums_whose_blocks_lie_below_our_headers_sign_as_others_do() {
    let recording = spv_testkit::Recording::bundled().unwrap();
    let headers = headers(&recording);
    let sync = recording.complete_syncs().iter().max_by_key(|sync| recording.exchanges_of(sync).count()).unwrap();
    let mut stage = ListStage::new(recording.network(), Level::Roots);
    let (mut all, mut some): (Option<Quorums>, Option<Quorums>) = (None, None);
    let (mut verified, mut by_old) = (0, 0);
    for (place, exchange) in recording.exchanges_of(sync).enumerate() {
        let reply = reply(exchange).unwrap();
        let taken = stage.apply(&request(&recording, exchange), &reply, |hash| headers.find(hash)).unwrap();
        let lists = taken.lists.unwrap();
        if place < 40 {
            continue;
        }
        let all = all.get_or_insert_with(|| Quorums::starting_at(recording.network(), lists.height()));
        let some = some.get_or_insert_with(|| Quorums::starting_at(recording.network(), lists.height()));
        let lowest = all.covered().start().saturating_sub(30);
        all.learn(&lists, |hash| headers.find(hash));
        some.learn(&lists, |hash| headers.find(hash).filter(|block| block.height >= lowest));
        let qrinfo_core::Reply::QrInfo(qr_info) = &reply else { panic!() };
        let payload = qr_info.mn_list_diff_h.coinbase.payload().unwrap();
        let pool = payload.credit_pool.as_ref().filter(|pool| pool.best_cl_signature != [0; 96]).unwrap();
        let height = lists.height() - 1 - pool.best_cl_height_diff;
        let block_hash = recording.block_hash(height).unwrap();
        let lock = ChainLock { height: i32::try_from(height).unwrap(), block_hash, signature: pool.best_cl_signature };
        // The same types have the same active quorums, in the same order of those that are known.
        for llmq_type in [100, 103, 104].map(LlmqType) {
            let hashes = |quorums: &Quorums| -> BTreeSet<QuorumHash> {
                let active = quorums.active_at(llmq_type, lists.height());
                active.settled.into_iter().map(|quorum| quorum.commitment.quorum_hash).collect()
            };
            assert_eq!(hashes(some), hashes(all), "type {llmq_type} at {}", lists.height());
        }
        let Ok(signed) = all.verify_chainlock(&lock) else { continue };
        assert_eq!(some.verify_chainlock(&lock), Ok(signed), "{height}");
        let signer = some.quorum(signed.llmq_type, &signed.quorum_hash).unwrap();
        by_old += usize::from(signer.height.is_none());
        verified += 1;
        let other = ChainLock { block_hash: recording.block_hash(height - 1).unwrap(), ..lock };
        assert_eq!(some.verify_chainlock(&other).unwrap_err(), LockError::NotSigned);
    }
    assert!(verified > 10 && by_old > 0, "{verified}, {by_old}");
}

/// A quorum that was seen in a list of a block which then left the chain is active from where it was mined anew.
#[test]
fn a_reorganisation_is_unlearnt() {
    let made = |height, seed| {
        let (_, mut quorum) = quorum(seed, height, 0);
        quorum.commitment =
            Commitment { version: 3, llmq_type: LlmqType(100), quorum_index: None, ..quorum.commitment };
        MinedQuorum::new(Network::Regtest, quorum.commitment, height)
    };
    let mut quorums = Quorums::starting_at(Network::Regtest, 200);
    for (height, seed) in [(168, 1), (192, 2), (216, 3)] {
        quorums.insert(made(height, seed).until(240));
    }
    quorums.cover_until(240);
    let before = quorums.clone();
    quorums.insert(made(240, 4).until(252));
    quorums.cover_until(252);
    quorums.forget_above(251);
    let window = *made(240, 4).mined.start();
    assert_eq!(quorums.covered(), 200..=window - 1, "it may have been mined from here on");
    let active = |quorums: &Quorums, height| -> Vec<u32> {
        let active = quorums.active_at(LlmqType(100), height);
        assert!(active.unsettled.is_empty());
        active.settled.iter().filter_map(|quorum| quorum.height).collect()
    };
    assert_eq!(active(&quorums, window - 1), active(&before, 240));
    quorums.insert(made(240, 4).after(255).until(256));
    quorums.cover_until(256);
    assert_eq!(active(&quorums, 255), active(&before, 240));
    assert!(active(&quorums, 256).contains(&240));
}

/// A lock of a quorum of before v19 is signed in the scheme of its time: the basic one once v19 is active, the legacy
/// one before.
#[test]
fn locks_of_quorums_of_before_v19() {
    let (signers, _) = three_cycles();
    let mut quorums = Quorums::starting_at(Network::Regtest, 262);
    let legacy_key = |key: &SecretKey| BlsSecretKey::<BlsScChia>::from_bytes(&key.to_bytes()).unwrap();
    let old = |(key, quorum): &(SecretKey, MinedQuorum)| {
        let quorum_public_key = legacy_key(key).public_key().to_bytes();
        let commitment = Commitment { version: 2, quorum_public_key, ..quorum.commitment.clone() };
        (key.clone(), MinedQuorum::new(Network::Regtest, commitment, quorum.height.unwrap()))
    };
    let signers: Vec<_> = signers.iter().map(old).collect();
    signers.iter().for_each(|(_, quorum)| quorums.insert(quorum.clone()));
    quorums.cover_until(320);
    for number in 0..8 {
        let mut lock = lock(number);
        let index = selected(&lock);
        let (key, quorum) = &signers[2 + index];
        lock.signature = sign(key, quorum, lock.request_id(), lock.txid);
        assert_eq!(quorums.verify_islock(&lock, 264, 320).unwrap().quorum_hash, quorum.commitment.quorum_hash);

        let signed = sign_hash(quorum, lock.request_id(), lock.txid);
        lock.signature = legacy_key(key).sign_digest(&signed).to_bytes();
        let other = InstantLock { txid: Hash256::from_bytes([77; 32]), ..lock.clone() };
        if cfg!(feature = "legacy-bls") {
            assert_eq!(quorums.verify_islock(&lock, 264, 320).unwrap().quorum_hash, quorum.commitment.quorum_hash);
            assert_eq!(quorums.verify_islock(&other, 264, 320), Err(LockError::NotSigned));
        } else {
            // Neither can be told from the other.
            assert_eq!(quorums.verify_islock(&lock, 264, 320), Err(LockError::Legacy));
            assert_eq!(quorums.verify_islock(&other, 264, 320), Err(LockError::Legacy));
        }
    }
}

/// A quorum of since v19 signs nothing in the scheme before.
#[test]
fn quorums_of_since_v19_sign_in_no_other_scheme() {
    let (signers, quorums) = three_cycles();
    let mut lock = lock(3);
    let (key, quorum) = &signers[2 + selected(&lock)];
    let key = BlsSecretKey::<BlsScChia>::from_bytes(&key.to_bytes()).unwrap();
    lock.signature = key.sign_digest(&sign_hash(quorum, lock.request_id(), lock.txid)).to_bytes();
    assert_eq!(quorums.verify_islock(&lock, 264, 320), Err(LockError::NotSigned));
}

/// The order of several quorums below our headers is unknown; when two are gone at once, either may have been the
/// first to go.
#[test]
fn quorums_of_unknown_age_are_replaced_in_any_order() {
    let made = |seed| {
        let (_, quorum) = quorum(seed, 0, 0);
        Commitment { version: 3, llmq_type: LlmqType(100), quorum_index: None, ..quorum.commitment }
    };
    let lists = |height, commitments: &[Commitment]| {
        Lists::at_genesis(Network::Regtest).apply(&diff(height, commitments)).unwrap()
    };
    let block = |commitment: &Commitment| BlockHash::from_bytes(*commitment.quorum_hash.as_bytes());
    let [old, other, first, second] = [1, 2, 3, 4].map(made);
    let headers: HeaderMap = [(&first, 216), (&second, 240)]
        .map(|(commitment, height)| (block(commitment), KnownBlock { height, merkle_root: Hash256::ZERO }))
        .into_iter()
        .collect();
    let mut quorums = Quorums::starting_at(Network::Regtest, 210);
    quorums.learn(&lists(210, &[old.clone(), other.clone()]), |hash| headers.find(hash));
    quorums.learn(&lists(260, &[first.clone(), second.clone()]), |hash| headers.find(hash));
    let signers = |height, id| -> BTreeSet<QuorumHash> {
        let signers = quorums.signers(LlmqType(100), &Hash256::from_bytes([id; 32]), height);
        signers.into_iter().map(|quorum| quorum.commitment.quorum_hash).collect()
    };
    let all = |height| -> BTreeSet<QuorumHash> { (0..40).flat_map(|id| signers(height, id)).collect() };
    let hashes = |commitments: &[&Commitment]| commitments.iter().map(|c| c.quorum_hash).collect::<BTreeSet<_>>();
    assert_eq!(all(210), hashes(&[&old, &other]));
    // The first was mined from 226 to 234, and one of the old ones is gone since.
    assert_eq!(all(236), hashes(&[&old, &other, &first]));
    assert!((0..40).any(|id| signers(236, id).len() == 2));
    assert_eq!(all(260), hashes(&[&first, &second]));
}

/// Each list that has a quorum says that it was mined by then, and only the first of them that it was not before.
#[test]
fn quorums_are_mined_between_the_last_list_without_them_and_the_first_with_them() {
    let commitment =
        Commitment { version: 3, llmq_type: LlmqType(100), quorum_index: None, ..quorum(1, 0, 0).1.commitment };
    let block = BlockHash::from_bytes(*commitment.quorum_hash.as_bytes());
    let find = |hash: &BlockHash| (*hash == block).then_some(KnownBlock { height: 216, merkle_root: Hash256::ZERO });
    let lists = |height, commitments: &[Commitment]| {
        Lists::at_genesis(Network::Regtest).apply(&diff(height, commitments)).unwrap()
    };
    let window = MinedQuorum::new(Network::Regtest, commitment.clone(), 216).mined;
    let (start, end) = (i32::try_from(*window.start()).unwrap(), i32::try_from(*window.end()).unwrap());
    let mined = |heights: &[(i32, bool)]| {
        let mut quorums = Quorums::starting_at(Network::Regtest, u32::try_from(heights[0].0).unwrap());
        for &(height, is_there) in heights {
            quorums.learn(&lists(height, if is_there { std::slice::from_ref(&commitment) } else { &[] }), find);
        }
        let (start, end) = quorums.quorum(LlmqType(100), &commitment.quorum_hash).unwrap().mined.clone().into_inner();
        (i32::try_from(start).unwrap(), i32::try_from(end).unwrap())
    };
    assert_eq!(mined(&[(start + 3, true)]), (start, start + 3), "the first list says nothing of before");
    assert_eq!(mined(&[(start + 3, true), (start + 5, true)]), (start, start + 3));
    assert_eq!(mined(&[(start + 1, false), (start + 3, true)]), (start + 2, start + 3));
    assert_eq!(mined(&[(start + 1, false), (start + 3, true), (end, true)]), (start + 2, start + 3));
}

/// The rest covers the same heights with the same quorums.
#[test]
fn quorums_that_were_replaced_before_a_height_are_forgotten() {
    let (signers, mut quorums) = three_cycles();
    let all = quorums.clone();
    let replaced_at = signers[2..].iter().map(|(_, quorum)| *quorum.mined.end()).take(2).max().unwrap();
    quorums.forget_below(replaced_at);
    assert_eq!(quorums.covered(), replaced_at..=320);
    let llmq_type = LlmqType(103);
    let is_known =
        |(_, quorum): &(SecretKey, MinedQuorum)| quorums.quorum(llmq_type, &quorum.commitment.quorum_hash).is_some();
    assert_eq!(signers.iter().map(is_known).collect::<Vec<_>>(), [false, false, true, true, true, true]);
    for height in replaced_at..=320 {
        assert_eq!(quorums.active_at(llmq_type, height), all.active_at(llmq_type, height), "{height}");
    }
}

#[test]
fn lists_are_changed_by_a_diff_from_their_own_block_alone() {
    let at_genesis = Lists::at_genesis(Network::Regtest);
    let from = |base, height| MnListDiff { base_block_hash: base, ..diff(height, &[]) };
    let later = at_genesis.apply(&from(BlockHash::ZERO, 5)).unwrap();
    let (genesis, elsewhere) = (at_genesis.block_hash(), BlockHash::from_bytes([5; 32]));
    assert!(at_genesis.apply(&from(genesis, 5)).is_ok());
    assert!(later.apply(&from(later.block_hash(), 6)).is_ok());
    for (lists, base) in [(&at_genesis, elsewhere), (&later, elsewhere), (&later, BlockHash::ZERO), (&later, genesis)] {
        let expected = ApplyFault::Base { expected: lists.block_hash(), got: base };
        assert_eq!(lists.apply(&from(base, 6)), Err(expected));
    }
}

fn diff(height: i32, commitments: &[Commitment]) -> MnListDiff {
    let payload = CoinbasePayload {
        version: 1,
        height,
        merkle_root_mn_list: Hash256::ZERO,
        merkle_root_quorums: None,
        credit_pool: None,
    };
    let empty = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([77; 32]));
    MnListDiff { coinbase: Coinbase::new(payload), new_quorums: commitments.iter().cloned().collect(), ..empty }
}
