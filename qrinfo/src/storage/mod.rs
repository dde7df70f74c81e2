//! What outlives the process: headers, replies, and the peers not to ask again.
//!
//! [`Store`] keeps it in a directory, and is a [`StorageManager`](qrinfo_core::client::StorageManager). Whatever a
//! method reported as stored is there after a crash or a `kill -9`: every change is one durable transaction.
//!
//! Headers, bans and the client's state are in a database, `NETWORK.redb`. All of it is checked when it is opened: one
//! that is damaged is refused and left unchanged. Replies are files of their own, `NETWORK-replies/CYCLE.qrinfo`, and
//! are only as good as their verification: a client judges what it loads as it judges what a peer sends, and
//! [deletes](Store::delete_reply) what fails.

mod error;
mod held_file;
mod replies;
mod store;

pub use error::StoreError;
pub use store::Store;
