#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::{collections::HashSet, env};

use blst::min_pk::{AggregateSignature, SecretKey};

use super::*;
use crate::quorum::bls::Scheme;

/// Batches with one false signature; `SPV_TEST_BATCHES` asks for another number.
const BATCHES: u32 = 100;

fn secret_key(seed: u32) -> SecretKey {
    let mut material = [0x5a; 32];
    material[..4].copy_from_slice(&seed.to_be_bytes());
    SecretKey::key_gen(&material, &[]).unwrap()
}

fn claim(message: u8, seed: u32) -> Claim {
    let (message, key) = ([message; 32], secret_key(seed));
    let signature = key.sign(&message, DST, &[]);
    Scheme::Basic.claim(&signature.compress(), message, key.sk_to_pk()).unwrap()
}

/// Five claims: two messages are signed by two keys each, as by a quorum and its members, and one by one key.
fn good() -> Vec<Claim> {
    [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5)].map(|(message, seed)| claim(message, seed)).to_vec()
}

fn signature_of(claim: &Claim) -> Signature {
    match &claim.signature {
        AnySignature::Basic(signature) => *signature,
        #[cfg(feature = "legacy-bls")]
        AnySignature::Legacy(_) => panic!("a claim of the scheme before v19"),
    }
}

/// `a + factor b`.
fn sum(a: Signature, factor: &[u8; 32], b: Signature) -> Signature {
    let mut sum = AggregateSignature::from_signature(&a);
    sum.add_aggregate(&[b].mult(factor, 256));
    sum.to_signature()
}

/// The order of the group less one, little-endian: a factor that negates.
const MINUS_ONE: [u8; 32] = [
    0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0x02, 0xa4, 0xbd, 0x53, 0x05, 0xd8, 0xa1, 0x09, 0x08,
    0xd8, 0x39, 0x33, 0x48, 0x7d, 0x9d, 0x29, 0x53, 0xa7, 0xed, 0x73,
];
const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};

#[test]
fn true_claims_pass_whole_in_part_and_twice() {
    let good = good();
    assert!(good.iter().all(Claim::is_signed));
    for count in 1..=good.len() {
        assert!(are_signed(&good[..count]), "{count}");
        assert!(are_signed(&good[good.len() - count..]), "{count}");
    }
    assert!(are_signed(good.iter().chain(&good)));
    assert!(are_signed([&good[0], &good[0], &good[0]]));
    // Messages that do not follow one another.
    assert!(are_signed([&good[0], &good[2], &good[1], &good[4], &good[3]]));
}

#[test]
fn an_empty_batch_proves_nothing() {
    assert!(!are_signed([]));
}

#[test]
fn one_false_signature_never_passes() {
    let batches = env::var("SPV_TEST_BATCHES").ok().map_or(BATCHES, |batches| batches.parse().unwrap());
    let good = good();
    for batch in 0..batches {
        let mut claims = good.clone();
        let (place, other) = (batch as usize % good.len(), (batch as usize + 1) % good.len());
        let stranger = secret_key(1_000 + batch);
        let message = claims[place].message;
        let signature = match batch / 5 % 4 {
            0 => stranger.sign(&message, DST, &[]),
            1 => signature_of(&claims[other]),
            2 => sum(signature_of(&claims[place]), &ONE, stranger.sign(&message, DST, &[])),
            _ => sum(stranger.sign(&message, DST, &[]), &MINUS_ONE, signature_of(&claims[place])),
        };
        claims[place].signature = AnySignature::Basic(signature);
        assert!(!are_signed(&claims), "batch {batch}");
        let false_ones: Vec<_> = claims.iter().map(Claim::is_signed).collect();
        assert!(false_ones.iter().enumerate().all(|(at, is_signed)| *is_signed == (at != place)), "batch {batch}");
    }
}

/// Without weights these pass: the sums of all signatures are right.
#[test]
fn false_signatures_that_make_up_for_one_another_do_not_pass() {
    let good = good();
    let error = secret_key(99).sign(b"an error", DST, &[]);
    for (one, other) in [(0, 1), (0, 2), (3, 4)] {
        let mut claims = good.clone();
        claims[one].signature = AnySignature::Basic(sum(signature_of(&good[one]), &ONE, error));
        claims[other].signature = AnySignature::Basic(sum(signature_of(&good[other]), &MINUS_ONE, error));
        let sum_of = |claims: &[Claim]| claims.iter().map(signature_of).collect::<Vec<_>>().add().to_signature();
        assert_eq!(sum_of(&claims), sum_of(&good));
        assert!(!are_signed(&claims), "{one} and {other}");
    }
    let mut swapped = good.clone();
    swapped[0].signature = good[1].signature.clone();
    swapped[1].signature = good[0].signature.clone();
    assert!(!are_signed(&swapped));
}

#[test]
fn a_key_of_infinity_is_not_signed_for() {
    let mut claims = good();
    let key = claims[0].key;
    claims[0].key = [key, key].mult(&[ONE, MINUS_ONE].concat(), 256).to_public_key();
    assert!(!are_signed(&claims) && !are_signed(&claims[..1]) && !claims[0].is_signed());
}

/// The only constructor asks the operating system, each time and for all bits.
#[test]
fn weights_are_fresh_and_use_all_bits() {
    let batches: Vec<_> = (0..64).map(|_| Weights::random(4).unwrap().0).collect();
    let weights: HashSet<&[u8]> = batches.iter().flat_map(|weights| weights.chunks(WEIGHT_BYTES)).collect();
    assert_eq!(weights.len(), 256);
    for bit in 0..WEIGHT_BITS {
        let set = weights.iter().filter(|weight| weight[bit / 8] >> (bit % 8) & 1 == 1).count();
        assert!((64..192).contains(&set), "bit {bit} is set in {set} of 256 weights");
    }
}
