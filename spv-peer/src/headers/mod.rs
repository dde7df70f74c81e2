//! The chain of block headers: where block hashes come from.
//!
//! [`check`] judges headers by themselves: that each names the one before it and has done the work it claims. It is
//! what takes time, and needs nothing but the headers. [`HeaderChain`] then fits them to what is known.
//! [`sync_headers`] asks one peer until it has no more.

mod chain;
mod check;
mod sync;

pub use chain::{Extension, HeaderChain};
pub use check::{CheckedHeader, HeaderError, check};
pub use sync::{HeaderSyncError, sync_headers};
