//! Runs of many days.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    panic,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{Simulate, day::Day, kind::Kind, log::Records, play::play, runtime};

/// The greatest number of bytes that a day takes at a time, with all its nodes.
const MEMORY: u64 = 192 << 20;

/// Panics by the name of the thread, which is that of the day.
static PANICS: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

/// The result of a day.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) records: Records,
    pub(crate) memory: u64,
    /// Allocations, a measure of the work of the day.
    pub(crate) allocations: u64,
}

/// Plays the days, and returns how many of them failed.
pub(crate) fn run(options: &Simulate, without: &BTreeSet<Kind>) -> u64 {
    panic::set_hook(Box::new(|panic| {
        let name = thread::current().name().unwrap_or_default().to_owned();
        let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        panics.entry(name).or_default().push(panic.to_string());
    }));
    #[expect(clippy::disallowed_methods, reason = "how long the simulation takes on this machine")]
    let start = std::time::Instant::now();
    let (next, failed, stop) = (AtomicU64::new(options.from), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.from.saturating_add(options.seeds) {
                        return;
                    }
                    let violations = violations(seed, without, options);
                    if !violations.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        stop.fetch_or(options.first, Ordering::Relaxed);
                        report(seed, without, &violations, options);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    let took = start.elapsed();
    println!("{} days, {failed} failed, in {:.1} s", options.seeds, took.as_secs_f64());
    failed
}

/// Plays a day, and returns the rules that were broken. It is played twice unless `--once`.
fn violations(seed: u64, without: &BTreeSet<Kind>, options: &Simulate) -> Vec<String> {
    let one = once(seed, without);
    if options.log {
        println!("{}", one.records.events.join("\n"));
        println!("seed {seed}: {:016x}, {} bytes, {} allocations", one.records.hash(), one.memory, one.allocations);
    }
    let mut violations = one.records.violations.clone();
    if !options.once {
        let other = once(seed, without);
        if one.records.hash() != other.records.hash() {
            let mut both = one.records.events.iter().zip(&other.records.events);
            let first = both.find(|(one, other)| one != other);
            violations.push(format!("two runs differ: {first:?}"));
        }
    }
    violations
}

/// Plays a day once.
pub(crate) fn once(seed: u64, without: &BTreeSet<Kind>) -> Outcome {
    let name = format!("day-{seed}");
    let day = Day::new(seed, without);
    let outcome = thread::scope(|scope| {
        let played = thread::Builder::new().name(name.clone()).stack_size(8 << 20).spawn_scoped(scope, || {
            // The chains are no part of the day's memory.
            crate::chains::history(seed);
            let records = Cell::new(None);
            let memory = allocation_counter::measure(|| records.set(Some(runtime::run(seed, &name, play(day)))));
            (records.into_inner(), memory)
        });
        played.map(thread::ScopedJoinHandle::join)
    });
    let (mut records, memory, allocations) = match outcome {
        Ok(Ok((Some(Ok(records)), memory))) => (records, memory.bytes_max, memory.count_total),
        _ => (Records::default(), 0, 0),
    };
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    records.violations.extend(panics.into_iter().flatten().map(|panic| format!("panic: {panic}")));
    if memory > MEMORY {
        records.violations.push(format!("{memory} bytes of memory"));
    }
    Outcome { records, memory, allocations }
}

fn report(seed: u64, without: &BTreeSet<Kind>, violations: &[String], options: &Simulate) {
    let mut without = without.clone();
    let quiet = Simulate { log: false, ..options.clone() };
    let has_failed = |without: &BTreeSet<Kind>| !self::violations(seed, without, &quiet).is_empty();
    if options.shrink {
        for kind in Day::new(seed, &without).kinds {
            without.insert(kind);
            if !has_failed(&without) {
                without.remove(&kind);
            }
        }
    }
    let left: Vec<_> = Day::new(seed, &without).kinds.iter().map(Kind::to_string).collect();
    let leaves_out: Vec<_> = without.iter().map(Kind::to_string).collect();
    let mut lines = format!("seed {seed} failed, with {}\n", left.join(", "));
    for violation in violations.iter().take(5) {
        lines.push_str(&format!("    {violation}\n"));
    }
    lines.push_str(&format!("    cargo xtask simulate --from {seed} --seeds 1 --log"));
    if !leaves_out.is_empty() {
        lines.push_str(&format!(" --without {}", leaves_out.join(",")));
    }
    println!("{lines}");
}
