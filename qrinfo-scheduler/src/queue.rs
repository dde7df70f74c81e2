//! The requests that wait, in the order in which they are served.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::Bound,
    time::{Duration, Instant},
};

use qrinfo_core::RequestPriority;

/// One of this many sends belongs to the request that has waited longest, once it has waited longer than the ageing
/// bound. A greater value makes low priorities wait longer; a smaller one takes more from urgent requests.
pub(crate) const AGED_SHARE: u32 = 8;

const CLASSES: usize = 4;

/// The identity of an entry of the queue: the request's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// The data by which the queue orders a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) priority: RequestPriority,
    /// The order within a priority.
    pub(crate) order: u64,
    /// True if it was sent and its peer may still answer. It then goes after all others of its priority.
    pub(crate) again: bool,
    /// True if a peer has failed it.
    pub(crate) failed: bool,
    pub(crate) since: Instant,
    pub(crate) ticket: Ticket,
}

/// The order within a priority: not sent before, then the number.
type Key = (bool, u64, Ticket);

/// Requests by priority, and by order within one.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Greatest priority first.
    classes: [BTreeMap<Key, Place>; CLASSES],
    /// Those that a peer has failed: few, where others may be many.
    failed: BTreeMap<(Reverse<RequestPriority>, Key), Place>,
    /// With the order, by which a window admits.
    by_age: BTreeMap<(Instant, Ticket), u64>,
    /// Sends since the last one that ageing decided.
    sends: u32,
}

// === impl Ticket ===

impl Ticket {
    const FIRST: Self = Self(0);
    const LAST: Self = Self(u64::MAX);
}

// === impl Place ===

impl Place {
    fn key(&self) -> Key {
        (self.again, self.order, self.ticket)
    }
}

// === impl Queue ===

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    pub(crate) fn insert(&mut self, place: Place) {
        self.class_mut(place.priority).insert(place.key(), place);
        self.by_age.insert((place.since, place.ticket), place.order);
        if place.failed {
            self.failed.insert((Reverse(place.priority), place.key()), place);
        }
    }

    pub(crate) fn remove(&mut self, place: &Place) -> bool {
        self.by_age.remove(&(place.since, place.ticket));
        self.failed.remove(&(Reverse(place.priority), place.key()));
        self.class_mut(place.priority).remove(&place.key()).is_some()
    }

    pub(crate) fn contains(&self, place: &Place) -> bool {
        self.by_age.contains_key(&(place.since, place.ticket))
    }

    /// Everything ordered below `limit`, the greatest priority first.
    pub(crate) fn below(&self, limit: Option<u64>) -> impl Iterator<Item = &Place> {
        let range = move |again| {
            let end = match limit {
                Some(limit) => Bound::Excluded((again, limit, Ticket::FIRST)),
                None => Bound::Included((again, u64::MAX, Ticket::LAST)),
            };
            (Bound::Included((again, 0, Ticket::FIRST)), end)
        };
        self.classes.iter().flat_map(move |class| {
            [false, true].into_iter().flat_map(move |again| class.range(range(again)).map(|(_, place)| place))
        })
    }

    /// The same, of those that a peer has failed.
    pub(crate) fn failed_below(&self, limit: Option<u64>) -> impl Iterator<Item = &Place> {
        self.failed.values().filter(move |place| limit.is_none_or(|limit| place.order < limit))
    }

    /// The one below `limit` that ageing puts first, if it is ageing's turn.
    ///
    /// The bound that follows: a request with `k` older ones before it is sent within `8 (k + 1)` sends after it has
    /// waited for `ageing`, whatever else arrives.
    pub(crate) fn overdue(&self, limit: Option<u64>, ageing: Duration, now: Instant) -> Option<Ticket> {
        if self.sends + 1 < AGED_SHARE {
            return None;
        }
        self.by_age
            .iter()
            .take_while(|((since, _), _)| now.saturating_duration_since(*since) >= ageing)
            .find(|&(_, &order)| limit.is_none_or(|limit| order < limit))
            .map(|(&(_, ticket), _)| ticket)
    }

    /// Counts a send; `aged` says that [`overdue`](Self::overdue) chose it.
    pub(crate) fn count_send(&mut self, aged: bool) {
        self.sends = if aged { 0 } else { self.sends.saturating_add(1) };
    }

    fn class_mut(&mut self, priority: RequestPriority) -> &mut BTreeMap<Key, Place> {
        let [critical, high, normal, low] = &mut self.classes;
        match priority {
            RequestPriority::Critical => critical,
            RequestPriority::High => high,
            RequestPriority::Normal => normal,
            RequestPriority::Low => low,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(order: u64, since: Instant) -> Place {
        let ticket = Ticket(order);
        Place { priority: RequestPriority::Normal, order, again: false, failed: true, since, ticket }
    }

    #[test]
    fn a_limit_is_the_first_that_is_not_admitted() {
        let since = tokio::time::Instant::now().into_std();
        let mut queue = Queue::default();
        assert_eq!((queue.len(), queue.is_empty()), (0, true));
        (0..3).for_each(|order| queue.insert(place(order, since)));
        assert_eq!((queue.len(), queue.is_empty()), (3, false));
        let orders = |places: Vec<&Place>| places.into_iter().map(|place| place.order).collect::<Vec<_>>();
        assert_eq!(orders(queue.below(Some(2)).collect()), [0, 1]);
        assert_eq!(orders(queue.failed_below(Some(2)).collect()), [0, 1]);
        assert_eq!(orders(queue.failed_below(None).collect()), [0, 1, 2]);
    }

    #[test]
    fn the_eighth_send_is_for_what_has_waited_longest_and_long_enough() {
        let since = tokio::time::Instant::now().into_std();
        let at = |seconds| since + Duration::from_secs(seconds);
        let mut queue = Queue::default();
        (0..3).for_each(|order| queue.insert(place(order, at(10 - order))));
        let ageing = Duration::from_secs(60);
        for _ in 0..7 {
            assert_eq!(queue.overdue(None, ageing, at(1_000)), None);
            queue.count_send(false);
        }
        assert_eq!(queue.overdue(None, ageing, at(67)), None);
        assert_eq!(queue.overdue(None, ageing, at(68)), Some(Ticket(2)));
        assert_eq!(queue.overdue(Some(2), ageing, at(68)), None);
        assert_eq!(queue.overdue(Some(2), ageing, at(69)), Some(Ticket(1)));
        queue.count_send(true);
        assert_eq!(queue.overdue(None, ageing, at(1_000)), None);
    }

    /// A request that all peers refused is looked for among these alone: a search of all that wait would be quadratic.
    #[test]
    fn those_that_a_peer_failed_are_found_without_the_others() {
        let since = tokio::time::Instant::now().into_std();
        let place = |order| Place {
            priority: if order == 7 { RequestPriority::High } else { RequestPriority::Normal },
            order,
            again: false,
            failed: order % 300 == 7,
            since,
            ticket: Ticket(order),
        };
        let mut queue = Queue::default();
        (0..1_000).for_each(|order| queue.insert(place(order)));
        let failed = |queue: &Queue| queue.failed_below(Some(900)).map(|place| place.order).collect::<Vec<_>>();
        assert_eq!(failed(&queue), [7, 307, 607]);
        assert!(queue.remove(&place(307)));
        assert_eq!(failed(&queue), [7, 607]);
    }
}
