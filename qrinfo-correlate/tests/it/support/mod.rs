//! Requests and their real replies, made of one recorded exchange.

pub(crate) mod bench;

use std::sync::LazyLock;

use qrinfo_core::{
    Attempt, BlockHash, MnListDiffRequestSpec, Network, QRInfoRequestSpec, Request,
    message::{GetQRInfo, MnListDiff, NetworkMessage, QRInfo},
    wire::{Wire, frame::Frame},
};

/// A `getqrinfo` for block 623 as a Dash Core 23 node on regtest got it.
pub(crate) const RECORDED_REQUEST: &[u8] = include_bytes!("../../data/getqrinfo_0150.bin");
/// The reply of the node.
pub(crate) const RECORDED_REPLY: &[u8] = include_bytes!("../../data/qrinfo_0150.bin");

static REPLY: LazyLock<QRInfo> = LazyLock::new(|| QRInfo::from_wire(RECORDED_REPLY).unwrap());

/// The recorded request, with the work blocks (heights 592, 568, 544, 520, 496) by that chain's headers.
pub(crate) fn recorded_spec() -> QRInfoRequestSpec {
    let GetQRInfo { base_block_hashes, block_hash, extra_share } = GetQRInfo::from_wire(RECORDED_REQUEST).unwrap();
    let work_block_hashes = [
        "0e4ecca93285806b8b28aba4f60b085090b1c6ba22e96037b69ee7057d8d213c",
        "6f9ebf57b0e336493c0b0966a325560100340eedc82aa5de362d1c012679bef9",
        "64d2dc6274507cd2a3c28230a4078e448fc6b997912a2a3e48a908348258c880",
        "587892ff00b55e62ddb3ea375179d89c61cf4354991147999ee0c8396243631e",
        "7c5042afbb809be990bf9ad0437078a87f98078ab8116393af58eb46ef919836",
    ]
    .map(|hash| hash.parse().unwrap());
    QRInfoRequestSpec {
        network: Network::Regtest,
        cycle: Network::Regtest.cycles().start_of(600),
        base_block_hashes,
        block_hash,
        extra_share,
        work_block_hashes,
    }
}

pub(crate) fn hash(tag: u64) -> BlockHash {
    let mut bytes = [0xaa; 32];
    bytes[..8].copy_from_slice(&tag.to_le_bytes());
    BlockHash::from_bytes(bytes)
}

/// The reply of a cycle with this number. The tip diff, which nothing judges, leads to `hash(tag)`: so a reply can be
/// told from another of the same cycle.
pub(crate) fn reply(cycle: u64, tag: u64) -> QRInfo {
    let mut reply = REPLY.clone();
    reply.mn_list_diff_h.block_hash = hash(1_000_000 + cycle);
    reply.mn_list_diff_tip.block_hash = hash(tag);
    reply
}

/// A request that every reply of `cycle` answers; `tag` names the block it asks for.
pub(crate) fn spec(cycle: u64, tag: u64) -> QRInfoRequestSpec {
    let reply = reply(cycle, tag);
    let mut work_block_hashes = recorded_spec().work_block_hashes;
    work_block_hashes[0] = reply.work_block_hash();
    QRInfoRequestSpec {
        block_hash: hash(tag),
        base_block_hashes: reply.diffs().map(|diff| diff.base_block_hash).collect(),
        work_block_hashes,
        ..recorded_spec()
    }
}

/// An attempt whose id, tag and cycle are the same number.
pub(crate) fn attempt(id: u64) -> Attempt {
    Attempt::new(id, Request::from(spec(id, id)))
}

pub(crate) fn reply_frame(cycle: u64, tag: u64) -> Frame {
    NetworkMessage::QRInfo(Box::new(reply(cycle, tag))).to_frame()
}

pub(crate) fn diff_spec(base: u64, block: u64) -> MnListDiffRequestSpec {
    MnListDiffRequestSpec { base_block_hash: hash(base), block_hash: hash(block) }
}

pub(crate) fn diff_frame(base: u64, block: u64) -> Frame {
    let diff = MnListDiff { base_block_hash: hash(base), block_hash: hash(block), ..REPLY.mn_list_diff_h.clone() };
    NetworkMessage::MnListDiff(Box::new(diff)).to_frame()
}
