//! Configuration of a Dash light client: [`ClientConfig`], with the names and defaults of dash-spv where it has them.
//!
//! A configuration is built in code, or loaded from a TOML file and the environment. [`ClientConfig::validate`] then
//! checks it and reports all problems at once. The crate reads and checks settings; the client applies them.
//!
//! ```
//! use spv_config::ClientConfig;
//!
//! let text = "network = 'regtest'\npeers = ['127.0.0.1:19899']\nmax_peers = 0\nmessage_timeout = '10m'";
//! let config = ClientConfig::from_toml(text)?;
//! let errors = config.validate().unwrap_err();
//! assert_eq!(
//!     errors.to_string(),
//!     "max_peers must be at least 1, not 0\n\
//!      message_timeout must be at most sync_timeout (5m), not 10m: lower it, or raise sync_timeout"
//! );
//! # Ok::<(), spv_config::LoadError>(())
//! ```
//!
//! # File
//!
//! The example shows every setting with its default, except for the peers and the commented settings. All settings are
//! optional. Durations have a unit (`"500ms"`, `"30s"`, `"1m 30s"`). An unknown key is an error, which suggests the most
//! similar name.
//!
//! ```toml
#![doc = include_str!("../client.toml")]
//! ```
//!
//! Without the feature `parallel-qrinfo` the fields of the second half do not exist. A file that sets one of them is
//! refused, and the error names the feature. The feature makes no other configuration invalid: the defaults of its
//! settings adapt to the settings of the first half.
//!
//! # Environment
//!
//! Each setting has an environment variable, which replaces the value of the file: `QRINFO_` and the key in capitals. A
//! `qrinfo_` at the start of the key is not repeated. Examples: `max_peers` is `QRINFO_MAX_PEERS`, and
//! `qrinfo_parallel_timeout` is `QRINFO_PARALLEL_TIMEOUT`. Several peers are separated by commas. An empty variable
//! counts as not set.
//!
//! Any other variable whose name begins with `QRINFO_` is an error, because a mistyped name must not pass unnoticed. A
//! program with such variables of its own removes them and calls [`ClientConfig::from_sources`].

mod builders;
mod config;
mod duration;
mod keys;
mod load;
mod load_error;
mod network;
mod peers;
mod validate;

/// Network of [`ClientConfig::network`].
#[doc(no_inline)]
pub use qrinfo_core::Network;

pub use self::{
    config::ClientConfig,
    load_error::{BadSetting, BadSettingReason, LoadError, Place},
    validate::{ConfigErrors, Problem, Quantity, Reason},
};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
