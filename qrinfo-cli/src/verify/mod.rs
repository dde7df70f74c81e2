//! `qrinfo verify`: captured replies against block headers.

mod judge;
mod judgement;
mod output;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use qrinfo_core::Network;

use self::{judge::Judge, judgement::Verdict};
use crate::{depth::Depth, headers};

/// Verifies captured qrinfo and mnlistdiff messages against a file of block headers.
///
/// A message is a payload or a whole frame, as bytes or as hexadecimal, as "decode" takes it. Messages are verified in
/// the order given: the lists that one message proves are there for the next one to start from.
///
/// A message does not name its request. The request is inferred: the work blocks are taken from the headers, and the
/// requested block is the lowest one that can have the commitments of the reply. The verdict on a message is one of:
///
/// true: everything in it follows from the headers, except for what is named as not proven.
///
/// false: no correct node sends it as the answer to any request.
///
/// missing: it cannot be judged. A block header or a list is missing, or the message cannot be decoded, for example
/// because the capture is not complete. The reason says what to give.
///
/// Exits with 0 if every verdict is "true", 1 if one is "false", 3 if none is "false" and one is "missing", and 2 if
/// the command line is wrong, a file cannot be read, or the headers or lists given are wrong.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// The files to verify, in this order; standard input if a file is "-" or none is given
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// mainnet, testnet, devnet or regtest
    #[arg(long)]
    network: Network,
    /// Block headers in a file, 80 bytes each, in order. They must reach from the oldest block that a message names up
    /// to the requested block
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// The height of the first header in the file
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    headers_from: u32,
    /// A mnlistdiff that leads to a list that the messages start from. Several are applied in the order given, the
    /// first one to the empty list at block 0. Repeat the option for each file
    #[arg(long = "list", value_name = "FILE")]
    lists: Vec<PathBuf>,
    /// Level of verification: the checks that need headers alone, also the lists by their merkle roots, or also members
    /// and signatures
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Depth::Full)]
    level: Depth,
    /// Print one JSON object for each file, one on a line
    #[arg(long)]
    json: bool,
}

/// Prints the verdict on each file. Returns the exit code of the worst one.
pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<ExitCode> {
    let headers = headers::read(&options.headers, options.network, options.headers_from)?;
    let mut judge = Judge::new(options.network, options.level.level(), headers);
    for file in &options.lists {
        judge.pin(file)?;
    }
    let standard_input = [PathBuf::from("-")];
    let files = if options.files.is_empty() { &standard_input } else { &options.files[..] };
    let mut worst = Verdict::True;
    for file in files {
        let judgement = judge.file(file)?;
        worst = worst.max(judgement.verdict);
        match options.json {
            true => output::write_json(out, file, options.level, &judgement)?,
            false => output::write_text(out, file, options.level, &judgement)?,
        }
    }
    Ok(ExitCode::from(match worst {
        Verdict::True => 0,
        Verdict::False => 1,
        Verdict::Missing => 3,
    }))
}
