//! The command `qrinfo`.

mod decode;
mod demo;
mod json;
mod log;
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
struct Cli {
    #[command(flatten)]
    log: log::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Demo(demo::Options),
    Decode(decode::Decode),
    Sync(sync::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.log.start();
    match run(cli.command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell where even this fails.
            let _ = writeln!(io::stderr(), "qrinfo: {error:#}");
            if sync::is_misconfigured(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Runs a command and says whether it did all that it was asked for.
async fn run(command: Command) -> Result<bool> {
    match command {
        Command::Demo(options) => demo::run(&options, &mut io::stdout()).await,
        Command::Decode(decode) => decode.run().map(|()| true),
        Command::Sync(options) => sync::run(&options, &mut io::stdout()).await,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
