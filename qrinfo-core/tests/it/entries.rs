//! Masternode entries of each version.
//!
//! Real entries of versions 1 and 2 are among the vectors. No entry of version 3 was recorded: its bytes here are
//! written by hand after Dash Core 23.1's source.

use bytes::Bytes;
use qrinfo_core::{
    Hash256, ProTxHash,
    message::{NetInfo, NetInfoEntry, NetInfoPurpose, SmlEntry, SmlEntryKind},
    wire::{DecodeError, DecodeErrorKind, Wire},
};

fn entry(version: u16, kind: SmlEntryKind) -> SmlEntry {
    SmlEntry {
        version,
        pro_reg_tx_hash: ProTxHash::from_bytes([1; 32]),
        confirmed_hash: Hash256::from_bytes([2; 32]),
        net_info: NetInfo::Service { ip: [3; 16], port: 9999 },
        pub_key_operator: [4; 48],
        key_id_voting: [5; 20],
        is_valid: true,
        kind,
    }
}

#[test]
fn sizes_on_the_wire() {
    let evo = SmlEntryKind::Evo { platform_http_port: Some(443), platform_node_id: [6; 20] };
    for (version, kind, size) in [(1, SmlEntryKind::Regular, 153), (2, SmlEntryKind::Regular, 155), (2, evo, 177)] {
        let entry = entry(version, kind);
        let wire = entry.to_wire();
        assert_eq!(wire.len(), size);
        assert_eq!(wire[82..84], 9999_u16.to_be_bytes(), "the port is big-endian");
        let mut hashed = Vec::new();
        entry.encode_without_version(&mut hashed);
        assert_eq!(hashed, wire[2..]);
        assert_eq!(SmlEntry::from_wire(wire), Ok(entry));
    }
}

/// The fields of an entry of version 2, with their names in errors and their sizes.
const FIELDS: [(&str, usize); 11] = [
    ("entry version", 2),
    ("ProTxHash", 32),
    ("Hash256", 32),
    ("service address", 16),
    ("service port", 2),
    ("pubKeyOperator", 48),
    ("keyIDVoting", 20),
    ("isValid", 1),
    ("entry type", 2),
    ("platformHTTPPort", 2),
    ("platformNodeID", 20),
];

#[test]
fn an_entry_cut_anywhere_names_the_field_that_is_cut() {
    let evo = SmlEntryKind::Evo { platform_http_port: Some(443), platform_node_id: [6; 20] };
    let wire = entry(2, evo).to_wire();
    let mut offset = 0;
    for (field, needed) in FIELDS {
        for left in 0..needed {
            let kind = DecodeErrorKind::Truncated { needed, left };
            let expected = DecodeError { field, offset, kind };
            assert_eq!(SmlEntry::from_wire(wire.slice(..offset + left)), Err(expected));
        }
        offset += needed;
    }
    assert_eq!(offset, wire.len());
}

/// An entry of version 3 with this address part and what follows the flag for validity.
fn version_3_by_hand(net_info: &[u8], kind: &[u8]) -> Vec<u8> {
    [&[3, 0][..], &[1; 32], &[2; 32], net_info, &[4; 48], &[5; 20], &[1], kind].concat()
}

const REGULAR: &[u8] = &[0, 0];

#[test]
fn version_3_by_hand_decodes() {
    let net_info = [
        &[1, 3][..],
        // core_p2p: an IPv4 and an IPv6 address.
        &[0, 2, 1, 1, 4, 192, 0, 2, 1, 0x27, 0x0f],
        &[1, 2, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x27, 0x0f],
        // platform_p2p: no address; platform_https: a domain.
        &[1, 1, 0xff],
        &[2, 1, 2, 12],
        b"node.example",
        &[0x01, 0xbb],
    ]
    .concat();
    let kind = [&[1, 0][..], &[6; 20]].concat();
    let bytes = version_3_by_hand(&net_info, &kind);
    let decoded = SmlEntry::from_wire(bytes.clone()).unwrap();
    let ipv6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let address = |network, address: &[u8]| {
        let address = Bytes::copy_from_slice(address);
        NetInfoEntry::Address { network, address, port: 9999 }
    };
    let expected = SmlEntry {
        net_info: NetInfo::Extended(vec![
            (NetInfoPurpose(0), vec![address(1, &[192, 0, 2, 1]), address(2, &ipv6)]),
            (NetInfoPurpose(1), vec![NetInfoEntry::Invalid]),
            (NetInfoPurpose(2), vec![NetInfoEntry::Domain { name: Bytes::from_static(b"node.example"), port: 443 }]),
        ]),
        // The port of the HTTPS interface is among the addresses.
        ..entry(3, SmlEntryKind::Evo { platform_http_port: None, platform_node_id: [6; 20] })
    };
    assert_eq!(decoded, expected);
    assert_eq!(decoded.to_wire(), bytes);
}

#[test]
fn version_3_by_hand_with_an_undefined_form_has_no_addresses() {
    for form in [0, 2, 0xff] {
        let bytes = version_3_by_hand(&[form], REGULAR);
        let decoded = SmlEntry::from_wire(bytes.clone()).unwrap();
        assert_eq!(decoded.net_info, NetInfo::Unknown(form));
        assert_eq!(decoded.to_wire(), bytes);
    }
}

#[test]
fn version_3_by_hand_is_read_strictly() {
    let refused = |net_info: &[u8]| SmlEntry::from_wire(version_3_by_hand(net_info, REGULAR)).unwrap_err();
    let error = |field, offset: usize, kind| DecodeError { field, offset: 66 + offset, kind };
    // From here on, offsets count from the address part at byte 66.
    assert_eq!(refused(&[1, 2, 1, 0, 0, 0]), error("netInfo purpose", 4, DecodeErrorKind::Unsorted));
    assert_eq!(refused(&[1, 2, 1, 0, 1, 0]), error("netInfo purpose", 4, DecodeErrorKind::Unsorted));
    assert_eq!(refused(&[1, 1, 0, 1, 3]), error("netInfo entry type", 4, DecodeErrorKind::UndefinedValue(3)));
    let many = [&[1, 1, 0, 33][..], &[0xff; 33]].concat();
    assert_eq!(refused(&many), error("netInfo entries", 3, DecodeErrorKind::BadLength(33)));
    let name = |len: u8| [&[1, 1, 2, 1, 2, 0xfd, len, 0][..], &vec![b'a'; usize::from(len)], &[0, 1]].concat();
    assert_eq!(refused(&name(254)), error("netInfo domain", 5, DecodeErrorKind::BadLength(254)));
    assert!(SmlEntry::from_wire(version_3_by_hand(&name(253), REGULAR)).is_ok());
    let address = [&[1, 1, 0, 1, 1, 4, 0xfd, 1, 2][..], &[7; 513], &[0, 1]].concat();
    assert_eq!(refused(&address), error("netInfo address", 6, DecodeErrorKind::BadLength(513)));
}

#[test]
fn undefined_versions_and_types_are_refused() {
    for version in [0_u16, 4, 0x101] {
        let wire = entry(2, SmlEntryKind::Regular).to_wire();
        let bytes = [&version.to_le_bytes()[..], &wire[2..]].concat();
        let kind = DecodeErrorKind::UndefinedValue(version.into());
        assert_eq!(SmlEntry::from_wire(bytes), Err(DecodeError { field: "entry version", offset: 0, kind }));
    }
    let mut bytes = entry(2, SmlEntryKind::Regular).to_wire().to_vec();
    bytes[153] = 2;
    let kind = DecodeErrorKind::UndefinedValue(2);
    assert_eq!(SmlEntry::from_wire(bytes.clone()), Err(DecodeError { field: "entry type", offset: 153, kind }));
    bytes[152] = 2;
    let kind = DecodeErrorKind::UndefinedValue(2);
    assert_eq!(SmlEntry::from_wire(bytes), Err(DecodeError { field: "isValid", offset: 152, kind }));
}
