//! Wire messages, network parameters and DIP-24 arithmetic for Dash light clients, and the types that travel through a
//! request stack.
//!
//! No I/O, no runtime. Each name has one path:
//!
//! | path | contents |
//! |---|---|
//! | the root | hashes, [`BlockHeader`], [`Target`], [`Network`], [`LlmqType`], [`Cycles`] and their work blocks |
//! | the root | [`Attempt`], [`Answer`], [`AttemptError`] and the other types of a request stack |
//! | [`message`] | `getqrinfo`, `qrinfo`, `mnlistdiff`, `headers2`, `clsig`, `isdlock`, and messages of a session |
//! | [`wire`] | strict decoding with typed errors, and message frames |
//! | [`retry`] | the decisions about failed attempts, as plain structs |
//! | [`client`] | the traits that an existing client implements |
//!
//! # Example
//!
//! The blocks that a cycle is about, and a message from and to its bytes:
//!
//! ```
//! use qrinfo_core::{
//!     BlockHash, Network,
//!     message::GetQRInfo,
//!     wire::{DecodeErrorKind, Wire},
//! };
//!
//! let cycles = Network::Mainnet.cycles();
//! let newest = cycles.start_of(2_240_504);
//! assert_eq!(newest.height(), 2_240_352);
//! assert_eq!(cycles.work_height(newest), Some(2_240_344));
//!
//! let request = GetQRInfo {
//!     base_block_hashes: vec![Network::Mainnet.genesis_hash()],
//!     block_hash: BlockHash::from_bytes([2; 32]),
//!     extra_share: true,
//! };
//! let payload = request.to_wire();
//! assert_eq!(payload.len(), 1 + 32 + 32 + 1);
//! assert_eq!(GetQRInfo::from_wire(payload.clone())?, request);
//!
//! // A message that is cut off names the field, its offset and the reason.
//! let error = GetQRInfo::from_wire(payload.slice(..10)).unwrap_err();
//! assert_eq!(error.kind, DecodeErrorKind::ImpossibleCount { count: 1, left: 9 });
//! # Ok::<(), qrinfo_core::wire::DecodeError>(())
//! ```
//!
//! Bytes are the interchange: every message decodes from the payload that came off the wire, and encodes to the same
//! bytes. So a type of another library converts through its own encoding.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | none | | |
//!
//! # Errors
//!
//! | error | meaning | what to do |
//! |---|---|---|
//! | [`DecodeError`](wire::DecodeError) | the bytes are no message of this kind; names the field | end the connection |
//! | [`FrameError`](wire::frame::FrameError) | the stream is not one of frames of our network | end the connection |
//! | [`Mismatch`] | the reply answers another request | find that one, as `qrinfo-correlate` does |
//! | [`AttemptError`] | one attempt of a request failed; decide by its [`kind`](AttemptError::kind) | see [`retry`] |
//! | [`GivenUp`] | the stack stopped asking for a request, and says why | connect to other peers, or ask again later |
//!
//! # Bounds
//!
//! * A payload has at most [`max_payload`](wire::frame::max_payload) bytes: 16 MiB for a `qrinfo`, 4 MiB for a
//!   `mnlistdiff`, 3 MiB for any message without a limit of its own. A longer announcement is an error at the header.
//! * A count of items is compared with the bytes that are there before anything is allocated, and with a limit of its
//!   own: 20,000 masternodes and 1,024 quorums in a diff, 128 trailing lists in a `qrinfo`, 2,000 `headers`, 8,000
//!   `headers2`, 1,000 addresses.
//! * Lists stay in their wire bytes and are decoded while they are read, so a decoded reply takes about as much memory
//!   as its payload.
//! * No byte sequence makes the decoder panic.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo-correlate`](https://docs.rs/qrinfo-correlate), [`qrinfo-scheduler`](https://docs.rs/qrinfo-scheduler) and
//!   [`qrinfo-recovery`](https://docs.rs/qrinfo-recovery): the layers that take an [`Attempt`].
//! * [`qrinfo-verify`](https://docs.rs/qrinfo-verify): proofs of a [`Reply`]. [`qrinfo`](https://docs.rs/qrinfo): all
//!   of it together.
//! * `docs/glossary.md` in the repository: the terms of this project.

mod chain;
pub mod client;
pub mod message;
mod stack;
pub mod wire;

pub use chain::{
    BlockHash, BlockHeader, CYCLES_BACK, CycleStart, Cycles, Devnet, DevnetError, HEADER_LEN, Hash256, LlmqParams,
    LlmqType, Network, ParseHashError, ProTxHash, QuorumHash, Target, UnknownNetwork, WORK_BLOCK_OFFSET, sha256d,
};
pub use client::phase::SyncPhase;
pub use stack::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, BadPeerName, DEFAULT_WINDOW_BYTES,
    GivenUp, KnownPeer, LeaveReason, Mismatch, MnListDiffRequestSpec, PeerEvent, PeerId, PeerName, PeerTable,
    QRInfoRequestSpec, RecoveryEvent, Reply, Request, RequestId, RequestPriority, SendId, Timing, WhyGivenUp, retry,
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
