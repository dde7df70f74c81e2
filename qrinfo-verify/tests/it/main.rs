//! The tests of this crate in one binary, except the alterations of every field, which take minutes.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod commitments;
mod common;
mod hostile;
mod inferred;
#[cfg(feature = "tower")]
mod layer;
mod legacy;
mod locks;
mod mainnet;
mod members;
mod memory;
mod recorded;
mod snapshot;
mod stage;
mod support;
mod testnet;
mod unknown_blocks;
