use std::time::Duration;

use tokio::time::Instant;

/// The start of a run, and the length of its microseconds.
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

    /// Returns the instant at which the run starts.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Returns the factor by which it runs slower than real time.
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// Returns the time that this many microseconds of the run take.
    pub fn duration(&self, micros: u64) -> Duration {
        Duration::from_micros(micros).saturating_mul(self.scale)
    }

    /// The instant this many microseconds after the start; decades later if that is more than an instant can hold.
    pub fn at(&self, micros: u64) -> Instant {
        Instant::from_std(crate::pace::later(self.start.into_std(), self.duration(micros)))
    }

    /// Returns the microseconds of the run that have passed at `instant`, rounded down; 0 before the start.
    pub fn micros(&self, instant: Instant) -> u64 {
        let passed = instant.saturating_duration_since(self.start).as_micros() / u128::from(self.scale);
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}
