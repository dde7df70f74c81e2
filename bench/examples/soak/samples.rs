//! The use of memory, files, tasks and disk over time, and the growth that is too much.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context, Result, ensure};
use peak_alloc::PeakAlloc;
use tokio::runtime::Handle;

use crate::EVERY;

/// The greatest share of memory, files and tasks at the end of those after the first minutes.
const GROWTH: f64 = 1.05;

/// The greatest growth of the store for a block, in KiB.
const STORE: u64 = 8;

pub(crate) const HEAD: &str = "minute   memory KiB   heap KiB   files   tasks   store KiB    block";

/// Counts what the client holds, apart from what its allocator does not give back.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// One moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    memory: u64,
    heap: u64,
    files: u64,
    tasks: u64,
    store: u64,
    block: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Sample>);

/// A measure with its name and unit.
type Measure = (&'static str, fn(&Sample) -> u64);

const MEASURES: [Measure; 5] = [
    ("memory KiB", |sample| sample.memory),
    ("heap KiB", |sample| sample.heap),
    ("files", |sample| sample.files),
    ("tasks", |sample| sample.tasks),
    ("store KiB", |sample| sample.store),
];

// === impl Sample ===

impl Sample {
    /// Measures this process, and the files below `directory`.
    pub(crate) fn take(directory: &Path, block: u32) -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("this needs /proc")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(Self {
            memory: resident.trim().trim_end_matches(" kB").parse()?,
            heap: HEAP.current_usage() as u64 / 1024,
            files: fs::read_dir("/proc/self/fd")?.count() as u64,
            tasks: Handle::current().metrics().num_alive_tasks() as u64,
            store: bytes(directory)? / 1024,
            block: block.into(),
        })
    }
}

/// The bytes of all files below a directory.
fn bytes(directory: &Path) -> Result<u64> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let one = |entry: &fs::DirEntry| match entry.file_type()?.is_dir() {
        true => bytes(&entry.path()),
        false => Ok(entry.metadata()?.len()),
    };
    entries.iter().map(one).sum()
}

// === impl Samples ===

impl Samples {
    /// Adds one, and prints one of each minute.
    pub(crate) fn add(&mut self, sample: Sample) {
        let Sample { memory, heap, files, tasks, store, block } = sample;
        if self.0.len().is_multiple_of(per_minute()) {
            println!(
                "{:6} {memory:12} {heap:10} {files:7} {tasks:7} {store:11} {block:8}",
                self.0.len() / per_minute()
            );
        }
        self.0.push(sample);
    }

    /// Prints each measure over time, in sixty columns.
    pub(crate) fn print_chart(&self) {
        for (name, measure) in MEASURES {
            let most = self.0.iter().map(measure).max().unwrap_or(0);
            let column = |column: usize| {
                let from = column * self.0.len() / 60;
                let value = self.0.get(from).map_or(0, measure);
                ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][(value * 7 / most.max(1)) as usize]
            };
            println!("{name:10} {} {most}", (0..60).map(column).collect::<String>());
        }
    }

    /// Fails on growth.
    pub(crate) fn check(&self) -> Result<()> {
        // Five minutes of an hour, and of a shorter soak as large a part.
        let window = (self.0.len() / 12).max(1);
        let (first, last) = (window..2 * window, self.0.len() - window..self.0.len());
        for (name, measure) in &MEASURES[..4] {
            let of = |window: &Range<usize>| match *name {
                // They follow the number of connections, which has a limit.
                "files" | "tasks" => self.percentile(window.clone(), *measure, 100),
                _ => self.percentile(window.clone(), *measure, 50),
            };
            let (before, after) = (of(&first), of(&last));
            println!("{name}: {before} at first, {after} at the end");
            ensure!(after as f64 <= before as f64 * GROWTH, "{name} grew from {before} to {after}");
        }
        let (Some(from), Some(to)) = (self.0.get(first.start), self.0.last()) else { return Ok(()) };
        let (grown, blocks) = (to.store.saturating_sub(from.store), to.block - from.block);
        println!("store: {grown} KiB for {blocks} blocks");
        ensure!(grown <= STORE * blocks, "the store grew by {grown} KiB in {blocks} blocks");
        Ok(())
    }

    fn percentile(&self, window: Range<usize>, measure: fn(&Sample) -> u64, percent: usize) -> u64 {
        let mut values: Vec<_> = self.0[window].iter().map(measure).collect();
        values.sort_unstable();
        values[(values.len() - 1) * percent / 100]
    }
}

fn per_minute() -> usize {
    (60 / EVERY.as_secs()) as usize
}
