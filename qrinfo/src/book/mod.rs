//! The quorums and masternodes at the tip, for every thread of a client to ask.
//!
//! [`QuorumBook`] is a handle that any thread may clone and ask without waiting. One [`BookWriter`] fills it with proven
//! lists in ascending order, and takes back what a reorganisation replaced. Every answer is a [`Lookup`], which tells
//! what is not known *yet* from what is unknown. [`locks`] takes the locks that peers send.
//!
//! Bounds: the masternodes of the newest 64 lists, the active sets of the last eight cycles, and the keys of quorums for
//! 64 cycles after they were replaced (32 days on mainnet).
//!
//! ```
//! use qrinfo::book::{Lookup, QuorumBook};
//! use qrinfo_core::{LlmqType, Network, QuorumHash};
//! use qrinfo_verify::{HeaderMap, Lists};
//!
//! let (mut writer, book) = QuorumBook::new(Network::Mainnet);
//! let asked = book.public_key(LlmqType(4), &QuorumHash::ZERO);
//! assert_eq!(asked, Lookup::NotYet { synced_to: 0, wait_for: 0 });
//!
//! writer.set_tip(1_000);
//! let headers = HeaderMap::default();
//! writer.advance(&Lists::at_genesis(Network::Mainnet), |hash| headers.find(hash), |_| None);
//! let asked = book.public_key(LlmqType(4), &QuorumHash::ZERO);
//! assert_eq!(asked, Lookup::NotYet { synced_to: 0, wait_for: 1_000 });
//! ```

mod gaps;
mod handle;
pub mod locks;
mod lookup;
mod page;
mod record;
mod writer;

pub use self::{
    handle::{BookClosed, QuorumBook},
    lookup::Lookup,
    record::{ActiveSet, KnownQuorum},
    writer::BookWriter,
};
