//! Verification of `qrinfo` and `mnlistdiff` replies against block headers.
//!
//! A light client cannot trust its peers. It accepts a reply if the reply follows from the client's own headers:
//!
//! 1. [`check`](check()) needs only the request and the headers: the reply answers the request, its coinbases are in
//!    their blocks, and its parts fit one another. It is a plain function, and with the feature `tower` a
//!    [`CheckLayer`] around the service of a peer, whose false reply is then a failed attempt that is retried elsewhere.
//! 2. [`ListStage`] takes replies in the order of their plan, applies their diffs and compares the roots of both lists
//!    with those in the coinbases. At [`Level::Full`] it also selects members and verifies signatures. A false reply
//!    leaves it unchanged, so that the same request can be sent to another peer.
//!
//! [`ListSnapshot`] keeps proven lists as bytes that its block's header proves again.
//!
//! Every result lists what was *not* proven ([`Unproven`]), and an error says whether the peer is at fault
//! ([`Falsehood`]) or our side lacks data ([`Missing`]). No input from a peer causes a panic, or allocations out of
//! proportion to its length.
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
//! `docs/glossary.md` in the repository explains the terms of this project.
//!
//! # Parts that no header proves
//!
//! The diff to the peer's own tip, if that is not on our chain; the number of transactions in a diff's block;
//! `quorumsCLSigs`, which are only compared with coinbases; the order of a diff's items, which has no meaning; and the
//! bits of snapshots for masternodes that signed nothing.
//!
//! Signatures from before v19 are verified only with the feature `legacy-bls`. Without it they are
//! [`Unverified::Legacy`]. Their scheme comes from `dash-pkc`, a crate of the Dash project that has had no formal
//! security review; no other signature is verified with it. The members of quorums from before v19 cannot be selected
//! with certainty, so a members' signature that does not fit is no proof against the peer
//! ([`Unverified::LegacyMembers`]); a false signature of the quorum itself is.
//!
//! # Members and signatures
//!
//! [`Quarters`] and [`rotated_members`] select the members of rotated quorums as Dash Core does, [`top_members`] those
//! of the others. [`verify_quorums`] checks commitments against them on a given number of threads. [`Quorums`] knows
//! the active quorums at a height and the one that signs, and verifies InstantSend locks and ChainLocks.

mod headers;
#[cfg(feature = "tower")]
mod layer;
mod lists;
mod quorum;
mod reply;

pub use headers::{HeaderMap, KnownBlock};
#[cfg(feature = "tower")]
pub use layer::{CheckFuture, CheckLayer, CheckReplies};
pub use lists::{
    ApplyFault, ListSnapshot, ListSnapshotError, Lists, MasternodeList, ProofFault, QuorumList, RootFault,
};
pub use quorum::{
    ActiveQuorums, Deregistered, LockError, MinedQuorum, Modifier, Proof, Quarters, QuorumCheck, QuorumFault,
    QuorumProof, Quorums, SIGN_HEIGHT_OFFSET, SignedBy, Unverified, commitment_hash, rotated_members, top_members,
    verify_quorums,
};
pub use reply::{
    Checked, CommitmentFault, DiffFault, DiffName, Falsehood, Level, ListStage, Missing, ProvenDiff, SnapshotFault,
    Unproven, Verified, VerifiedQuorum, VerifyError, blocks_named, check, infer_request,
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
