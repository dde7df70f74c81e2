//! Data of a light client that outlives the process: block headers, QRInfo replies, banned peers and the client's own
//! state, in a directory.
//!
//! | file | contents | checked |
//! |---|---|---|
//! | `NETWORK.redb` | headers, bans, good peers, the steps to the newest lists, state | all of it when it is opened; a damaged one is refused |
//! | `NETWORK-replies/CYCLE.qrinfo` | replies | not here: verify a stored reply like one from a peer |
//!
//! [`Store`] keeps them. Each change is one durable transaction: data that a method reported as stored is still there
//! after a crash or a `kill -9`. [`HeaderWriter`] stores headers in the background; a header in its queue is not stored
//! yet. A stored reply that turns out to be false is to be [deleted](Store::delete_reply).
//!
//! # Example
//!
//! ```
//! use qrinfo_core::{BlockHash, BlockHeader, Network};
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
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `manager` | | [`Store`] as a `StorageManager`, the asynchronous storage of a client like dash-spv |
//!
//! # Errors
//!
//! [`StoreError`] says what to do. Stored data is not changed by an operation that fails:
//!
//! | variants | what to do |
//! |---|---|
//! | `Open`, `InUse`, `OtherNetwork` | choose another directory, or end the other process |
//! | `NewerFormat`, `OlderFormat` | use a newer version, or remove the file: the next sync fills it again |
//! | `Damaged`, `Read` | remove the file, or restore it from a copy |
//! | `Write` | check the free space of the disk |
//! | `Gap`, `Unlinked`, `TooHigh` | check headers before they are stored, and store them in the order of their chain |
//!
//! # Bounds
//!
//! * Disk: at most 1.2 times the bytes of the headers in batches of 2,000, one durable change each.
//! * Memory: a cache of 16 MiB. A [`HeaderWriter`] has at most four lists of headers waiting.
//! * Opening checks all headers of mainnet in about half a second.
//! * Methods block while the disk works: call them from `spawn_blocking` where that matters.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`]: headers and bans.
//! * [`spv-headers`](https://docs.rs/spv-headers): the headers to store. [`spv-pool`](https://docs.rs/spv-pool): the
//!   bans and good peers.
//! * `docs/glossary.md` in the repository: the terms of this project.
#![cfg_attr(docsrs, feature(doc_cfg))]

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
