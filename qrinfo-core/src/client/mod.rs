//! The traits and types of an existing client: its network, its storage and its phases.
//!
//! The traits have the shape of dash-spv's (mid-2025), so that a client can adopt this library without another network
//! stack. A client without a network uses the peers of `spv-peer`.

mod network;
pub(crate) mod phase;
mod storage;

use std::error::Error;

pub use network::{NamedNetworkManager, NetworkManager};
pub use storage::{Ban, StorageManager, StoredReply};

/// An error of the client's own network or storage.
pub type ClientError = Box<dyn Error + Send + Sync>;
