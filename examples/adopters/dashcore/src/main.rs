//! Converts a reply to dashcore's types and back, and feeds it to dashcore's list engine once it is proven.
use std::error::Error;

use dashcore::consensus::encode::{deserialize, serialize};
use dashcore::hashes::Hash;
use dashcore::network::message_qrinfo;
use dashcore::sml::masternode_list_engine::MasternodeListEngine;
use qrinfo_core::{BlockHash, Reply, Request, message::QRInfo, wire::Wire};
use qrinfo_verify::{HeaderMap, ListStage};

fn to_dashcore(reply: &QRInfo) -> Result<message_qrinfo::QRInfo, dashcore::consensus::encode::Error> {
    deserialize(&reply.to_wire())
}

fn from_dashcore(reply: &message_qrinfo::QRInfo) -> Result<QRInfo, qrinfo_core::wire::DecodeError> {
    QRInfo::from_wire(serialize(reply))
}

fn block_hash(hash: &dashcore::BlockHash) -> BlockHash {
    BlockHash::from_bytes(hash.to_byte_array())
}

/// Feeds the reply to the engine only if our headers prove it.
fn feed(
    engine: &mut MasternodeListEngine,
    stage: &mut ListStage,
    headers: &HeaderMap,
    request: &Request,
    reply: message_qrinfo::QRInfo,
) -> Result<(), Box<dyn Error>> {
    let ours = Reply::from(Box::new(from_dashcore(&reply)?));
    stage.apply(request, &ours, |hash| headers.find(hash))?;
    let heights = |hash: &dashcore::BlockHash| {
        let known = headers.find(&block_hash(hash));
        known.map(|block| block.height).ok_or(
            dashcore::sml::quorum_validation_error::ClientDataRetrievalError::RequiredBlockNotPresent(*hash),
        )
    };
    engine.feed_qr_info(reply, true, true, Some(heights))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(file) = std::env::args().nth(1) else { return Err("give a file with the payload of a `qrinfo`".into()) };
    let payload = std::fs::read(file)?;
    let ours = QRInfo::from_wire(payload.clone())?;
    let theirs = to_dashcore(&ours)?;
    assert_eq!(serialize(&theirs), payload, "dashcore encodes other bytes");
    assert_eq!(from_dashcore(&theirs)?, ours);
    println!("both ways: {}", theirs.mn_list_diff_h.block_hash);
    let _ = feed;
    Ok(())
}
