use std::{fmt, time::Duration};

use crate::stack::given_up::WhyGivenUp;

/// A decision about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryStrategy {
    /// Ask again after a wait, at another peer if there is one.
    Retry {
        /// The bound of the wait; full jitter draws from below it.
        delay: Duration,
    },
    /// Start the phase again: several peers contradict what the client has, so its headers may have been reorganised.
    RestartPhase {
        /// The height to start from; `None` for the start of the phase.
        checkpoint: Option<u32>,
    },
    /// Go on without this phase, and report it.
    SkipPhase {
        /// The reason.
        reason: String,
    },
    /// Give up.
    Abort {
        /// The reason.
        why: WhyGivenUp,
    },
    /// Ask another peer at once.
    SwitchPeer,
    /// Wait for a peer to join.
    WaitForNetwork {
        /// The longest wait.
        timeout: Duration,
    },
    /// Make fewer requests at a time.
    ReduceConcurrency {
        /// The number of requests at a time.
        target: usize,
    },
    /// Make one request at a time.
    FallbackToSequential {
        /// The time for which this holds; then the number rises in steps.
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
            Self::Abort { why } => write!(f, "give up: {why}"),
            Self::SwitchPeer => f.write_str("ask another peer"),
            Self::WaitForNetwork { timeout } => write!(f, "wait up to {timeout:?} for a peer"),
            Self::ReduceConcurrency { target } => write!(f, "at most {target} requests at a time"),
            Self::FallbackToSequential { duration } => write!(f, "one request at a time for {duration:?}"),
        }
    }
}
