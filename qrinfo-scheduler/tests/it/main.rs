//! The tests of this crate, in one binary.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod field;
mod hostile;
mod ledger;
mod limits;
mod memory;
// The exponential function of other systems differs in its last bit.
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod recorded;
mod same_schedule;
mod schedules;
mod service;
mod support;
mod waiting;
