//! Sets of masternodes of which no two share an address or a key.

use std::collections::HashSet;

use qrinfo_core::{
    ProTxHash,
    message::{NetInfo, NetInfoEntry, SmlEntry, SmlEntryKind},
};

use super::bls;

/// A set of masternodes with unique addresses, operator keys and Platform ids, as in `CDeterministicMNList`.
///
/// Dash Core collects the used masternodes in a `CDeterministicMNList`, which rejects an entry with the address,
/// operator key or Platform id of another one. Entries of different heights can collide: A leaves an address, B takes
/// it, and the quarters of three cycles contain A as it was and B as it is. An entry that collides is not added and
/// therefore counts as unused when the next quarter is selected. (Owner keys and collaterals are such properties too.
/// They never change, so only a deregistered masternode can share them.)
#[derive(Debug, Clone, Default)]
pub(crate) struct UniqueMasternodes<'a> {
    masternodes: HashSet<ProTxHash>,
    properties: HashSet<Property<'a>>,
}

/// A property that no two masternodes of a set may share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Property<'a> {
    Service { ip: [u8; 16], port: u16 },
    Address { network: u8, address: &'a [u8], port: u16 },
    Domain { name: &'a [u8], port: u16 },
    OperatorKey([u8; 48]),
    PlatformNode([u8; 20]),
}

// === impl UniqueMasternodes ===

impl<'a> UniqueMasternodes<'a> {
    /// Adds a masternode unless it is present or shares a property with another one. Returns true if it was added.
    pub(crate) fn insert(&mut self, entry: &'a SmlEntry) -> bool {
        let hash = entry.pro_reg_tx_hash;
        if self.contains(&hash) {
            return false;
        }
        let properties = properties(entry);
        if properties.iter().any(|property| self.properties.contains(property)) {
            return false;
        }
        self.properties.extend(properties);
        self.masternodes.insert(hash)
    }

    pub(crate) fn contains(&self, hash: &ProTxHash) -> bool {
        self.masternodes.contains(hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.masternodes.len()
    }
}

fn properties(entry: &SmlEntry) -> Vec<Property<'_>> {
    let mut properties: Vec<_> = match &entry.net_info {
        NetInfo::Service { ip, port } => vec![Property::Service { ip: *ip, port: *port }],
        NetInfo::Extended(purposes) => purposes.iter().flat_map(|(_, entries)| entries).filter_map(address).collect(),
        NetInfo::Unknown(_) => Vec::new(),
    };
    properties.push(Property::OperatorKey(bls::basic_encoding(entry)));
    if let SmlEntryKind::Evo { platform_node_id, .. } = entry.kind {
        properties.push(Property::PlatformNode(platform_node_id));
    }
    properties.retain(|property| !property.is_unset());
    properties
}

fn address(entry: &NetInfoEntry) -> Option<Property<'_>> {
    match entry {
        NetInfoEntry::Address { network, address, port } => Some(match ip(*network, address) {
            Some(ip) => Property::Service { ip, port: *port },
            None => Property::Address { network: *network, address, port: *port },
        }),
        NetInfoEntry::Domain { name, port } => Some(Property::Domain { name, port: *port }),
        NetInfoEntry::Invalid => None,
    }
}

/// An IP address of BIP-155 as the one address of older entries writes it.
fn ip(network: u8, address: &[u8]) -> Option<[u8; 16]> {
    match (network, address) {
        (1, &[a, b, c, d]) => Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]),
        (2, address) => address.try_into().ok(),
        _ => None,
    }
}

// === impl Property ===

impl Property<'_> {
    /// Returns true for a value that is not set. Many masternodes may share it.
    fn is_unset(&self) -> bool {
        match self {
            Self::Service { ip, port } => *ip == [0; 16] && *port == 0,
            Self::OperatorKey(key) => key.iter().skip(1).all(|byte| *byte == 0),
            Self::PlatformNode(id) => *id == [0; 20],
            Self::Address { .. } | Self::Domain { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::Hash256;

    use super::*;

    fn entry(number: u8) -> SmlEntry {
        SmlEntry {
            version: 2,
            pro_reg_tx_hash: ProTxHash::from_bytes([number; 32]),
            confirmed_hash: Hash256::from_bytes([1; 32]),
            net_info: NetInfo::Service { ip: [number; 16], port: 9999 },
            pub_key_operator: [number; 48],
            key_id_voting: [0; 20],
            is_valid: true,
            kind: SmlEntryKind::Regular,
        }
    }

    #[test]
    fn a_masternode_is_taken_once_and_not_beside_one_with_its_address_or_key() {
        let first = entry(1);
        let again = SmlEntry { net_info: NetInfo::Service { ip: [9; 16], port: 1 }, ..entry(1) };
        let same_address = SmlEntry { net_info: first.net_info.clone(), ..entry(2) };
        let same_key = SmlEntry { pub_key_operator: first.pub_key_operator, ..entry(3) };
        let other_port = SmlEntry { net_info: NetInfo::Service { ip: [1; 16], port: 9998 }, ..entry(4) };
        let mut taken = UniqueMasternodes::default();
        assert!(taken.insert(&first) && !taken.insert(&again));
        assert!(!taken.insert(&same_address) && !taken.insert(&same_key));
        assert!(taken.insert(&other_port));
        assert_eq!(taken.len(), 2);
    }

    #[test]
    fn what_is_refused_leaves_nothing_behind() {
        let (first, mut refused) = (entry(1), entry(2));
        refused.pub_key_operator = first.pub_key_operator;
        let same_address_as_refused = SmlEntry { net_info: refused.net_info.clone(), ..entry(3) };
        let mut taken = UniqueMasternodes::default();
        assert!(taken.insert(&first) && !taken.insert(&refused) && taken.insert(&same_address_as_refused));
    }

    #[test]
    fn what_is_not_set_is_shared_by_many() {
        let unset = |number| SmlEntry {
            net_info: NetInfo::Service { ip: [0; 16], port: 0 },
            pub_key_operator: [0; 48],
            kind: SmlEntryKind::Evo { platform_http_port: Some(1), platform_node_id: [0; 20] },
            ..entry(number)
        };
        let (first, second) = (unset(1), SmlEntry { version: 1, ..unset(2) });
        let mut taken = UniqueMasternodes::default();
        assert!(taken.insert(&first) && taken.insert(&second));
        // A port alone is set.
        let with_port = |number| SmlEntry { net_info: NetInfo::Service { ip: [0; 16], port: 9999 }, ..unset(number) };
        let (third, fourth) = (with_port(3), with_port(4));
        assert!(taken.insert(&third) && !taken.insert(&fourth));
    }

    #[test]
    fn both_forms_of_an_address_and_both_encodings_of_a_key_are_the_same() {
        let mut ip = [0; 16];
        ip[10..].copy_from_slice(&[0xff, 0xff, 1, 2, 3, 4]);
        let old = SmlEntry { net_info: NetInfo::Service { ip, port: 9999 }, ..entry(1) };
        let address = NetInfoEntry::Address { network: 1, address: vec![1, 2, 3, 4].into(), port: 9999 };
        let purposes = vec![(qrinfo_core::message::NetInfoPurpose(0), vec![address])];
        let new = SmlEntry { version: 3, net_info: NetInfo::Extended(purposes), ..entry(2) };
        let mut taken = UniqueMasternodes::default();
        assert!(taken.insert(&old) && !taken.insert(&new));

        let old = SmlEntry { net_info: NetInfo::Service { ip: [7; 16], port: 9999 }, ..entry(1) };
        let address = NetInfoEntry::Address { network: 2, address: vec![7; 16].into(), port: 9999 };
        let purposes = vec![(qrinfo_core::message::NetInfoPurpose(0), vec![address])];
        let new = SmlEntry { version: 3, net_info: NetInfo::Extended(purposes), ..entry(2) };
        let mut taken = UniqueMasternodes::default();
        assert!(taken.insert(&old) && !taken.insert(&new));

        let mut key = [7; 48];
        key[0] = 0xa7;
        let basic = SmlEntry { pub_key_operator: key, ..entry(1) };
        key[0] = 0x87;
        let legacy = SmlEntry { version: 1, pub_key_operator: key, ..entry(2) };
        let mut taken = UniqueMasternodes::default();
        assert!(taken.insert(&basic) && !taken.insert(&legacy));
    }
}
