use std::{error::Error, fmt};

use super::error::{AttemptError, AttemptErrorKind};

/// The end of a request without a reply: the reason, and the failures at the peers that were asked. It is the source of
/// the error that a recovery layer returns.
///
/// ```
/// use qrinfo_core::{AttemptError, AttemptErrorKind, GivenUp, PeerId, WhyGivenUp};
///
/// let refused = AttemptError::new(AttemptErrorKind::Refused).at(PeerId::Address(([203, 0, 113, 5], 9999).into()));
/// let error = GivenUp { why: WhyGivenUp::NoOtherPeer, attempts: vec![refused] }.into_error();
/// assert_eq!(error.kind(), AttemptErrorKind::Refused);
/// let source = error.into_source().and_then(|source| source.downcast::<GivenUp>().ok());
/// assert_eq!(source.map(|given_up| given_up.why), Some(WhyGivenUp::NoOtherPeer));
/// ```
#[derive(Debug)]
pub struct GivenUp {
    /// The reason.
    pub why: WhyGivenUp,
    /// The failures, in order. Empty if there was never a peer to ask.
    pub attempts: Vec<AttemptError>,
}

/// The reason for which a request is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyGivenUp {
    /// Every connected peer that has the request's blocks, by its height, has refused it, and at least two have.
    #[error("every peer refused the request; check its blocks against the best chain")]
    Unanswerable,
    /// It used up its attempts.
    #[error("the request used up its attempts; connect to other peers")]
    Exhausted,
    /// The time for all its attempts is over.
    #[error("the deadline of the request passed")]
    DeadlinePassed,
    /// No peer could be asked: none was connected for the whole network timeout, or none in any of its attempts.
    #[error("no peer was available; check the network")]
    NoPeers,
    /// Every peer that was asked is gone, and no other one joined.
    #[error("every peer left or was given up; connect to other peers")]
    AllPeersGone,
    /// The connected peers have failed it, too few for a conclusion, and no other peer joined.
    #[error("no other peer was available; connect to more peers")]
    NoOtherPeer,
    /// No peer showed a sign of life while a request used up its attempts.
    #[error("no peer answered any request; check the network, or connect to other peers")]
    Silence,
    /// The time for the whole sync is over.
    #[error("the deadline of the whole sync passed")]
    SyncDeadlinePassed,
    /// The sync was stopped.
    #[error("the sync was stopped")]
    Stopped,
    /// A local failure, or a cancellation by the caller: another peer would not help.
    #[error("the failure is local; another peer would not help")]
    LocalFailure,
}

// === impl GivenUp ===

impl GivenUp {
    /// Returns true if the request used up its attempts or its time in timeouts and lost connections alone, without a
    /// reply or a refusal.
    ///
    /// If meanwhile no other request had a reply or a refusal either, a sync ends with it ([`WhyGivenUp::Silence`]):
    /// each further request would only wait for as long again.
    pub fn is_silence(&self) -> bool {
        matches!(self.why, WhyGivenUp::Exhausted | WhyGivenUp::DeadlinePassed)
            && !self.attempts.is_empty()
            && self.attempts.iter().all(AttemptError::is_silence)
    }

    /// The error of a request that ended so: its kind is that of the last attempt, unless the reason says more.
    pub fn into_error(self) -> AttemptError {
        let last = self.attempts.last().map(AttemptError::kind);
        let kind = match self.why {
            WhyGivenUp::Unanswerable => AttemptErrorKind::Refused,
            WhyGivenUp::DeadlinePassed | WhyGivenUp::SyncDeadlinePassed | WhyGivenUp::Silence => {
                AttemptErrorKind::Timeout
            }
            WhyGivenUp::NoPeers => AttemptErrorKind::NoPeer,
            WhyGivenUp::Stopped => AttemptErrorKind::Cancelled,
            WhyGivenUp::Exhausted | WhyGivenUp::AllPeersGone | WhyGivenUp::NoOtherPeer | WhyGivenUp::LocalFailure => {
                last.unwrap_or(AttemptErrorKind::Local)
            }
        };
        AttemptError::new(kind).because(self)
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.why)?;
        for (index, attempt) in self.attempts.iter().enumerate() {
            write!(f, "{}{attempt}", if index == 0 { " (" } else { "; " })?;
        }
        f.write_str(if self.attempts.is_empty() { "" } else { ")" })
    }
}

impl Error for GivenUp {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.attempts.last().map(|last| last as _)
    }
}
