use std::{num::NonZeroUsize, thread};

use qrinfo_core::{BlockHash, BlockHeader, Network, Target};

/// Headers that one thread hashes at a time, at least: fewer are not worth a thread.
const MIN_CHUNK: usize = 64;

/// A header with its hash, whose link and work were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedHeader {
    /// The header.
    pub header: BlockHeader,
    /// X11 of the header.
    pub hash: BlockHash,
}

/// Why headers are not accepted. All but [`LessWork`](Self::LessWork), which an honest peer on a losing branch causes,
/// are the fault of the peer that sent them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// A header does not name the one before it.
    #[error("header {position} of the message names {got} as the one before it, which is {expected}")]
    BrokenLink {
        /// Its position in the message.
        position: usize,
        /// The hash of the header before it.
        expected: BlockHash,
        /// The hash that it names.
        got: BlockHash,
    },
    /// A header's target is not one, or is easier than the network allows.
    #[error("header {position} of the message claims the target {bits:#010x}, which the network does not allow")]
    BadTarget {
        /// Its position in the message.
        position: usize,
        /// The target in compact form.
        bits: u32,
    },
    /// A header's hash is above its target.
    #[error("header {position} of the message, {hash}, has not done its work")]
    NoWork {
        /// Its position in the message.
        position: usize,
        /// Its hash.
        hash: BlockHash,
    },
    /// The first header names a block that is not on our chain.
    #[error("the headers follow {0}, which is not on our chain")]
    Unconnected(BlockHash),
    /// The headers fork off below the block that our chain starts at.
    #[error("the headers fork off below height {0}, where our chain starts")]
    BelowStart(u32),
    /// The headers leave our chain for a branch with less work.
    #[error("the headers fork off at height {fork} and have done less work than our chain")]
    LessWork {
        /// The last height that both share.
        fork: u32,
    },
    /// The height would not fit.
    #[error("the headers reach beyond the greatest height")]
    TooHigh,
}

/// Hashes headers, on all cores, and checks that each names the one before it and meets a target that `network`
/// allows. What the first one follows is for [`HeaderChain::connect`](crate::HeaderChain::connect) to say.
///
/// How a target follows from the headers before it is not checked. A false extension of a chain therefore costs its
/// maker only the work that the network's easiest target takes: seconds a header. Do not take a height for the network's
/// that a single peer shows.
///
/// This takes about ten microseconds a header; call it from `spawn_blocking`.
///
/// # Errors
/// [`HeaderError`], for the first header that fails.
pub fn check(network: Network, headers: &[BlockHeader]) -> Result<Vec<CheckedHeader>, HeaderError> {
    let hashes = hash_all(headers);
    let mut checked: Vec<CheckedHeader> = Vec::with_capacity(headers.len());
    for (position, (&header, hash)) in headers.iter().zip(hashes).enumerate() {
        if let Some(before) = checked.last()
            && before.hash != header.prev_block_hash()
        {
            return Err(HeaderError::BrokenLink { position, expected: before.hash, got: header.prev_block_hash() });
        }
        let target = Target::from_bits(header.bits())
            .filter(|target| *target <= network.easiest_target())
            .ok_or(HeaderError::BadTarget { position, bits: header.bits() })?;
        if !target.is_met_by(&hash) {
            return Err(HeaderError::NoWork { position, hash });
        }
        checked.push(CheckedHeader { header, hash });
    }
    Ok(checked)
}

fn hash_all(headers: &[BlockHeader]) -> Vec<BlockHash> {
    let hash = |header: &BlockHeader| BlockHash::from_bytes(spv_x11::x11(header.as_bytes()));
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let chunk = headers.len().div_ceil(threads).max(MIN_CHUNK);
    let mut hashes = vec![BlockHash::ZERO; headers.len()];
    thread::scope(|scope| {
        for (headers, hashes) in headers.chunks(chunk).zip(hashes.chunks_mut(chunk)) {
            scope.spawn(move || {
                for (header, to) in headers.iter().zip(hashes) {
                    *to = hash(header);
                }
            });
        }
    });
    hashes
}
