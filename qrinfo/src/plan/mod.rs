//! Plans: the blocks to ask for, and their bases.
//!
//! A sync has two parts, and a plan for each:
//!
//! 1. [`Planner`] asks for rotated quorums (`getqrinfo`): one request for each cycle, oldest first
//!    ([`plan`](Planner::plan)), or the newest cycle before its history
//!    ([`plan_newest_first`](Planner::plan_newest_first)).
//! 2. [`MnListDiffPlanner`] then asks for the masternode lists from which the members of all other quorums are drawn
//!    (`getmnlistd`).
//!
//! The requests of a plan are independent on the wire: any peer may be asked any of them at any time. The replies are
//! applied in the order of the plan.
//!
//! *Known lists* are the masternode lists that a client holds before it starts, by height. Both planners take them for
//! bases, so that the replies bring only what is missing.

mod mn_list_diffs;
mod newest_first;
mod planner;

use qrinfo_core::{LlmqType, QuorumHash};

pub use mn_list_diffs::{MnListDiffPlanner, member_list_height};
pub use planner::{PlanKind, Planner, anchor};

/// The reasons for which a plan cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The cycle has no work block four cycles back, without the extra share three cycles back.
    #[error(
        "cycle {cycle} is too early: its reply would bring a list from before the first block; start at {first} or later"
    )]
    TooEarly {
        /// The first block of the cycle.
        cycle: u32,
        /// The first cycle that has one.
        first: u32,
    },
    /// The range ends before it starts.
    #[error(
        "the last cycle {last} lies before the first cycle {first}; choose an earlier first cycle, or wait for newer blocks"
    )]
    EmptyRange {
        /// The first block of the first cycle.
        first: u32,
        /// The first block of the last cycle.
        last: u32,
    },
    /// The range reaches beyond our headers.
    #[error("cycle {cycle} starts above our newest header at {tip}; sync headers first")]
    BeyondTip {
        /// The first block of the cycle.
        cycle: u32,
        /// Our newest header.
        tip: u32,
    },
    /// A header that the plan needs is not there.
    #[error("no header at height {0}; sync headers first")]
    MissingHeader(u32),
    /// The block that names a quorum is not in our headers: they end below it or start above it, or the quorum is one of
    /// another branch.
    #[error("the block of quorum {quorum_hash} of type {llmq_type} is not in our headers")]
    UnknownQuorum {
        /// The kind of quorum.
        llmq_type: LlmqType,
        /// The hash of the block.
        quorum_hash: QuorumHash,
    },
}
