//! The tests of this crate, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod allocation;
mod check_reply;
mod entries;
mod field;
mod least;
mod locks;
mod longest;
mod retry;
mod stack;
mod strict;
mod support;
mod vectors;
mod wire;
