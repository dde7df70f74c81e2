//! The plan by itself: no I/O, and time is a number.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};
use qrinfo_core::{
    Network, PeerId,
    client::Ban,
    message::{KnownNode, NetAddress},
};
use spv_pool::{AddressBook, NetworkGroup, Plan, PlanConfig, Source, Step};

const UNIX: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn plan(target: usize, now: Instant) -> Plan {
    Plan::new(PlanConfig { target, ..PlanConfig::new(Network::Mainnet, 7) }, now, UNIX)
}

/// Some instant. Time goes on only where a test adds to it.
fn begin() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A peer of a network group of its own.
fn peer(group: u8) -> PeerId {
    ([8, group, 0, 1], 9999).into()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All attempts that start at this instant.
fn starts(plan: &mut Plan, now: Instant) -> Vec<PeerId> {
    std::iter::from_fn(|| match plan.next(now) {
        Step::Connect(peer) => Some(peer),
        Step::Resolve(_) | Step::Wait(_) => None,
    })
    .collect()
}

fn nodes(addresses: impl IntoIterator<Item = ([u8; 4], u16)>) -> Vec<KnownNode<NetAddress>> {
    let node = |address: ([u8; 4], u16)| NetAddress::Ip(address.into());
    let known = |address| KnownNode { last_seen: 0, services: 1, address: node(address) };
    addresses.into_iter().map(known).collect()
}

#[test]
fn named_nodes_come_first_and_those_of_peers_last() {
    let now = begin();
    let mut plan = plan(5, now);
    plan.add_gossip(peer(200), &nodes([([9, 9, 9, 9], 9999)]), now);
    plan.add(peer(1), Source::Seed, now);
    plan.add(peer(2), Source::Seed, now);
    plan.add_book(AddressBook { good: [(peer(3), UNIX)].into(), bans: Vec::new() }, now);
    plan.add(peer(4), Source::Named, now);
    let order = starts(&mut plan, now);
    assert_eq!(order[..2], [peer(4), peer(3)]);
    assert_eq!(order[2..4].iter().copied().collect::<BTreeSet<_>>(), [peer(1), peer(2)].into());
    assert_eq!(order[4..], [([9, 9, 9, 9], 9999).into()]);
}

#[test]
fn the_book_has_half_of_the_places_while_there_are_seeds() {
    let now = begin();
    let mut plan = plan(8, now);
    plan.add_book(AddressBook { good: (1..=20).map(|group| (peer(group), UNIX)).collect(), bans: Vec::new() }, now);
    for group in 101..=120 {
        plan.add(peer(group), Source::Seed, now);
    }
    let first = starts(&mut plan, now);
    let remembered = first.iter().filter(|&&known| known < peer(100)).count();
    assert_eq!((first.len(), remembered), (8, 4));
}

#[test]
fn nodes_of_other_network_groups_come_first_and_none_is_left_out() {
    let now = begin();
    let mut plan = plan(4, now);
    for host in 1..=10 {
        plan.add(([8, 1, 0, host], 9999).into(), Source::Seed, now);
    }
    plan.add(peer(2), Source::Seed, now);
    plan.add(peer(3), Source::Seed, now);
    let groups: BTreeMap<NetworkGroup, usize> =
        starts(&mut plan, now).into_iter().fold(BTreeMap::new(), |mut all, peer| {
            *all.entry(NetworkGroup::of(peer)).or_default() += 1;
            all
        });
    assert_eq!(groups.into_values().collect::<BTreeSet<_>>(), [1, 2].into());
}

#[test]
fn an_attempt_that_takes_long_no_longer_holds_a_place() {
    let now = begin();
    let mut plan = plan(2, now);
    (1..=20).for_each(|group| plan.add(peer(group), Source::Seed, now));
    let at = |millis| now + Duration::from_millis(millis);
    assert_eq!(starts(&mut plan, now).len(), 2);
    assert_eq!(plan.next(now), Step::Wait(Some(at(250))));
    assert_eq!(starts(&mut plan, at(249)).len(), 0);
    assert_eq!(
        [250, 500, 750, 1000].map(|millis| starts(&mut plan, at(millis)).len()),
        [2, 2, 2, 0],
        "8 attempts at most"
    );
}

#[test]
fn attempts_that_are_not_needed_end() {
    let now = begin();
    let mut plan = plan(1, now);
    (1..=3).for_each(|group| plan.add(peer(group), Source::Seed, now));
    let silent = starts(&mut plan, now)[0];
    let later = now + Duration::from_millis(250);
    let ready = starts(&mut plan, later)[0];
    assert!(plan.end_surplus(later).is_empty());
    assert!(plan.connected(ready).is_some());
    assert_eq!(plan.end_surplus(later), [silent]);
    assert_eq!(plan.connected(silent), None, "it is not wanted any more");
    assert_eq!(plan.next(later), Step::Wait(None));
}

#[test]
fn a_node_that_fails_rests_longer_each_time_until_it_is_of_use() {
    let mut now = begin();
    let mut plan = plan(1, now);
    plan.add(peer(1), Source::Named, now);
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
        assert_eq!(plan.next(now), Step::Connect(peer(1)));
        plan.failed(peer(1), false, now);
        assert_eq!(plan.next(now), Step::Wait(Some(now + secs(wait))));
        now += secs(wait);
    }
    assert_eq!(plan.next(now), Step::Connect(peer(1)));
    let session = plan.connected(peer(1)).unwrap();
    plan.good(peer(1), now);
    plan.left(peer(1), session, now);
    assert_eq!(plan.next(now), Step::Wait(Some(now + secs(1))));
}

#[test]
fn a_node_of_another_network_is_left_alone_for_a_day() {
    let now = begin();
    let mut plan = plan(1, now);
    plan.add(peer(1), Source::Named, now);
    starts(&mut plan, now);
    plan.failed(peer(1), true, now);
    assert!(plan.is_exhausted());
    assert_eq!(plan.next(now), Step::Wait(Some(now + DAY)));
}

#[test]
fn the_end_of_an_earlier_session_is_not_taken_for_that_of_the_next() {
    let now = begin();
    let mut plan = plan(1, now);
    plan.add(peer(1), Source::Named, now);
    starts(&mut plan, now);
    let first = plan.connected(peer(1)).unwrap();
    plan.left(peer(1), first, now);
    assert_eq!(starts(&mut plan, now + secs(1)), [peer(1)]);
    let second = plan.connected(peer(1)).unwrap();
    plan.left(peer(1), first, now);
    assert_eq!(plan.connections(), 1);
    plan.left(peer(1), second, now);
    assert_eq!(plan.connections(), 0);
}

#[test]
fn a_banned_peer_is_left_alone_until_the_ban_ends_also_in_the_next_run() {
    let now = begin();
    let mut first = plan(2, now);
    first.add(peer(1), Source::Seed, now);
    first.add(peer(2), Source::Seed, now);
    assert_eq!(starts(&mut first, now).len(), 2);
    assert!(first.connected(peer(1)).is_some() && first.connected(peer(2)).is_some());
    first.good(peer(1), now);
    first.good(peer(2), now);
    first.ban(peer(1), DAY, "a false list", now + secs(10));
    assert_eq!(first.connections(), 1);
    let book = first.book(now + secs(20));
    assert_eq!(book.good.keys().copied().collect::<Vec<_>>(), [peer(2)]);
    assert_eq!(book.bans, [Ban { peer: peer(1), until: UNIX + 10 + DAY.as_secs(), reason: "a false list".into() }]);

    for book_first in [true, false] {
        let mut second = Plan::new(PlanConfig::new(Network::Mainnet, 1), now, UNIX + 1000);
        if book_first {
            second.add_book(book.clone(), now);
        }
        second.add(peer(1), Source::Named, now);
        if !book_first {
            second.add_book(book.clone(), now);
        }
        assert_eq!(starts(&mut second, now), [peer(2)]);
        assert_eq!(starts(&mut second, now + DAY - secs(990) - secs(1)), []);
        assert_eq!(starts(&mut second, now + DAY - secs(990)), [peer(1)]);
    }
}

#[test]
fn a_ban_without_end_and_a_book_of_another_age_do_no_harm() {
    let now = begin();
    let mut plan = plan(2, now);
    let ban = Ban { peer: peer(1), until: u64::MAX, reason: String::new() };
    plan.add_book(AddressBook { good: [(peer(2), u64::MAX), (peer(3), 0)].into(), bans: vec![ban] }, now);
    plan.add(peer(1), Source::Named, now);
    plan.ban(peer(4), Duration::MAX, "", now);
    assert_eq!(starts(&mut plan, now), [peer(2)]);
    assert_eq!(starts(&mut plan, now + 300 * DAY), []);
}

#[test]
fn a_plan_of_banned_peers_alone_is_exhausted() {
    let now = begin();
    let mut plan = plan(2, now);
    plan.ban(peer(1), DAY, "a false list", now);
    plan.add(peer(1), Source::Named, now);
    assert!(plan.is_exhausted());
}

#[test]
fn a_host_is_resolved_beside_the_attempts_and_all_its_addresses_are_candidates() {
    let now = begin();
    let mut plan = plan(200, now);
    plan.add(peer(1), Source::Seed, now);
    plan.add_host("seed.example.org:9999", Source::Seed);
    plan.add_host("seed.example.org:9999", Source::Seed);
    assert_eq!(plan.next(now), Step::Resolve("seed.example.org:9999".into()));
    assert_eq!(plan.next(now), Step::Connect(peer(1)));
    plan.failed(peer(1), false, now);
    assert!(!plan.is_exhausted(), "the host may have addresses");
    plan.resolved("seed.example.org:9999", (0..100).map(|group| ([9, group, 0, 1], 9999).into()), now);
    assert_eq!(starts(&mut plan, now).len(), 64);
    plan.resolved("seed.example.org:9999", [([9, 200, 0, 1], 9999).into()], now);
    assert_eq!(starts(&mut plan, now), [], "nothing was asked");
}

#[test]
fn what_peers_name_is_bounded_and_of_different_groups() {
    let now = begin();
    let mut plan = plan(8, now);
    let many = |first: u8| nodes((0..=255).map(move |group| ([first, group, 0, 1], 9999)));
    plan.add_gossip(peer(1), &many(11), now);
    plan.add_gossip(peer(1), &many(12), now);
    assert_eq!(plan.candidates(), 16, "of one peer");
    let same_group = nodes((1..=255).map(|host| ([13, 1, 0, host], 9999)));
    plan.add_gossip(peer(2), &same_group, now);
    assert_eq!(plan.candidates(), 17, "of one group");
    for liar in 3..=255 {
        plan.add_gossip(peer(liar), &many(liar), now);
    }
    assert_eq!(plan.candidates(), 256, "of all peers");
}

#[test]
fn nothing_is_taken_of_peers_where_the_user_names_the_nodes() {
    let now = begin();
    let config = PlanConfig { uses_gossip: false, ..PlanConfig::new(Network::Mainnet, 7) };
    let mut plan = Plan::new(config, now, UNIX);
    plan.add_gossip(peer(1), &nodes([([9, 9, 9, 9], 9999)]), now);
    assert_eq!(plan.candidates(), 0);
    assert!(!plan.wants_addresses());
}

#[test]
fn a_node_of_gossip_that_fails_thrice_makes_room() {
    let mut now = begin();
    let mut plan = plan(8, now);
    plan.add_gossip(peer(1), &nodes([([9, 9, 9, 9], 9999)]), now);
    for _ in 0..3 {
        let attempts = starts(&mut plan, now);
        assert_eq!(attempts.len(), 1);
        plan.failed(attempts[0], false, now);
        now += secs(600);
    }
    assert_eq!(plan.candidates(), 0);
}

#[test]
fn addresses_are_asked_for_while_few_candidates_are_untried() {
    let now = begin();
    let mut plan = plan(2, now);
    assert!(plan.wants_addresses());
    (1..=6).for_each(|group| plan.add(peer(group), Source::Seed, now));
    assert!(!plan.wants_addresses());
    starts(&mut plan, now);
    assert!(!plan.wants_addresses());
    starts(&mut plan, now + secs(1));
    assert!(plan.wants_addresses());
}

/// A node's behaviour when it is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The node is ready after this many milliseconds.
    Good(u64),
    /// The node never answers; the attempt ends after 10 s.
    Silent,
    /// The node refuses at once.
    Refuses,
    /// The node is ready and is found to lie after a millisecond.
    Lies,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![(0_u64..200).prop_map(Kind::Good), Just(Kind::Silent), Just(Kind::Refuses), Just(Kind::Lies),]
}

/// Runs a plan against nodes for `length`, and returns the time to the first good connection and the number at the end.
fn run(target: usize, kinds: &[Kind], seed: u64, length: Duration) -> (Option<Duration>, usize) {
    let start = begin();
    let config = PlanConfig { target, ..PlanConfig::new(Network::Mainnet, seed) };
    let mut plan = Plan::new(config, start, UNIX);
    let peers: BTreeMap<PeerId, Kind> =
        kinds.iter().enumerate().map(|(i, &kind)| (([8, 0, (i / 256) as u8, i as u8], 9999).into(), kind)).collect();
    peers.keys().for_each(|&peer| plan.add(peer, Source::Seed, start));
    let mut first = None;
    // The events by their instants: an attempt ends, or a liar is found.
    let mut events: BTreeMap<(Instant, u64), PeerId> = BTreeMap::new();
    let mut connected = BTreeSet::new();
    let mut number = 0;
    let mut now = start;
    while now <= start + length {
        let wake = loop {
            match plan.next(now) {
                Step::Connect(peer) => {
                    number += 1;
                    let takes = match peers[&peer] {
                        Kind::Good(millis) => Duration::from_millis(millis),
                        Kind::Silent => secs(10),
                        Kind::Refuses | Kind::Lies => Duration::from_millis(1),
                    };
                    events.insert((now + takes, number), peer);
                }
                Step::Wait(wake) => break wake,
                Step::Resolve(_) => unreachable!(),
            }
        };
        assert!(events.len() - connected.len() <= 4 * target, "too many attempts");
        assert!(plan.connections() <= target);
        let next_event = events.keys().next().map(|(at, _)| *at);
        let Some(next) = [wake, next_event].into_iter().flatten().min() else { break };
        assert!(next >= now, "time goes on");
        now = next;
        while let Some(event) = events.first_entry().filter(|event| event.key().0 <= now) {
            let peer = event.remove();
            match peers[&peer] {
                _ if connected.remove(&peer) => plan.ban(peer, DAY, "it lied", now),
                Kind::Silent | Kind::Refuses => plan.failed(peer, false, now),
                kind => {
                    if plan.connected(peer).is_some() {
                        if kind == Kind::Lies {
                            number += 1;
                            connected.insert(peer);
                            events.insert((now + Duration::from_millis(1), number), peer);
                        } else {
                            first.get_or_insert(now - start);
                        }
                    }
                    let surplus = plan.end_surplus(now);
                    events.retain(|_, peer| !surplus.contains(peer));
                }
            }
        }
    }
    (first, plan.connections())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// The good nodes are found, for any number of nodes that are silent, refuse or lie, and in any order.
    #[test]
    fn good_nodes_are_found_among_all_others(
        kinds in vec(kind(), 1..60), target in 1_usize..10, seed in any::<u64>(),
    ) {
        let good = kinds.iter().filter(|kind| matches!(kind, Kind::Good(_))).count();
        let (first, connections) = run(target, &kinds, seed, secs(1200));
        prop_assert_eq!(first.is_some(), good > 0);
        prop_assert_eq!(connections, good.min(target));
    }

    /// A silent node delays no other by more than 250 ms, as long as there are no more than three for each place.
    #[test]
    fn silent_nodes_cost_a_quarter_of_a_second_for_each_full_round(
        target in 1_usize..10, share in 0_usize..100, latency in 0_u64..200, seed in any::<u64>(),
    ) {
        let silent = 3 * target * share / 100;
        let mut kinds = vec![Kind::Silent; silent];
        kinds.push(Kind::Good(latency));
        let (first, _) = run(target, &kinds, seed, secs(5));
        let rounds = u64::try_from(silent / target).unwrap();
        prop_assert!(first.unwrap() <= Duration::from_millis(latency + 250 * rounds), "{first:?}");
    }
}
