#![allow(clippy::unwrap_used, reason = "a test may fail")]

use blst::{BLST_ERROR, min_pk::SecretKey};
use qrinfo_core::{
    Hash256, ProTxHash,
    message::{NetInfo, SmlEntryKind},
};

use super::*;
use crate::quorum::bls::{DST, Scheme};

/// More keys than are checked one by one.
const MANY: u32 = 200;

fn secret_key(seed: u32) -> SecretKey {
    let mut material = [0xa5; 32];
    material[..4].copy_from_slice(&seed.to_be_bytes());
    SecretKey::key_gen(&material, &[]).unwrap()
}

fn keys(count: u32) -> Vec<[u8; 48]> {
    (0..count).map(|seed| secret_key(seed).sk_to_pk().compress()).collect()
}

/// The point with this x, and the greater or the smaller y.
fn point(x: u8, is_greater: bool) -> [u8; 48] {
    let mut point = [0; 48];
    point[0] = if is_greater { 0xa0 } else { 0x80 };
    point[47] = x;
    point
}

/// A third of the number of points of the curve, little-endian.
const THIRD: [u8; 48] = [
    0x39, 0x8e, 0x55, 0x55, 0x55, 0x55, 0x55, 0xd9, 0xaa, 0xaa, 0xc6, 0xe5, 0x54, 0x55, 0x39, 0x0a, 0x0c, 0x52, 0x90,
    0xa7, 0x35, 0x46, 0x10, 0xcd, 0x3f, 0x06, 0xd7, 0xfb, 0xd6, 0xc3, 0x27, 0xcc, 0x47, 0xe4, 0xc3, 0x6b, 0xe7, 0x37,
    0x09, 0x19, 0xde, 0x4c, 0xd5, 0xbd, 0xf8, 0x05, 0xab, 0x08,
];

/// A key of the group moved out of it by a point of order 3, the smallest order that there is.
fn moved(seed: u32) -> PublicKey {
    let points = (1..).filter_map(|x| PublicKey::uncompress(&point(x, false)).ok());
    let mut thirds = points.map(|point| [point].mult(&THIRD, 384).to_public_key());
    let of_order_3 = thirds.find(|third| third.validate() == Err(BLST_ERROR::BLST_POINT_NOT_IN_GROUP)).unwrap();
    assert_eq!([of_order_3; 4].add().to_public_key(), of_order_3);
    [secret_key(seed).sk_to_pk(), of_order_3].add().to_public_key()
}

fn entry(key: &[u8; 48]) -> SmlEntry {
    SmlEntry {
        version: 2,
        pro_reg_tx_hash: ProTxHash::from_bytes([1; 32]),
        confirmed_hash: Hash256::from_bytes([1; 32]),
        net_info: NetInfo::Service { ip: [0; 16], port: 9999 },
        pub_key_operator: *key,
        key_id_voting: [0; 20],
        is_valid: true,
        kind: SmlEntryKind::Regular,
    }
}

/// For each key true if it was decoded, as the key that it is.
fn decoded(keys: &[[u8; 48]]) -> Vec<bool> {
    let entries: Vec<_> = keys.iter().map(entry).collect();
    let decoded = OperatorKeys::of(&entries);
    let decoded = entries.iter().map(|entry| decoded.get(entry).map(|key| key.compress()));
    decoded.zip(keys).map(|(decoded, key)| decoded.inspect(|decoded| assert_eq!(decoded, key)).is_some()).collect()
}

#[test]
fn keys_are_decoded_once_and_in_any_number() {
    for count in [0, 1, 2, WORTH_ADDING as u32 - 1, WORTH_ADDING as u32, MANY] {
        let keys = keys(count);
        assert!(decoded(&keys).into_iter().all(|is_key| is_key), "{count}");
    }
    let twice = [keys(MANY), keys(MANY)].concat();
    assert!(decoded(&twice).into_iter().all(|is_key| is_key));
    let entries: Vec<_> = twice.iter().map(entry).collect();
    assert_eq!(OperatorKeys::of(&entries).0.len(), MANY as usize);
    let stranger = secret_key(MANY).sk_to_pk().compress();
    assert!(OperatorKeys::of(&entries).get(&entry(&stranger)).is_none());
}

/// A false `false` would be right as well, and slow: every key would be checked by itself.
#[test]
fn sums_of_many_keys_are_in_the_group_and_do_not_hide_one_that_is_not() {
    let many: Vec<_> = (0..MANY).map(|seed| secret_key(seed).sk_to_pk()).collect();
    assert!(are_in_group(&many));
    assert!(!are_in_group(&[many, vec![moved(1)]].concat()));
}

#[test]
fn a_key_in_the_legacy_encoding_is_the_same_key() {
    let key = secret_key(1).sk_to_pk().compress();
    let sign = if key[0] & 0x20 != 0 { 0x80 } else { 0 };
    let mut legacy = SmlEntry { version: 1, ..entry(&key) };
    legacy.pub_key_operator[0] = key[0] & 0x1f | sign;
    assert_eq!(OperatorKeys::of([&legacy]).get(&entry(&key)).unwrap().compress(), key);
}

/// Infinity, no point of the curve, and points of the curve that are not in the group: of order 3, of another order, and
/// near a real key. Two of them add up to infinity.
#[test]
fn what_is_no_key_is_left_out_among_few_and_many() {
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    let no_keys = [
        infinity,
        [0; 48],
        [0xff; 48],
        point(1, false),
        point(0, false),
        point(0, true),
        point(4, false),
        point(4, true),
        moved(1).compress(),
    ];
    let alone: Vec<Vec<[u8; 48]>> = no_keys.iter().map(|no_key| vec![*no_key]).collect();
    let cases = alone.into_iter().chain([no_keys[6..8].to_vec(), no_keys.to_vec()]);
    for no_keys in cases {
        for count in [0, 5, MANY] {
            let keys = [no_keys.clone(), keys(count)].concat();
            let expected: Vec<_> = (0..keys.len()).map(|place| place >= no_keys.len()).collect();
            assert_eq!(decoded(&keys), expected, "{no_keys:02x?} among {count}");
        }
    }
}

/// A moved key that the sums of halves miss does no harm: only the owner of the original key signs for it.
#[test]
fn a_pairing_does_not_see_what_takes_a_key_out_of_the_group() {
    let message = [7; 32];
    let is_signed = |signer: u32, key: PublicKey| {
        let signature = secret_key(signer).sign(&message, DST, &[]);
        Scheme::Basic.claim(&signature.compress(), message, key).unwrap().is_signed()
    };
    assert!(moved(1).validate().is_err());
    assert!(is_signed(1, moved(1)) && !is_signed(2, moved(1)) && is_signed(1, secret_key(1).sk_to_pk()));
}
