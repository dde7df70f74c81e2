use std::net::SocketAddr;

use bytes::Bytes;
use qrinfo_core::{
    header::BlockHeader,
    message::{GetHeaders, Headers, MAX_HEADERS, MIN_PROTOCOL_VERSION, VersionMessage},
    wire::{
        Wire,
        frame::{Command, Frame},
    },
};

use super::fault::HeaderFault;
use crate::recording::{Answer, Construction, Exchange, Recording};

/// The misbehaviour points at which a node closes a connection (Dash Core's `DISCOURAGEMENT_THRESHOLD`).
const MISBEHAVIOUR_LIMIT: u32 = 100;

/// What a node offers: its blocks (1), bloom filters (4), compact filters (64) and the newest blocks (1024).
const SERVICES: u64 = 1 | 4 | 64 | 1024;

/// The number in the ping that follows the handshake. A node draws one; nobody here needs it to be unlike another.
const PING_NONCE: u64 = 0x0070_696e_6721_0001;

/// What a node does with each message of a connection, without time.
#[derive(Debug)]
pub(super) struct Session<'a> {
    recording: &'a Recording,
    protocol: i32,
    client: SocketAddr,
    header_fault: Option<HeaderFault>,
    stage: Stage,
    misbehaviour: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    AwaitsVersion,
    AwaitsVerack(Construction),
    Open(Construction),
}

/// What a message makes the node do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// It sends a message.
    Send(Command, Bytes),
    /// It makes the reply of this exchange.
    Reply(&'a Exchange, &'a Bytes),
    /// It finds that it cannot answer.
    Refuse,
    /// It closes the connection.
    Close,
}

// === impl Session ===

impl<'a> Session<'a> {
    pub(super) fn new(
        recording: &'a Recording,
        protocol: i32,
        client: SocketAddr,
        header_fault: Option<HeaderFault>,
    ) -> Self {
        Self { recording, protocol, client, header_fault, stage: Stage::AwaitsVersion, misbehaviour: 0 }
    }

    /// What follows from this message. Messages out of turn are ignored, as a node does.
    pub(super) fn receive(&mut self, Frame { command, payload }: Frame) -> Vec<Step<'a>> {
        match (self.stage, command) {
            (Stage::AwaitsVersion, Command::VERSION) => self.greet(payload),
            (Stage::AwaitsVerack(construction), Command::VERACK) => {
                self.stage = Stage::Open(construction);
                unasked()
            }
            (Stage::Open(_), Command::PING) => vec![Step::Send(Command::PONG, payload)],
            (Stage::Open(construction), Command::GET_QR_INFO) => self.answer(construction, &payload),
            (Stage::Open(_), Command::GET_HEADERS) => self.headers(payload),
            _ => Vec::new(),
        }
    }

    fn greet(&mut self, payload: Bytes) -> Vec<Step<'a>> {
        let Ok(theirs) = VersionMessage::from_wire(payload) else { return vec![Step::Close] };
        let protocol = self.protocol.min(theirs.protocol_version);
        if protocol < MIN_PROTOCOL_VERSION {
            return vec![Step::Close];
        }
        self.stage = Stage::AwaitsVerack(Construction::of(protocol));
        vec![
            Step::Send(Command::VERSION, self.version().to_wire()),
            Step::Send(Command::new(b"sendaddrv2"), Bytes::new()),
            Step::Send(Command::VERACK, Bytes::new()),
        ]
    }

    fn version(&self) -> VersionMessage {
        // The clock is that of the chain, so that a session can be replayed: bytes 68..72 of the newest header.
        let tip_time = self.recording.headers().last().and_then(|header| header.get(68..)?.first_chunk());
        VersionMessage {
            protocol_version: self.protocol,
            services: SERVICES,
            timestamp: tip_time.map_or(0, |time| i64::from(u32::from_le_bytes(*time))),
            receiver: self.client,
            nonce: 1,
            user_agent: self.recording.node().to_owned(),
            start_height: i32::try_from(self.recording.start_height()).unwrap_or(i32::MAX),
            relay: true,
            // A challenge for masternodes, and whether the node takes us for one.
            trailing: Bytes::from_static(&[0; 33]),
        }
    }

    /// The headers behind the newest block of the locator that is on the chain; all of them where none is.
    fn headers(&self, request: Bytes) -> Vec<Step<'a>> {
        let Ok(request) = GetHeaders::from_wire(request) else { return vec![Step::Close] };
        let shared = request.locator.iter().find_map(|hash| self.recording.height(hash)).unwrap_or(0);
        let behind = self.recording.headers().iter().skip(shared as usize + 1).take(MAX_HEADERS);
        let headers = Headers(behind.map(|header| BlockHeader::from_bytes(*header)).collect());
        let payload = match self.header_fault {
            Some(fault) => fault.spoil(headers),
            None => headers.to_wire(),
        };
        vec![Step::Send(Command::HEADERS, payload)]
    }

    fn answer(&mut self, construction: Construction, request: &[u8]) -> Vec<Step<'a>> {
        if let Some(exchange) = self.recording.find(construction, request)
            && let Answer::Reply(reply) = &exchange.answer
        {
            return vec![Step::Reply(exchange, reply)];
        }
        self.misbehaviour += 1;
        if self.misbehaviour == MISBEHAVIOUR_LIMIT { vec![Step::Refuse, Step::Close] } else { vec![Step::Refuse] }
    }
}

/// What a node says when the handshake is done.
fn unasked<'a>() -> Vec<Step<'a>> {
    let send_compact_blocks = Bytes::from_static(&[0, 1, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        Step::Send(Command::new(b"sendheaders2"), Bytes::new()),
        Step::Send(Command::new(b"sendcmpct"), send_compact_blocks),
        Step::Send(Command::new(b"senddsq"), Bytes::from_static(&[1])),
        Step::Send(Command::PING, Bytes::copy_from_slice(&PING_NONCE.to_le_bytes())),
    ]
}
