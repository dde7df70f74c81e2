//! A chained plan over a made-up chain, answered as Dash Core answers.

#![allow(dead_code, clippy::unwrap_used)]

use bytes::Bytes;
use qrinfo_core::{BlockHeader, CycleStart, QRInfoRequestSpec, message::GetQRInfo, wire::Wire};
use qrinfo_verify::HeaderMap;
use spv_testkit::{Chain, builder};

/// The protocol version of the session: efficient construction.
const PROTOCOL: i32 = 70237;

pub(crate) fn headers(chain: &Chain) -> HeaderMap {
    let mut headers = HeaderMap::default();
    for height in 0..=chain.tip() {
        let block = chain.block(height).unwrap();
        headers.insert(height, block.hash, &BlockHeader::from_bytes(block.header));
    }
    headers
}

/// Requests from the cycle that starts at `first` to the newest, without an anchor, and their replies.
pub(crate) fn sync(chain: &Chain, first: u32) -> Vec<(QRInfoRequestSpec, Bytes)> {
    let network = chain.network();
    let cycles = network.cycles();
    let hash = |height: u32| chain.block(height).unwrap().hash;
    let first = cycles.start_of(first);
    let lowest = cycles.work_height_back(first, 4).unwrap();
    let ask = |cycle: CycleStart| {
        let recent = (1..=7).rev().filter_map(|back| cycles.work_height_back(cycle, back));
        let recent = recent.filter(|height| cycle > first && *height >= lowest);
        let spec = QRInfoRequestSpec {
            network,
            cycle,
            base_block_hashes: [0].into_iter().chain(recent).map(hash).collect(),
            block_hash: hash(cycles.block_to_ask(cycle, chain.tip())),
            extra_share: true,
            work_block_hashes: [0, 1, 2, 3, 4].map(|back| hash(cycles.work_height_back(cycle, back).unwrap())),
        };
        let message = GetQRInfo {
            base_block_hashes: spec.base_block_hashes.clone(),
            block_hash: spec.block_hash,
            extra_share: true,
        };
        let reply = builder::qr_info(chain, &message, PROTOCOL).unwrap().to_wire();
        (spec, reply)
    };
    (first.height()..=chain.tip())
        .step_by(cycles.length() as usize)
        .map(|height| ask(cycles.start_of(height)))
        .collect()
}
