//! The store keeps what it reported as stored, and reports what is wrong with a file that it cannot use.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damage;
mod headers;
#[cfg(feature = "manager")]
mod manager;
mod store;
mod support;
mod writer;
