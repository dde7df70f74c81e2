use std::time::{Duration, Instant};

use qrinfo_core::{AttemptErrorKind, PeerEvent};

/// The least time that counts as the time of a timeout: a reply may take as long although some attempts fail sooner.
const LEAST: Duration = Duration::from_secs(30);

/// The time since any peer answered anything, and the time that is too long.
///
/// Silence is too long when it has lasted `max_attempts` times as long as it took until the first timeout: the time in
/// which a single request would have used up its attempts. Several requests at a time need not each use up theirs.
#[derive(Debug)]
pub(super) struct Silence {
    max_attempts: u32,
    since: Instant,
    /// The time until the first timeout since then.
    first_timeout: Option<Duration>,
}

// === impl Silence ===

impl Silence {
    pub(super) fn new(max_attempts: u32, now: Instant) -> Self {
        Self { max_attempts, since: now, first_timeout: None }
    }

    /// The instant at which the silence is too long, once an attempt has timed out.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.since.checked_add(self.first_timeout?.saturating_mul(self.max_attempts))
    }

    pub(super) fn on_event(&mut self, event: &PeerEvent) {
        match event {
            PeerEvent::TimedOut { at, .. } | PeerEvent::Ended { outcome: Err(AttemptErrorKind::Timeout), at, .. } => {
                self.first_timeout.get_or_insert(at.saturating_duration_since(self.since).max(LEAST));
            }
            PeerEvent::Ended { outcome: Ok(_) | Err(AttemptErrorKind::Refused), at, .. }
            | PeerEvent::Progress { at, .. } => (self.since, self.first_timeout) = (*at, None),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use qrinfo_core::{PeerId, SendId};

    use super::*;

    #[test]
    fn the_first_timeout_sets_the_measure_and_an_answer_resets_it() {
        let start = tokio::time::Instant::now().into_std();
        let at = |seconds| start + Duration::from_secs(seconds);
        let send = SendId { peer: PeerId::ALL, seq: 1 };
        let ended = |seconds, kind| PeerEvent::Ended { send, outcome: Err(kind), at: at(seconds) };
        let mut silence = Silence::new(5, start);
        silence.on_event(&ended(10, AttemptErrorKind::Disconnected));
        assert_eq!(silence.ends_at(), None);
        for seconds in [30, 33, 60] {
            silence.on_event(&ended(seconds, AttemptErrorKind::Timeout));
            assert_eq!(silence.ends_at(), Some(at(150)));
        }
        silence.on_event(&ended(100, AttemptErrorKind::Refused));
        assert_eq!(silence.ends_at(), None);
        silence.on_event(&ended(120, AttemptErrorKind::Timeout));
        assert_eq!(silence.ends_at(), Some(at(250)));
    }
}
