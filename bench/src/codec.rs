//! The instructions that decoding and encoding of real replies take, counted by callgrind.

use std::{env, fs, hint::black_box, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use qrinfo_core::{
    message::{MnListDiff, QRInfo},
    wire::{Seq, Wire},
};

/// A reply with six lists, and a full list.
const QR_INFO: &str = "mainnet/mainnet_qrinfo_2240504.bin";
const MN_LIST_DIFF: &str = "mainnet/mainnet_mnlistdiff_0_2227096.bin";

/// One measurement.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Work {
    DecodeQrInfo,
    VisitQrInfo,
    EncodeQrInfo,
    DecodeMnListDiff,
    VisitMnListDiff,
    EncodeMnListDiff,
}

/// Runs this program once for each measurement, under callgrind.
pub(super) fn run(vectors: &Path) -> Result<()> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        bail!("callgrind counts the instructions and is not installed (on Debian: apt-get install valgrind)");
    }
    println!("{:<64} instructions", "");
    for work in Work::value_variants() {
        println!("{:<64} {:>12}", work.to_string(), count(vectors, *work)?);
    }
    Ok(())
}

fn count(vectors: &Path, work: Work) -> Result<u64> {
    let name = work.to_possible_value().context("no name")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*codec::counted*"])
        .arg(env::current_exe()?)
        .args(["codec", "--work", name.get_name(), "--vectors"])
        .arg(vectors)
        .output()
        .context("cannot run valgrind")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{report}");
    let collected =
        report.lines().find_map(|line| line.split_once("Collected : ")).context("callgrind counted nothing")?;
    Ok(collected.1.trim().parse()?)
}

/// Does one measurement's work; what leads up to it is not counted.
pub(super) fn work(vectors: &Path, work: Work) -> Result<()> {
    let read = |name| fs::read(vectors.join(name)).map(Bytes::from).with_context(|| format!("cannot read {name}"));
    match work {
        Work::DecodeQrInfo => drop(counted(read(QR_INFO)?, QRInfo::from_wire)?),
        Work::VisitQrInfo => {
            counted(read(QR_INFO)?, |bytes| QRInfo::from_wire(bytes).map(|reply| visit_reply(&reply)))?
        }
        Work::EncodeQrInfo => drop(counted(QRInfo::from_wire(read(QR_INFO)?)?, |reply| reply.to_wire())),
        Work::DecodeMnListDiff => drop(counted(read(MN_LIST_DIFF)?, MnListDiff::from_wire)?),
        Work::VisitMnListDiff => {
            counted(read(MN_LIST_DIFF)?, |bytes| MnListDiff::from_wire(bytes).map(|diff| visit_diff(&diff)))?;
        }
        Work::EncodeMnListDiff => drop(counted(MnListDiff::from_wire(read(MN_LIST_DIFF)?)?, |diff| diff.to_wire())),
    }
    Ok(())
}

/// Callgrind counts between the entry of this function and its return.
#[inline(never)]
fn counted<A, B>(input: A, work: impl FnOnce(A) -> B) -> B {
    black_box(work(black_box(input)))
}

fn visit_reply(reply: &QRInfo) {
    reply.diffs().for_each(visit_diff);
    visit(&reply.last_commitment_per_index);
}

fn visit_diff(diff: &MnListDiff) {
    visit(&diff.merkle_hashes);
    visit(&diff.deleted_masternodes);
    visit(&diff.new_masternodes);
    visit(&diff.deleted_quorums);
    visit(&diff.new_quorums);
    visit(&diff.quorums_cl_sigs);
}

fn visit<T: Wire>(items: &Seq<T>) {
    for item in items {
        black_box(&item);
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DecodeQrInfo => "qrinfo, decode",
            Self::VisitQrInfo => "qrinfo, decode and visit every item",
            Self::EncodeQrInfo => "qrinfo, encode",
            Self::DecodeMnListDiff => "full mnlistdiff, decode",
            Self::VisitMnListDiff => "full mnlistdiff, decode and visit every item",
            Self::EncodeMnListDiff => "full mnlistdiff, encode",
        })
    }
}
