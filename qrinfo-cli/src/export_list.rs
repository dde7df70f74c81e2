//! `qrinfo export-list`: the newest stored lists as a file.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use qrinfo::follow::stored_lists;
use spv_store::Store;

use crate::nodes::DataOptions;

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
    #[command(flatten)]
    data: DataOptions,
}

/// Writes the file.
pub(crate) fn run(options: &Options) -> Result<()> {
    let config = DataOptions::completed(options.data.load()?)?;
    let directory = config.storage_path.context("no stored data are named; name their directory with --data-dir")?;
    let store = Store::open(&directory, config.network)?;
    let missing = "no lists are stored; run \"qrinfo follow\" with this --data-dir first";
    let (height, snapshot) = stored_lists(&store, config.network)?.context(missing)?;
    let bytes = snapshot.encode();
    fs::write(&options.file, &bytes).with_context(|| format!("cannot write {}", options.file.display()))?;
    eprintln!("qrinfo: lists at block {height}, {} bytes", bytes.len());
    Ok(())
}
