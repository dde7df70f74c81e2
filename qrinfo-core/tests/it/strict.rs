//! One form alone is accepted, and whatever else comes is a [`DecodeError`] that says where it went wrong.

use proptest::{prelude::*, sample::Index};
use qrinfo_core::{
    LlmqType, ProTxHash,
    message::{
        Coinbase, CoinbasePayload, Commitment, GetMnListDiff, GetQRInfo, MnListDiff, QRInfo, QuorumClSig,
        QuorumSnapshot, SmlEntry, VersionMessage,
    },
    wire::{Bits, DecodeError, DecodeErrorKind, Reader, Wire},
};

/// A snapshot of mode 1 first, then empty steps.
const STEPS: &[u8] = include_bytes!("../data/regtest-churn/replies/0232.bin");

/// Masternodes, quorums, signatures, commitments and a trailing list.
const LISTS: &[u8] = include_bytes!("../data/regtest-churn/replies/0308.bin");

/// The tip diff of `STEPS` starts behind three snapshots: mode, bits, and a skip list of two and of none.
const TIP: usize = (4 + 2 + 9) + (4 + 2 + 1) + (4 + 2 + 1);

fn decode(payload: impl Into<Vec<u8>>) -> Result<QRInfo, DecodeError> {
    QRInfo::from_wire(payload.into())
}

/// Decodes bytes that may be anything: either they are refused, or they are what the result encodes to.
fn refused_or_exact<T: Wire>(payload: &[u8]) {
    if let Ok(message) = T::from_wire(payload.to_vec()) {
        assert!(message.to_wire() == payload, "accepted, but encodes to other bytes");
    }
}

/// Skips and decodes bytes that may be anything: both end at the same place, or with the same error.
fn skipped_like_decoded<T: Wire>(payload: &[u8]) {
    let payload = payload.to_vec().into();
    let (mut skipping, mut decoding) = (Reader::new(&payload), Reader::new(&payload));
    assert_eq!(T::skip(&mut skipping), T::decode(&mut decoding).map(drop));
    if T::decode(&mut Reader::new(&payload)).is_ok() {
        assert_eq!(skipping.offset(), decoding.offset());
    }
}

fn error(field: &'static str, offset: usize, kind: DecodeErrorKind) -> DecodeError {
    DecodeError { field, offset, kind }
}

#[test]
fn a_reply_cut_anywhere_is_refused() {
    for reply in [STEPS, LISTS] {
        for len in 0..reply.len() {
            let cut = decode(&reply[..len]).unwrap_err();
            assert!(cut.offset <= len, "{cut} in {len} bytes");
            assert!(
                matches!(cut.kind, DecodeErrorKind::Truncated { .. } | DecodeErrorKind::ImpossibleCount { .. }),
                "{cut} in {len} bytes"
            );
        }
    }
}

#[test]
fn a_reply_with_a_changed_byte_is_refused_or_another_reply() {
    let mut changed = STEPS.to_vec();
    for at in 0..STEPS.len() {
        for value in [STEPS[at] ^ 1, STEPS[at] ^ 0x80, 0, 0xfd, 0xff] {
            changed[at] = value;
            refused_or_exact::<QRInfo>(&changed);
        }
        changed[at] = STEPS[at];
    }
    let mut changed = LISTS.to_vec();
    for at in 0..LISTS.len() {
        changed[at] ^= 1 << (at % 8);
        refused_or_exact::<QRInfo>(&changed);
        changed[at] = LISTS[at];
    }
}

#[test]
fn a_byte_too_many_is_refused() {
    for reply in [STEPS, LISTS] {
        let longer = [reply, &[0]].concat();
        assert_eq!(decode(longer), Err(error("end of message", reply.len(), DecodeErrorKind::TrailingBytes(1))));
    }
}

/// `STEPS` with other bytes in place of those from `at` on.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = STEPS.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

#[test]
fn errors_name_the_field_and_its_place() {
    assert!(decode(STEPS).is_ok());
    let left = |at: usize| STEPS.len() - at;
    let cases = [
        (with(0, &[4]), error("mnSkipListMode", 0, DecodeErrorKind::UndefinedValue(4))),
        (with(0, &[0xff; 4]), error("mnSkipListMode", 0, DecodeErrorKind::UndefinedValue(-1))),
        // Seven masternodes: the eighth bit is padding.
        (with(5, &[0x80]), error("bits", 5, DecodeErrorKind::PaddingBits)),
        (
            with(4, &[0xfe, 0xff, 0xff, 0xff, 0x7f]),
            error("bit count", 4, DecodeErrorKind::ImpossibleCount { count: 0x7fff_ffff, left: left(9) }),
        ),
        (
            with(6, &[0xff; 9]),
            error("mnSkipList", 6, DecodeErrorKind::ImpossibleCount { count: u64::MAX, left: left(15) }),
        ),
        (with(6, &[0xfd, 2, 0]), error("mnSkipList", 6, DecodeErrorKind::NonMinimalCompactSize(2))),
        (with(TIP, &[2]), error("nVersion", TIP, DecodeErrorKind::UndefinedValue(2))),
        // Version, two hashes and the number of transactions come before the merkle hashes.
        (
            with(TIP + 70, &[0xfd, 0xff, 0xff]),
            error("Hash256", TIP + 70, DecodeErrorKind::ImpossibleCount { count: 0xffff, left: left(TIP + 73) }),
        ),
        (STEPS[..TIP + 40].to_vec(), error("BlockHash", TIP + 34, DecodeErrorKind::Truncated { needed: 32, left: 6 })),
        // The three counts at the end: commitments, snapshots, diffs.
        (
            with(STEPS.len() - 1, &[1]),
            error("mnListDiffList", STEPS.len() - 1, DecodeErrorKind::ImpossibleCount { count: 1, left: 0 }),
        ),
        (
            with(STEPS.len() - 3, &[1]),
            error("Commitment", STEPS.len() - 3, DecodeErrorKind::ImpossibleCount { count: 1, left: 2 }),
        ),
    ];
    for (payload, expected) in cases {
        assert_eq!(decode(payload), Err(expected));
    }
}

#[test]
fn the_coinbase_payload_errs_at_its_place_in_the_message() {
    let diff = decode(STEPS).unwrap().mn_list_diff_h;
    let payload = diff.coinbase.payload().unwrap().to_wire();
    let wire = diff.to_wire();
    let start = wire.windows(payload.len()).position(|window| window == payload).unwrap();

    let mut undefined = wire.to_vec();
    undefined[start] = 4;
    let expected = error("cbTx payload version", start, DecodeErrorKind::UndefinedValue(4));
    assert_eq!(MnListDiff::from_wire(undefined), Err(expected));

    // A shorter payload leaves the balance cut short; the length before it says so.
    let mut short = wire.to_vec();
    short[start - 1] -= 1;
    let balance = start + payload.len() - 8;
    let expected = error("creditPoolBalance", balance, DecodeErrorKind::Truncated { needed: 8, left: 7 });
    assert_eq!(MnListDiff::from_wire(short), Err(expected));
}

#[test]
fn only_the_shortest_compact_size_is_read() {
    let read = |bytes: &[u8]| Reader::new(&bytes.to_vec().into()).compact_size("n");
    for (bytes, value) in [
        (&[0xfc][..], 0xfc),
        (&[0xfd, 0xfd, 0], 0xfd),
        (&[0xfd, 0xff, 0xff], 0xffff),
        (&[0xfe, 0, 0, 1, 0], 0x1_0000),
        (&[0xfe, 0xff, 0xff, 0xff, 0xff], 0xffff_ffff),
        (&[0xff, 0, 0, 0, 0, 1, 0, 0, 0], 0x1_0000_0000),
        (&[0xff; 9], u64::MAX),
    ] {
        assert_eq!(read(bytes), Ok(value));
        // Every longer form of the same number is refused.
        let number = value.to_le_bytes();
        for (mark, len) in [(0xfd, 2), (0xfe, 4), (0xff, 8)] {
            let longer = [&[mark][..], &number[..len]].concat();
            if longer.len() > bytes.len() {
                assert_eq!(read(&longer), Err(error("n", 0, DecodeErrorKind::NonMinimalCompactSize(value))));
            }
        }
        for cut in 0..bytes.len() {
            assert!(matches!(read(&bytes[..cut]).unwrap_err().kind, DecodeErrorKind::Truncated { .. }));
        }
    }
}

#[test]
fn undefined_versions_and_flags_are_refused() {
    let qr_info = decode(LISTS).unwrap();
    let commitment = qr_info.last_commitment_per_index.iter().next().unwrap().to_wire().to_vec();
    for version in [0, 5, 0x104] {
        let mut changed = commitment.clone();
        changed[..2].copy_from_slice(&u16::to_le_bytes(version));
        let expected = error("commitment version", 0, DecodeErrorKind::UndefinedValue(version.into()));
        assert_eq!(Commitment::from_wire(changed), Err(expected));
    }
    let mut unknown_type = commitment;
    unknown_type[2] = 200;
    assert_eq!(Commitment::from_wire(unknown_type).unwrap().llmq_type, LlmqType(200));

    let request = [&[0][..], &[7; 32], &[2]].concat();
    assert_eq!(GetQRInfo::from_wire(request), Err(error("extraShare", 33, DecodeErrorKind::UndefinedValue(2))));
}

/// Snapshots and diffs are few; what is counted beyond need is refused before it is read.
#[test]
fn trailing_lists_have_a_bound() {
    let mut qr_info = decode(STEPS).unwrap();
    let snapshot = qr_info.quorum_snapshot_at_h_minus_c.clone();
    qr_info.quorum_snapshot_list = vec![snapshot; 128];
    assert_eq!(decode(qr_info.to_wire()), Ok(qr_info.clone()));
    qr_info.quorum_snapshot_list.push(qr_info.quorum_snapshot_at_h_minus_c.clone());
    let refused = decode(qr_info.to_wire()).unwrap_err();
    assert_eq!(refused, error("quorumSnapshotList", STEPS.len() - 2, DecodeErrorKind::BadLength(129)));
}

#[test]
fn a_diff_has_no_more_masternodes_than_there_are_collaterals() {
    let mut diff = decode(STEPS).unwrap().mn_list_diff_h;
    let masternodes = |count: usize| std::iter::repeat_n(ProTxHash::from_bytes([1; 32]), count).collect();
    diff.deleted_masternodes = masternodes(20_000);
    assert_eq!(MnListDiff::from_wire(diff.to_wire()), Ok(diff.clone()));
    diff.deleted_masternodes = masternodes(20_001);
    let refused = MnListDiff::from_wire(diff.to_wire()).unwrap_err();
    assert_eq!((refused.field, refused.kind), ("ProTxHash", DecodeErrorKind::BadLength(20_001)));
}

/// A list is checked by skipping its items, and read by decoding them.
#[test]
fn an_item_is_skipped_exactly_if_it_is_decoded() {
    fn cut_or_changed_anywhere<T: Wire>(item: &T) {
        let wire = item.to_wire().to_vec();
        (0..=wire.len()).for_each(|len| skipped_like_decoded::<T>(&wire[..len]));
        for at in 0..wire.len() {
            for value in [0, 1, 2, 3, 0x80, 0xfd, 0xfe, 0xff, wire[at].wrapping_add(1)] {
                let changed = [&wire[..at], &[value], &wire[at + 1..]].concat();
                skipped_like_decoded::<T>(&changed);
            }
        }
    }
    let reply = decode(LISTS).unwrap();
    let mut kinds = [0; 3];
    for diff in reply.diffs() {
        kinds[0] += diff.new_masternodes.iter().inspect(cut_or_changed_anywhere).count();
        kinds[1] += diff.new_quorums.iter().inspect(cut_or_changed_anywhere).count();
        kinds[2] += diff.quorums_cl_sigs.iter().inspect(cut_or_changed_anywhere).count();
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

proptest! {
    #[test]
    fn bytes_of_any_kind_do_not_panic(payload in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        refused_or_exact::<QRInfo>(&payload);
        refused_or_exact::<MnListDiff>(&payload);
        refused_or_exact::<GetQRInfo>(&payload);
        refused_or_exact::<GetMnListDiff>(&payload);
        refused_or_exact::<QuorumSnapshot>(&payload);
        refused_or_exact::<Commitment>(&payload);
        refused_or_exact::<Coinbase>(&payload);
        refused_or_exact::<CoinbasePayload>(&payload);
        refused_or_exact::<SmlEntry>(&payload);
        refused_or_exact::<Bits>(&payload);
        skipped_like_decoded::<Bits>(&payload);
        skipped_like_decoded::<Commitment>(&payload);
        skipped_like_decoded::<QuorumClSig>(&payload);
        skipped_like_decoded::<SmlEntry>(&payload);
        let _ = VersionMessage::from_wire(payload);
    }

    /// Small numbers make counts and versions that are often allowed, so decoding gets further than with any bytes.
    #[test]
    fn small_bytes_do_not_panic(
        payload in proptest::collection::vec(prop_oneof![8 => 0_u8..4, 1 => any::<u8>()], 0..3_000),
    ) {
        refused_or_exact::<QRInfo>(&payload);
        refused_or_exact::<MnListDiff>(&payload);
        refused_or_exact::<SmlEntry>(&payload);
    }

    #[test]
    fn a_reply_with_other_bytes_put_in_is_refused_or_another_reply(
        from in any::<Index>(),
        taken in 0_usize..12,
        put in proptest::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut changed = LISTS.to_vec();
        let from = from.index(changed.len());
        let to = changed.len().min(from + taken);
        changed.splice(from..to, put);
        refused_or_exact::<QRInfo>(&changed);
    }
}

#[test]
fn a_frame_gives_the_message_that_made_it() {
    use qrinfo_core::{
        BlockHash,
        message::NetworkMessage,
        wire::frame::{Command, Frame},
    };

    let reply = decode(LISTS).unwrap();
    let hash = BlockHash::from_bytes([7; 32]);
    let messages = [
        NetworkMessage::GetQRInfo(GetQRInfo { base_block_hashes: vec![hash], block_hash: hash, extra_share: true }),
        NetworkMessage::GetMnListD(GetMnListDiff { base_block_hash: BlockHash::ZERO, block_hash: hash }),
        NetworkMessage::MnListDiff(Box::new(reply.mn_list_diff_h.clone())),
        NetworkMessage::QRInfo(Box::new(reply)),
        NetworkMessage::Ping(0x0102_0304_0506_0708),
        NetworkMessage::Pong(u64::MAX),
        NetworkMessage::Other(Frame { command: Command::VERACK, payload: Default::default() }),
    ];
    for message in messages {
        assert_eq!(NetworkMessage::from_frame(message.to_frame()).unwrap(), message);
    }
    let too_long = Frame { command: Command::PONG, payload: vec![0; 9].into() };
    assert!(NetworkMessage::from_frame(too_long).is_err());
}
