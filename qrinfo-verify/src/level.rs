use std::fmt;

use qrinfo_core::message::QuorumIndex;

use crate::DiffName;

/// How far replies are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// What [`check`](crate::check()) does. No lists are built.
    Structure,
    /// In addition, the diffs fit the lists that they start from, and lead to the masternode list and the quorums that
    /// the coinbases commit to.
    #[default]
    Roots,
    /// In addition, the members of the rotated quorums are drawn, and with them, as well as of quorums that are not
    /// rotated if the list at their work block is at hand, the signatures of every new commitment are verified.
    Full,
}

/// Something in a reply that was not proven. None of it is held against the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unproven {
    /// The lists: they were not built ([`Level::Structure`]), so nothing that hangs on them is proven either: the tip
    /// diff, snapshots, commitments.
    Lists,
    /// The active quorums at this height: the coinbase commits to masternodes alone (its payload has version 1).
    Quorums {
        /// The block's height.
        height: u32,
    },
    /// The tip diff was set aside: it leads to a block that is not on our chain, or starts from one whose lists are not
    /// held (an anchor).
    TipDiff,
    /// These trailing diffs were set aside: they lead to blocks that our headers do not reach down to. Quorum indexes
    /// whose DKGs kept failing call for them.
    TrailingDiffs(Vec<DiffName>),
    /// The snapshots that belong to these diffs. Only the signatures of quorums that are drawn from them can tell; one
    /// that is not named here has led to a good signature, which it may do with a few bits wrong that concern nobody who
    /// signed.
    Snapshots(Vec<DiffName>),
    /// The last commitments of these indexes: they are in none of the lists that were proven.
    Commitments(Vec<QuorumIndex>),
    /// That the last commitments are the newest of their indexes: the lists were not built of a block at or above the
    /// requested one, or they have quorums that may have been mined after it. A peer may leave out those of the requested
    /// cycle.
    Newest,
    /// The members' signatures of so many commitments, at [`Level::Full`]. The quorum's own signature is verified where
    /// only the members are not known.
    Signatures {
        /// They are of the scheme before v19, and the feature `legacy-bls` is off.
        legacy: usize,
        /// The lists or snapshots that their members are drawn from are not at hand: quorums that are not rotated, and
        /// rotated ones of cycles before those of the reply. Types that are not known here count as well.
        without_members: usize,
    },
    /// So many signatures of `quorumsCLSigs` for new quorums whose work block's coinbase is not at hand.
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
            Self::Signatures { legacy, without_members } => {
                write!(
                    f,
                    "the signatures of {legacy} commitments from before v19, and of {without_members} whose members are not known"
                )
            }
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
