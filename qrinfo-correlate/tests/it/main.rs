//! The tests of this crate, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod broadcast;
mod events;
mod manager;
mod manager_prop;
mod prop;
mod rules;
mod service;
mod support;
mod time;
