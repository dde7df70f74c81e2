use std::{error::Error, fmt};

use qrinfo_core::{AttemptError, AttemptErrorKind};

/// Why a request ended without a reply, and what each peer did that was asked. The source of the error that a
/// [`Recovery`](crate::Recovery) ends with.
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
    /// There was no peer to ask, for as long as may be waited for one.
    #[error("there was no peer to ask; check the connection")]
    NoPeers,
    /// The failure is on our side, or the caller's wish: another peer would not help.
    #[error("asking another peer would not help")]
    NotThePeers,
}

// === impl GivenUp ===

impl GivenUp {
    /// The error of a request that ended so: its kind is that of the last attempt, unless the reason says more.
    pub(crate) fn into_error(self) -> AttemptError {
        let last = self.attempts.last().map(AttemptError::kind);
        let kind = match self.why {
            WhyGivenUp::Unanswerable => AttemptErrorKind::Refused,
            WhyGivenUp::DeadlinePassed => AttemptErrorKind::Timeout,
            WhyGivenUp::NoPeers => AttemptErrorKind::NoPeer,
            WhyGivenUp::Exhausted | WhyGivenUp::NotThePeers => last.unwrap_or(AttemptErrorKind::Local),
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
