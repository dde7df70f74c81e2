use std::time::Instant;

use crate::{AttemptErrorKind, GivenUp, WhyGivenUp};

/// The end of a sync that no peer answers.
///
/// A request that used up its attempts without a sign of life from any peer is the end of the sync: the requests behind
/// it would only wait as long again, each of them. A sign of life is a reply, a refusal, or a part of a reply.
///
/// ```
/// use qrinfo_core::{AttemptError, AttemptErrorKind, GivenUp, WhyGivenUp, stack::retry::Silence};
///
/// # fn example(now: std::time::Instant) {
/// let mut silence = Silence::default();
/// let timeout = || AttemptError::new(AttemptErrorKind::Timeout);
/// let given_up = GivenUp { why: WhyGivenUp::Exhausted, attempts: vec![timeout(), timeout()] };
/// assert!(silence.ends_with(&given_up, now));
/// silence.heard(now);
/// assert!(!silence.ends_with(&given_up, now));
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Silence {
    heard: Option<Instant>,
}

// === impl Silence ===

impl Silence {
    /// A peer has shown a sign of life.
    pub fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(Some(now));
    }

    /// Whether a request that began at `begun`, and was given up, ends the sync.
    pub fn ends_with(&self, given_up: &GivenUp, begun: Instant) -> bool {
        let is_silent = |kind| matches!(kind, AttemptErrorKind::Timeout | AttemptErrorKind::NoPeer);
        given_up.why == WhyGivenUp::Exhausted
            && given_up.attempts.iter().all(|error| is_silent(error.kind()))
            && self.heard.is_none_or(|heard| heard < begun)
    }
}
