use qrinfo_core::{Attempt, BlockHash, QRInfoRequestSpec, Request, RequestPriority};

use super::{PlanError, Planner};

/// A request of a plan that is not in the order of height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRequest {
    /// When its reply is applied: after those of every lower place. The same as its position in the plan.
    pub place: usize,
    /// [`Critical`](RequestPriority::Critical) for the newest cycle, [`Normal`](RequestPriority::Normal) for its history.
    pub priority: RequestPriority,
    /// What to ask.
    pub spec: QRInfoRequestSpec,
}

// === impl PlannedRequest ===

impl From<PlannedRequest> for Request {
    fn from(planned: PlannedRequest) -> Self {
        planned.spec.into()
    }
}

/// The place becomes the attempt's number.
impl From<PlannedRequest> for Attempt {
    fn from(planned: PlannedRequest) -> Self {
        Self { priority: planned.priority, ..Self::new(planned.place as u64, planned.spec.into()) }
    }
}

// === impl Planner ===

impl Planner {
    /// The same cycles as [`plan`](Self::plan), the newest one before its history, so that a wallet works while the
    /// history fills in.
    ///
    /// * Place 0, critical: the last cycle. Its reply stands on its own: it starts from the lists that the client knows,
    ///   or from block 0, and brings the lists of five cycles (four without the extra share). If it is the chain's
    ///   newest cycle there is no anchor, for its tip diff carries the cycle's quorums.
    /// * Places 1 and up: the cycles from the first on, oldest first, as [`plan`](Self::plan) makes them for a client
    ///   that knows the lists which place 0 brings. They start from what the client knew below, climb, and join those
    ///   lists: what place 0 brought comes back as empty diffs.
    ///
    /// Applied in the order of their places, no reply meets a base that is not there. The price of the order is a second
    /// step over the history: for a client that knows nothing, one more full list (523 KB on mainnet).
    ///
    /// ```
    /// use qrinfo::plan::Planner;
    /// use qrinfo_core::{BlockHash, Network, RequestPriority};
    ///
    /// # let hash = |height: u32| { let mut b = [0; 32]; b[..4].copy_from_slice(&height.to_le_bytes()); BlockHash::from_bytes(b) };
    /// let planner = Planner::new(Network::Mainnet, 2_240_504);
    /// let plan = planner.plan_newest_first(2_239_488, 2_240_504, |height| Some(hash(height)))?;
    ///
    /// let order: Vec<_> = plan.iter().map(|planned| (planned.spec.cycle_height, planned.priority)).collect();
    /// assert_eq!(order[0], (2_240_352, RequestPriority::Critical));
    /// assert_eq!(order[1], (2_239_488, RequestPriority::Normal));
    /// assert_eq!(order[3], (2_240_064, RequestPriority::Normal), "the cycle before the newest");
    /// assert_eq!(plan[0].spec.base_block_hashes, [Network::Mainnet.genesis_hash()]);
    /// # Ok::<(), qrinfo::plan::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_newest_first(
        &self,
        first: u32,
        last: u32,
        hash_at: impl Fn(u32) -> Option<BlockHash>,
    ) -> Result<Vec<PlannedRequest>, PlanError> {
        let cycles = self.network.cycles();
        let (first, last) = (cycles.start(first), cycles.start(last));
        if last < first {
            return Err(PlanError::EmptyRange { first, last });
        }
        let newest = self.plan(last, last, &hash_at)?;
        let history = match last.checked_sub(cycles.length()).filter(|before| *before >= first) {
            Some(before) => self.knowing(self.lists_of(last)).plan(first, before, &hash_at)?,
            None => Vec::new(),
        };
        let newest = newest.into_iter().map(|spec| (RequestPriority::Critical, spec));
        let history = history.into_iter().map(|spec| (RequestPriority::Normal, spec));
        let planned = newest.chain(history).enumerate();
        Ok(planned.map(|(place, (priority, spec))| PlannedRequest { place, priority, spec }).collect())
    }

    /// A planner for a client that holds these lists as well.
    fn knowing(&self, lists: impl Iterator<Item = u32>) -> Self {
        let mut planner = self.clone();
        planner.known_lists.extend(lists);
        planner
    }
}
