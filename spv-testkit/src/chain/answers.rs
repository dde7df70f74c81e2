//! A chain as a node answers from it.

use qrinfo_core::{
    BlockHash, BlockHeader,
    message::{GetQRInfo, Headers, MAX_HEADERS, NetworkMessage},
    wire::frame::Frame,
};

use super::{Chain, Place};
use crate::{Answers, NodeFacts, Response, ServerSession, builder};

/// A node that has this chain and follows Dash Core's rules.
///
/// ```
/// use spv_testkit::{Chain, Recording, SimulatedPeer};
///
/// let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
/// // Two nodes of one chain, the second three blocks behind.
/// let peers = [SimulatedPeer::builder(chain.clone()).build(), SimulatedPeer::builder(chain.until(1769)).build()];
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Answers for Chain {
    fn node(&self) -> NodeFacts {
        let tip = self.block(self.tip()).map(|block| BlockHeader::from_bytes(block.header));
        NodeFacts {
            network: self.network(),
            user_agent: concat!("/spv-testkit:", env!("CARGO_PKG_VERSION"), "/").to_owned(),
            start_height: self.tip(),
            time: tip.map_or(0, |header| i64::from(header.time())),
        }
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        match NetworkMessage::from_frame(request.clone()).map(|message| builder::answer(self, &message, session)) {
            Ok(Some(Ok(reply))) => Response::Reply(NetworkMessage::from(reply).to_frame()),
            Ok(Some(Err(_))) => Response::Refuse,
            Ok(None) | Err(_) => Response::Ignore,
        }
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        let shared = locator.iter().find_map(|hash| self.active_height(hash)).unwrap_or(0);
        let behind = (shared + 1..=self.tip()).take(MAX_HEADERS).filter_map(|height| self.block(height));
        Headers(behind.map(|block| BlockHeader::from_bytes(block.header)).collect())
    }

    /// The reply for the cycle before, or after where there is none.
    fn other(&self, request: &Frame, session: ServerSession) -> Option<Frame> {
        let NetworkMessage::GetQRInfo(request) = NetworkMessage::from_frame(request.clone()).ok()? else { return None };
        let length = self.network().cycles().length();
        let height = self.active_height(&request.block_hash)?;
        let others = [height.checked_sub(length), height.checked_add(length)];
        others.into_iter().flatten().find_map(|height| {
            let block_hash = self.block(height)?.hash;
            let reply = builder::qr_info(self, &GetQRInfo { block_hash, ..request.clone() }, session).ok()?;
            Some(NetworkMessage::QRInfo(Box::new(reply)).to_frame())
        })
    }
}

impl Chain {
    fn active_height(&self, hash: &BlockHash) -> Option<u32> {
        match self.find(hash)? {
            Place::Active(height) => Some(height),
            Place::Stale(_) => None,
        }
    }
}
