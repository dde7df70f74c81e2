use std::ops::RangeInclusive;

use qrinfo_core::{Cycles, Network, message::Commitment};

/// A commitment and the range of heights at which it was mined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinedQuorum {
    /// The commitment.
    pub commitment: Commitment,
    /// The height of the block whose hash names the quorum, at which its DKG started. `None` if that block lies below
    /// our headers, and so below those of all quorums with a known height.
    pub height: Option<u32>,
    /// The heights at which it may have been mined.
    pub mined: RangeInclusive<u32>,
}

// === impl MinedQuorum ===

impl MinedQuorum {
    /// Creates a quorum from the height of its block: it was mined in its type's mining window, or for a type without
    /// parameters at some height above.
    pub fn new(network: Network, commitment: Commitment, height: u32) -> Self {
        let mined = match network.llmq_params(commitment.llmq_type) {
            Some(params) if params.rotated => params.mining_window(Cycles::of(params).start_of(height).height()),
            Some(params) => params.mining_window(height),
            None => height.saturating_add(1)..=u32::MAX,
        };
        Self { commitment, height: Some(height), mined }
    }

    /// Creates a quorum of a proven list whose block lies below our headers. It may have been mined at any height.
    pub fn below_headers(commitment: Commitment) -> Self {
        Self { commitment, height: None, mined: 0..=u32::MAX }
    }

    /// Returns the quorum, mined by the height of a list that contains it. A contradiction to what is known changes
    /// nothing.
    pub fn until(self, height: u32) -> Self {
        match self.mined.contains(&height) {
            true => Self { mined: *self.mined.start()..=height, ..self },
            false => self,
        }
    }

    /// Returns the quorum, mined after the height of a list that does not contain it. A contradiction to what is known
    /// changes nothing.
    pub fn after(self, height: u32) -> Self {
        match self.mined.contains(&height.saturating_add(1)) {
            true => Self { mined: height.saturating_add(1)..=*self.mined.end(), ..self },
            false => self,
        }
    }

    /// Returns the quorum with the earlier knowledge about it. Knowledge about another quorum changes nothing.
    pub(crate) fn informed_by(self, known: Option<Self>) -> Self {
        match known {
            Some(known) if known.commitment == self.commitment => {
                let (start, end) = known.mined.into_inner();
                let quorum = self.until(end);
                if start == 0 { quorum } else { quorum.after(start - 1) }
            }
            _ => self,
        }
    }
}
