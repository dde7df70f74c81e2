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
//! // For each reply of the plan: `stage.apply(&request, &reply, |hash| headers.find(hash))?.lists`.
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

mod headers;
#[cfg(feature = "tower")]
mod layer;
mod lists;
mod quorum;
mod reply;

pub use headers::{HeaderMap, KnownBlock};
#[cfg(feature = "tower")]
pub use layer::{CheckFuture, CheckLayer, CheckReplies};
pub use lists::{ApplyFault, Lists, MasternodeList, ProofFault, QuorumList, RootFault};
pub use quorum::{
    ActiveQuorums, Deregistered, LockError, MinedQuorum, Modifier, Proof, Quarters, QuorumCheck, QuorumFault,
    QuorumProof, Quorums, SIGN_HEIGHT_OFFSET, SignedBy, Unverified, commitment_hash, rotated_members, top_members,
    verify_quorums,
};
pub use reply::{
    Checked, CommitmentFault, DiffFault, DiffName, Falsehood, Level, ListStage, Missing, ProvenDiff, SnapshotFault,
    Unproven, Verified, VerifiedQuorum, VerifyError, blocks_named, check, infer_request,
};
