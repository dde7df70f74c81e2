use std::sync::Arc;

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, BlockHeader,
    message::{Headers, MAX_HEADERS},
    wire::frame::{Command, Frame},
};

use crate::{
    answers::{Answers, NodeFacts, Response},
    recording::{Answer, Exchange, Recording},
    server::ServerSession,
};

/// Answers as a node was recorded to give them. What was refused, or never asked, is refused; any message but
/// `getqrinfo` is ignored.
#[derive(Debug, Clone)]
pub struct RecordedAnswers {
    recording: Arc<Recording>,
    /// The newest block that is known.
    tip: u32,
    start_height: u32,
}

// === impl RecordedAnswers ===

impl RecordedAnswers {
    /// The node as it was recorded.
    pub fn new(recording: Arc<Recording>) -> Self {
        Self { tip: recording.tip(), start_height: recording.start_height(), recording }
    }

    /// The node while it had not heard of the blocks above `tip`: it starts there, sends no header beyond, and refuses
    /// requests that name a block beyond. The replies are those of the recording, with its tip.
    #[must_use]
    pub fn behind(mut self, tip: u32) -> Self {
        self.tip = self.tip.min(tip);
        self.start_height = self.start_height.min(tip);
        self
    }

    fn find(&self, request: &Frame, session: ServerSession) -> Option<(&Exchange, &Bytes)> {
        let exchange = self.recording.find(session.protocol(), &request.payload)?;
        let known = exchange.base_heights.iter().chain([&exchange.height]).all(|height| *height <= self.tip);
        match &exchange.answer {
            Answer::Reply(reply) if known => Some((exchange, reply)),
            _ => None,
        }
    }
}

impl Answers for RecordedAnswers {
    fn node(&self) -> NodeFacts {
        // The clock is that of the chain, so that a session can be replayed.
        let tip = self.recording.headers().get(self.tip as usize);
        NodeFacts {
            network: self.recording.network(),
            user_agent: self.recording.node().to_owned(),
            start_height: self.start_height,
            time: tip.map_or(0, |header| i64::from(BlockHeader::from_bytes(*header).time())),
        }
    }

    fn answer(&self, request: &Frame, session: ServerSession) -> Response {
        match request.command {
            Command::GET_QR_INFO => self.find(request, session).map_or(Response::Refuse, |(_, reply)| {
                Response::Reply(Frame { command: Command::QR_INFO, payload: reply.clone() })
            }),
            _ => Response::Ignore,
        }
    }

    fn headers(&self, locator: &[BlockHash]) -> Headers {
        let on_chain = |hash| self.recording.height(hash).filter(|height| *height <= self.tip);
        let shared = locator.iter().find_map(on_chain).unwrap_or(0);
        let up_to_tip = self.recording.headers().iter().take(self.tip as usize + 1);
        let behind = up_to_tip.skip(shared as usize + 1).take(MAX_HEADERS);
        Headers(behind.map(|header| BlockHeader::from_bytes(*header)).collect())
    }

    /// The next reply in a session of the same protocol version, counted around the end, that brings another cycle.
    fn other(&self, request: &Frame, session: ServerSession) -> Option<Frame> {
        let (exchange, _) = self.find(request, session)?;
        let cycles = self.recording.network().cycles();
        let exchanges = self.recording.exchanges();
        let place = exchanges.iter().position(|other| other.id == exchange.id)?;
        let (before, behind) = exchanges.split_at_checked(place)?;
        behind.iter().chain(before).find_map(|other| match &other.answer {
            Answer::Reply(reply)
                if other.protocol == exchange.protocol
                    && cycles.start_of(other.height) != cycles.start_of(exchange.height) =>
            {
                Some(Frame { command: Command::QR_INFO, payload: reply.clone() })
            }
            _ => None,
        })
    }
}
