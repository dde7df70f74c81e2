//! What outlives the process: headers, replies, and the peers not to ask again.
//!
//! [`Store`] keeps it in one file, and is a [`StorageManager`](qrinfo_core::client::StorageManager). Whatever a method reported as stored is there after a crash or a `kill -9`: every
//! change is one durable transaction.

mod error;
mod store;

pub use error::StoreError;
pub use store::Store;
