//! Requests to all peers at once, over a network that does not say which peer answers.

mod driver;
mod entry;
mod manager;

pub use self::{
    driver::BroadcastDriver,
    manager::{
        Correlated, MAX_REMEMBERED, MAX_WAITING, QRInfoCorrelationManager, Registered, ReplyReceiver, ReplySender,
    },
};
