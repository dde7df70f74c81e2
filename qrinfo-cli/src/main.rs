//! The command `qrinfo`.

mod decode;
mod json;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

/// Works with the rotated quorums (DIP-24) of Dash.
#[derive(Debug, Parser)]
#[command(name = "qrinfo", version, max_term_width = 100)]
enum Cli {
    Decode(decode::Decode),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse() {
        Cli::Decode(decode) => decode.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell where even this fails.
            let _ = writeln!(io::stderr(), "qrinfo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
