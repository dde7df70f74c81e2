//! The quorum book, and the locks that are verified with it.
#![cfg(feature = "verify")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod gaps;
mod lists;
mod locks;
mod properties;
