//! Configuration of a Dash light client: [`ClientConfig`].

mod builders;
mod config;
mod duration;
mod keys;
mod load;
mod network;
mod peers;
mod validate;

pub use self::{
    config::ClientConfig,
    load::{BadSetting, BadSettingReason, LoadError, Place},
    network::{Network, UnknownNetwork},
    validate::{ConfigErrors, Problem, Reason},
};
