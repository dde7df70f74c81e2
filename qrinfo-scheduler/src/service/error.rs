use qrinfo_core::{AttemptError, AttemptErrorKind};

/// The reason for which the scheduler itself ended a request: the source of the [`AttemptError`] that its caller gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The driver has ended, or was dropped.
    #[error("the scheduler has stopped")]
    Stopped,
    /// The attempt's deadline passed.
    #[error("the deadline passed")]
    DeadlinePassed,
    /// The attempt avoids every peer that can be asked.
    #[error("no peer is left to ask")]
    NoPeerLeft,
    /// There is no peer, and none will join: the stream of peers has ended.
    #[error("no peers left and no more will connect")]
    NoPeers,
    /// The peer was taken away while it held the request.
    #[error("the peer was taken away")]
    PeerRemoved,
}

// === impl ScheduleError ===

impl ScheduleError {
    fn kind(self) -> AttemptErrorKind {
        match self {
            Self::NoPeerLeft | Self::NoPeers => AttemptErrorKind::NoPeer,
            Self::Stopped => AttemptErrorKind::Local,
            Self::DeadlinePassed => AttemptErrorKind::Cancelled,
            Self::PeerRemoved => AttemptErrorKind::Disconnected,
        }
    }
}

impl From<ScheduleError> for AttemptError {
    fn from(error: ScheduleError) -> Self {
        AttemptError::new(error.kind()).because(error)
    }
}
