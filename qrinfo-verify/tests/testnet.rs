//! Real testnet data: replies of Dash Core 20 to 22 with old stragglers, and a chain of lists.

#![allow(clippy::unwrap_used)]

mod common;

use common::testnet::{self, by_its_own_proofs, spec};
use qrinfo_core::{Hash256, Network, Reply, Request, message::QRInfo};
use qrinfo_verify::{DiffName, HeaderMap, KnownBlock, Level, ListStage, Proof, Unproven, Verified};

fn headers_from(lowest: u32) -> Option<HeaderMap> {
    let mut headers = HeaderMap::default();
    for (height, hash, header) in testnet::headers()? {
        if height >= lowest {
            headers.insert(height, hash, &header);
        }
    }
    Some(headers)
}

fn take(level: Level, request: &Request, reply: &QRInfo, headers: &HeaderMap) -> Verified {
    let mut stage = ListStage::new(Network::Testnet, level);
    stage.take(request, &Reply::QrInfo(Box::new(reply.clone())), |hash| headers.find(hash)).unwrap()
}

#[test]
fn headers_name_each_other_by_x11() {
    let Some(headers) = testnet::headers() else { return };
    for pair in headers.windows(2) {
        assert_eq!(pair[1].2.prev_block_hash(), pair[0].1, "{}", pair[0].0);
    }
}

#[test]
fn a_reply_with_its_headers_passes_at_every_level() {
    let (Some(reply), Some(headers)) = (testnet::qr_info("testnet/qrinfo_947248.bin"), headers_from(0)) else { return };
    let request = spec(Network::Testnet, &reply).into();
    for level in [Level::Structure, Level::Roots, Level::Full] {
        let verified = take(level, &request, &reply, &headers);
        eprintln!("{level:?}: {:?}", verified.unproven);
    }
}

#[test]
fn a_reply_by_its_own_proofs_passes_at_every_level() {
    let Some(reply) = testnet::qr_info("testnet/qrinfo_905770.bin") else { return };
    let spec = spec(Network::Testnet, &reply);
    // The anchor, from which the tip diff starts: a block between work block and tip.
    let anchor = KnownBlock { height: spec.cycle_height, merkle_root: Hash256::ZERO };
    let headers = by_its_own_proofs(reply.diffs(), [(reply.mn_list_diff_tip.base_block_hash, anchor)]);
    eprintln!("{:?}", reply.mn_list_diff_list.len());
    for level in [Level::Structure, Level::Roots, Level::Full] {
        let verified = take(level, &spec.clone().into(), &reply, &headers);
        eprintln!("{level:?}: {:?}", verified.unproven);
    }
}
