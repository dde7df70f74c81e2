//! The chain of block headers: the source of block hashes for a light client.
//!
//! [`check()`] judges headers by themselves: each names the one before it and has done the work that it claims. It takes
//! the time, and needs nothing but the headers. [`HeaderChain`] then fits them to the chain so far. [`sync_headers`] fetches
//! headers from many peers at once and finds the chain that they agree on. [`TipTracker`] follows the tips of peers that
//! stay connected.
//!
//! ```
//! use qrinfo_core::Network;
//! use spv_headers::HeaderChain;
//!
//! let (height, hash) = Network::Mainnet.checkpoint_below(2_200_000);
//! let mut chain = HeaderChain::new(height, hash);
//! // Headers from any peer, as they come off the wire.
//! let checked = spv_headers::check(Network::Mainnet, &[])?;
//! let extension = chain.connect(&checked)?;
//! assert_eq!(extension.count, 0);
//! # Ok::<(), spv_headers::HeaderError>(())
//! ```

mod chain;
mod check;
mod machine;
mod rules;
mod segment;
mod sync;
mod target;
mod tracker;
mod tree;
mod vote;

pub use chain::{Extension, HeaderChain};
pub use check::{CheckedHeader, HeaderError, check};
pub use machine::Standing;
pub use rules::HeaderRules;
pub use sync::{
    HeaderBatch, HeaderSync, HeaderSyncConfig, HeaderSyncError, LeftPeer, PeerProblem, SyncedPeer, sync_headers,
};
pub use tracker::{Heard, TipCheck, TipHeaders, TipTracker};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
