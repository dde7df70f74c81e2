//! The types and messages of the protocol between a Dash light client and its peers for rotated quorums (DIP-24), and
//! the types of a request stack.
//!
//! This crate does no I/O and depends on no runtime. Each name has one path:
//!
//! * at the root: hashes, [`BlockHeader`] and its [`Target`]; [`Network`] with its magic bytes, ports and genesis block;
//!   [`LlmqType`] and [`LlmqParams`]; [`Cycles`] and their work blocks; [`Attempt`], [`Answer`] and the other types of a
//!   request stack; the [`SyncPhase`]s of a client;
//! * [`wire`]: strict decoding with typed errors, and message frames;
//! * [`message`]: `getqrinfo`, `qrinfo`, `getmnlistd`, `mnlistdiff` and a few session messages;
//! * [`retry`]: the decisions about failed attempts;
//! * [`client`]: the traits that an existing client implements.
//!
//! `docs/glossary.md` in the repository explains the terms of this project.
//!
//! # Bytes are the interchange
//!
//! Every message decodes from the payload that came off the wire, and encodes to the same bytes:
//!
//! ```
//! use qrinfo_core::{BlockHash, message::GetQRInfo, wire::Wire};
//!
//! let request = GetQRInfo {
//!     base_block_hashes: vec![BlockHash::from_bytes([1; 32])],
//!     block_hash: BlockHash::from_bytes([2; 32]),
//!     extra_share: true,
//! };
//! let payload = request.to_wire();
//! assert_eq!(payload.len(), 1 + 32 + 32 + 1);
//! assert_eq!(GetQRInfo::from_wire(payload)?, request);
//! # Ok::<(), qrinfo_core::wire::DecodeError>(())
//! ```

mod chain;
pub mod client;
pub mod message;
mod stack;
pub mod wire;

pub use chain::{
    BlockHash, BlockHeader, CYCLES_BACK, CycleStart, Cycles, HEADER_LEN, Hash256, LlmqParams, LlmqType, Network,
    ParseHashError, ProTxHash, QuorumHash, Target, UnknownNetwork, WORK_BLOCK_OFFSET, sha256d,
};
pub use client::phase::SyncPhase;
pub use stack::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, BadPeerName, GivenUp, KnownPeer,
    LeaveReason, Mismatch, MnListDiffRequestSpec, PeerEvent, PeerId, PeerName, PeerTable, QRInfoRequestSpec,
    RecoveryEvent, Reply, Request, RequestId, RequestPriority, SendId, Timing, WhyGivenUp, retry,
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
