use std::time::Duration;

use crate::stack::given_up::WhyGivenUp;

/// A decision about a failure.
#[derive(Debug, Clone, PartialEq, Eq, derive_more::Display)]
#[non_exhaustive]
pub enum RecoveryStrategy {
    /// Ask again after a wait, at another peer if there is one.
    #[display("retry within {delay:?}")]
    Retry {
        /// The bound of the wait; full jitter draws from below it.
        delay: Duration,
    },
    /// Start the phase again: several peers contradict what the client has, so its headers may have been reorganised.
    #[display("restart the phase{}", checkpoint.map(|height| format!(" from height {height}")).unwrap_or_default())]
    RestartPhase {
        /// The height to start from; `None` for the start of the phase.
        checkpoint: Option<u32>,
    },
    /// Go on without this phase, and report it.
    #[display("skip the phase: {reason}")]
    SkipPhase {
        /// The reason.
        reason: String,
    },
    /// Give up.
    #[display("give up: {why}")]
    Abort {
        /// The reason.
        why: WhyGivenUp,
    },
    /// Ask another peer at once.
    #[display("ask another peer")]
    SwitchPeer,
    /// Wait for a peer to join.
    #[display("wait up to {timeout:?} for a peer")]
    WaitForNetwork {
        /// The longest wait.
        timeout: Duration,
    },
    /// Make fewer requests at a time.
    #[display("at most {target} requests at a time")]
    ReduceConcurrency {
        /// The number of requests at a time.
        target: usize,
    },
    /// Make one request at a time.
    #[display("one request at a time for {duration:?}")]
    FallbackToSequential {
        /// The time for which this holds; then the number rises in steps.
        duration: Duration,
    },
}
