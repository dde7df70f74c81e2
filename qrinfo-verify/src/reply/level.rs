use std::fmt;

use qrinfo_core::message::QuorumIndex;

use super::error::DiffName;

/// The extent of verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// The checks of [`check`](crate::check()). No lists are built.
    Structure,
    /// In addition, the diffs can be applied to the lists at their bases, and the results have the roots in the
    /// coinbases.
    #[default]
    Roots,
    /// In addition, the members of the rotated quorums are selected, and those of other quorums if the list at their
    /// work block is kept, and the signatures of every new commitment are verified.
    Full,
}

/// A part of a reply that was not proven. It is not held against the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unproven {
    /// The lists, because they were not built ([`Level::Structure`]), and everything that depends on them: the tip
    /// diff, snapshots, commitments.
    Lists,
    /// The active quorums at this height: the coinbase has only the root of the masternode list (its payload has
    /// version 1).
    Quorums {
        /// The block's height.
        height: u32,
    },
    /// The tip diff, which was set aside: its target is not on our chain, or the lists at its base are not kept (an
    /// anchor).
    TipDiff,
    /// These trailing diffs, which were set aside: their targets lie below our headers. They belong to quorum indexes
    /// whose DKGs kept failing.
    TrailingDiffs(Vec<DiffName>),
    /// The snapshots that belong to these diffs. Only signatures of quorums that were selected with them can confirm
    /// them. A snapshot that is not listed here has led to a valid signature, which is possible with a few wrong bits
    /// of masternodes that did not sign.
    Snapshots(Vec<DiffName>),
    /// The last commitments of these indexes: they are in none of the proven lists.
    Commitments(Vec<QuorumIndex>),
    /// That the last commitments are the newest of their indexes. No lists at or above the requested block were built,
    /// or those contain quorums that may have been mined after it. A peer may leave out commitments of the requested
    /// cycle.
    Newest,
    /// The members' signatures of some commitments, at [`Level::Full`]. The quorum's own signature is verified unless
    /// the reason is `legacy`.
    Signatures {
        /// Commitments of the scheme before v19, with the feature `legacy-bls` off.
        legacy: usize,
        /// Commitments of the scheme before v19 whose selected members did not sign
        /// ([`Unverified::LegacyMembers`](crate::Unverified::LegacyMembers)).
        legacy_members: usize,
        /// Commitments whose members cannot be selected, because lists or snapshots are missing: quorums that are not
        /// rotated, and rotated ones of cycles before those of the reply. Unknown types count as well.
        without_members: usize,
    },
    /// The number of signatures of `quorumsCLSigs` whose work block's coinbase is not available.
    ChainLockSignatures(usize),
}

// === impl Unproven ===

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lists => f.write_str("the lists"),
            Self::Quorums { height } => write!(f, "the active quorums at {height}"),
            Self::TipDiff => f.write_str("the diff to the tip"),
            Self::TrailingDiffs(diffs) => list(f, diffs),
            Self::Snapshots(diffs) => {
                f.write_str("the snapshots of ")?;
                list(f, diffs)
            }
            Self::Commitments(indexes) => {
                f.write_str("the last commitments of ")?;
                list(f, indexes)
            }
            Self::Newest => f.write_str("that the last commitments are the newest"),
            Self::Signatures { legacy, legacy_members, without_members } => write!(
                f,
                "the signatures of {legacy} commitments from before v19, of {legacy_members} from before v19 whose \
                 members cannot be selected with certainty, and of {without_members} whose members are not known"
            ),
            Self::ChainLockSignatures(count) => write!(f, "{count} ChainLock signatures"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (place, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if place == 0 { "" } else { ", " })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unproven_parts_are_named() {
        let parts = [
            Unproven::Snapshots(vec![DiffName::Cycle { back: 1 }, DiffName::Trailing(0)]),
            Unproven::Commitments(vec![3, 31]),
            Unproven::ChainLockSignatures(2),
        ];
        let text = parts.map(|part| part.to_string());
        assert_eq!(
            text,
            [
                "the snapshots of the diff at H-C, trailing diff 0",
                "the last commitments of 3, 31",
                "2 ChainLock signatures"
            ]
        );
    }
}
