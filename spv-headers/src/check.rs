use std::{num::NonZeroUsize, thread};

use qrinfo_core::{BlockHash, BlockHeader, Network, Target, message::Headers2};

use crate::target::{Pace, Window};

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

/// Checked headers that follow each other, without the hashes that the next ones name.
#[derive(Debug)]
pub(crate) struct Run {
    headers: Vec<BlockHeader>,
    last: BlockHash,
}

/// Error of headers that are not accepted. The peer that sent them is at fault, except for
/// [`LessWork`](Self::LessWork), which an honest peer on a losing branch causes.
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
    /// A header's target is not the one that follows from the headers before it.
    #[error(
        "header {position} of the message claims the target {bits:#010x}; after the headers before it, it is {expected:#010x}"
    )]
    WrongTarget {
        /// Its position in the message.
        position: usize,
        /// The target in compact form.
        bits: u32,
        /// The target that follows.
        expected: u32,
    },
    /// A header stands at the height of a checkpoint and is another block.
    #[error("block {height} is {hash}, which is not the checkpoint at that height")]
    NotCheckpoint {
        /// The checkpoint's height.
        height: u32,
        /// The hash of the header.
        hash: BlockHash,
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
/// allows. [`HeaderChain::connect`](crate::HeaderChain::connect) checks the block that the first one follows.
///
/// This function does not check that a target follows from the headers before it;
/// [`sync_headers`](crate::sync_headers) does. Use this function for headers that were checked before, or that come
/// from the user.
///
/// This takes about ten microseconds a header; call it from `spawn_blocking`.
///
/// # Errors
/// [`HeaderError`], for the first header that fails.
pub fn check(network: Network, headers: &[BlockHeader]) -> Result<Vec<CheckedHeader>, HeaderError> {
    let rules = Rules::new(network);
    rules.check_hashed(None, headers, &rules.hash_all(headers))
}

// === impl Run ===

impl Run {
    /// Gives up the hashes: a held header takes 80 bytes instead of 112.
    pub(crate) fn new(checked: &[CheckedHeader]) -> Self {
        let last = checked.last().map_or(BlockHash::ZERO, |header| header.hash);
        Self { headers: checked.iter().map(|header| header.header).collect(), last }
    }

    pub(crate) fn len(&self) -> usize {
        self.headers.len()
    }

    pub(crate) fn into_checked(self) -> Vec<CheckedHeader> {
        let named = self.headers.iter().skip(1).map(BlockHeader::prev_block_hash);
        let hashes = named.chain([self.last]);
        self.headers.iter().zip(hashes).map(|(&header, hash)| CheckedHeader { header, hash }).collect()
    }
}

/// The function that hashes a header.
pub(crate) type HashFn = fn(&[u8]) -> [u8; 32];

/// The rules by which headers are judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) network: Network,
    hash: HashFn,
}

/// The place on a chain that headers follow.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The height of the first header.
    pub(crate) height: u32,
    /// The headers below it, as far as they are known.
    pub(crate) window: Window,
}

// === impl Rules ===

impl Rules {
    /// The rules of a network, whose hash is X11.
    pub(crate) fn new(network: Network) -> Self {
        Self::with_hash(network, spv_x11::x11)
    }

    /// The rules with another hash than X11.
    pub(crate) fn with_hash(network: Network, hash: HashFn) -> Self {
        Self { network, hash }
    }

    pub(crate) fn hash(&self, header: &BlockHeader) -> BlockHash {
        BlockHash::from_bytes((self.hash)(header.as_bytes()))
    }

    /// Returns `true` on a network whose headers take work to make. On others anyone can make any number of them.
    pub(crate) fn cost_work(&self) -> bool {
        matches!(self.network, Network::Mainnet | Network::Testnet)
    }

    /// Hashes and checks headers that follow `place`. Targets are checked where they can be derived: behind 24 known
    /// headers, on mainnet and testnet.
    pub(crate) fn check(&self, place: Place, headers: &[BlockHeader]) -> Result<Vec<CheckedHeader>, HeaderError> {
        self.check_hashed(Some(place), headers, &self.hash_all(headers))
    }

    /// Completes and checks compressed headers. Each hash is needed for the next header, so this is the work of one
    /// core.
    pub(crate) fn check_compressed(&self, place: Place, headers: &Headers2) -> Result<Vec<CheckedHeader>, HeaderError> {
        let mut hashes = Vec::with_capacity(headers.len());
        let headers = headers.decompress(|header| {
            let hash = self.hash(header);
            hashes.push(hash);
            hash
        });
        hashes.extend(headers.last().map(|header| self.hash(header)));
        self.check_hashed(Some(place), &headers, &hashes)
    }

    fn check_hashed(
        &self,
        mut place: Option<Place>,
        headers: &[BlockHeader],
        hashes: &[BlockHash],
    ) -> Result<Vec<CheckedHeader>, HeaderError> {
        let mut checked: Vec<CheckedHeader> = Vec::with_capacity(headers.len());
        for (position, (&header, &hash)) in headers.iter().zip(hashes).enumerate() {
            if let Some(before) = checked.last()
                && before.hash != header.prev_block_hash()
            {
                return Err(HeaderError::BrokenLink { position, expected: before.hash, got: header.prev_block_hash() });
            }
            let bits = header.bits();
            let target = Target::from_bits(bits)
                .filter(|target| *target <= self.network.easiest_target())
                .ok_or(HeaderError::BadTarget { position, bits })?;
            if let Some(place) = &mut place {
                match place.window.next_bits(self.network, place.height, header.time()) {
                    Some(expected) if expected != bits => {
                        return Err(HeaderError::WrongTarget { position, bits, expected });
                    }
                    _ => place.window.push(Pace::from(&header)),
                }
                place.height = place.height.checked_add(1).ok_or(HeaderError::TooHigh)?;
            }
            if !target.is_met_by(&hash) {
                return Err(HeaderError::NoWork { position, hash });
            }
            checked.push(CheckedHeader { header, hash });
        }
        Ok(checked)
    }

    fn hash_all(&self, headers: &[BlockHeader]) -> Vec<BlockHash> {
        if headers.len() <= MIN_CHUNK {
            return headers.iter().map(|header| self.hash(header)).collect();
        }
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let chunk = headers.len().div_ceil(threads).max(MIN_CHUNK);
        let mut hashes = vec![BlockHash::ZERO; headers.len()];
        thread::scope(|scope| {
            for (headers, hashes) in headers.chunks(chunk).zip(hashes.chunks_mut(chunk)) {
                scope.spawn(move || {
                    for (header, to) in headers.iter().zip(hashes) {
                        *to = self.hash(header);
                    }
                });
            }
        });
        hashes
    }
}
