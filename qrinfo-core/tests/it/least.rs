//! The least length of each type: counts of items are bounded by it.

use qrinfo_core::{
    BlockHeader, Hash256,
    message::{
        Addr, AddrV2, ChainLock, Coinbase, CoinbasePayload, Commitment, DeletedQuorum, GetHeaders, GetMnListDiff,
        GetQRInfo, Headers, Headers2, InstantLock, Inventory, InventoryItem, MnListDiff, NetAddress, OutPoint, QRInfo,
        QuorumClSig, QuorumSnapshot, SmlEntry, VersionMessage,
    },
    wire::{Bits, DecodeErrorKind, Seq, Wire},
};

/// Checks that `wire` is one whole value and no value can be shorter.
fn is_least<T: Wire>(wire: &[u8]) {
    let name = std::any::type_name::<T>();
    assert_eq!(T::MIN_SIZE, wire.len(), "{name}");
    match T::from_wire(wire.to_vec()) {
        Ok(value) => assert_eq!(value.to_wire(), wire, "{name}"),
        Err(error) => panic!("{name}: {error}"),
    }
}

#[test]
fn zeros_of_the_least_length_are_a_value() {
    /// Zeros apart from the first byte, which is a version for some.
    fn zeros<T: Wire>(first: u8, length: usize) {
        let mut wire = vec![0; length];
        wire[0] = first;
        is_least::<T>(&wire);
    }
    zeros::<Addr>(0, 1);
    zeros::<AddrV2>(0, 1);
    zeros::<NetAddress>(9, 4);
    zeros::<Inventory>(0, 1);
    zeros::<Commitment>(1, 309);
    zeros::<GetHeaders>(0, 37);
    zeros::<Headers>(0, 1);
    zeros::<Coinbase>(0, 10);
    zeros::<MnListDiff>(1, 87);
    zeros::<InstantLock>(1, 162);
    zeros::<QuorumSnapshot>(0, 6);
    zeros::<SmlEntry>(3, 138);
    zeros::<ChainLock>(0, 132);
    zeros::<GetMnListDiff>(0, 64);
    zeros::<GetQRInfo>(0, 34);
    zeros::<Headers2>(0, 1);
    zeros::<Seq<MnListDiff>>(0, 1);
    zeros::<DeletedQuorum>(0, 33);
    zeros::<QuorumClSig>(0, 97);
    zeros::<CoinbasePayload>(1, 38);
    zeros::<OutPoint>(0, 36);
    zeros::<InventoryItem>(1, 36);
    zeros::<Bits>(0, 1);
}

#[test]
fn each_byte_of_a_fixed_layout_has_its_place() {
    fn counted<T: Wire>() {
        is_least::<T>(&(0..T::MIN_SIZE).map(|index| index as u8).collect::<Vec<_>>());
    }
    counted::<ChainLock>();
    counted::<GetMnListDiff>();
    counted::<DeletedQuorum>();
    counted::<OutPoint>();
    counted::<InventoryItem>();
    counted::<BlockHeader>();
    counted::<Hash256>();
}

/// Its addresses are written in one form and read in any.
#[test]
fn the_least_version_message_ends_with_the_height() {
    assert_eq!(VersionMessage::MIN_SIZE, 85);
    assert!(VersionMessage::from_wire(vec![0; 85]).is_ok());
    assert!(VersionMessage::from_wire(vec![0; 84]).is_err());
}

#[test]
fn a_chain_lock_is_announced_by_the_hash_of_all_of_it() {
    let wire: Vec<_> = (0..132).collect();
    let lock = ChainLock::from_wire(wire.clone()).unwrap();
    assert_eq!(lock.hash(), Hash256::from_bytes(qrinfo_core::sha256d(&wire)));
}

#[test]
fn a_reply_without_lists_is_the_least() {
    let (snapshot, mut diff) = (vec![0; QuorumSnapshot::MIN_SIZE], vec![0; MnListDiff::MIN_SIZE]);
    diff[0] = 1;
    // Three snapshots, five diffs, no extra share, and three empty lists.
    is_least::<QRInfo>(&[snapshot.repeat(3), diff.repeat(5), vec![0; 4]].concat());
}

#[test]
fn a_coinbase_of_the_shortest_inputs_and_outputs_is_read() {
    let wire = [vec![0; 4], vec![7], vec![0; 7 * 41], vec![7], vec![0; 7 * 9], vec![0; 4]].concat();
    assert_eq!(Coinbase::from_wire(wire.clone()).map(|coinbase| coinbase.to_wire().to_vec()), Ok(wire));
}

/// Checks that `wire` ends in a list whose items need one byte more than there is.
fn is_a_byte_short<T: Wire + std::fmt::Debug>(mut wire: Vec<u8>, items: usize, item: usize) {
    wire.push(items as u8);
    let offset = wire.len() - 1;
    let left = items * item - 1;
    wire.resize(wire.len() + left, 0);
    let error = T::from_wire(wire).unwrap_err();
    let kind = DecodeErrorKind::ImpossibleCount { count: items as u64, left };
    assert_eq!((error.offset, error.kind), (offset, kind), "{}", std::any::type_name::<T>());
}

#[test]
fn a_count_of_more_than_the_bytes_have_room_for_is_refused_at_once() {
    is_a_byte_short::<Addr>(vec![], 7, 30);
    is_a_byte_short::<AddrV2>(vec![], 7, 9);
    is_a_byte_short::<Inventory>(vec![], 7, 36);
    is_a_byte_short::<Headers>(vec![], 7, 81);
    is_a_byte_short::<Headers2>(vec![], 7, 39);
    is_a_byte_short::<GetHeaders>(vec![0; 4], 7, 32);
    is_a_byte_short::<GetQRInfo>(vec![], 7, 32);
    is_a_byte_short::<Seq<SmlEntry>>(vec![], 7, 138);
    is_a_byte_short::<QuorumClSig>(vec![0; 96], 7, 2);
    is_a_byte_short::<Coinbase>(vec![0; 4], 7, 41);
    is_a_byte_short::<Coinbase>(vec![0; 5], 7, 9);
    is_a_byte_short::<InstantLock>(vec![1], 3, 36);
    is_a_byte_short::<QuorumSnapshot>(vec![0; 5], 7, 4);
}
