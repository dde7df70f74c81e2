use std::time::Instant;

use super::peer_id::PeerId;

/// The instants of one sending. They come from the clock of the driver; under a paused tokio clock they are virtual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The peer that was asked.
    pub peer: PeerId,
    /// The request was handed to the transport.
    pub sent: Instant,
    /// The peer had dealt with everything that was sent to it before.
    pub head: Option<Instant>,
    /// The first bytes of the reply were seen.
    pub first_byte: Option<Instant>,
    /// The attempt ended.
    pub done: Instant,
    /// Bytes of the reply's payload that arrived.
    pub bytes: u64,
}
