use std::fmt::Debug;

use bytes::Bytes;
use qrinfo_core::{
    Hash256,
    message::{
        Addr, AddrV2, ChainLock, Coinbase, CoinbasePayload, Commitment, GetHeaders, GetMnListDiff, GetQRInfo, Headers,
        Headers2, InstantLock, Inventory, MnListDiff, QRInfo, QuorumSnapshot, SmlEntry, VersionMessage,
    },
    wire::Wire,
};
use qrinfo_verify::{KnownBlock, ListSnapshot};

use crate::input::Input;

/// A payload of the type that the first byte chooses: bytes that decode encode to the same bytes. Types that no message
/// is made of alone are within the others.
pub fn wire(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let decode: fn(Bytes) = match input.below(19) {
        0 => same::<QRInfo>,
        1 => same::<MnListDiff>,
        2 => same::<GetQRInfo>,
        3 => same::<GetMnListDiff>,
        4 => same::<SmlEntry>,
        5 => same::<Commitment>,
        6 => same::<QuorumSnapshot>,
        7 => same::<ChainLock>,
        8 => same::<InstantLock>,
        9 => same::<Headers>,
        10 => same::<Headers2>,
        11 => same::<GetHeaders>,
        12 => same::<Addr>,
        13 => same::<AddrV2>,
        14 => same::<Inventory>,
        15 => same::<Coinbase>,
        16 => same::<CoinbasePayload>,
        17 => lists,
        // Its user agent is text for people, so bytes that are no text are replaced.
        _ => stable::<VersionMessage>,
    };
    decode(Bytes::copy_from_slice(input.rest()));
}

/// A file of lists, which a client may start from.
fn lists(file: Bytes) {
    if let Ok(snapshot) = ListSnapshot::decode(file.clone()) {
        assert_eq!(snapshot.encode(), file, "other bytes");
        let _ = snapshot.verify(|_| None);
        let _ =
            snapshot.verify(|_| Some(KnownBlock { height: snapshot.claimed_height()?, merkle_root: Hash256::ZERO }));
    }
}

fn same<T: Wire + PartialEq + Debug>(payload: Bytes) {
    if let Ok(value) = T::from_wire(payload.clone()) {
        assert_eq!(value.to_wire(), payload, "other bytes");
    }
}

fn stable<T: Wire + PartialEq + Debug>(payload: Bytes) {
    if let Ok(value) = T::from_wire(payload) {
        let again = T::from_wire(value.to_wire()).expect("what we encode decodes");
        assert_eq!(again, value, "another value");
    }
}
