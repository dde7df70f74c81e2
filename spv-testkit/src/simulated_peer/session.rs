use std::net::SocketAddr;

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, BlockHeader, Hash256,
    message::{
        GetHeaders, Headers, Headers2, InstantLock, Inventory, InventoryItem, InventoryKind, MIN_PROTOCOL_VERSION,
        NODE_HEADERS_COMPRESSED, VersionMessage,
    },
    wire::{
        Wire,
        frame::{Command, Frame},
    },
};

use super::fault::HeaderFault;
use crate::{
    Chain,
    answers::{Answers, NodeFacts, Response},
    live::News,
    server::{ServerSession, ServerVersion},
};

/// The misbehaviour points at which a node closes a connection (Dash Core's `DISCOURAGEMENT_THRESHOLD`).
const MISBEHAVIOUR_LIMIT: u32 = 100;

/// The services of a node: its blocks (1), bloom filters (4), compact filters (64) and the newest blocks (1024).
const SERVICES: u64 = 1 | 4 | 64 | 1024;

/// The number in its `version`, by which a client finds that it has connected to itself: none that a test would choose.
const VERSION_NONCE: u64 = 0x006e_6f64_6521_0001;

/// The nonce of the ping that follows the handshake. A real node draws one at random; here a constant is enough.
const PING_NONCE: u64 = 0x0070_696e_6721_0001;

/// The reactions of a node to the messages of a connection, without time.
#[derive(Debug)]
pub(super) struct Session<'a> {
    answers: &'a dyn Answers,
    node: NodeFacts,
    server: ServerVersion,
    /// The protocol version that the node announces.
    protocol: i32,
    client: SocketAddr,
    header_fault: Option<HeaderFault>,
    /// True if it answers `getheaders2`.
    compresses: bool,
    stage: Stage,
    /// The client wants new blocks announced by their headers.
    wants_headers: bool,
    /// The client takes transactions, and so InstantSend locks.
    wants_locks: bool,
    /// InstantSend locks that the node had when the client came, or that were announced to it.
    known_locks: usize,
    misbehaviour: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    AwaitsVersion,
    AwaitsVerack(ServerSession),
    Open(ServerSession),
}

/// The reaction of the node to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It sends a message, at once.
    Send(Frame),
    /// It makes the reply to a request.
    Reply { request: Frame, reply: Frame, session: ServerSession },
    /// It finds that it cannot answer a request.
    Refuse(Frame),
    /// It closes the connection.
    Close,
}

// === impl Session ===

impl<'a> Session<'a> {
    pub(super) fn new(
        answers: &'a dyn Answers,
        node: NodeFacts,
        (server, protocol): (ServerVersion, i32),
        client: SocketAddr,
        header_fault: Option<HeaderFault>,
        compresses: bool,
    ) -> Self {
        let stage = Stage::AwaitsVersion;
        Self {
            answers,
            node,
            server,
            protocol,
            client,
            header_fault,
            compresses,
            stage,
            wants_headers: false,
            wants_locks: false,
            known_locks: answers.instant_locks().len(),
            misbehaviour: 0,
        }
    }

    /// Returns the reactions to this message. Messages out of turn are ignored, as a node does.
    pub(super) fn receive(&mut self, frame: Frame) -> Vec<Step> {
        match (self.stage, frame.command) {
            (Stage::AwaitsVersion, Command::VERSION) => self.greet(frame.payload),
            (Stage::AwaitsVerack(session), Command::VERACK) => {
                self.stage = Stage::Open(session);
                unasked()
            }
            (Stage::Open(_), Command::PING) => vec![send(Command::PONG, frame.payload)],
            (Stage::Open(_), Command::GET_HEADERS) => self.headers(frame.payload),
            (Stage::Open(_), Command::GET_HEADERS2) if self.compresses => self.compressed_headers(frame.payload),
            (Stage::Open(_), Command::GET_DATA) => self.data(frame.payload),
            (Stage::Open(_), Command::SEND_HEADERS) => {
                self.wants_headers = true;
                Vec::new()
            }
            (Stage::Open(session), _) => self.answer(frame, session),
            _ => Vec::new(),
        }
    }

    /// Ends the fault of its headers.
    pub(super) fn heal(&mut self) {
        self.header_fault = None;
    }

    /// Returns the announcements of a chain that has changed.
    pub(super) fn announce(&mut self, before: &Chain, now: &Chain) -> Vec<Step> {
        if !matches!(self.stage, Stage::Open(_)) {
            return Vec::new();
        }
        let news = News::since(before, now, self.wants_headers).map(|news| match news {
            News::Headers(headers) => send(Command::HEADERS, headers.to_wire()),
            News::Block(hash) => announce(InventoryKind::BLOCK, [Hash256::from_bytes(*hash.as_bytes())]),
        });
        let lock = self.answers.chain_lock().map(|lock| announce(InventoryKind::CHAIN_LOCK, [lock.hash()]));
        news.into_iter().chain(lock).chain(self.new_locks()).collect()
    }

    /// The announcement of InstantSend locks that the client was not told of.
    fn new_locks(&mut self) -> Option<Step> {
        let locks = self.answers.instant_locks();
        let new = locks.get(self.known_locks..).filter(|new| !new.is_empty() && self.wants_locks)?;
        self.known_locks = locks.len();
        Some(announce(InventoryKind::INSTANT_LOCK, new.iter().map(InstantLock::hash)))
    }

    /// The locks that are asked for.
    fn data(&self, request: Bytes) -> Vec<Step> {
        let Ok(wanted) = Inventory::from_wire(request) else { return vec![Step::Close] };
        let is_wanted = |hash: Hash256| wanted.0.iter().any(|item| item.hash == hash);
        let chain_lock = self.answers.chain_lock().filter(|lock| is_wanted(lock.hash()));
        let instant_locks = wanted.0.iter().filter_map(|item| self.answers.instant_lock(&item.hash));
        let chain_lock = chain_lock.map(|lock| send(Command::CHAIN_LOCK, lock.to_wire()));
        chain_lock.into_iter().chain(instant_locks.map(|lock| send(Command::INSTANT_LOCK, lock.to_wire()))).collect()
    }

    fn greet(&mut self, payload: Bytes) -> Vec<Step> {
        let Ok(theirs) = VersionMessage::from_wire(payload) else { return vec![Step::Close] };
        let protocol = self.protocol.min(theirs.protocol_version);
        if protocol < MIN_PROTOCOL_VERSION {
            return vec![Step::Close];
        }
        self.stage = Stage::AwaitsVerack(ServerSession::new(self.server, protocol));
        self.wants_locks = theirs.relay;
        vec![
            send(Command::VERSION, self.version().to_wire()),
            send(Command::new(b"sendaddrv2"), Bytes::new()),
            send(Command::VERACK, Bytes::new()),
        ]
    }

    fn version(&self) -> VersionMessage {
        VersionMessage {
            protocol_version: self.protocol,
            services: SERVICES | if self.compresses { NODE_HEADERS_COMPRESSED } else { 0 },
            timestamp: self.node.time,
            receiver: self.client,
            nonce: VERSION_NONCE,
            user_agent: self.node.user_agent.clone(),
            start_height: i32::try_from(self.node.start_height).unwrap_or(i32::MAX),
            relay: true,
            // A challenge for masternodes, and whether the node takes us for one.
            trailing: Bytes::from_static(&[0; 33]),
        }
    }

    fn headers(&self, request: Bytes) -> Vec<Step> {
        let Ok(request) = GetHeaders::from_wire(request) else { return vec![Step::Close] };
        let headers = Headers(until(self.answers.headers(&request.locator).0, request.stop));
        if self.header_fault == Some(HeaderFault::Silence) {
            return Vec::new();
        }
        let payload = match self.header_fault {
            Some(fault) => fault.spoil(headers),
            None => headers.to_wire(),
        };
        vec![send(Command::HEADERS, payload)]
    }

    fn compressed_headers(&self, request: Bytes) -> Vec<Step> {
        let Ok(request) = GetHeaders::from_wire(request) else { return vec![Step::Close] };
        match self.header_fault {
            Some(HeaderFault::Silence) => Vec::new(),
            _ => {
                let headers = until(self.answers.compressed_headers(&request.locator), request.stop);
                vec![send(Command::HEADERS2, Headers2::compress(&headers).to_wire())]
            }
        }
    }

    fn answer(&mut self, request: Frame, session: ServerSession) -> Vec<Step> {
        match self.answers.answer(&request, session) {
            Response::Reply(reply) => vec![Step::Reply { request, reply, session }],
            Response::Ignore => Vec::new(),
            Response::Refuse => {
                self.misbehaviour += 1;
                let refuse = Step::Refuse(request);
                if self.misbehaviour == MISBEHAVIOUR_LIMIT { vec![refuse, Step::Close] } else { vec![refuse] }
            }
        }
    }
}

/// The headers up to the block `stop`, if it is among them. Only the last header's hash is not named by another one.
fn until(mut headers: Vec<BlockHeader>, stop: BlockHash) -> Vec<BlockHeader> {
    if let Some(after) = headers.iter().skip(1).position(|header| header.prev_block_hash() == stop) {
        headers.truncate(after + 1);
    }
    headers
}

fn announce(kind: InventoryKind, hashes: impl IntoIterator<Item = Hash256>) -> Step {
    let items: Inventory = hashes.into_iter().map(|hash| InventoryItem { kind, hash }).collect();
    send(Command::INV, items.to_wire())
}

fn send(command: Command, payload: Bytes) -> Step {
    Step::Send(Frame { command, payload })
}

/// Returns the messages that a node sends when the handshake is done.
fn unasked() -> Vec<Step> {
    let send_compact_blocks = Bytes::from_static(&[0, 1, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        send(Command::new(b"sendheaders2"), Bytes::new()),
        send(Command::new(b"sendcmpct"), send_compact_blocks),
        send(Command::new(b"senddsq"), Bytes::from_static(&[1])),
        send(Command::PING, Bytes::copy_from_slice(&PING_NONCE.to_le_bytes())),
    ]
}
