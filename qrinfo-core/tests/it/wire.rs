//! The parts that messages are made of: rows of bits, counted lists, and the reader.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use qrinfo_core::{
    Hash256,
    message::Coinbase,
    sha256d,
    wire::{Bits, DecodeError, DecodeErrorKind as Kind, Reader, Seq, Wire, put_var_bytes},
};

fn hash(number: u8) -> Hash256 {
    Hash256::from_bytes([number; 32])
}

proptest! {
    #[test]
    fn a_row_of_bits_is_its_bits(bits in prop::collection::vec(any::<bool>(), 0..40)) {
        let row: Bits = bits.iter().copied().collect();
        prop_assert_eq!(row.iter().collect::<Vec<_>>(), bits.clone());
        prop_assert_eq!((row.len(), row.is_empty()), (bits.len(), bits.is_empty()));
        prop_assert_eq!(row.count_ones(), bits.iter().filter(|bit| **bit).count());
        for index in 0..=bits.len() + 8 {
            prop_assert_eq!(row.get(index), bits.get(index).copied());
        }
        // As DIP-4 says: the first bit is the lowest of the first byte.
        let mut bytes = vec![0; bits.len().div_ceil(8)];
        bits.iter().enumerate().filter(|(_, bit)| **bit).for_each(|(index, _)| bytes[index / 8] |= 1 << (index % 8));
        prop_assert_eq!(row.as_bytes(), &bytes);
        let wire = [vec![bits.len() as u8], bytes].concat();
        prop_assert_eq!(row.to_wire(), &wire);
        prop_assert_eq!(Bits::from_wire(wire).unwrap(), row);
    }

    #[test]
    fn a_list_is_its_items(numbers in prop::collection::vec(any::<u8>(), 0..9)) {
        let items: Vec<_> = numbers.into_iter().map(hash).collect();
        let list: Seq<_> = items.iter().copied().collect();
        prop_assert_eq!((list.len(), list.is_empty()), (items.len(), items.is_empty()));
        prop_assert_eq!(list.iter().size_hint(), (items.len(), Some(items.len())));
        prop_assert_eq!(list.to_vec(), items.clone());
        prop_assert_eq!((&list).into_iter().collect::<Vec<_>>(), items.clone());
        let bytes = items.iter().flat_map(|item| *item.as_bytes()).collect::<Vec<_>>();
        prop_assert_eq!(list.as_bytes(), &bytes);
        prop_assert_eq!(list.to_wire(), [vec![items.len() as u8], bytes].concat());
        prop_assert_eq!(Seq::from_wire(list.to_wire()).unwrap(), list);
    }
}

#[test]
fn bits_beyond_the_last_are_zero_and_all_bytes_are_there() {
    let refused = |wire: &[u8]| {
        let DecodeError { offset, kind, .. } = Bits::from_wire(wire.to_vec()).unwrap_err();
        (offset, kind)
    };
    assert_eq!(refused(&[3, 0b1000]), (1, Kind::PaddingBits));
    assert_eq!(refused(&[9, 0xff, 0b10]), (2, Kind::PaddingBits));
    assert_eq!(refused(&[17, 0, 0]), (0, Kind::ImpossibleCount { count: 17, left: 2 }));
    assert_eq!(Bits::from_wire(vec![16, 0xff, 0xff]).unwrap().count_ones(), 16);
    // As a part of a longer message.
    let payload = Bytes::from_static(&[7, 9, 0xff, 1, 8]);
    let mut reader = Reader::new(&payload);
    reader.u8("before").unwrap();
    assert_eq!(Bits::decode(&mut reader).unwrap().as_bytes()[..], [0xff, 1]);
    assert_eq!((reader.offset(), reader.remaining()), (4, 1));
}

#[test]
fn lists_are_equal_where_their_items_are() {
    let list = |numbers: &[u8]| numbers.iter().copied().map(hash).collect::<Seq<_>>();
    assert_eq!(list(&[1, 2]), list(&[1, 2]));
    assert_ne!(list(&[1, 2]), list(&[1, 3]));
    assert_ne!(list(&[1, 2]), list(&[1]));
    assert_eq!(Seq::<Hash256>::default(), list(&[]));
    assert_eq!(format!("{:?}", list(&[])), "[]");
}

#[test]
fn a_list_has_at_most_what_is_allowed() {
    let wire = [1, 2, 3].map(hash).into_iter().collect::<Seq<_>>().to_wire();
    let at_most = |most| Seq::<Hash256>::decode_at_most(most, &mut Reader::new(&wire));
    assert_eq!(at_most(3).unwrap().len(), 3);
    let error = at_most(2).unwrap_err();
    assert_eq!((error.field, error.offset, error.kind), ("Hash256", 0, Kind::BadLength(3)));
    let error = Seq::<Hash256>::from_wire(wire.slice(..96)).unwrap_err();
    assert_eq!((error.field, error.kind), ("Hash256", Kind::ImpossibleCount { count: 3, left: 95 }));
}

#[test]
fn a_length_takes_1_3_5_or_9_bytes() {
    for (length, first) in [
        (0, &[0][..]),
        (252, &[252]),
        (253, &[0xfd, 253, 0]),
        (0xffff, &[0xfd, 0xff, 0xff]),
        (0x1_0000, &[0xfe, 0, 0, 1, 0]),
    ] {
        let mut wire = BytesMut::new();
        put_var_bytes(&mut wire, &vec![7; length]);
        assert_eq!((&wire[..first.len()], wire.len()), (first, first.len() + length));
        let wire = wire.freeze();
        let mut reader = Reader::new(&wire);
        assert_eq!(reader.var_bytes("bytes").unwrap(), vec![7; length]);
        assert_eq!(reader.finish(), Ok(()));
    }
    let read =
        |wire: &[u8]| Reader::new(&Bytes::copy_from_slice(wire)).compact_size("size").map_err(|error| error.kind);
    assert_eq!(read(&[0xff, 0, 0, 0, 0, 1, 0, 0, 0]), Ok(0x1_0000_0000));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), Err(Kind::NonMinimalCompactSize(0xffff_ffff)));
    assert_eq!(read(&[0xfe, 0xff, 0xff, 0, 0]), Err(Kind::NonMinimalCompactSize(0xffff)));
    assert_eq!(read(&[0xfd, 252, 0]), Err(Kind::NonMinimalCompactSize(252)));
    assert_eq!(read(&[0xfd, 252]), Err(Kind::Truncated { needed: 2, left: 1 }));
    assert_eq!(read(&[]), Err(Kind::Truncated { needed: 1, left: 0 }));
}

#[test]
fn the_reader_gives_each_number_in_its_order_of_bytes() {
    let payload = Bytes::from((1..=40).collect::<Vec<u8>>());
    let mut reader = Reader::new(&payload);
    assert_eq!(reader.u8("a"), Ok(1));
    assert_eq!(reader.u16("b"), Ok(0x0302));
    assert_eq!(reader.u16_be("c"), Ok(0x0405));
    assert_eq!(reader.i16("d"), Ok(0x0706));
    assert_eq!(reader.u32("e"), Ok(0x0b0a_0908));
    assert_eq!(reader.i32("f"), Ok(0x0f0e_0d0c));
    assert_eq!(reader.u64("g"), Ok(0x1716_1514_1312_1110));
    assert_eq!(reader.i64("h"), Ok(0x1f1e_1d1c_1b1a_1918));
    assert_eq!(reader.slice("i", 2), Ok(&[32, 33][..]));
    assert_eq!(reader.bytes("j", 2).unwrap()[..], [34, 35]);
    assert_eq!(reader.array("k"), Ok([36, 37]));
    assert_eq!((reader.offset(), reader.remaining()), (37, 3));
    assert_eq!(reader.since(35)[..], [36, 37]);
    assert!(reader.since(38).is_empty());
    let error = reader.slice("l", 4).unwrap_err();
    assert_eq!((error.field, error.offset, error.kind), ("l", 37, Kind::Truncated { needed: 4, left: 3 }));
    assert_eq!(reader.finish().unwrap_err().kind, Kind::TrailingBytes(3));
    assert_eq!(reader.error("m", Kind::PaddingBits), DecodeError { field: "m", offset: 37, kind: Kind::PaddingBits });
    assert!(reader.slice("n", 3).is_ok() && reader.finish().is_ok());
}

#[test]
fn a_flag_is_0_or_1() {
    let read = |byte| Reader::new(&Bytes::from(vec![byte])).bool("flag").map_err(|error| (error.offset, error.kind));
    assert_eq!([0, 1, 2].map(read), [Ok(false), Ok(true), Err((0, Kind::UndefinedValue(2)))]);
}

/// A transaction without inputs and outputs, and what the reader made of it.
fn coinbase(version: u16, kind: u16, payload: &[u8]) -> Result<(Vec<u8>, Option<i32>), DecodeError> {
    let mut wire = [&version.to_le_bytes()[..], &kind.to_le_bytes(), &[0, 0, 1, 2, 3, 4]].concat();
    if version >= 3 && kind != 0 {
        put_var_bytes(&mut wire, payload);
    }
    let read = Coinbase::from_wire(wire.clone())?;
    assert_eq!(read.to_wire(), wire);
    assert_eq!(read.txid(), Hash256::from_bytes(sha256d(&wire)));
    Ok((wire, read.payload().map(|payload| payload.height)))
}

#[test]
fn a_coinbase_of_type_5_alone_has_a_payload_with_roots() {
    let payload = [&[1, 0, 7, 0, 0, 0][..], &[9; 32]].concat();
    assert_eq!(coinbase(3, 5, &payload).unwrap().1, Some(7));
    assert_eq!(coinbase(3, 6, &[1, 2, 3]).unwrap().1, None);
    assert_eq!(coinbase(3, 0, &[]).unwrap().1, None);
    assert_eq!(coinbase(2, 5, &[]).unwrap().1, None);
    let error = coinbase(3, 5, &payload[..30]).unwrap_err();
    assert_eq!((error.field, error.offset), ("Hash256", 11 + 6));
}
