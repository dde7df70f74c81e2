use super::PeerId;

/// The name of one request, from the plan to the report. The caller chooses it; within one stack no two requests that
/// have not ended may share it. Where requests wait, those of equal priority go in the order of their ids.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, derive_more::Display, derive_more::From,
)]
pub struct RequestId(pub u64);

/// The name of one sending of a request to one peer. It is never used twice, so that a late answer is not mistaken for
/// the answer to a later sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display("{peer}#{seq}")]
pub struct SendId {
    /// The peer that was asked.
    pub peer: PeerId,
    /// The number of the sending, unique within the stack that sends.
    pub seq: u64,
}
