//! The demo's result, as one table for people and as JSON for programs.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Measured, Outcome};
use crate::screen::{self, Table};

pub(super) fn write_text(out: &mut impl Write, outcome: &Outcome, width: usize) -> io::Result<()> {
    let Outcome { limit, alone, together, bound, .. } = outcome;
    let speed_up = |time: Duration| format!("{:.1} x", ratio(alone.wall_time, time));
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let mut table = Table::new(["one peer".to_owned(), format!("five, {limit} at once"), "best possible".to_owned()]);
    let mut counts = |name, count: fn(&Measured) -> u64| {
        table.row(name, [count(alone).to_string(), count(together).to_string(), String::new()]);
    };
    counts("requests", |measured| measured.report.stats.attempts);
    counts("bytes", |measured| measured.report.stats.bytes);
    counts("retries", |measured| measured.report.stats.retries);
    counts("refusals", |measured| measured.report.stats.refusals);
    counts("replies missing", Measured::missing);
    counts("replies verified", |measured| measured.verified as u64);
    counts("replies different", |measured| measured.different as u64);
    table.row("wall time", [alone.wall_time, together.wall_time, *bound].map(seconds));
    table.row("speed-up", [alone.wall_time, together.wall_time, *bound].map(speed_up));
    writeln!(out)?;
    table.write(out, width)?;
    writeln!(out)?;
    let summary = format!(
        "Five peers took {:.2} times the best possible time, and were {:.1} times faster than the fastest peer alone.",
        ratio(together.wall_time, *bound),
        ratio(alone.wall_time, together.wall_time)
    );
    screen::paragraph(out, width, &summary)?;
    for (name, measured) in [("one peer", alone), ("five peers", together)] {
        for missing in measured.report.outcome.missing() {
            screen::paragraph(out, width, &format!("{name}: missing {missing}"))?;
        }
    }
    Ok(())
}

pub(super) fn write_json(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let value = json!({
        "complete": outcome.is_complete(),
        "maxConcurrent": outcome.limit,
        "onePeer": outcome.alone.to_json(),
        "fivePeers": outcome.together.to_json(),
        "bestMilliseconds": outcome.bound.as_millis() as u64,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

// === impl Measured ===

impl Measured {
    fn missing(&self) -> u64 {
        self.report.outcome.missing().len() as u64
    }

    fn to_json(&self) -> Value {
        let stats = &self.report.stats;
        json!({
            "milliseconds": self.wall_time.as_millis() as u64,
            "attempts": stats.attempts,
            "bytes": stats.bytes,
            "retries": stats.retries,
            "refusals": stats.refusals,
            "missing": self.missing(),
            "verified": self.verified,
            "different": self.different,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use qrinfo::SyncReport;

    use super::*;
    use crate::screen::fits;

    #[test]
    fn the_table_fits_80_and_40_columns() {
        let measured = |milliseconds| Measured {
            report: SyncReport::default(),
            wall_time: Duration::from_millis(milliseconds),
            verified: 64,
            different: 0,
        };
        let outcome = Outcome {
            limit: NonZeroUsize::new(20).unwrap(),
            alone: measured(9_760),
            together: measured(1_850),
            bound: Duration::from_millis(1_840),
            requests: 64,
        };
        for width in [80, 40] {
            let mut out = Vec::new();
            write_text(&mut out, &outcome, width).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(fits(&text, width), "{text}");
            assert!(text.contains("5.3 x"), "{text}");
        }
    }
}
