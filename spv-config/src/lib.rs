//! Configuration of a Dash light client: [`ClientConfig`], with the names and defaults of dash-spv where it has them.
//!
//! It is made in code, or loaded from a TOML file and the environment, and checked by [`ClientConfig::validate`], which
//! reports all that is wrong at once. This crate reads and judges settings; what they do is up to whoever syncs.
//!
//! ```
//! use spv_config::ClientConfig;
//!
//! let text = "network = 'regtest'\npeers = ['127.0.0.1:19899']\nmax_peers = 0\nmessage_timeout = '10m'";
//! let config = ClientConfig::from_toml(text)?;
//! let errors = config.validate().unwrap_err();
//! assert_eq!(
//!     errors.to_string(),
//!     "max_peers is 0, so nobody could be asked: set it to at least 1\n\
//!      message_timeout is 10m, longer than sync_timeout, which is 5m: shorten it, or lengthen sync_timeout"
//! );
//! # Ok::<(), spv_config::LoadError>(())
//! ```
//!
//! # The file
//!
//! All settings and, but for the peers and the commented ones, their defaults. None has to be given. Durations have a
//! unit (`"500ms"`, `"30s"`, `"1m 30s"`). A key that is no setting is refused, with the name that was probably meant.
//!
//! ```toml
#![doc = include_str!("../client.toml")]
//! ```
//!
//! Without the feature `parallel-qrinfo` the settings of the second half are not among the fields. A file that has them
//! is refused with a message that names the feature: it asks for something that the program cannot do.
//!
//! # The environment
//!
//! Each setting has a variable, which goes before the file: the key in capitals behind `QRINFO_`, which is not repeated.
//! So `max_peers` is `QRINFO_MAX_PEERS`, and `qrinfo_parallel_timeout` is `QRINFO_PARALLEL_TIMEOUT`. Several peers have
//! commas between them. A variable that is empty counts as not set.
//!
//! Any other variable whose name begins with `QRINFO_` is refused like an unknown key, for a mistyped one would go
//! unnoticed. A program that has such variables for other purposes takes them out and calls
//! [`ClientConfig::from_sources`].

mod builders;
mod config;
mod duration;
mod keys;
mod load;
mod load_error;
mod network;
mod peers;
mod validate;

pub use self::{
    config::ClientConfig,
    load_error::{BadSetting, BadSettingReason, LoadError, Place},
    network::{Network, UnknownNetwork},
    validate::{ConfigErrors, Problem, Reason},
};
