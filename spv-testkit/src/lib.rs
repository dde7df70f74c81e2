//! Recorded peers.
