//! The benchmarks of this workspace: `cargo xtask bench`, or `cargo run --release -p qrinfo-bench`. The figures are in
//! docs/benchmarks.md.
#![allow(clippy::print_stdout, reason = "the figures are its output")]

mod codec;
mod follow;
mod headers;
mod makespan;
mod newest;
mod overhead;
mod signatures;
mod verify;
mod x11;

use std::{
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// A benchmark.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", about = "Benchmarks of this workspace")]
enum Bench {
    /// Hashes per second of spv-x11 beside the C code of rs-x11-hash and the Rust code of dash-pow, in one run.
    X11,
    /// Instructions to decode and encode real replies, counted by callgrind.
    Codec {
        /// A directory with recorded replies, of which `mainnet` is read.
        #[arg(long, value_name = "DIR", default_value = "../shared/vectors")]
        vectors: PathBuf,
        /// The one measurement whose work is done, under callgrind.
        #[arg(long, hide = true)]
        work: Option<codec::Work>,
    },
    /// Peak heap of a client, in sequence and in parallel.
    Memory,
    /// CPU time per request through the scheduler beside a bare tower stack, in one run.
    Overhead,
    /// Makespan of the real stack over simulated nodes in virtual time, as a multiple of the floor.
    Makespan {
        /// A directory of scenario files.
        #[arg(long, value_name = "DIR", default_value = "../shared/bench/scenarios")]
        scenarios: PathBuf,
        /// Keep to the limits that the command has by default, not to 64 requests in flight.
        #[arg(long)]
        default_limits: bool,
        /// Write a page that shows every request of the first run of each scenario to this file.
        #[arg(long, value_name = "FILE.html")]
        report: Option<PathBuf>,
    },
    /// A follower of a made-up network for a month of virtual time: bytes, requests and false states; then kills at
    /// random moments.
    Follow {
        /// Days of 576 blocks.
        #[arg(long, default_value_t = 30)]
        days: u32,
        /// Kills.
        #[arg(long, default_value_t = 200)]
        kills: u32,
    },
    /// Time of a header sync from five nodes of 150 ms round trip and 1.5 MB/s each, in virtual time, as a multiple of
    /// 1.25 x (bytes / sum of rates) + 4 round trips; and that of the newest quorums.
    Headers {
        /// Lengths of the chains: mainnet above its newest checkpoint, and above the start of DIP-24.
        #[arg(default_values_t = [173_000, 940_000])]
        lengths: Vec<u32>,
        /// Measure clients over real sockets instead: peak heap, bytes written to the store, and the idle gap between
        /// two questions.
        #[arg(long)]
        live: bool,
    },
    /// CPU time to verify the signatures of a real reply: 32 quorums of 60, each by itself and all together, in one run.
    Signatures {
        /// A directory with recorded replies, of which `mainnet` is read.
        #[arg(long, value_name = "DIR", default_value = "../shared/vectors")]
        vectors: PathBuf,
    },
    /// Time to verify replies of mainnet's size.
    Verify {
        /// A directory with recorded replies, of which `mainnet` is read; without it only made-up ones are measured.
        #[arg(long, value_name = "DIR", default_value = "../shared/vectors")]
        vectors: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Bench::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: Bench) -> Result<()> {
    ensure!(!cfg!(debug_assertions), "a debug build measures nothing; run it with --release");
    match bench {
        Bench::X11 => x11::run(),
        Bench::Codec { vectors, work: None } => codec::run(&vectors),
        Bench::Codec { vectors, work: Some(work) } => codec::work(&vectors, work),
        // Its allocator counts, which would slow everything else here.
        Bench::Memory => cargo_run(["-p", "qrinfo", "--features", "parallel-qrinfo", "--example", "memory"]),
        Bench::Overhead => overhead::run(),
        Bench::Makespan { scenarios, default_limits, report } => {
            makespan::run(&scenarios, default_limits, report.as_deref())
        }
        Bench::Follow { days, kills } => follow::run(days, kills),
        Bench::Headers { lengths, live: false } => headers::run(&lengths).and_then(|()| newest::run()),
        Bench::Headers { lengths, live: true } => headers::run_live(&lengths),
        Bench::Signatures { vectors } => signatures::run(&vectors),
        Bench::Verify { vectors } => verify::run(&vectors),
    }
}

/// Runs another program of this repository in a release build.
fn cargo_run(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["run", "--release", "--locked"]).args(arguments).status();
    ensure!(status.context("cannot run cargo")?.success(), "the benchmark failed");
    Ok(())
}
