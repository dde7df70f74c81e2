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
