//! Requests to all peers at once, over a network that does not say which peer answers.

mod driver;
mod entry;
mod error;
mod manager;

pub use self::{
    driver::BroadcastDriver,
    entry::Correlated,
    error::{MAX_WAITING, RegisterError, Unmatched},
    manager::{MAX_REMEMBERED, QRInfoCorrelationManager, Registered},
};
