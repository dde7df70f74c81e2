//! Block headers in a file.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, ensure};
use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN, Network};
use qrinfo_verify::{HeaderMap, KnownBlock};
use spv_headers::{CheckedHeader, HeaderChain, check};

/// The most headers that are read from a file: a hundred years of blocks.
const MAX_HEADERS: u64 = 20_000_000;

/// Reads the headers of a file, the first of which is the one at height `first`, and checks their links and work, and
/// the blocks that are known to be on the network's chain. Returns the chain, and all of its blocks.
pub(crate) fn read(path: &Path, network: Network, first: u32) -> Result<(HeaderChain, HeaderMap)> {
    read_chain(path, network, first).with_context(|| format!("headers of {}", path.display()))
}

fn read_chain(path: &Path, network: Network, first: u32) -> Result<(HeaderChain, HeaderMap)> {
    let headers = check(network, &read_file(path)?)?;
    let chain = chain(network, first, &headers)?;
    check_known(&chain, network)?;
    let mut blocks = HeaderMap::default();
    for (height, CheckedHeader { header, hash }) in (first..).zip(&headers) {
        blocks.insert(height, *hash, header);
    }
    Ok((chain, blocks))
}

/// The blocks that the requests and replies of a sync name.
pub(crate) fn known_blocks(chain: &HeaderChain) -> HeaderMap {
    let known = |(height, hash, merkle_root)| (hash, KnownBlock { height, merkle_root });
    chain.blocks().map(known).collect()
}

fn read_file(path: &Path) -> Result<Vec<BlockHeader>> {
    let mut bytes = Vec::new();
    let limit = MAX_HEADERS * HEADER_LEN as u64;
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes).context("cannot read")?;
    ensure!(bytes.len() as u64 <= limit, "the file has more than {MAX_HEADERS} headers");
    let (headers, rest) = bytes.as_chunks::<HEADER_LEN>();
    ensure!(!headers.is_empty(), "the file is empty");
    ensure!(
        rest.is_empty(),
        "the file has {} bytes, which is no multiple of the {HEADER_LEN} bytes of a header",
        bytes.len()
    );
    Ok(headers.iter().map(|header| BlockHeader::from_bytes(*header)).collect())
}

fn chain(network: Network, first: u32, headers: &[CheckedHeader]) -> Result<HeaderChain> {
    let (oldest, others) = headers.split_first().context("the file is empty")?;
    let (mut chain, rest) = match first.checked_sub(1) {
        // The header below the first one is missing, and its hash is taken on trust.
        Some(below) => (HeaderChain::new(below, oldest.header.prev_block_hash()), headers),
        None => (HeaderChain::new(0, oldest.hash), others),
    };
    ensure!(first > 0 || oldest.hash == network.genesis_hash(), "the first header is not {network}'s block 0");
    chain.restore(rest.iter().copied())?;
    Ok(chain)
}

fn check_known(chain: &HeaderChain, network: Network) -> Result<()> {
    for (height, expected) in network.checkpoints() {
        let expected: BlockHash = expected.parse().with_context(|| format!("checkpoint {height}"))?;
        if let Some(hash) = chain.hash_at(*height) {
            ensure!(hash == expected, "block {height} is {hash}, and on {network} it is {expected}");
        }
    }
    Ok(())
}
