use std::fmt::Debug;

use bytes::Bytes;
use qrinfo_core::{
    message::{
        Addr, AddrV2, ChainLock, Commitment, GetHeaders, GetMnListDiff, GetQRInfo, Headers, Headers2, InstantLock,
        MnListDiff, QRInfo, QuorumSnapshot, SmlEntry, VersionMessage,
    },
    wire::Wire,
};

use crate::input::Input;

/// A payload of the type that the first byte chooses: bytes that decode encode to the same bytes.
pub fn wire(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let decode: fn(Bytes) = match input.below(15) {
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
        // Its user agent is text for people, so bytes that are no text are replaced.
        _ => stable::<VersionMessage>,
    };
    decode(Bytes::copy_from_slice(input.rest()));
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
