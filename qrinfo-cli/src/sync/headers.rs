//! A file of block headers.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, ensure};
use qrinfo_core::{BlockHash, Network};

const HEADER_LEN: usize = 80;

/// The most headers that are read: a hundred years of blocks.
const MAX_HEADERS: u64 = 20_000_000;

/// The hashes of a chain of headers from block 0 on.
#[derive(Debug)]
pub(super) struct Headers {
    hashes: Vec<BlockHash>,
}

impl Headers {
    /// Reads and checks that each header names the one before it, from the network's genesis block on.
    pub(super) fn read(path: &Path, network: Network) -> Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_HEADERS * HEADER_LEN as u64).read_to_end(&mut bytes).context("cannot read")?;
        let (headers, rest) = bytes.as_chunks::<HEADER_LEN>();
        ensure!(rest.is_empty() && !headers.is_empty(), "the file is not a row of {HEADER_LEN}-byte headers");
        let hashes: Vec<_> = headers.iter().map(|header| BlockHash::from_bytes(spv_x11::x11(header))).collect();
        ensure!(hashes[0] == network.genesis_hash(), "the first header is not {network}'s block 0");
        for (height, (header, before)) in (1..).zip(headers[1..].iter().zip(&hashes)) {
            ensure!(header[4..36] == before.as_bytes()[..], "header {height} does not follow header {}", height - 1);
        }
        Ok(Self { hashes })
    }

    /// The height of the newest header.
    pub(super) fn tip(&self) -> u32 {
        u32::try_from(self.hashes.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The hash of the block at a height, if it is not above the tip.
    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.hashes.get(height as usize).copied()
    }
}
