use qrinfo_core::{BlockHash, QRInfoRequestSpec, RequestPriority};

use super::{PlanError, Planner};

// === impl Planner ===

impl Planner {
    /// The same cycles as [`plan`](Self::plan), the newest one before its history, so that a wallet works while the
    /// history fills in.
    ///
    /// * First, critical: the last cycle. Its reply stands on its own: it starts from the lists that the client knows,
    ///   or from block 0, and brings the lists of five cycles (four without the extra share). If it is the chain's
    ///   newest cycle there is no anchor, for its tip diff carries the cycle's quorums.
    /// * Then, of normal priority: the cycles from the first on, oldest first, as [`plan`](Self::plan) makes them for a client
    ///   that knows the lists which the first reply brings. They start from what the client knew below, climb, and join those
    ///   lists: what the first reply brought comes back as empty diffs.
    ///
    /// Applied in the order of the plan, no reply meets a base that is not there. The price of the order is a second
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
    /// let order: Vec<_> = plan.iter().map(|(spec, priority)| (spec.cycle.height(), *priority)).collect();
    /// assert_eq!(order[0], (2_240_352, RequestPriority::Critical));
    /// assert_eq!(order[1], (2_239_488, RequestPriority::Normal));
    /// assert_eq!(order[3], (2_240_064, RequestPriority::Normal), "the cycle before the newest");
    /// assert_eq!(plan[0].0.base_block_hashes, [Network::Mainnet.genesis_hash()]);
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
    ) -> Result<Vec<(QRInfoRequestSpec, RequestPriority)>, PlanError> {
        let cycles = self.network.cycles();
        let (first, last) = (cycles.start_of(first), cycles.start_of(last));
        if last < first {
            return Err(PlanError::EmptyRange { first: first.height(), last: last.height() });
        }
        let newest = self.plan(last.height(), last.height(), &hash_at)?;
        let history = match cycles.back(last, 1).filter(|before| *before >= first) {
            Some(before) => self.knowing(self.lists_of(last)).plan(first.height(), before.height(), &hash_at)?,
            None => Vec::new(),
        };
        let newest = newest.into_iter().map(|spec| (spec, RequestPriority::Critical));
        let history = history.into_iter().map(|spec| (spec, RequestPriority::Normal));
        Ok(newest.chain(history).collect())
    }

    /// A planner for a client that holds these lists as well.
    fn knowing(&self, lists: impl Iterator<Item = u32>) -> Self {
        let mut planner = self.clone();
        planner.known_lists.extend(lists);
        planner
    }
}
