//! The command `qrinfo`.

mod decode;
mod demo;
mod depth;
mod export_list;
mod follow;
mod headers;
mod json;
mod log;
mod nodes;
mod peers;
mod plan;
mod progress;
mod report;
mod run;
mod screen;
mod sync;
mod verify;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;

/// Syncs, follows, decodes and verifies Dash's rotated quorums (DIP-24).
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
    Follow(follow::Options),
    ExportList(export_list::Options),
    Peers(peers::Options),
    Plan(plan::Options),
    Verify(verify::Options),
    /// Prints completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the manual page, as roff
    Man,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.log.start();
    let (failure, cut_short) = cli.command.failures();
    let per_cycle = cli.log.is_verbose();
    match run(cli.command, per_cycle).await {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => cut_short,
        Err(error) => {
            // If standard error is closed, the message cannot be shown.
            let _ = writeln!(io::stderr(), "qrinfo: {error:#}");
            match () {
                () if sync::is_misconfigured(&error) => ExitCode::from(2),
                () if sync::is_interrupted(&error) => ExitCode::from(130),
                () => failure,
            }
        }
    }
}

/// Runs a command.
async fn run(command: Command, per_cycle: bool) -> Result<ExitCode> {
    match command {
        Command::Demo(options) => demo::run(&options, &mut io::stdout()).await.map(exit_code),
        Command::Decode(decode) => decode.run().map(|()| ExitCode::SUCCESS),
        Command::Sync(options) => sync::run(&options, per_cycle, &mut io::stdout()).await.map(exit_code),
        Command::Follow(options) => follow::run(&options, &mut io::stdout()).await.map(|()| ExitCode::SUCCESS),
        Command::ExportList(options) => export_list::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Peers(options) => peers::run(&options, &mut io::stdout()).await.map(exit_code),
        Command::Plan(options) => plan::run(&options, &mut io::stdout()).map(|()| ExitCode::SUCCESS),
        Command::Verify(options) => verify::run(&options, &mut io::stdout()),
        Command::Completions { shell } => {
            // It panics over a closed output, which memory is not.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "qrinfo", &mut script);
            io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => print_manual(&mut io::stdout()).map(|()| ExitCode::SUCCESS),
    }
}

/// Prints the manual page of the command, and of each of its commands behind it.
fn print_manual(out: &mut impl Write) -> Result<()> {
    let command = Cli::command();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        clap_mangen::Man::new(command.clone().display_name(format!("qrinfo-{}", command.get_name()))).render(out)?;
    }
    Ok(())
}

/// The exit code of a command: success if it did all that it was asked for.
fn exit_code(is_complete: bool) -> ExitCode {
    if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

// === impl Command ===

impl Command {
    /// The exit codes for a command that cannot do its work, and for one whose output is closed before the end. A
    /// closed output is no failure, because the reader has seen enough. For "verify" both 0 and 1 are verdicts, so it
    /// uses 2.
    fn failures(&self) -> (ExitCode, ExitCode) {
        match self {
            Self::Verify(_) => (ExitCode::from(2), ExitCode::from(2)),
            _ => (ExitCode::FAILURE, ExitCode::SUCCESS),
        }
    }
}
