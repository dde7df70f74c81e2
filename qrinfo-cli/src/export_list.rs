//! `qrinfo export-list`: the newest stored lists as a file.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use qrinfo::follow::stored_lists;
use qrinfo_core::Network;
use spv_store::Store;

/// Writes the newest lists that "qrinfo follow" has stored to a file, for --from-list.
///
/// The file has the masternodes and quorums at one block, and the coinbase that ties them to its header. An application
/// can ship it: nothing in it is trusted that the header does not prove.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// File to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Directory of the stored data
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// mainnet, testnet, devnet or regtest
    #[arg(long, default_value = "mainnet")]
    network: Network,
}

/// Writes the file.
pub(crate) fn run(options: &Options) -> Result<()> {
    let store = Store::open(&options.data_dir, options.network)?;
    let missing = "no lists are stored; run \"qrinfo follow\" with this --data-dir first";
    let (height, snapshot) = stored_lists(&store, options.network)?.context(missing)?;
    let bytes = snapshot.encode();
    fs::write(&options.file, &bytes).with_context(|| format!("cannot write {}", options.file.display()))?;
    eprintln!("qrinfo: lists at block {height}, {} bytes", bytes.len());
    Ok(())
}
