use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use qrinfo_core::{
    BlockHash, Hash256, Network, ProTxHash,
    message::{NetInfo, NetInfoEntry, NetInfoPurpose, SmlEntry, SmlEntryKind},
    sha256d,
};

use super::{KeyRing, SyntheticParams, random_bytes};
use crate::chain::{MasternodeLog, merkle_root};

/// BIP-155's numbers of networks.
const IPV4: u8 = 1;
const TOR_V3: u8 = 4;
const I2P: u8 = 5;

/// The masternodes as blocks change them.
#[derive(Debug, Default)]
pub(super) struct Population {
    listed: BTreeMap<ProTxHash, Listed>,
    /// Masternodes that are not confirmed yet, with the height of their registration; the oldest first.
    unconfirmed: Vec<(u32, ProTxHash)>,
    log: MasternodeLog,
    root: [u8; 32],
}

#[derive(Debug)]
struct Listed {
    entry: Arc<SmlEntry>,
    /// The entry's hash, a leaf of the list's merkle tree.
    leaf: [u8; 32],
}

/// A change of a masternode.
#[derive(Debug, Clone, Copy)]
enum Event {
    Register,
    Remove,
    Ban,
    Revive,
    ChangeAddress,
    ChangeVoting,
    ChangeOperator,
}

pub(super) fn is_evo(entry: &SmlEntry) -> bool {
    matches!(entry.kind, SmlEntryKind::Evo { .. })
}

// === impl Population ===

impl Population {
    pub(super) fn log(&self) -> &MasternodeLog {
        &self.log
    }

    pub(super) fn into_log(self) -> MasternodeLog {
        self.log
    }

    /// The merkle root of the list.
    pub(super) fn root(&self) -> [u8; 32] {
        self.root
    }

    /// Applies the changes of the block at `height` to the list.
    pub(super) fn step(
        &mut self,
        height: u32,
        parent: BlockHash,
        params: &SyntheticParams,
        keys: &mut KeyRing,
        rng: &mut fastrand::Rng,
    ) {
        let mut changed = self.confirm(height, parent, params);
        if height == 1 {
            for place in 0..params.masternodes {
                let entry = first_entry(place, params, keys, rng);
                self.register(height, entry);
            }
            changed = true;
        } else {
            let rate = params.changes_per_cycle / f64::from(params.network.cycles().length());
            let events = rate as u32 + u32::from(rng.f64() < rate.fract());
            for _ in 0..events {
                let event = self.choose(params, rng);
                self.happen(event, height, params, keys, rng);
            }
            changed |= events > 0;
        }
        if changed {
            self.root = merkle_root(self.listed.values().map(|listed| listed.leaf));
        }
    }

    /// Confirms masternodes that registered long enough ago: the entry then names the block before this one.
    fn confirm(&mut self, height: u32, parent: BlockHash, params: &SyntheticParams) -> bool {
        let due = self.unconfirmed.partition_point(|(registered, _)| registered + params.confirmations < height);
        for (_, hash) in self.unconfirmed.drain(..due).collect::<Vec<_>>() {
            let confirmed_hash = Hash256::from_bytes(*parent.as_bytes());
            if let Some(listed) = self.listed.get(&hash) {
                self.set(height, SmlEntry { confirmed_hash, ..listed.entry.as_ref().clone() });
            }
        }
        due > 0
    }

    /// Chooses an event in about mainnet's proportions, none that would let the network die out or grow without bound.
    fn choose(&self, params: &SyntheticParams, rng: &mut fastrand::Rng) -> Event {
        let count = self.listed.len() as f64 / f64::from(params.masternodes.max(1));
        let valid = self.listed.values().filter(|listed| listed.entry.is_valid).count();
        let valid = valid as f64 / f64::from(params.masternodes.max(1));
        let floor = (1.0 - params.banned_share) * 0.8;
        match rng.u32(0..100) {
            0..22 if count < 1.1 => Event::Register,
            22..46 if count > 0.9 && valid > floor => Event::Remove,
            46..64 if valid > floor => Event::Ban,
            64..84 => Event::Revive,
            84..92 => Event::ChangeAddress,
            92..97 => Event::ChangeVoting,
            97.. if valid > floor => Event::ChangeOperator,
            _ if valid <= floor => Event::Revive,
            _ => Event::ChangeAddress,
        }
    }

    fn happen(
        &mut self,
        event: Event,
        height: u32,
        params: &SyntheticParams,
        keys: &mut KeyRing,
        rng: &mut fastrand::Rng,
    ) {
        if let Event::Register = event {
            let version = if height >= params.extended_addresses_height { 3 } else { 2 };
            let is_evo = rng.f64() < params.evo_share;
            self.register(height, new_entry(version, is_evo, params.network, keys, rng));
            return;
        }
        let wants_valid = !matches!(event, Event::Revive);
        let fitting: Vec<_> =
            self.listed.values().filter(|listed| listed.entry.is_valid == wants_valid).map(|l| &l.entry).collect();
        let Some(mut entry) = rng.choice(fitting).map(|entry| entry.as_ref().clone()) else { return };
        match event {
            Event::Register => {}
            Event::Remove => {
                self.listed.remove(&entry.pro_reg_tx_hash);
                self.unconfirmed.retain(|(_, hash)| *hash != entry.pro_reg_tx_hash);
                self.log.remove(height, entry.pro_reg_tx_hash);
                return;
            }
            Event::Ban => entry.is_valid = false,
            Event::Revive | Event::ChangeAddress => {
                if entry.version == 2 && height >= params.extended_addresses_height {
                    entry = extended(entry);
                }
                entry.net_info = net_info(entry.version, is_evo(&entry), params.network, rng);
                entry.is_valid = true;
            }
            Event::ChangeVoting => entry.key_id_voting = random_bytes(rng),
            Event::ChangeOperator => {
                // The new operator has to say where it serves before the masternode counts again. Its key is a basic
                // one, which lets an entry of version 1 leave the legacy scheme.
                entry.version = entry.version.max(2);
                entry.pub_key_operator = keys.operator(entry.version, rng);
                entry.net_info = no_net_info(entry.version);
                entry.is_valid = false;
            }
        }
        self.set(height, entry);
    }

    fn register(&mut self, height: u32, entry: SmlEntry) {
        self.unconfirmed.push((height, entry.pro_reg_tx_hash));
        self.set(height, entry);
    }

    fn set(&mut self, height: u32, entry: SmlEntry) {
        let mut bytes = BytesMut::new();
        entry.encode_without_version(&mut bytes);
        let entry = Arc::new(entry);
        self.log.set(height, Arc::clone(&entry));
        self.listed.insert(entry.pro_reg_tx_hash, Listed { entry, leaf: sha256d(&bytes) });
    }
}

fn first_entry(place: u32, params: &SyntheticParams, keys: &mut KeyRing, rng: &mut fastrand::Rng) -> SmlEntry {
    // Multiples of irrational numbers spread evenly, so that the shares hold in a handful of masternodes as well.
    let is_within = |share: f64, irrational: f64| (f64::from(place) * irrational).fract() < share;
    let is_evo = is_within(params.evo_share, 5_f64.sqrt());
    // Evo nodes came with version 2.
    let version = if !is_evo && is_within(params.legacy_share, 2_f64.sqrt()) { 1 } else { 2 };
    let is_valid = !is_within(params.banned_share, 3_f64.sqrt());
    SmlEntry { is_valid, ..new_entry(version, is_evo, params.network, keys, rng) }
}

fn new_entry(version: u16, is_evo: bool, network: Network, keys: &mut KeyRing, rng: &mut fastrand::Rng) -> SmlEntry {
    SmlEntry {
        version,
        pro_reg_tx_hash: ProTxHash::from_bytes(random_bytes(rng)),
        confirmed_hash: Hash256::ZERO,
        net_info: net_info(version, is_evo, network, rng),
        pub_key_operator: keys.operator(version, rng),
        key_id_voting: random_bytes(rng),
        is_valid: true,
        kind: match is_evo {
            true => SmlEntryKind::Evo {
                platform_http_port: (version < 3).then_some(443),
                platform_node_id: random_bytes(rng),
            },
            false => SmlEntryKind::Regular,
        },
    }
}

/// Lifts an entry to version 3, which has no port for Platform of its own.
fn extended(mut entry: SmlEntry) -> SmlEntry {
    entry.version = 3;
    if let SmlEntryKind::Evo { platform_http_port, .. } = &mut entry.kind {
        *platform_http_port = None;
    }
    entry
}

fn net_info(version: u16, is_evo: bool, network: Network, rng: &mut fastrand::Rng) -> NetInfo {
    let ipv4: [u8; 4] = random_bytes(rng);
    let port = network.default_port();
    if version < 3 {
        let [a, b, c, d] = ipv4;
        return NetInfo::Service { ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d], port };
    }
    let at = |port| NetInfoEntry::Address { network: IPV4, address: Bytes::copy_from_slice(&ipv4), port };
    let mut core = vec![at(port)];
    // Some serve under a hidden address as well, which takes 32 bytes.
    let [.., choice] = ipv4;
    if let Some(network) = [TOR_V3, I2P].get(usize::from(choice % 8)) {
        let address = Bytes::copy_from_slice(&sha256d(&ipv4));
        core.push(NetInfoEntry::Address { network: *network, address, port: if *network == I2P { 0 } else { port } });
    }
    let mut purposes = vec![(NetInfoPurpose(0), core)];
    if is_evo {
        let name = Bytes::from(format!("node-{:08x}.example", rng.u32(..)));
        purposes.push((NetInfoPurpose(1), vec![at(26656)]));
        purposes.push((NetInfoPurpose(2), vec![NetInfoEntry::Domain { name, port: 443 }]));
    }
    NetInfo::Extended(purposes)
}

fn no_net_info(version: u16) -> NetInfo {
    if version < 3 { NetInfo::Service { ip: [0; 16], port: 0 } } else { NetInfo::Extended(Vec::new()) }
}
