//! Allocations of the decoders are bounded by the bytes received, not by the counts in them.

use allocation_counter::measure;
use qrinfo_core::{
    message::{GetQRInfo, MnListDiff, QRInfo, QuorumSnapshot, SmlEntry},
    wire::Wire,
};

const STEPS: &[u8] = include_bytes!("../data/regtest-churn/replies/0232.bin");
const LISTS: &[u8] = include_bytes!("../data/regtest-churn/replies/0308.bin");

/// The most bytes that are allocated at a time while `payload` is decoded, beyond the payload itself.
fn peak<T: Wire>(payload: &[u8]) -> u64 {
    let payload = bytes::Bytes::copy_from_slice(payload);
    // A second handle makes the buffer's reference count, which would be counted otherwise.
    let shared = payload.clone();
    measure(|| drop(T::from_wire(shared))).bytes_max
}

#[test]
fn a_real_reply_is_mostly_slices_of_its_payload() {
    let peak = peak::<QRInfo>(LISTS);
    assert!(peak < LISTS.len() as u64 / 2, "{peak} bytes for {}", LISTS.len());
}

#[test]
fn a_huge_count_in_any_place_allocates_nothing_for_it() {
    let usual = peak::<QRInfo>(STEPS);
    for count in [&[0xfd, 0xff, 0xff][..], &[0xfe, 0xff, 0xff, 0xff, 0x7f], &[0xff; 9]] {
        for at in 0..STEPS.len() {
            let changed = [&STEPS[..at], count, &STEPS[at + 1..]].concat();
            let peak = peak::<QRInfo>(&changed);
            assert!(peak <= usual + 2 * STEPS.len() as u64, "{peak} bytes for {count:?} at {at}");
        }
    }
}

#[test]
fn bare_counts_allocate_nothing() {
    for count in [&[0xfd, 0xff, 0xff][..], &[0xfe, 0xff, 0xff, 0xff, 0x7f], &[0xff; 9]] {
        assert_eq!(peak::<GetQRInfo>(count), 0);
        assert_eq!(peak::<QuorumSnapshot>(&[&[0; 4], count].concat()), 0);
        assert_eq!(peak::<QuorumSnapshot>(&[&[0; 5], count].concat()), 0);
        assert_eq!(peak::<MnListDiff>(&[&[1, 0][..], &[0; 68], count, &[0; 100]].concat()), 0);
    }
}

/// The form of version 3 is the one that takes the most memory for its bytes; an entry at its limits stays small.
#[test]
fn an_entry_at_its_limits_is_bounded() {
    let purposes = (0..=u8::MAX).flat_map(|purpose| [&[purpose, 32][..], &[0xff; 32]].concat());
    let net_info = [1, 0xfd, 0, 1].into_iter().chain(purposes).collect::<Vec<_>>();
    let wire = [&[3, 0][..], &[1; 64], &net_info, &[4; 68], &[1], &[0, 0]].concat();
    assert!(SmlEntry::from_wire(wire.clone()).is_ok());
    let peak = peak::<SmlEntry>(&wire);
    assert!(peak < 512 << 10, "{peak} bytes for {}", wire.len());
}
