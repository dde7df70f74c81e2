use std::io;

use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN};
use redb::StorageError;

/// The most headers of a chunk. With the hash of the last header they fill one page of the database (4,096 bytes), so
/// an append to a chunk rewrites a single page.
pub(crate) const CHUNK: u32 = 50;

const HASH_LEN: usize = 32;

/// Headers at consecutive heights as they are stored, and the hash of the last one.
///
/// Each header names the hash of the header before it, so no other hash is stored.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    first: u32,
    headers: &'a [[u8; HEADER_LEN]],
    last_hash: &'a [u8; HASH_LEN],
}

// === impl Chunk ===

impl<'a> Chunk<'a> {
    /// Reads the chunk that starts at height `first`.
    pub(crate) fn read(first: u32, bytes: &'a [u8]) -> Result<Self, StorageError> {
        let parts = || {
            let (headers, last_hash) = bytes.split_last_chunk()?;
            let (headers, rest) = headers.as_chunks();
            let above = u32::try_from(headers.len()).ok()?.checked_sub(1)?;
            (rest.is_empty() && first.checked_add(above).is_some()).then_some(Self { first, headers, last_hash })
        };
        parts().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("headers from {first} on")).into())
    }

    /// The height of the last header.
    pub(crate) fn last(&self) -> u32 {
        // A chunk has at least one header.
        self.first.saturating_add(u32::try_from(self.headers.len() - 1).unwrap_or(u32::MAX))
    }

    pub(crate) fn header(&self, height: u32) -> Option<BlockHeader> {
        let at = height.checked_sub(self.first)? as usize;
        self.headers.get(at).map(|header| BlockHeader::from_bytes(*header))
    }

    pub(crate) fn hash(&self, height: u32) -> Option<BlockHash> {
        self.header(height)?;
        match height.checked_add(1).and_then(|next| self.header(next)) {
            Some(next) => Some(next.prev_block_hash()),
            None => Some(BlockHash::from_bytes(*self.last_hash)),
        }
    }

    /// Height, header and hash of each header.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, BlockHeader, BlockHash)> {
        (self.first..=self.last()).filter_map(|height| Some((height, self.header(height)?, self.hash(height)?)))
    }
}

/// Divides headers, of which the first is at height `first`, into chunks. Gives the height of the first header and the
/// bytes of each chunk.
pub(crate) fn chunks<'a>(
    first: u32,
    headers: impl Iterator<Item = &'a (BlockHeader, BlockHash)>,
) -> impl Iterator<Item = (u32, Vec<u8>)> {
    let mut headers = (first..=u32::MAX).zip(headers).peekable();
    std::iter::from_fn(move || {
        let (start, _) = *headers.peek()?;
        let mut bytes = Vec::with_capacity(CHUNK as usize * HEADER_LEN + HASH_LEN);
        let mut last_hash = BlockHash::ZERO;
        while let Some((_, (header, hash))) = headers.next_if(|(height, _)| height / CHUNK == start / CHUNK) {
            bytes.extend_from_slice(header.as_bytes());
            last_hash = *hash;
        }
        bytes.extend_from_slice(last_hash.as_bytes());
        Some((start, bytes))
    })
}
