use std::collections::BTreeMap;

use qrinfo_core::{LlmqParams, LlmqType, Network};
use qrinfo_verify::Lists;

/// The heights from which the active quorums of a type are known: those of lists too far above the ones before.
#[derive(Debug, Clone, Default)]
pub(super) struct Gaps {
    ends: BTreeMap<LlmqType, u32>,
}

// === impl Gaps ===

impl Gaps {
    /// Learns that there were no lists between these and those at the height before.
    pub(super) fn learn(&mut self, network: Network, before: u32, lists: &Lists) {
        let types = lists.quorums().iter().filter_map(|commitment| network.llmq_params(commitment.llmq_type));
        let missed = types.filter(|params| may_miss(params, before, lists.height()));
        self.ends.extend(missed.map(|params| (params.llmq_type, lists.height())));
    }

    /// Returns the lowest height behind the last gap of a type. 0 without a gap.
    pub(super) fn end(&self, llmq_type: LlmqType) -> u32 {
        self.ends.get(&llmq_type).copied().unwrap_or(0)
    }

    /// Returns true if a gap ends above a height.
    pub(super) fn is_any_above(&self, height: u32) -> bool {
        self.ends.values().any(|end| *end > height)
    }
}

/// Returns true if a quorum may have come and gone between lists at two heights, so that neither has it: if its mining
/// window ends behind the first, and that of the quorum which replaces it starts by the second.
fn may_miss(params: &LlmqParams, before: u32, height: u32) -> bool {
    let replaced_by = if params.rotated { 1 } else { u32::from(params.active) };
    let until_replaced = params.mining_window_start.saturating_add(replaced_by.saturating_mul(params.interval));
    let Some(latest) = height.checked_sub(until_replaced) else { return false };
    let start = latest - latest % params.interval;
    *params.mining_window(start).end() > before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_at_the_work_blocks_of_mainnet_leave_no_gap() {
        let params = LlmqParams::LLMQ_60_75;
        for cycle in 1..100 {
            assert!(!may_miss(&params, cycle * 288 - 8, (cycle + 1) * 288 - 8));
        }
        assert!(!may_miss(&params, 288 + 42, 2 * 288 + 41));
        assert!(may_miss(&params, 288 + 49, 2 * 288 + 42), "mined at 338, replaced at 618");
        assert!(!may_miss(&params, 288 + 50, 2 * 288 + 42));
        assert!(may_miss(&params, 1_000, 2_000));
    }

    #[test]
    fn other_types_are_seen_for_longer() {
        let platform = LlmqType(4).params().unwrap();
        assert!(!may_miss(&platform, 10_000, 10_000 + 24 * 23));
        assert!(may_miss(&platform, 10_000, 10_000 + 24 * 26));
    }

    #[test]
    fn every_pair_of_heights_against_every_quorum() {
        let params = LlmqParams::LLMQ_TEST_DIP0024;
        for before in 100..160 {
            for height in before + 1..before + 60 {
                let windows = |start: u32| params.mining_window(start);
                let missed = (0..20)
                    .map(|cycle| cycle * 24)
                    .any(|start| *windows(start).end() > before && *windows(start + 24).start() <= height);
                assert_eq!(may_miss(&params, before, height), missed, "{before} {height}");
            }
        }
    }
}
