//! dash-spv's surface: its managers, its message handler and its network traits, above the syncs of this crate.

#[cfg(feature = "config")]
pub mod config;
#[cfg(feature = "config")]
mod masternodes;
#[cfg(feature = "config")]
mod message_handler;
pub mod network;
#[cfg(feature = "config")]
mod progress;
#[cfg(all(feature = "config", feature = "parallel-qrinfo"))]
mod request_controller;

#[cfg(all(feature = "config", feature = "parallel-qrinfo"))]
pub use self::request_controller::{NotAllowed, PhaseLimits, RequestController, RequestStats};
#[cfg(feature = "config")]
pub use self::{
    masternodes::{HandledQRInfo, MasternodeSyncError, MasternodeSyncManager},
    message_handler::{MessageHandler, RoutedReply},
    progress::SyncProgress,
};
