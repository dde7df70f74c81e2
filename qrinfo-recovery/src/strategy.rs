use std::{fmt, time::Duration};

use qrinfo_core::AttemptErrorKind;

/// What to do about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryStrategy {
    /// Ask again, at another peer if there is one, after at most this long.
    Retry {
        /// The bound of the backoff; full jitter draws from below it.
        delay: Duration,
    },
    /// Begin the phase anew: what several peers say does not fit what the client has, so its headers may have been
    /// reorganised.
    RestartPhase {
        /// From which height; `None` for the phase's start.
        checkpoint: Option<u32>,
    },
    /// Go on without this phase, and say so.
    SkipPhase {
        /// Why.
        reason: String,
    },
    /// Give up.
    Abort {
        /// What kind of failure ended it.
        error: AttemptErrorKind,
    },
    /// Ask another peer at once.
    SwitchPeer,
    /// Wait for a peer to connect.
    WaitForNetwork {
        /// For how long at most.
        timeout: Duration,
    },
    /// Have fewer requests under way.
    ReduceConcurrency {
        /// How many.
        target: usize,
    },
    /// One request at a time.
    FallbackToSequential {
        /// For how long; then more in steps.
        duration: Duration,
    },
}

impl fmt::Display for RecoveryStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry { delay } => write!(f, "retry within {delay:?}"),
            Self::RestartPhase { checkpoint: Some(height) } => write!(f, "restart the phase from height {height}"),
            Self::RestartPhase { checkpoint: None } => f.write_str("restart the phase"),
            Self::SkipPhase { reason } => write!(f, "skip the phase: {reason}"),
            Self::Abort { error } => write!(f, "give up: {error}"),
            Self::SwitchPeer => f.write_str("ask another peer"),
            Self::WaitForNetwork { timeout } => write!(f, "wait for a peer, {timeout:?} at most"),
            Self::ReduceConcurrency { target } => write!(f, "at most {target} requests at a time"),
            Self::FallbackToSequential { duration } => write!(f, "one request at a time for {duration:?}"),
        }
    }
}
