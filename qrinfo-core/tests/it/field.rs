//! Field failures: what other clients' messages got wrong, one test each.

use bytes::Bytes;
use qrinfo_core::{
    Hash256,
    message::{NetInfo, NetInfoEntry, NetInfoPurpose, QuorumSnapshot, SkipListMode, SmlEntry},
    sha256d,
    wire::Wire,
};
use serde_json::Value;

/// Entries of mainnet's list, each with its hash by Dash Core's rule.
fn mainnet_entries() -> Vec<(Vec<u8>, Hash256)> {
    let json: Value = serde_json::from_str(include_str!("../data/mainnet/entries.json")).unwrap();
    let bytes =
        |hex: &str| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = json["entries"].as_array().unwrap().iter();
    entries.map(|entry| (bytes(&text(&entry["wire"])), text(&entry["hash"]).parse().unwrap())).collect()
}

/// The bytes are the beginning of a recorded reply. Without their count, seven bits cannot be told from eight.
#[test]
fn a_snapshot_is_encoded_with_its_bit_count() {
    let recorded: &[u8] = include_bytes!("../data/regtest-churn/replies/0232.bin");
    let snapshot = QuorumSnapshot {
        skip_list_mode: SkipListMode::SkipFirst,
        active_quorum_members: [true, false, true, true, true, true, true].into_iter().collect(),
        skip_list: vec![1, 1],
    };
    let bytes = [&[1, 0, 0, 0][..], &[7, 0b111_1101], &[2, 1, 0, 0, 0, 1, 0, 0, 0]].concat();
    assert_eq!(recorded[..bytes.len()], bytes);
    assert_eq!(snapshot.to_wire(), bytes);

    // Beyond 252 the count takes three bytes.
    let members = (0..1_000).map(|index| index % 3 == 0).collect();
    let long = QuorumSnapshot { active_quorum_members: members, ..snapshot };
    assert_eq!(long.to_wire()[4..7], [0xfd, 0xe8, 0x03]);
    assert_eq!(long.to_wire().len(), 4 + 3 + 125 + 9);
}

/// An entry's hash is a leaf of the list's merkle root.
#[test]
fn an_entry_hash_leaves_out_the_version() {
    let entries = mainnet_entries();
    assert_eq!(entries.len(), 3);
    for (wire, hash) in entries {
        let entry = SmlEntry::from_wire(wire).unwrap();
        let mut bytes = Vec::new();
        entry.encode_without_version(&mut bytes);
        assert_eq!(Hash256::from_bytes(sha256d(&bytes)), hash, "version {}", entry.version);
    }
}

/// They are hashed as the server has them, so another spelling of the same address is another list.
#[test]
fn address_bytes_are_not_normalised() {
    let service: [(&str, [u8; 16]); 6] = [
        ("unset", [0; 16]),
        ("IPv4", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]),
        ("IPv4 in its old form", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1]),
        ("IPv6", [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("Tor", [0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("no address at all", [0xff; 16]),
    ];
    for (recorded, _) in mainnet_entries() {
        for (name, ip) in service {
            let mut wire = recorded.clone();
            wire[66..82].copy_from_slice(&ip);
            let entry = SmlEntry::from_wire(wire.clone()).unwrap();
            assert!(matches!(entry.net_info, NetInfo::Service { ip: found, .. } if found == ip), "{name}");
            assert_eq!(entry.to_wire(), wire, "{name}");
        }
    }

    // Version 3, which was not recorded: an address in the notation of another network, one that is too short, and one
    // of a network that is not known.
    let addresses: [(u8, &[u8]); 3] = [(2, &service[1].1), (1, &[192, 0]), (99, &[7; 40])];
    let entries = addresses.map(|(network, address)| {
        let address = Bytes::copy_from_slice(address);
        NetInfoEntry::Address { network, address, port: 9999 }
    });
    for (entry, (network, address)) in entries.iter().zip(addresses) {
        let wire = [&[1, network, address.len() as u8][..], address, &[0x27, 0x0f]].concat();
        assert_eq!(NetInfoEntry::from_wire(wire.clone()).unwrap(), *entry);
        assert_eq!(entry.to_wire(), wire);
    }
    let (recorded, _) = mainnet_entries().swap_remove(1);
    let net_info = NetInfo::Extended(vec![(NetInfoPurpose(0), entries.into())]);
    let entry = SmlEntry { version: 3, net_info, ..SmlEntry::from_wire(recorded).unwrap() };
    assert_eq!(SmlEntry::from_wire(entry.to_wire()), Ok(entry));
}
