//! How a request ends without a reply.

use std::{error::Error, fmt};

use crate::{AttemptError, AttemptErrorKind};

/// Why a request ended without a reply, and what each peer did that was asked: the source of the error that a recovery
/// layer ends with.
///
/// ```
/// use qrinfo_core::{AttemptError, AttemptErrorKind, GivenUp, PeerId, WhyGivenUp};
///
/// let refused = AttemptError::new(AttemptErrorKind::Refused).at(PeerId(([203, 0, 113, 5], 9999).into()));
/// let error = GivenUp { why: WhyGivenUp::NobodyElse, attempts: vec![refused] }.into_error();
/// assert_eq!(error.kind(), AttemptErrorKind::Refused);
/// let source = error.into_source().and_then(|source| source.downcast::<GivenUp>().ok());
/// assert_eq!(source.map(|given_up| given_up.why), Some(WhyGivenUp::NobodyElse));
/// ```
#[derive(Debug)]
pub struct GivenUp {
    /// Why no peer is asked any more.
    pub why: WhyGivenUp,
    /// How the attempts failed, in order. Empty if there was never a peer to ask.
    pub attempts: Vec<AttemptError>,
}

/// Why a request is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyGivenUp {
    /// Every connected peer whose announced height covers the request has refused it, and at least two have: more
    /// asking would only be held against us.
    #[error("every peer refused it; check its blocks against the best chain")]
    Unanswerable,
    /// It failed as often as it may.
    #[error("it failed too often")]
    Exhausted,
    /// The time for all its attempts is over.
    #[error("its deadline passed")]
    DeadlinePassed,
    /// No peer was connected, for as long as may be waited for one.
    #[error("no peer was connected; check the network")]
    NoPeers,
    /// All peers that were connected were given up, each for a reason of its own, and no other came.
    #[error("every peer that was connected was given up; see why, and connect to others")]
    PeersLost,
    /// Those who were connected failed it, too few to conclude from, and nobody else came.
    #[error("nobody else was there to ask; connect to more peers")]
    NobodyElse,
    /// The sync was stopped before it had its chance.
    #[error("the sync was stopped")]
    Stopped,
    /// The failure is on our side, or the caller's wish: another peer would not help.
    #[error("asking another peer would not help")]
    NotThePeers,
}

// === impl GivenUp ===

impl GivenUp {
    /// The error of a request that ended so: its kind is that of the last attempt, unless the reason says more.
    pub fn into_error(self) -> AttemptError {
        let last = self.attempts.last().map(AttemptError::kind);
        let kind = match self.why {
            WhyGivenUp::Unanswerable => AttemptErrorKind::Refused,
            WhyGivenUp::DeadlinePassed => AttemptErrorKind::Timeout,
            WhyGivenUp::NoPeers | WhyGivenUp::PeersLost => AttemptErrorKind::NoPeer,
            WhyGivenUp::Stopped => AttemptErrorKind::Cancelled,
            WhyGivenUp::Exhausted | WhyGivenUp::NobodyElse | WhyGivenUp::NotThePeers => {
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
