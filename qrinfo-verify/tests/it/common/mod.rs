//! Recordings as a client meets them: requests with their work blocks, replies decoded, headers by hash.

#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod mainnet;
pub(crate) mod synthetic;
pub(crate) mod testnet;

use qrinfo_core::{BlockHash, BlockHeader, Network, QRInfoRequestSpec, Reply, Request, message::QRInfo, wire::Wire};
use qrinfo_verify::HeaderMap;
use spv_testkit::{Answer, Exchange, Recording};

pub(crate) fn headers(recording: &Recording) -> HeaderMap {
    let mut headers = HeaderMap::default();
    for (height, header) in (0..).zip(recording.headers()) {
        headers.insert(height, recording.block_hash(height).unwrap(), &BlockHeader::from_bytes(*header));
    }
    headers
}

/// The requests of a client that has the headers: every hash comes from them, every height from the cycle arithmetic.
pub(crate) fn spec(recording: &Recording, exchange: &Exchange) -> QRInfoRequestSpec {
    let network = recording.network();
    let cycles = network.cycles();
    let hash = |height| recording.block_hash(height).unwrap();
    QRInfoRequestSpec {
        network,
        cycle: cycles.start_of(exchange.height),
        base_block_hashes: exchange.base_heights.iter().map(|&height| hash(height)).collect(),
        block_hash: hash(exchange.height),
        extra_share: exchange.extra_share,
        work_block_hashes: [0, 1, 2, 3, 4]
            .map(|back| hash(cycles.work_height_back(cycles.start_of(exchange.height), back).unwrap())),
    }
}

pub(crate) fn request(recording: &Recording, exchange: &Exchange) -> Request {
    spec(recording, exchange).into()
}

pub(crate) fn qr_info(exchange: &Exchange) -> Option<QRInfo> {
    match &exchange.answer {
        Answer::Reply(payload) => Some(QRInfo::from_wire(payload.clone()).unwrap()),
        Answer::Refused => None,
    }
}

pub(crate) fn reply(exchange: &Exchange) -> Option<Reply> {
    qr_info(exchange).map(|qr_info| Reply::QrInfo(Box::new(qr_info)))
}

/// The recording that is compiled in, and those that lie beside the repository.
pub(crate) fn recordings() -> Vec<(&'static str, Recording)> {
    let mut recordings = vec![("bundled", Recording::bundled().unwrap())];
    for name in ["regtest", "regtest-churn", "regtest-v3"] {
        recordings.extend(Recording::shared(name).unwrap().map(|recording| (name, recording)));
    }
    recordings
}

/// The least number of replies in a recording, as the vectors' README says.
pub(crate) fn expected_replies(name: &str) -> usize {
    match name {
        "regtest" => 588,
        "regtest-churn" => 604,
        "regtest-v3" => 135,
        _ => 1,
    }
}

/// The reply as Dash Core before 22.1.2 writes it: all zeros where a base is genesis.
pub(crate) fn with_zero_bases(mut reply: QRInfo) -> QRInfo {
    let extra = reply.extra_share.iter_mut().map(|extra| &mut extra.mn_list_diff_at_h_minus_4c);
    let diffs = [
        &mut reply.mn_list_diff_tip,
        &mut reply.mn_list_diff_h,
        &mut reply.mn_list_diff_at_h_minus_c,
        &mut reply.mn_list_diff_at_h_minus_2c,
        &mut reply.mn_list_diff_at_h_minus_3c,
    ];
    for diff in extra.chain(&mut reply.mn_list_diff_list).chain(diffs) {
        if Network::any_has_genesis(&diff.base_block_hash) {
            diff.base_block_hash = BlockHash::ZERO;
        }
    }
    reply
}
