use std::collections::HashSet;

use qrinfo_core::{BlockHash, BlockHeader};
use redb::{ReadableTable, StorageError, Table, TableDefinition};

use crate::{
    Store, StoreError,
    chunk::{CHUNK, Chunk, chunks},
    error::Outcome,
    replies::BLOCKS,
};

/// Height of the first header of a chunk to the chunk.
const CHUNKS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("header_chunks");

/// Headers in one transaction, where there may be several. Their pages fit into the database's cache: a page that does
/// not would be written twice.
const PART: usize = 4_000;

type Entry = (BlockHeader, BlockHash);

/// The ends of the stored chain.
struct Ends {
    lowest: u32,
    tip: u32,
}

// === impl Store: headers ===

impl Store {
    /// The height of the newest header, or `None` if the store has no headers.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn tip_height(&self) -> Outcome<Option<u32>> {
        Ok(self.ends()?.map(|ends| ends.tip))
    }

    /// The height of the oldest header, or `None` if the store has no headers.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn first_height(&self) -> Outcome<Option<u32>> {
        Ok(self.ends()?.map(|ends| ends.lowest))
    }

    /// The header at a height.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn header(&self, height: u32) -> Outcome<Option<BlockHeader>> {
        self.in_chunk_of(height, |chunk| chunk.header(height))
    }

    /// The hash of the header at a height.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn hash_at(&self, height: u32) -> Outcome<Option<BlockHash>> {
        self.in_chunk_of(height, |chunk| chunk.hash(height))
    }

    /// The height of a stored header.
    ///
    /// The first call reads all stored hashes and makes an index in memory, about 16 bytes a header. Later calls add
    /// the headers that are new.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn height_of(&self, hash: &BlockHash) -> Outcome<Option<u32>> {
        let mut index = self.index();
        self.visit_headers_from(index.end(), |height, _, hash| {
            index.add(height, &hash);
            true
        })?;
        for height in index.candidates(hash) {
            if self.hash_at(height)?.as_ref() == Some(hash) {
                return Ok(Some(height));
            }
        }
        Ok(None)
    }

    /// Calls `visit` with height, header and hash of each header, from the oldest one on, until it returns `false`.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn visit_headers(&self, visit: impl FnMut(u32, BlockHeader, BlockHash) -> bool) -> Outcome<()> {
        self.visit_headers_from(0, visit)
    }

    fn visit_headers_from(
        &self,
        first: u32,
        mut visit: impl FnMut(u32, BlockHeader, BlockHash) -> bool,
    ) -> Outcome<()> {
        self.read_if_there(CHUNKS, |table| {
            for entry in table.range(chunk_of(&table, first)?..)? {
                let (start, bytes) = entry?;
                let chunk = Chunk::read(start.value(), bytes.value())?;
                let mut wanted = chunk.entries().filter(|(height, ..)| *height >= first);
                if !wanted.all(|(height, header, hash)| visit(height, header, hash)) {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Stores headers and their hashes from height `first` on, in one transaction. A long list that follows the stored
    /// headers is stored in parts of 4,000, so that little is in memory; each part leaves a whole chain.
    ///
    /// Stored headers at and above `first` are replaced: a reorganization. An empty list removes them. Replies whose
    /// requested block is removed are deleted. Work and hashes are not checked.
    ///
    /// # Errors
    /// [`StoreError::Gap`] if the headers do not join the stored ones, [`StoreError::Unlinked`] if one does not name
    /// the block before it, [`StoreError::TooHigh`], [`StoreError::Write`]. No header of the transaction is stored then.
    pub fn store_headers(&self, first: u32, headers: &[(BlockHeader, BlockHash)]) -> Outcome<()> {
        check_links(first, headers)?;
        let follow = headers.len() > PART && self.tip_height()?.is_none_or(|tip| tip.checked_add(1) == Some(first));
        if !follow {
            return self.store_part(first, headers);
        }
        let firsts = (first..=u32::MAX).step_by(PART);
        firsts.zip(headers.chunks(PART)).try_for_each(|(first, part)| self.store_part(first, part))
    }

    /// Stores headers that are linked, in one transaction.
    fn store_part(&self, first: u32, headers: &[(BlockHeader, BlockHash)]) -> Outcome<()> {
        // Holding the index keeps a reader from adding heights that are removed now.
        let mut index = self.index();
        let lost = self.write(|transaction| {
            let mut table = transaction.open_table(CHUNKS)?;
            let Some(ends) = ends(&table)? else {
                append(&mut table, first, &[], headers)?;
                return Ok(Ok(Vec::new()));
            };
            if first < ends.lowest || first > ends.tip.saturating_add(1) {
                return Ok(Err(StoreError::Gap { first, lowest: ends.lowest, tip: ends.tip }));
            }
            if !follows(&table, first, headers)? {
                return Ok(Err(StoreError::Unlinked { height: first }));
            }
            let (start, kept) = part_below(&table, first)?;
            let mut lost = Vec::new();
            if first <= ends.tip {
                let mut replies = transaction.open_table(BLOCKS)?;
                lost = lost_replies(&table, &replies, first, headers)?;
                for cycle_height in &lost {
                    replies.remove(cycle_height)?;
                }
                table.retain_in(start.., |_, _| false)?;
            }
            append(&mut table, start, &kept, headers)?;
            Ok(Ok(lost))
        })?;
        index.cut(first);
        lost.into_iter().for_each(|cycle_height| self.remove_payload(cycle_height));
        Ok(())
    }

    fn ends(&self) -> Outcome<Option<Ends>> {
        Ok(self.read_if_there(CHUNKS, |table| ends(&table))?.flatten())
    }

    fn in_chunk_of<T>(&self, height: u32, pick: impl FnOnce(&Chunk<'_>) -> Option<T>) -> Outcome<Option<T>> {
        Ok(self.read_if_there(CHUNKS, |table| in_chunk_of(&table, height, pick))?.flatten())
    }
}

type Chunks<'a> = Table<'a, u32, &'static [u8]>;

fn ends(table: &impl ReadableTable<u32, &'static [u8]>) -> Result<Option<Ends>, StorageError> {
    let (Some((lowest, _)), Some((start, bytes))) = (table.first()?, table.last()?) else { return Ok(None) };
    Ok(Some(Ends { lowest: lowest.value(), tip: Chunk::read(start.value(), bytes.value())?.last() }))
}

fn in_chunk_of<T>(
    table: &impl ReadableTable<u32, &'static [u8]>,
    height: u32,
    pick: impl FnOnce(&Chunk<'_>) -> Option<T>,
) -> Result<Option<T>, StorageError> {
    let Some(entry) = table.range(..=height)?.next_back() else { return Ok(None) };
    let (start, bytes) = entry?;
    Ok(pick(&Chunk::read(start.value(), bytes.value())?))
}

/// The height at which the chunk of a height starts; the height itself if there is no chunk.
fn chunk_of(table: &impl ReadableTable<u32, &'static [u8]>, height: u32) -> Result<u32, StorageError> {
    let last = table.range(height / CHUNK * CHUNK..=height)?.next_back().transpose()?;
    Ok(last.map_or(height, |(start, _)| start.value()))
}

/// The headers below `first` of the chunk that `first` belongs to, and the height of the first one.
fn part_below(table: &Chunks<'_>, first: u32) -> Result<(u32, Vec<Entry>), StorageError> {
    let start = chunk_of(table, first)?;
    let Some(bytes) = table.get(start)? else { return Ok((start, Vec::new())) };
    let chunk = Chunk::read(start, bytes.value())?;
    let below = chunk.entries().take_while(|(height, ..)| *height < first);
    Ok((start, below.map(|(_, header, hash)| (header, hash)).collect()))
}

fn append(table: &mut Chunks<'_>, start: u32, kept: &[Entry], headers: &[Entry]) -> Result<(), StorageError> {
    for (start, bytes) in chunks(start, kept.iter().chain(headers)) {
        table.insert(start, bytes.as_slice())?;
    }
    Ok(())
}

fn check_links(first: u32, headers: &[Entry]) -> Outcome<()> {
    if u32::try_from(headers.len()).ok().and_then(|count| first.checked_add(count)).is_none() {
        return Err(StoreError::TooHigh { first });
    }
    let unlinked = headers.windows(2).position(|pair| pair[1].0.prev_block_hash() != pair[0].1);
    // The position fits, as the number of headers does.
    unlinked.map_or(Ok(()), |position| Err(StoreError::Unlinked { height: first + position as u32 + 1 }))
}

/// Returns `true` if the first header names the stored block below it, or there is no such block.
fn follows(table: &Chunks<'_>, first: u32, headers: &[Entry]) -> Result<bool, StorageError> {
    let (Some(before), Some((header, _))) = (first.checked_sub(1), headers.first()) else { return Ok(true) };
    let stored = in_chunk_of(table, before, |chunk| chunk.hash(before))?;
    Ok(stored.is_none_or(|hash| hash == header.prev_block_hash()))
}

/// The cycles of replies whose requested block is removed when `headers` replace those from `first` on.
fn lost_replies(
    table: &Chunks<'_>,
    replies: &Table<'_, u32, &'static [u8; 32]>,
    first: u32,
    headers: &[Entry],
) -> Result<Vec<u32>, StorageError> {
    let mut requested = Vec::new();
    for entry in replies.iter()? {
        let (cycle_height, hash) = entry?;
        requested.push((cycle_height.value(), BlockHash::from_bytes(*hash.value())));
    }
    let hashes: HashSet<_> = requested.iter().map(|(_, hash)| *hash).collect();
    let mut removed = HashSet::new();
    for entry in table.range(chunk_of(table, first)?..)? {
        let (start, bytes) = entry?;
        let chunk = Chunk::read(start.value(), bytes.value())?;
        let above = chunk.entries().filter(|(height, _, hash)| *height >= first && hashes.contains(hash));
        removed.extend(above.map(|(_, _, hash)| hash));
    }
    for (_, hash) in headers {
        removed.remove(hash);
    }
    requested.retain(|(_, hash)| removed.contains(hash));
    Ok(requested.into_iter().map(|(cycle_height, _)| cycle_height).collect())
}
