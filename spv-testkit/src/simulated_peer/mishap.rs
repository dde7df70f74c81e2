use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use bytes::Bytes;
use qrinfo_core::{
    Network,
    message::QRInfo,
    wire::{
        Wire,
        frame::{Command, Frame, HEADER_LEN},
    },
};

use super::fault::{Fault, Outgoing};

/// Something that goes wrong, and with which replies.
#[derive(Debug, Clone)]
pub(super) struct Mishap {
    pub(super) replies: Replies,
    pub(super) wrong: Wrong,
}

/// Some of a peer's replies, counted from 0 over all its connections.
#[derive(Debug, Clone, Copy)]
pub(super) enum Replies {
    Range(Bound<u64>, Bound<u64>),
    /// Each with this probability.
    Chance {
        probability: f64,
        seed: u64,
    },
}

/// The fault in a reply.
#[derive(Clone, derive_more::Debug)]
pub(super) enum Wrong {
    Fault(Fault),
    #[debug("Lie")]
    Lie(Arc<dyn Fn(&mut QRInfo) + Send + Sync>),
}

// === impl Mishap ===

impl Mishap {
    pub(super) fn befall(&self, outgoing: &mut Outgoing, network: Network, other: Option<&Frame>) {
        match &self.wrong {
            Wrong::Fault(fault) => fault.befall(outgoing, network, other),
            Wrong::Lie(lie) => {
                let payload = outgoing.bytes.get(HEADER_LEN..).unwrap_or_default();
                if let Ok(mut reply) = QRInfo::from_wire(Bytes::copy_from_slice(payload)) {
                    lie(&mut reply);
                    outgoing.replace(&Frame { command: Command::QR_INFO, payload: reply.to_wire() }, network);
                }
            }
        }
    }
}

// === impl Replies ===

impl Replies {
    pub(super) fn range(range: &impl RangeBounds<u64>) -> Self {
        Self::Range(range.start_bound().cloned(), range.end_bound().cloned())
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        match *self {
            Self::Range(start, end) => (start, end).contains(&number),
            // A generator of its own for each reply: connections race for the numbers, not for what befalls them.
            Self::Chance { probability, seed } => {
                let mixed = fastrand::Rng::with_seed(seed).u64(..).wrapping_add(number);
                fastrand::Rng::with_seed(mixed).f64() < probability
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chance_hits_its_share_of_the_replies_and_the_same_ones_again() {
        let hits = |seed| -> Vec<u64> {
            let replies = Replies::Chance { probability: 0.2, seed };
            (0..10_000).filter(|number| replies.contains(*number)).collect()
        };
        let some = hits(1);
        assert!((1_800..2_200).contains(&some.len()), "{}", some.len());
        assert_eq!(some, hits(1));
        let shared = some.iter().filter(|number| hits(2).contains(number)).count();
        assert!((250..550).contains(&shared), "two seeds share {shared}");
        // Neighbours are hit independently of one another.
        let pairs = some.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
        assert!((250..550).contains(&pairs), "{pairs} pairs");
    }
}
