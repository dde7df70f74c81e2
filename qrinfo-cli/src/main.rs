//! The command `qrinfo`.

mod decode;
mod demo;
mod json;
mod progress;
mod run;
mod sync;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap::Parser;

/// Syncs and decodes Dash's rotated quorums (DIP-24).
#[derive(Debug, Parser)]
#[command(name = "qrinfo", version, max_term_width = 100)]
enum Cli {
    Demo(demo::Options),
    Decode(decode::Decode),
    Sync(sync::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell where even this fails.
            let _ = writeln!(io::stderr(), "qrinfo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command and says whether it did all that it was asked for.
async fn run(command: Cli) -> Result<bool> {
    match command {
        Cli::Demo(options) => demo::run(&options, &mut io::stdout()).await,
        Cli::Decode(decode) => decode.run().map(|()| true),
        Cli::Sync(options) => sync::run(&options, &mut io::stdout()).await,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
