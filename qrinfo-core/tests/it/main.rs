//! The tests of this crate, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod allocation;
mod check_reply;
mod entries;
mod field;
mod locks;
mod retry;
mod strict;
mod support;
mod vectors;
