//! The blocks of a recorded chain, as the block file of a node.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use super::{PROGRAM_LIMIT, patience::Patience};

/// First bytes of each block in a block file of regtest.
const MAGIC: [u8; 4] = [0xfc, 0xc1, 0xb7, 0xdc];

/// Zeros behind the last block. A node ends its block files with them, and they were cut off from recorded ones.
const PADDING: usize = 4096;

/// A chain from its first block on.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Content of `blk00000.dat`.
    pub(super) file: Vec<u8>,
    /// Height of the last block.
    pub(super) tip: u32,
}

impl Blocks {
    /// Reads a block file; one that ends in `.xz` is unpacked by the program `xz`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or unpacked, or holds no blocks of regtest.
    pub(super) fn read(path: &Path, patience: &Patience) -> Result<Self> {
        let file = match path.extension().is_some_and(|extension| extension == "xz") {
            true => unpacked(path, patience)?,
            false => fs::read(path).with_context(|| format!("cannot read {}", path.display()))?,
        };
        Self::parse(file).with_context(|| format!("{} is no block file of regtest", path.display()))
    }

    /// The chain without its newest blocks, and these.
    pub(super) fn split(&self, newest: u32) -> Result<(Self, Vec<Vec<u8>>)> {
        let (mut blocks, mut rest) = (Vec::new(), self.file.as_slice());
        while let Some((size, after)) = rest.strip_prefix(&MAGIC).and_then(<[u8]>::split_first_chunk) {
            let (block, after) = after.split_at(u32::from_le_bytes(*size) as usize);
            blocks.push(block.to_vec());
            rest = after;
        }
        let kept = self.tip.checked_sub(newest).with_context(|| format!("the chain has no {newest} blocks"))?;
        let newest = blocks.split_off(kept as usize + 1);
        let framed = |block: &Vec<u8>| [&MAGIC[..], &(block.len() as u32).to_le_bytes(), block].concat();
        Ok((Self { file: blocks.iter().flat_map(framed).collect(), tip: kept }, newest))
    }

    fn parse(mut file: Vec<u8>) -> Result<Self> {
        file.resize(file.len() + PADDING, 0);
        let mut rest = file.as_slice();
        let mut blocks = 0_u32;
        while let Some((size, after)) = rest.strip_prefix(&MAGIC).and_then(<[u8]>::split_first_chunk) {
            let size = u32::from_le_bytes(*size) as usize;
            rest = after.get(size..).with_context(|| format!("block {blocks} is longer than the file"))?;
            blocks += 1;
        }
        ensure!(blocks > 0, "it does not start with a block; unpack it first (xz -d)");
        ensure!(rest.iter().all(|byte| *byte == 0), "something else follows block {}", blocks - 1);
        Ok(Self { file, tip: blocks - 1 })
    }
}

fn unpacked(path: &Path, patience: &Patience) -> Result<Vec<u8>> {
    let what = format!("unpack {}", path.display());
    let output = patience.output(PROGRAM_LIMIT, &what, Command::new("xz").arg("-dc").arg(path))?;
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(size: u32) -> Vec<u8> {
        [&MAGIC[..], &size.to_le_bytes(), &vec![7; size as usize]].concat()
    }

    #[test]
    fn the_tip_is_the_number_of_blocks_less_the_first() {
        let blocks = Blocks::parse([block(285), block(300), block(0)].concat()).unwrap();
        assert_eq!(blocks.tip, 2);
        assert!(blocks.file.ends_with(&[0; PADDING]));
    }

    #[test]
    fn a_last_block_without_its_last_zeros_is_whole() {
        let mut file = [block(285), block(300)].concat();
        let whole = file.len();
        file.truncate(whole - 3);
        assert_eq!(Blocks::parse(file).unwrap().tip, 1);
    }

    #[test]
    fn what_is_no_block_file_is_named() {
        for (file, says) in [
            (b"\xfd7zXZ".to_vec(), "xz -d"),
            (Vec::new(), "does not start with a block"),
            ([block(3), b"else".to_vec()].concat(), "follows block 0"),
            ([&MAGIC[..], &u32::MAX.to_le_bytes()].concat(), "longer than the file"),
        ] {
            let error = Blocks::parse(file).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn recorded_chains_are_block_files() {
        for (chain, tip) in [("regtest", 1772), ("regtest-churn", 1823)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../shared/chains/{chain}.blk.xz"));
            if !path.exists() {
                eprintln!("not tested: {} is absent", path.display());
                continue;
            }
            assert_eq!(Blocks::read(&path, &Patience::default()).unwrap().tip, tip);
        }
    }
}
