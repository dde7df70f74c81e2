use std::time::Duration;

use bytes::{Bytes, BytesMut};
use qrinfo_core::{
    BlockHeader, Network,
    message::Headers,
    wire::Wire,
    wire::frame::{Command, Frame, HEADER_LEN, checksum, max_payload},
};

/// A fault of a [`SimulatedPeer`](crate::SimulatedPeer) in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request is met with silence, as a node does that lacks a block. Pings behind it are answered.
    Refuse,
    /// Nothing is sent any more on this connection, which stays open.
    Silent,
    /// The connection is closed instead of the reply.
    Close,
    /// The connection is closed after this many bytes of the frame; 24 of them are its header.
    CloseInFrame {
        /// Bytes that are sent.
        at: usize,
    },
    /// The frame's header announces one byte more than a `qrinfo` may have.
    Oversized,
    /// One bit of the payload is wrong, and the checksum shows it.
    BitFlip {
        /// The index of the bit from the payload's first, modulo the payload's length in bits.
        bit: usize,
    },
    /// One bit of the payload is wrong, and the checksum fits.
    Tamper {
        /// The index of the bit from the payload's first, modulo the payload's length in bits.
        bit: usize,
    },
    /// Random bytes come in place of the frame, as many as it has.
    Garbage {
        /// The seed of the random bytes.
        seed: u64,
    },
    /// The message has an unknown name.
    Unknown,
    /// A true reply to a request for another cycle comes instead.
    WrongReply,
    /// The reply comes twice.
    Duplicate,
    /// The reply comes a few bytes at a time, whatever the peer's rate is.
    Drip {
        /// Bytes at a time, at least one.
        bytes: usize,
        /// The time that they take.
        every: Duration,
    },
    /// The reply takes longer to make, and what is asked behind it waits.
    Late {
        /// The additional time.
        by: Duration,
    },
    /// Instead of this reply and everything behind it come unrequested messages without end: each an `inv` of one
    /// block, as fast as the link carries them and the other side reads, at most 16 MB a second.
    Flood,
}

/// A fault in a `headers` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderFault {
    /// The last header names another block than the one before it.
    BrokenLink,
    /// The last header claims a target that is easier than any network allows.
    EasyTarget,
    /// The last header claims a target that its hash does not meet.
    NoWork,
    /// The first header is left out: the others follow a block that the asker does not have.
    Unconnected,
    /// The message ends inside a header.
    Truncated,
    /// There is no answer.
    Silence,
}

impl HeaderFault {
    /// The payload of the spoilt message.
    pub(super) fn spoil(self, Headers(mut headers): Headers) -> Bytes {
        let change_last = |headers: &mut Vec<BlockHeader>, at: usize, bytes: &[u8]| {
            if let Some(last) = headers.last_mut() {
                let mut header = *last.as_bytes();
                header[at..at + bytes.len()].copy_from_slice(bytes);
                *last = BlockHeader::from_bytes(header);
            }
        };
        match self {
            Self::BrokenLink => change_last(&mut headers, 4, &[0xab; 32]),
            Self::EasyTarget => change_last(&mut headers, 72, &0x2100_ffff_u32.to_le_bytes()),
            Self::NoWork => change_last(&mut headers, 72, &0x1d00_ffff_u32.to_le_bytes()),
            Self::Unconnected if !headers.is_empty() => drop(headers.remove(0)),
            Self::Unconnected | Self::Truncated | Self::Silence => {}
        }
        let mut payload = Headers(headers).to_wire();
        if self == Self::Truncated {
            payload.truncate(payload.len().saturating_sub(40));
        }
        payload
    }
}

/// Bytes as they leave the peer, and what it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) bytes: BytesMut,
    pub(super) drip: Option<(usize, Duration)>,
    /// By how much longer it takes to make.
    pub(super) late: Duration,
    pub(super) then: Then,
}

/// The action of a peer after it has sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Close,
    Stall,
    Flood,
}

// === impl Fault ===

impl Fault {
    /// Spoils a reply. `other` is the answer to another request.
    pub(super) fn befall(self, reply: &mut Outgoing, network: Network, other: Option<&Frame>) {
        let bytes = &mut reply.bytes;
        match self {
            Self::Refuse => bytes.clear(),
            Self::Silent => {
                bytes.clear();
                reply.then = Then::Stall;
            }
            Self::Close => {
                bytes.clear();
                reply.then = Then::Close;
            }
            Self::CloseInFrame { at } => {
                bytes.truncate(at);
                reply.then = Then::Close;
            }
            Self::Oversized => {
                let length = u32::try_from(max_payload(Command::QR_INFO) + 1).unwrap_or(u32::MAX);
                overwrite(bytes, 16, &length.to_le_bytes());
            }
            Self::BitFlip { bit } => flip(bytes, bit),
            Self::Tamper { bit } => {
                flip(bytes, bit);
                let sum = checksum(bytes.get(HEADER_LEN..).unwrap_or_default());
                overwrite(bytes, 20, &sum);
            }
            Self::Garbage { seed } => fastrand::Rng::with_seed(seed).fill(bytes),
            Self::Unknown => overwrite(bytes, 4, Command::new(b"unheardof").as_bytes()),
            Self::WrongReply => {
                if let Some(other) = other {
                    reply.replace(other, network);
                }
            }
            Self::Duplicate => bytes.extend_from_slice(&bytes.clone()),
            Self::Drip { bytes, every } => reply.drip = Some((bytes.max(1), every)),
            Self::Late { by } => reply.late = reply.late.saturating_add(by),
            Self::Flood => {
                bytes.clear();
                reply.then = Then::Flood;
            }
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(field) = bytes.get_mut(at..at + with.len()) {
        field.copy_from_slice(with);
    }
}

fn flip(frame: &mut [u8], bit: usize) {
    let payload = frame.get_mut(HEADER_LEN..).unwrap_or_default();
    if let Some(at) = (bit / 8).checked_rem(payload.len())
        && let Some(byte) = payload.get_mut(at)
    {
        *byte ^= 1 << (bit % 8);
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// A message as it should be.
    pub(super) fn frame(frame: &Frame, network: Network) -> Self {
        let mut outgoing = Self::nothing(Then::GoOn);
        outgoing.replace(frame, network);
        outgoing
    }

    /// Nothing at all.
    pub(super) fn nothing(then: Then) -> Self {
        Self { bytes: BytesMut::new(), drip: None, late: Duration::ZERO, then }
    }

    /// Another message in place of this one.
    pub(super) fn replace(&mut self, frame: &Frame, network: Network) {
        self.bytes.clear();
        frame.encode(network, &mut self.bytes);
    }
}
