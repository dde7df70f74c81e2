//! Verification of `qrinfo` and `mnlistdiff` replies against block headers, and of the InstantSend locks and ChainLocks
//! that proven quorums sign.
//!
//! A light client cannot trust its peers. It accepts a reply if the reply follows from the client's own headers:
//!
//! | step | needs | proves |
//! |---|---|---|
//! | [`check`](check()) | the request, headers | the reply answers it, coinbases are in their blocks, parts fit |
//! | [`ListStage`] at [`Level::Roots`] | also the lists before | both lists have the roots in the coinbases |
//! | [`ListStage`] at [`Level::Full`] | the same | also the members of quorums, and their signatures |
//! | [`Quorums`] | proven lists | the quorum that was selected signed a lock |
//!
//! The check is a plain function, and with the feature `tower` a [`CheckLayer`] around the service of a peer, whose
//! false reply is then a failed attempt that is retried elsewhere. A stage takes replies in the order of their plan. A
//! false reply leaves it unchanged, so that the same request can be sent to another peer.
//!
//! [`ListSnapshot`] keeps proven lists as bytes that its block's header proves again.
//!
//! # Example
//!
//! ```
//! use qrinfo_core::{BlockHash, MnListDiffRequestSpec, Network, Reply, Request, message::MnListDiff};
//! use qrinfo_verify::{HeaderMap, ListStage, Level, VerifyError};
//!
//! /// Returns true if the reply may be used, and false if its peer is to be banned.
//! fn is_true(
//!     stage: &mut ListStage,
//!     headers: &HeaderMap,
//!     request: &Request,
//!     reply: &Reply,
//! ) -> Result<bool, VerifyError> {
//!     match stage.apply(request, reply, |hash| headers.find(hash)) {
//!         Ok(verified) => {
//!             println!("proven, but for {:?}", verified.unproven);
//!             Ok(true)
//!         }
//!         Err(VerifyError::False(why)) => {
//!             println!("{why}");
//!             Ok(false)
//!         }
//!         // Our headers or lists lack something. No peer is at fault.
//!         Err(missing) => Err(missing),
//!     }
//! }
//!
//! // A reply to another request than ours is false, whatever the headers say.
//! let (ours, other) = (BlockHash::from_bytes([1; 32]), BlockHash::from_bytes([2; 32]));
//! let request = Request::from(MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: ours });
//! let reply = Reply::from(Box::new(MnListDiff::empty(BlockHash::ZERO, other)));
//! let mut stage = ListStage::new(Network::Mainnet, Level::Full);
//! assert!(!is_true(&mut stage, &HeaderMap::default(), &request, &reply)?);
//! # Ok::<(), VerifyError>(())
//! ```
//!
//! # Parts that no header proves
//!
//! Every result lists what was *not* proven ([`Unproven`]): the diff to the peer's own tip, if that is not on our
//! chain; the number of transactions in a diff's block; `quorumsCLSigs`, which are only compared with coinbases; the
//! order of a diff's items, which has no meaning; and the bits of snapshots for masternodes that signed nothing.
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
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `tower` | | [`CheckLayer`], the stateless check around the service of a peer |
//! | `legacy-bls` | | signatures of before v19, by a crate that has had no formal security review |
//!
//! # Errors
//!
//! | error | meaning | what to do |
//! |---|---|---|
//! | [`Falsehood`] | the reply is proven wrong | ban the peer, and ask another one |
//! | [`Missing`] | our side lacks a header or a list | sync headers, or keep to the plan's order; blame no peer |
//! | [`LockError::NotSigned`], [`LockError::Malformed`] | the lock is false, if the quorums are right | drop it |
//! | [`LockError::NotCovered`], [`LockError::NoQuorum`] | no quorums of that height | learn lists nearer to it |
//! | [`LockError::Legacy`] | the scheme of before v19 | build with `legacy-bls` |
//!
//! # Bounds
//!
//! * No input from a peer causes a panic, or allocations out of proportion to its length.
//! * A stage keeps at most 32 lists of each kind, those of the newest six cycles and the targets of `mnlistdiff`, and
//!   1,024 commitments as verified. Lists share what they have in common. [Pinned](ListStage::pin) lists are the
//!   caller's to bound.
//! * Time on one core for mainnet's size: 0.6 ms for a chained reply and 2 ms for a full list up to the roots; 90 ms
//!   for the signatures of 32 quorums of 60 members (`docs/benchmarks.md` in the repository). A stage uses all cores
//!   unless [told otherwise](ListStage::with_threads).
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`]: the messages. [`spv-headers`](https://docs.rs/spv-headers): a chain of headers that answers for
//!   blocks.
//! * [`qrinfo`](https://docs.rs/qrinfo): a sync that verifies each reply as it is delivered.
//! * `docs/verification.md` in the repository: the levels, and what each proves. `docs/glossary.md`: the terms.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The documentation is that of all features.
#![cfg_attr(not(feature = "tower"), allow(rustdoc::broken_intra_doc_links))]

mod headers;
#[cfg(feature = "tower")]
mod layer;
mod lists;
mod quorum;
mod reply;

pub use headers::{HeaderMap, KnownBlock};
#[cfg(feature = "tower")]
pub use layer::{CheckLayer, CheckReplies};
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
