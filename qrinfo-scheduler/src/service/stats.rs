use qrinfo_core::{AttemptErrorKind, PeerId};

/// The sendings of a scheduler since it was made, and the peers that it lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SendStats {
    /// Sendings that have ended.
    pub sends: u64,
    /// Sendings of a request beyond its first.
    pub resends: u64,
    /// Sendings that were answered with a reply.
    pub replies: u64,
    /// Sendings that a peer refused.
    pub refusals: u64,
    /// Sendings that timed out. One that its peer answers later counts among the replies or refusals too.
    pub timeouts: u64,
    /// Peers that left or were banned, in that order, each with the last reason.
    pub lost: Vec<(PeerId, AttemptErrorKind)>,
}

// === impl SendStats ===

impl SendStats {
    pub(super) fn ended(&mut self, failure: Option<AttemptErrorKind>) {
        self.sends += 1;
        match failure {
            Some(AttemptErrorKind::Refused) => self.refusals += 1,
            Some(AttemptErrorKind::Timeout) => self.timeouts += 1,
            Some(_) => {}
            None => self.replies += 1,
        }
    }

    /// Signs of life of any peer: replies and refusals.
    pub fn signs_of_life(&self) -> u64 {
        self.replies + self.refusals
    }

    /// A ban says more than the end of the connection, whichever comes first.
    pub(super) fn lost(&mut self, peer: PeerId, why: AttemptErrorKind) {
        match self.lost.iter_mut().find(|(lost, _)| *lost == peer) {
            Some((_, known)) if *known == AttemptErrorKind::Disconnected => *known = why,
            Some(_) => {}
            None => self.lost.push((peer, why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_by_kind() {
        let mut stats = SendStats::default();
        for (kind, times) in [
            (None, 5),
            (Some(AttemptErrorKind::Refused), 3),
            (Some(AttemptErrorKind::Timeout), 2),
            (Some(AttemptErrorKind::Disconnected), 1),
        ] {
            (0..times).for_each(|_| stats.ended(kind));
        }
        let SendStats { sends, resends, replies, refusals, timeouts, ref lost } = stats;
        assert_eq!((sends, resends, replies, refusals, timeouts, lost.len()), (11, 0, 5, 3, 2, 0));
        assert_eq!(stats.signs_of_life(), 8);
    }

    #[test]
    fn a_peer_is_lost_once_and_a_ban_outlasts_the_end_of_its_connection() {
        use AttemptErrorKind::{Disconnected, False, Timeout};
        let peer = |port| PeerId::Address(([127, 0, 0, 1], port).into());
        let mut stats = SendStats::default();
        for (port, why) in [(1, Disconnected), (2, False), (1, False), (2, Disconnected), (2, Timeout), (1, Timeout)] {
            stats.lost(peer(port), why);
        }
        assert_eq!(stats.lost, [(peer(1), False), (peer(2), False)]);
    }
}
