//! The tests of this crate, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod draws;
mod history;
mod layer;
mod limits;
mod strategies;
mod support;
