use std::time::Duration;

use tokio::time::Instant;

/// When a run starts, and how long its microseconds are.
///
/// tokio's timers fire on whole milliseconds. At a scale of 1 a run's times are real ones, and everything that a peer
/// sends arrives up to a millisecond late. At [`EXACT`](Self::EXACT) a microsecond of the run is a millisecond of the
/// (paused) clock, and everything arrives to the microsecond; then everything else that has to do with time has to be
/// scaled as well: the client's timeouts, intervals and rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    start: Instant,
    scale: u32,
}

// === impl Timeline ===

impl Timeline {
    /// The scale at which timers are exact.
    pub const EXACT: u32 = 1000;

    /// A run in real time. Let it start when the peers have been connected: stalls count from here.
    pub fn real(start: Instant) -> Self {
        Self { start, scale: 1 }
    }

    /// A run a thousand times slower, for paused time. As with [`real`](Self::real), let it start late enough.
    pub fn exact(start: Instant) -> Self {
        Self { start, scale: Self::EXACT }
    }

    /// When the run starts.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// How many times slower than real time it runs.
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// How long this many microseconds of the run take.
    pub fn duration(&self, micros: u64) -> Duration {
        Duration::from_micros(micros).saturating_mul(self.scale)
    }

    /// The instant this many microseconds after the start; decades later if that is more than an instant can hold.
    pub fn at(&self, micros: u64) -> Instant {
        Instant::from_std(crate::pace::later(self.start.into_std(), self.duration(micros)))
    }

    /// How many microseconds of the run have passed at `instant`, rounded down; 0 before the start.
    pub fn micros(&self, instant: Instant) -> u64 {
        let passed = instant.saturating_duration_since(self.start).as_micros() / u128::from(self.scale);
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}
