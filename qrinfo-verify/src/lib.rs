//! Whether a `qrinfo` or `mnlistdiff` reply is true: proven against block headers, as far as it can be.
//!
//! A light client asks strangers. What they answer counts when it follows from the headers that the client has:
//!
//! 1. [`check`](check()) needs only the request and the headers: the reply answers the request, its coinbases are in
//!    their blocks, and its parts fit one another. It is a plain function, and with the feature `tower` a
//!    [`CheckLayer`] around the service of a peer, whose false reply is then a failed attempt that is retried elsewhere.
//! 2. [`ListStage`] takes replies in the order of their plan, applies their diffs and compares the roots of both lists
//!    with those in the coinbases; at [`Level::Full`] it also draws members and verifies signatures. A false reply leaves
//!    it as it was, so that the same request can be put to another peer.
//!
//! Every result says what it did *not* prove ([`Unproven`]), and an error says whose fault it is: [`Falsehood`] the
//! peer's, [`Missing`] ours. Nothing that a peer sends makes this panic or allocate more than in proportion to its length.
//!
//! ```
//! use qrinfo_core::Network;
//! use qrinfo_verify::{HeaderMap, Level, ListStage, Quorums};
//!
//! let headers = HeaderMap::default();
//! let stage = ListStage::new(Network::Regtest, Level::Roots);
//! // For each reply of the plan: `stage.take(&request, &reply, |hash| headers.find(hash))?.lists`.
//! let lists = stage.lists(0).ok_or("genesis has empty lists")?;
//! let mut quorums = Quorums::starting_at(Network::Regtest, lists.height());
//! quorums.learn(lists, |hash| headers.find(hash));
//! assert_eq!(quorums.covered(), 0..=0);
//! # Ok::<(), &str>(())
//! ```
//!
//! # What no header proves
//!
//! The diff to the peer's own tip, where that is not on our chain; the number of transactions in a diff's block;
//! `quorumsCLSigs`, which are only compared with coinbases; the order of a diff's items, which means nothing; and what
//! snapshots say of masternodes that signed nothing.
//!
//! Signatures of before v19 are verified with the feature `legacy-bls` alone. Without it they are
//! [`Unverified::Legacy`]. Their scheme comes from `dash-pkc`, a crate of the Dash project that has had no formal
//! security review; no other signature is verified with it.
//!
//! # Members and signatures
//!
//! [`Quarters`] and [`rotated_members`] draw the members of rotated quorums as Dash Core does, [`top_members`] those of
//! the others; [`verify_quorums`] checks commitments against them on as many threads as it is given. [`Quorums`] knows
//! which ones are active at a height and which of them signs, and verifies their InstantSend locks and ChainLocks.

mod active;
mod bls;
mod check;
mod commitment;
mod error;
mod full;
mod headers;
mod inferred;
mod lane;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "legacy-bls")]
mod legacy;
mod level;
mod lists;
mod locks;
mod masternodes;
mod members;
mod merkle;
mod modifier;
mod namesakes;
mod quorums;
mod sorted;
mod stage;

pub use active::{ActiveQuorums, MinedQuorum, Quorums, SIGN_HEIGHT_OFFSET};
pub use check::{Checked, ProvenDiff, blocks_named, check};
pub use commitment::{Proof, QuorumCheck, QuorumFault, QuorumProof, Unverified, commitment_hash, verify_quorums};
pub use error::{CommitmentFault, DiffFault, DiffName, Falsehood, Missing, SnapshotFault, VerifyError};
pub use full::VerifiedQuorum;
pub use headers::{HeaderMap, KnownBlock};
pub use inferred::infer_request;
#[cfg(feature = "tower")]
pub use layer::{CheckFuture, CheckLayer, CheckReplies};
pub use level::{Level, Unproven};
pub use lists::{ApplyFault, Lists, RootFault};
pub use locks::{LockError, SignedBy};
pub use masternodes::MasternodeList;
pub use members::{Deregistered, Quarters, rotated_members, top_members};
pub use merkle::ProofFault;
pub use modifier::Modifier;
pub use quorums::QuorumList;
pub use stage::{ListStage, Verified};
