//! The greatest number of items and bytes of each field: one more is refused.

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, BlockHeader, Hash256,
    message::{
        AddrV2, CoinbasePayload, CreditPool, GetHeaders, Headers, KnownNode, NetAddress, NetInfo, NetInfoEntry,
        NetInfoPurpose, QuorumSnapshot, SkipListMode, SmlEntry, SmlEntryKind, VersionMessage,
    },
    wire::{Bits, DecodeErrorKind as Kind, Wire},
};

/// Checks that `of(most)` reads as it is written, and that one more is refused by its number.
fn is_most<T: Wire + PartialEq + std::fmt::Debug>(most: usize, of: impl Fn(usize) -> T) {
    let longest = of(most);
    assert_eq!(T::from_wire(longest.to_wire()).as_ref(), Ok(&longest));
    assert_eq!(T::from_wire(of(most + 1).to_wire()).unwrap_err().kind, Kind::BadLength(most + 1));
}

fn entry(entries: Vec<NetInfoEntry>) -> SmlEntry {
    SmlEntry {
        version: 3,
        pro_reg_tx_hash: Hash256::ZERO.to_string().parse().unwrap(),
        confirmed_hash: Hash256::ZERO,
        net_info: NetInfo::Extended(vec![(NetInfoPurpose::CORE_P2P, entries)]),
        pub_key_operator: [1; 48],
        key_id_voting: [2; 20],
        is_valid: true,
        kind: SmlEntryKind::Evo { platform_http_port: None, platform_node_id: [3; 20] },
    }
}

#[test]
fn the_longest_of_each_is_read_and_a_longer_one_is_not() {
    let zeros = |length: usize| Bytes::from(vec![0; length]);
    is_most(512, |length| {
        let address = NetAddress::Other { network: 99, address: zeros(length), port: 7 };
        AddrV2(vec![KnownNode { last_seen: 1, services: 2, address }])
    });
    is_most(101, |length| GetHeaders { version: 1, locator: vec![BlockHash::ZERO; length], stop: BlockHash::ZERO });
    is_most(2_000, |length| Headers(vec![BlockHeader::from_bytes([1; 80]); length]));
    is_most(1 << 16, |length| QuorumSnapshot {
        skip_list_mode: SkipListMode::SkipFirst,
        active_quorum_members: Bits::default(),
        skip_list: vec![-1; length],
    });
    is_most(32, |length| entry(vec![NetInfoEntry::Invalid; length]));
    is_most(253, |length| entry(vec![NetInfoEntry::Domain { name: zeros(length), port: 7 }]));
    is_most(512, |length| entry(vec![NetInfoEntry::Address { network: 1, address: zeros(length), port: 7 }]));
    let node = std::net::SocketAddr::from(([127, 0, 0, 1], 9_999));
    let version = VersionMessage::from_wire(vec![0; 85]).unwrap();
    is_most(256, |length| VersionMessage {
        receiver: node,
        relay: false,
        user_agent: "a".repeat(length),
        ..version.clone()
    });
}

#[test]
fn each_version_of_a_coinbase_payload_reads_as_it_is_written() {
    let payload = |version| CoinbasePayload {
        version,
        height: 7,
        merkle_root_mn_list: Hash256::from_bytes([1; 32]),
        merkle_root_quorums: (version >= 2).then_some(Hash256::from_bytes([2; 32])),
        credit_pool: (version >= 3).then_some(CreditPool {
            best_cl_height_diff: u32::MAX,
            best_cl_signature: [3; 96],
            balance: -4,
        }),
    };
    for (version, length) in [(1, 38), (2, 70), (3, 70 + 5 + 96 + 8)] {
        let wire = payload(version).to_wire();
        assert_eq!(wire.len(), length);
        assert_eq!(CoinbasePayload::from_wire(wire), Ok(payload(version)));
    }
    for version in [0, 4] {
        let error = CoinbasePayload::from_wire(payload(version).to_wire()).unwrap_err();
        assert_eq!((error.offset, error.kind), (0, Kind::UndefinedValue(version.into())));
    }
    let far = [&[3, 0, 7, 0, 0, 0][..], &[0; 64], &[0xff, 0, 0, 0, 0, 1, 0, 0, 0], &[0; 104]].concat();
    let error = CoinbasePayload::from_wire(far).unwrap_err();
    assert_eq!((error.field, error.offset, error.kind), ("bestCLHeightDiff", 70, Kind::UndefinedValue(1 << 32)));
}
