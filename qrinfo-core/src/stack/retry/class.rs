use crate::stack::error::AttemptErrorKind;

/// The meaning of a kind of failure for what happens next.
///
/// ```
/// use qrinfo_core::{AttemptErrorKind, retry::FailureClass};
///
/// let refusal = FailureClass::of(AttemptErrorKind::Refused);
/// assert!(refusal.ask_elsewhere && !refusal.peers_fault && !refusal.congestion);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureClass {
    /// The category by which failures are counted against a limit.
    pub category: Category,
    /// True if the peer is at fault. It is not asked again.
    pub peers_fault: bool,
    /// True if another peer may answer.
    pub ask_elsewhere: bool,
    /// True if it may be caused by too many requests at once. A refusal is not: the peer lacks a block.
    pub congestion: bool,
}

/// The categories of failure, as dash-spv's recovery counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Timeouts.
    Timeout,
    /// Connections that end, or that are missing.
    Network,
    /// Malformed or false replies.
    Validation,
    /// Local storage or configuration.
    Storage,
    /// Refusals of a peer.
    Peer,
    /// Everything else.
    Other,
}

// === impl FailureClass ===

impl FailureClass {
    /// The class of a kind of failure. An unknown kind is treated as a local failure.
    pub fn of(kind: AttemptErrorKind) -> Self {
        let class = |category, peers_fault, ask_elsewhere, congestion| Self {
            category,
            peers_fault,
            ask_elsewhere,
            congestion,
        };
        match kind {
            AttemptErrorKind::Timeout => class(Category::Timeout, false, true, true),
            AttemptErrorKind::Disconnected => class(Category::Network, false, true, true),
            AttemptErrorKind::Refused | AttemptErrorKind::NotSent => class(Category::Peer, false, true, false),
            AttemptErrorKind::Malformed | AttemptErrorKind::False => class(Category::Validation, true, true, false),
            AttemptErrorKind::Overloaded => class(Category::Other, false, true, true),
            AttemptErrorKind::NoPeer => class(Category::Network, false, false, false),
            AttemptErrorKind::Cancelled => class(Category::Other, false, false, false),
            _ => class(Category::Storage, false, false, false),
        }
    }
}

// === impl Category ===

impl Category {
    /// The number of failures of this category that one request may have: dash-spv's limits. Refusals have none: no
    /// peer is asked twice for what it refused.
    pub fn limit(self) -> Option<u32> {
        match self {
            Self::Timeout => Some(5),
            Self::Network => Some(10),
            Self::Validation | Self::Storage | Self::Other => Some(3),
            Self::Peer => None,
        }
    }
}
