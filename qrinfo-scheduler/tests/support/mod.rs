//! Simulated peers and the loop that drives a `Scheduler` against them.

#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod model;
pub mod run;
pub mod scenario;
