//! The demo's result as one table.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    time::Duration,
};

use super::Measured;

pub(super) fn print(
    out: &mut impl Write,
    limit: NonZeroUsize,
    alone: &Measured,
    together: &Measured,
    bound: Duration,
) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{:<28} {:>8} {:>9} {:>9} {:>7} {:>8} {:>8} {:>7} {:>8} {:>9}",
        "", "requests", "bytes", "wall time", "retries", "refusals", "speed-up", "missing", "verified", "different"
    )?;
    let base = alone.wall_time;
    row(out, "fastest peer, one at a time", alone, base)?;
    row(out, &format!("five peers, {limit} at once"), together, base)?;
    writeln!(
        out,
        "{:<28} {:>8} {:>9} {:>7.2} s {:>7} {:>8} {:>7.1}x",
        "best time these peers allow",
        "",
        "",
        bound.as_secs_f64(),
        "",
        "",
        base.as_secs_f64() / bound.as_secs_f64()
    )?;
    writeln!(out)?;
    writeln!(
        out,
        "in parallel: {:.2} times the best possible, {:.1} times faster than the fastest peer alone",
        together.wall_time.as_secs_f64() / bound.as_secs_f64(),
        base.as_secs_f64() / together.wall_time.as_secs_f64()
    )?;
    for (name, measured) in [("one at a time", alone), ("in parallel", together)] {
        for missing in measured.report.outcome.missing() {
            writeln!(out, "{name}: missing {missing}")?;
        }
    }
    Ok(())
}

fn row(out: &mut impl Write, name: &str, measured: &Measured, base: Duration) -> io::Result<()> {
    let stats = &measured.report.stats;
    writeln!(
        out,
        "{:<28} {:>8} {:>9} {:>7.2} s {:>7} {:>8} {:>7.1}x {:>7} {:>8} {:>9}",
        name,
        stats.attempts,
        stats.bytes,
        measured.wall_time.as_secs_f64(),
        stats.retries,
        stats.refusals,
        base.as_secs_f64() / measured.wall_time.as_secs_f64(),
        measured.report.outcome.missing().len(),
        measured.verified,
        measured.different,
    )
}
