//! Syncs rotated quorums from several peers.
