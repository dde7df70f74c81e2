//! Messages as Dash Core's RPC prints them.
//!
//! Names, order and values are those of `quorum rotationinfo` and `protx diff`; `docs/decode.md` lists the exceptions.
//! Everything is written as it is walked: a message of millions of bits needs no tree of values.

mod addresses;

use std::fmt;

use qrinfo_core::{
    message::{
        Commitment, DeletedQuorum, MnListDiff, NetInfoPurpose, QRInfo, QuorumClSig, QuorumSnapshot, SmlEntry,
        SmlEntryKind,
    },
    wire::{Seq, Wire, put_var_bytes},
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use self::addresses::Addresses;

/// Writes a part of a message in the form of the RPC.
pub(crate) struct Rpc<'a, T>(pub(crate) &'a T);

/// A value that prints as a string.
struct Text<T>(T);

/// Bytes in the order of the wire.
struct Hex<'a>(&'a [u8]);

/// Items made on the way.
struct Items<F>(F);

// === impl Rpc ===

impl Serialize for Rpc<'_, QRInfo> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let extra = message.extra_share.as_ref();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("extraShare", &extra.is_some())?;
        map.serialize_entry("quorumSnapshotAtHMinusC", &Rpc(&message.quorum_snapshot_at_h_minus_c))?;
        map.serialize_entry("quorumSnapshotAtHMinus2C", &Rpc(&message.quorum_snapshot_at_h_minus_2c))?;
        map.serialize_entry("quorumSnapshotAtHMinus3C", &Rpc(&message.quorum_snapshot_at_h_minus_3c))?;
        if let Some(extra) = extra {
            map.serialize_entry("quorumSnapshotAtHMinus4C", &Rpc(&extra.quorum_snapshot_at_h_minus_4c))?;
        }
        map.serialize_entry("mnListDiffTip", &Rpc(&message.mn_list_diff_tip))?;
        map.serialize_entry("mnListDiffH", &Rpc(&message.mn_list_diff_h))?;
        map.serialize_entry("mnListDiffAtHMinusC", &Rpc(&message.mn_list_diff_at_h_minus_c))?;
        map.serialize_entry("mnListDiffAtHMinus2C", &Rpc(&message.mn_list_diff_at_h_minus_2c))?;
        map.serialize_entry("mnListDiffAtHMinus3C", &Rpc(&message.mn_list_diff_at_h_minus_3c))?;
        if let Some(extra) = extra {
            map.serialize_entry("mnListDiffAtHMinus4C", &Rpc(&extra.mn_list_diff_at_h_minus_4c))?;
        }
        map.serialize_entry("lastCommitmentPerIndex", &Rpc(&message.last_commitment_per_index))?;
        map.serialize_entry("quorumSnapshotList", &Items(|| message.quorum_snapshot_list.iter().map(Rpc)))?;
        map.serialize_entry("mnListDiffList", &Items(|| message.mn_list_diff_list.iter().map(Rpc)))?;
        map.end()
    }
}

impl Serialize for Rpc<'_, QuorumSnapshot> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let snapshot = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("activeQuorumMembers", &Items(|| snapshot.active_quorum_members.iter()))?;
        map.serialize_entry("mnSkipListMode", &(snapshot.skip_list_mode as u8))?;
        map.serialize_entry("mnSkipList", &snapshot.skip_list)?;
        map.end()
    }
}

impl Serialize for Rpc<'_, MnListDiff> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let diff = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("nVersion", &diff.version)?;
        map.serialize_entry("baseBlockHash", &Text(diff.base_block_hash))?;
        map.serialize_entry("blockHash", &Text(diff.block_hash))?;
        map.serialize_entry("cbTxMerkleTree", &Text(MerkleTree(diff)))?;
        map.serialize_entry("cbTx", &Text(Hex(diff.coinbase.as_bytes())))?;
        map.serialize_entry("deletedMNs", &Items(|| diff.deleted_masternodes.iter().map(Text)))?;
        map.serialize_entry("mnList", &Rpc(&diff.new_masternodes))?;
        map.serialize_entry("deletedQuorums", &Rpc(&diff.deleted_quorums))?;
        map.serialize_entry("newQuorums", &Rpc(&diff.new_quorums))?;
        if let Some(payload) = diff.coinbase.payload() {
            map.serialize_entry("merkleRootMNList", &Text(payload.merkle_root_mn_list))?;
            if let Some(root) = payload.merkle_root_quorums {
                map.serialize_entry("merkleRootQuorums", &Text(root))?;
            }
        }
        map.serialize_entry("quorumsCLSigs", &Rpc(&diff.quorums_cl_sigs))?;
        map.end()
    }
}

impl Serialize for Rpc<'_, SmlEntry> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("nVersion", &entry.version)?;
        map.serialize_entry("nType", &u16::from(entry.kind != SmlEntryKind::Regular))?;
        map.serialize_entry("proRegTxHash", &Text(entry.pro_reg_tx_hash))?;
        map.serialize_entry("confirmedHash", &Text(entry.confirmed_hash))?;
        let addresses = Addresses::of(entry);
        map.serialize_entry("service", &Text(addresses.service()))?;
        map.serialize_entry("addresses", &addresses)?;
        map.serialize_entry("pubKeyOperator", &Text(Hex(&entry.pub_key_operator)))?;
        map.serialize_entry("keyIDVoting", &Text(Hex(&entry.key_id_voting)))?;
        map.serialize_entry("isValid", &entry.is_valid)?;
        if let SmlEntryKind::Evo { platform_http_port, mut platform_node_id } = entry.kind {
            let port = platform_http_port.or(addresses.port_of(NetInfoPurpose::PLATFORM_HTTPS));
            // The RPC prints -1 where an entry of version 3 has no address.
            map.serialize_entry("platformHTTPPort", &port.map_or(-1, i32::from))?;
            // Dash Core prints its numbers of 160 and 256 bits in reverse.
            platform_node_id.reverse();
            map.serialize_entry("platformNodeID", &Text(Hex(&platform_node_id)))?;
        }
        map.end()
    }
}

impl Serialize for Rpc<'_, DeletedQuorum> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("llmqType", &self.0.llmq_type.0)?;
        map.serialize_entry("quorumHash", &Text(self.0.quorum_hash))?;
        map.end()
    }
}

impl Serialize for Rpc<'_, Commitment> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let commitment = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &commitment.version)?;
        map.serialize_entry("llmqType", &commitment.llmq_type.0)?;
        map.serialize_entry("quorumHash", &Text(commitment.quorum_hash))?;
        // The RPC prints 0 where a commitment has no index.
        map.serialize_entry("quorumIndex", &commitment.quorum_index.unwrap_or_default())?;
        map.serialize_entry("signersCount", &commitment.signers.count_ones())?;
        map.serialize_entry("signers", &Text(Hex(commitment.signers.as_bytes())))?;
        map.serialize_entry("validMembersCount", &commitment.valid_members.count_ones())?;
        map.serialize_entry("validMembers", &Text(Hex(commitment.valid_members.as_bytes())))?;
        map.serialize_entry("quorumPublicKey", &Text(Hex(&commitment.quorum_public_key)))?;
        map.serialize_entry("quorumVvecHash", &Text(commitment.quorum_vvec_hash))?;
        map.serialize_entry("quorumSig", &Text(Hex(&commitment.quorum_sig)))?;
        map.serialize_entry("membersSig", &Text(Hex(&commitment.members_sig)))?;
        map.end()
    }
}

impl Serialize for Rpc<'_, QuorumClSig> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&Text(Hex(&self.0.signature)), &self.0.indexes)?;
        map.end()
    }
}

impl<T: Wire> Serialize for Rpc<'_, Seq<T>>
where
    for<'item> Rpc<'item, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            list.serialize_element(&Rpc(&item))?;
        }
        list.end()
    }
}

// === strings ===

/// A diff's partial merkle tree, as it stands on the wire.
struct MerkleTree<'a>(&'a MnListDiff);

impl fmt::Display for MerkleTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let diff = self.0;
        let mut wire = diff.total_transactions.to_le_bytes().to_vec();
        diff.merkle_hashes.encode(&mut wire);
        put_var_bytes(&mut wire, &diff.merkle_flags);
        Hex(&wire).fmt(f)
    }
}

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<F, I> Serialize for Items<F>
where
    F: Fn() -> I,
    I: IntoIterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}
