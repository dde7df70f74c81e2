//! Locks as nodes of mainnet sent them. The bytes and ids are published facts: those of the tests of the public
//! rust-dashcore repository (CC0).

use proptest::prelude::*;
use qrinfo_core::{
    BlockHash, Hash256,
    message::{ChainLock, InstantLock},
    sha256d,
    wire::{DecodeErrorKind, Wire},
};

/// The lock of a transaction with one input, and what the quorum was asked to sign, in the order of the bytes.
const LOCKS: [(&str, &str, &str); 2] = [
    (
        "01018d53e7997ead57409750942af0d5e0aafc06f852a9a52308f4781b6a8220298f00000000c6f9d8c63dd15937ea70aaddb7890daad4\
         2c91bf6818e2bf76d183d6f2d9215b4b5f84978fad9dde7ab52bdcc0674be891e9029cc1ef0cb01200000000000000a27c98836c4c0465\
         3ab81eb4e07ddfc2c8c2c1036b75247969c05a4f25451cd78913a971f1899d9f2bddec9cf8e0104004f72f20c2856453e5aa3bcd2a8200\
         670ec28feda38f67cc400fc72ef1966956656ec0765478c9d16e9a9e470c07f9ed",
        "481ca36cf80fde8fda333915e33c27014dad65fa9f3b54bc4d8bc45be7c81ddf",
        "0000000000000012b00cefc19c02e991e84b67c0dc2bb57ade9dad8f97845f4b",
    ),
    (
        "010133c404bebbf34c153816d26553bcec8c9b876354a68b952ab2c1c514c04baf9800000000578de219b47300c1d43985e1ee7af2faa7\
         73b87729df3cb48f2c522937c7b070d674ea572a713d6b07deef085b9ce97e1e354055b91b0bbd0b00000000000000a846486b3f75da24\
         e3d04b62eadd7dffe589736f13ab222c208d0f3880dce5d287b8542dc1e1f0e271749e70e939262704f8611aafcdeb20ed70c5bc78fdf7\
         37a1bd6409d061fcf6a591b117ada7ba92567959544c090a05cdd955268d22be6b",
        "94dd5c8d946cb34dda43ebf424b385ae898159827385a48d8b1fae15dbf21a12",
        "000000000000000bbd0b1bb95540351e7ee99c5b08efde076b3d712a57ea74d6",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn instant_locks_of_mainnet_read_as_they_should() {
    for (payload, request_id, cycle) in LOCKS {
        let payload = bytes(payload);
        let lock = InstantLock::from_wire(payload.clone()).unwrap();
        assert_eq!(lock.to_wire(), payload);
        assert_eq!(lock.inputs.len(), 1);
        assert_eq!(lock.inputs[0].vout, 0);
        assert_eq!(lock.cycle_hash, cycle.parse::<BlockHash>().unwrap());
        assert_eq!(lock.request_id().as_bytes()[..], bytes(request_id));
        assert_eq!(lock.hash(), Hash256::from_bytes(sha256d(&payload)), "announced by the hash of all its bytes");
    }
}

#[test]
fn chain_locks_ask_for_their_height() {
    let ids = [
        (2_243_495, "969ab4a945632f5fba1331f3d2556d317682142cf8aaa6544e407e683c61a177"),
        (2_243_496, "675aed91d6098cdf575cc09bfd1ff4f750acde1e793f385c3c72bbb400068d28"),
        (2_229_204, "88346d49ddf5c06528f3ede253e01a8ab54048935ff944d88bb149aaeef956f2"),
    ];
    for (height, request_id) in ids {
        let lock = ChainLock { height, block_hash: BlockHash::ZERO, signature: [0; 96] };
        assert_eq!(lock.request_id().as_bytes()[..], bytes(request_id));
    }
}

#[test]
fn malformed_locks_are_refused() {
    let payload = bytes(LOCKS[0].0);
    for len in 0..payload.len() {
        InstantLock::from_wire(payload[..len].to_vec()).unwrap_err();
    }
    for len in 0..ChainLock::MIN_SIZE {
        ChainLock::from_wire(vec![0; len]).unwrap_err();
    }
    // Of the multi-quorum form (DIP-22), with a bit field behind the signature.
    ChainLock::from_wire(vec![0; ChainLock::MIN_SIZE + 2]).unwrap_err();

    let mut other_version = payload.clone();
    other_version[0] = 0;
    assert_eq!(InstantLock::from_wire(other_version).unwrap_err().kind, DecodeErrorKind::UndefinedValue(0));
    let mut many_inputs = payload.clone();
    many_inputs.splice(1..2, [0xfe, 0xff, 0xff, 0xff, 0x7f]);
    let kind = InstantLock::from_wire(many_inputs).unwrap_err().kind;
    assert!(matches!(kind, DecodeErrorKind::ImpossibleCount { count: 0x7fff_ffff, .. }), "{kind}");
    let no_inputs = [&payload[..1], &[0], &payload[38..]].concat();
    assert!(InstantLock::from_wire(no_inputs).unwrap().inputs.is_empty());
}

proptest! {
    #[test]
    fn whatever_comes_is_refused_or_encodes_to_itself(payload: Vec<u8>, at in 0..198_usize, value: u8) {
        let mut altered = bytes(LOCKS[1].0);
        altered[at] = value;
        for payload in [payload, altered] {
            if let Ok(lock) = InstantLock::from_wire(payload.clone()) {
                prop_assert_eq!(lock.to_wire(), payload.clone());
            }
            if let Ok(lock) = ChainLock::from_wire(payload.clone()) {
                prop_assert_eq!(lock.to_wire(), payload);
            }
        }
    }

    #[test]
    fn the_id_hangs_on_every_input(txid: [u8; 32], vout: u32) {
        let mut lock = InstantLock::from_wire(bytes(LOCKS[0].0)).unwrap();
        let before = lock.request_id();
        lock.txid = Hash256::from_bytes(txid);
        prop_assert_eq!(lock.request_id(), before);
        lock.inputs.push(qrinfo_core::message::OutPoint { txid: Hash256::from_bytes(txid), vout });
        prop_assert_ne!(lock.request_id(), before);
    }
}
