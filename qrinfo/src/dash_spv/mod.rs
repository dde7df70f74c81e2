//! dash-spv's surface: its managers, its message handler and its network traits, above the syncs of this crate.

pub mod config;
mod masternodes;
mod message_handler;
pub mod network;
mod progress;
#[cfg(feature = "parallel-qrinfo")]
mod request_controller;

#[cfg(feature = "parallel-qrinfo")]
pub use self::request_controller::{NotAllowed, PhaseLimits, RequestController, RequestStats};
pub use self::{
    masternodes::{HandledQRInfo, MasternodeSyncError, MasternodeSyncManager},
    message_handler::{MessageHandler, RoutedReply},
    progress::SyncProgress,
};
