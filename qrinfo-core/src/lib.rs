//! What is said between a Dash light client and its peers when it asks for rotated quorums (DIP-24), and the types
//! that travel a request stack.
//!
//! This crate does no I/O and knows no runtime. It holds:
//!
//! * [`hash`]: hash types in the byte order of the wire; [`header`]: block headers and their targets;
//! * [`network`] and [`llmq`]: magic bytes, ports, genesis blocks and quorum parameters;
//! * [`dip24`]: cycles, work blocks and the block to ask for;
//! * [`wire`]: strict decoding with typed errors, and message frames;
//! * [`message`]: `getqrinfo`, `qrinfo`, `getmnlistd`, `mnlistdiff` and the few session messages around them;
//! * [`stack`]: requests, replies, errors and events of a request stack, and the decisions about failures;
//! * [`phase`]: the phases of a sync;
//! * [`client`]: the traits that an existing client implements.
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

pub mod client;
pub mod dip24;
pub mod hash;
pub mod header;
pub mod llmq;
pub mod message;
pub mod network;
pub mod phase;
pub mod stack;
pub mod wire;

pub use hash::{BlockHash, Hash256, ProTxHash, QuorumHash};
pub use llmq::LlmqType;
pub use network::Network;
pub use phase::SyncPhase;
pub use stack::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, GivenUp, Mismatch,
    MnListDiffRequestSpec, PeerId, PeerName, QRInfoRequestSpec, Reply, Request, RequestId, RequestPriority, SendId,
    Timing, WhyGivenUp,
};
