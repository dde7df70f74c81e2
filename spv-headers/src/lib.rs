//! The chain of block headers, which gives a light client its block hashes, and a sync of it from many peers.
//!
//! ```text
//!   headers ──► check(): links, X11, work ──► HeaderChain: branches by work ──► hashes, merkle roots
//!                                                   ▲
//!   peer ─┐                                         │
//!   peer ─┼─► sync_headers: segments between checkpoints, one peer each; above them peers agree on the tip
//!   peer ─┘
//! ```
//!
//! [`check()`] judges headers by themselves: each names the one before it and has done the work that it claims. It
//! takes the time, and needs nothing but the headers. [`HeaderChain`] then fits them to the chain so far.
//! [`sync_headers`] fetches headers from many peers at once and finds the chain that they agree on. [`TipTracker`] follows
//! the tips of peers that stay connected.
//!
//! # Example
//!
//! ```
//! use qrinfo_core::{BlockHeader, Network};
//! use spv_headers::{HeaderChain, HeaderError};
//!
//! /// Takes headers from any peer, as they come off the wire, and returns the new tip.
//! fn extend(chain: &mut HeaderChain, network: Network, headers: &[BlockHeader]) -> Result<u32, HeaderError> {
//!     let checked = spv_headers::check(network, headers)?;
//!     let extension = chain.connect(&checked)?;
//!     println!("{} new, {} replaced", extension.count, extension.replaced);
//!     Ok(chain.tip())
//! }
//!
//! let (height, hash) = Network::Mainnet.checkpoint_below(2_200_000);
//! let mut chain = HeaderChain::new(height, hash);
//! assert_eq!(extend(&mut chain, Network::Mainnet, &[])?, height);
//! assert_eq!(chain.hash_at(height), Some(hash));
//! # Ok::<(), HeaderError>(())
//! ```
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
//! | [`HeaderError`] | headers that are not accepted; it names the first that fails | drop the peer |
//! | [`HeaderError::LessWork`] | an honest peer on a losing branch | keep the peer |
//! | [`HeaderError::Unconnected`], [`BelowStart`](HeaderError::BelowStart) | no block of ours | ask from an older one |
//! | [`PeerProblem`], in [`HeaderSync::left`] | one peer cannot be asked further | use the others |
//! | [`HeaderSyncError`] | no chain was found | add more peers, or allow more time |
//!
//! # Bounds
//!
//! * Memory: fewer than 60 bytes a header. While a sync runs, at most 65,536 headers of 112 bytes wait behind a segment
//!   that is not complete.
//! * Time: about ten microseconds a header on one core, divided by the cores. A sync ends after 10 min by default, or
//!   when no peer has sent headers for 20 s.
//! * In a sync of mainnet or testnet each header must meet the target that follows from the headers before it. An
//!   endless stream ends at the height that its peer could plausibly have.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`]: headers, targets and checkpoints. [`spv_x11`]: the hash. [`spv_peer`]: the connections.
//! * [`qrinfo-verify`](https://docs.rs/qrinfo-verify): proofs against these headers.
//!   [`spv-store`](https://docs.rs/spv-store): headers on disk.
//! * `docs/glossary.md` in the repository: the terms of this project.

mod chain;
mod check;
mod chunked;
mod machine;
mod rules;
mod segment;
mod sync;
mod target;
mod tracker;
mod tree;
mod vote;
mod waypoints;

pub use chain::{Extension, HeaderChain};
pub use check::{CheckedHeader, HeaderError, check};
pub use machine::Standing;
pub use rules::HeaderRules;
pub use sync::{
    HeaderBatch, HeaderSync, HeaderSyncConfig, HeaderSyncError, LeftPeer, PeerProblem, SyncedPeer, sync_headers,
};
pub use tracker::{Below, Heard, TipCheck, TipHeaders, TipTracker};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
