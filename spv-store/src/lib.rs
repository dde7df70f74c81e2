//! Data of a light client that outlives the process: block headers, QRInfo replies, banned peers and the client's own
//! state.
//!
//! [`Store`] keeps them in a directory. Each change is one durable transaction: data that a method reported as stored
//! is still there after a crash or a `kill -9`. [`HeaderWriter`] stores headers in the background; a header in its
//! queue is not stored yet.
//!
//! Headers, bans, good peers, the steps to the newest lists and the state are in a database, `NETWORK.redb`. The whole database is checked when it is opened. A
//! damaged one is refused and not changed. Replies are separate files, `NETWORK-replies/CYCLE.qrinfo`. They are not
//! checked here: verify a stored reply like a reply from a peer, and [delete](Store::delete_reply) it if it is false.
//!
//! The feature `manager` makes [`Store`] a `qrinfo_core::client::StorageManager`, the asynchronous storage of a client
//! in the shape of dash-spv.
//!
//! ```
//! use qrinfo_core::{BlockHash, Network, BlockHeader};
//! use spv_store::Store;
//!
//! let directory = tempfile::tempdir()?;
//! let store = Store::open(directory.path(), Network::Regtest)?;
//! let header = BlockHeader::from_bytes([0; 80]);
//! let hash = BlockHash::from_bytes([1; 32]);
//! store.store_headers(1000, &[(header, hash)])?;
//! assert_eq!(store.tip_height()?, Some(1000));
//! assert_eq!(store.hash_at(1000)?, Some(hash));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bans;
mod chunk;
mod error;
mod good_peers;
mod headers;
mod held_file;
mod index;
mod lists;
#[cfg(feature = "manager")]
mod manager;
mod payloads;
mod replies;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::StoreError;
pub use store::Store;
pub use writer::HeaderWriter;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
