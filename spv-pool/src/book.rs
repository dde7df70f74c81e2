use std::{cmp::Reverse, collections::BTreeMap};

use qrinfo_core::{PeerId, client::Ban};

/// The most good peers that are kept, the newest first: eight times the usual number of connections.
const MAX_GOOD: usize = 64;

/// A good peer is forgotten after this many seconds: 30 days.
const FORGET_AFTER: u64 = 30 * 24 * 60 * 60;

/// The peers that are remembered from one run to the next.
///
/// A plain value: the client stores it where and how it likes. All times are in seconds since 1970.
///
/// ```
/// use spv_pool::AddressBook;
///
/// let mut book = AddressBook::default();
/// book.good.insert(([203, 0, 113, 5], 9999).into(), 1_700_000_000);
/// assert_eq!(book.pruned(1_700_000_000).good.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressBook {
    /// Peers that were useful, each with the time at which it last was. At most 64 are used.
    pub good: BTreeMap<PeerId, u64>,
    /// Bans that last.
    pub bans: Vec<Ban>,
}

// === impl AddressBook ===

impl AddressBook {
    /// The entries that still count at `now`: bans that last, and the 64 newest good peers of the last 30 days.
    #[must_use]
    pub fn pruned(self, now: u64) -> Self {
        let bans: Vec<_> = self.bans.into_iter().filter(|ban| ban.until > now).collect();
        let is_banned = |peer| bans.iter().any(|ban| ban.peer == peer);
        let mut good: Vec<_> = self
            .good
            .into_iter()
            .filter(|&(peer, last)| last.saturating_add(FORGET_AFTER) > now && !is_banned(peer))
            .collect();
        good.sort_by_key(|&(_, last)| Reverse(last));
        good.truncate(MAX_GOOD);
        Self { good: good.into_iter().collect(), bans }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> PeerId {
        ([203, 0, 113, 5], port).into()
    }

    #[test]
    fn what_is_old_banned_or_too_much_is_forgotten() {
        let ban = |port, until| Ban { peer: peer(port), until, reason: "a false list".into() };
        let now = FORGET_AFTER * 2;
        let mut good: BTreeMap<_, _> = (100..200).map(|port| (peer(port), now - u64::from(port))).collect();
        good.insert(peer(1), now - FORGET_AFTER);
        good.insert(peer(2), now);
        let book = AddressBook { good, bans: vec![ban(2, now + 1), ban(3, now)] }.pruned(now);
        assert_eq!(book.bans, [ban(2, now + 1)]);
        assert!(book.good.keys().copied().eq((100..164).map(peer)), "{:?}", book.good);
    }
}
