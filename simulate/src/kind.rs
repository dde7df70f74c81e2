//! The kinds of things that go wrong.

use std::fmt;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    // --- of a node ---
    Refuse,
    Silent,
    Close,
    Cut,
    Oversized,
    BitFlip,
    Garbage,
    Unknown,
    WrongReply,
    Duplicate,
    Drip,
    Late,
    Flood,
    Slow,
    Lie,
    Tamper,
    Stuff,
    BrokenHeaders,
    SilentHeaders,
    TruncatedHeaders,
    EndlessHeaders,
    WrongChain,
    Behind,
    Low,
    High,
    Mute,
    Poison,
    NoDial,
    Hang,
    // --- of one node alone ---
    Ahead,
    // --- of the world ---
    Reorg,
    Jump,
    Restart,
    Outage,
    Kill,
    PowerLoss,
    DiskError,
    DiskFull,
}

use Kind::*;

impl Kind {
    /// Faults of single nodes.
    pub(crate) const OF_NODES: [Self; 29] = [
        Refuse,
        Silent,
        Close,
        Cut,
        Oversized,
        BitFlip,
        Garbage,
        Unknown,
        WrongReply,
        Duplicate,
        Drip,
        Late,
        Flood,
        Slow,
        Lie,
        Tamper,
        Stuff,
        BrokenHeaders,
        SilentHeaders,
        TruncatedHeaders,
        EndlessHeaders,
        WrongChain,
        Behind,
        Low,
        High,
        Mute,
        Poison,
        NoDial,
        Hang,
    ];

    /// Faults of everything else.
    pub(crate) const OF_WORLD: [Self; 8] = [Reorg, Jump, Restart, Outage, Kill, PowerLoss, DiskError, DiskFull];

    /// The kind with this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::OF_NODES.into_iter().chain(Self::OF_WORLD).chain([Ahead]).find(|kind| kind.to_string() == name)
    }

    /// Returns `true` for a fault of single nodes.
    pub(crate) fn is_of_nodes(self) -> bool {
        Self::OF_NODES.contains(&self)
    }

    /// Returns `true` if a node with this fault answers or refuses requests as quickly as without.
    pub(crate) fn is_prompt(self) -> bool {
        matches!(
            self,
            Refuse
                | Lie
                | BrokenHeaders
                | SilentHeaders
                | TruncatedHeaders
                | EndlessHeaders
                | WrongChain
                | Behind
                | Ahead
                | Low
                | High
                | Mute
                | Poison
                | NoDial
        )
    }

    /// Returns `true` if a node with this fault sends what is false, or what was not asked for, so that it may be banned.
    pub(crate) fn is_provable(self) -> bool {
        matches!(
            self,
            Oversized
                | BitFlip
                | Garbage
                | WrongReply
                | Duplicate
                | Lie
                | Tamper
                | Stuff
                | BrokenHeaders
                | TruncatedHeaders
        )
    }
}

impl fmt::Display for Kind {
    /// The name in lower case with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in format!("{self:?}").char_indices() {
            if letter.is_uppercase() && index > 0 {
                write!(f, "-")?;
            }
            write!(f, "{}", letter.to_lowercase())?;
        }
        Ok(())
    }
}
