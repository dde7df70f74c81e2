//! Fuzz targets of the workspace as plain functions: each takes any bytes and must return.
//!
//! `fuzz/harness` runs them under libFuzzer (nightly): `cargo xtask fuzz TARGET --seconds N`. The tests of this crate
//! run each target over its corpus, and over alterations of it, on stable.

mod config;
mod correlator;
mod frames;
mod input;
mod replies;
mod scheduler;
mod store;
mod wire;

pub use config::config;
pub use correlator::correlator;
pub use frames::frames;
pub use replies::replies;
pub use scheduler::scheduler;
pub use store::store;
pub use wire::wire;

/// A target: returns for every input, and panics on a finding.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 7] = [
    ("config", config),
    ("correlator", correlator),
    ("frames", frames),
    ("replies", replies),
    ("scheduler", scheduler),
    ("store", store),
    ("wire", wire),
];
