//! The task, in virtual time and over transports without sockets.
#![expect(clippy::unwrap_used, reason = "a script that cannot go on fails its test")]

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use qrinfo_core::{Network, PeerId, message::Addr, message::KnownNode, wire::Wire};
use spv_peer::PeerError;
use spv_pool::{AddressBook, Dial, Place, Plan, PlanConfig, PoolEvent, PoolEvents, PoolHandle, Source, start};
use tokio::time::{Instant, sleep, timeout};

const UNIX: u64 = 1_800_000_000;

/// A connection. It counts while it lives.
#[derive(Debug)]
struct Line {
    _alive: Arc<()>,
}

/// A network whose peers are told apart by their names: `silent-...` never answers, `refuses-...` closes, `foreign-...`
/// is on another network, and all others are ready after 5 ms.
#[derive(Debug, Clone, Default)]
struct Nodes {
    alive: Arc<()>,
    dialled: Arc<Mutex<Vec<PeerId>>>,
    asked: Arc<AtomicUsize>,
}

impl Nodes {
    async fn dial(self, dial: Dial) -> Result<Line, PeerError> {
        let line = Line { _alive: self.alive.clone() };
        self.dialled.lock().unwrap().push(dial.peer);
        self.asked.fetch_add(usize::from(dial.asks_for_addresses), Ordering::Relaxed);
        let name = dial.peer.to_string();
        match name.split('-').next() {
            Some("silent") => pending().await,
            Some("refuses") => Err(PeerError::Connect(std::io::ErrorKind::ConnectionRefused.into())),
            Some("foreign") => {
                Err(PeerError::WrongNetwork { expected: Network::Regtest, magic: Network::Testnet.magic() })
            }
            _ => {
                sleep(Duration::from_millis(5)).await;
                Ok(line)
            }
        }
    }

    /// Attempts and connections that exist.
    fn alive(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }

    fn dialled(&self) -> Vec<PeerId> {
        self.dialled.lock().unwrap().clone()
    }

    fn start(&self, plan: Plan) -> (PoolHandle, PoolEvents<Line>) {
        let nodes = self.clone();
        start(plan, move |dial| {
            // The one that the closure holds does not count.
            nodes.clone().dial(dial)
        })
    }
}

fn plan(target: usize) -> Plan {
    let config = PlanConfig { target, uses_gossip: false, ..PlanConfig::new(Network::Regtest, 42) };
    Plan::new(config, Instant::now().into_std(), UNIX)
}

fn plan_of<N: AsRef<str>>(target: usize, names: impl IntoIterator<Item = N>) -> Plan {
    let mut plan = plan(target);
    for name in names {
        plan.add(name.as_ref().parse().unwrap(), Source::Named, Instant::now().into_std());
    }
    plan
}

fn named(kind: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{kind}-{number}"))
}

async fn next(events: &mut PoolEvents<Line>) -> PoolEvent<Line> {
    timeout(Duration::from_secs(3600), events.recv()).await.unwrap().unwrap()
}

async fn ready(events: &mut PoolEvents<Line>) -> (Place, Line) {
    loop {
        if let PoolEvent::Ready(place, line) = next(events).await {
            return (place, line);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn work_starts_with_the_first_node_that_is_ready() {
    let nodes = Nodes::default();
    let begin = Instant::now();
    let (_pool, mut events) = nodes.start(plan_of(8, named("silent", 3).chain(named("good", 1))));
    let (place, _line) = ready(&mut events).await;
    assert_eq!(place.peer().to_string(), "good-0");
    assert_eq!(begin.elapsed(), Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn twenty_silent_nodes_cost_half_a_second() {
    let begin = Instant::now();
    let mut plan = plan_of(8, named("silent", 20));
    // A seed is tried after all nodes that the user named.
    plan.add("good-0".parse().unwrap(), Source::Seed, Instant::now().into_std());
    let (_pool, mut events) = Nodes::default().start(plan);
    assert_eq!(ready(&mut events).await.0.peer().to_string(), "good-0");
    assert_eq!(begin.elapsed(), Duration::from_millis(2 * 250 + 5));
}

#[tokio::test(start_paused = true)]
async fn eight_liars_are_replaced_by_the_ninth_that_is_honest() {
    let begin = Instant::now();
    let mut plan = plan_of(8, named("liar", 8));
    plan.add("honest-0".parse().unwrap(), Source::Seed, Instant::now().into_std());
    let (pool, mut events) = Nodes::default().start(plan);
    for _ in 0..8 {
        let (place, _) = ready(&mut events).await;
        assert!(place.peer().to_string().starts_with("liar"));
        pool.ban(place.peer(), Duration::from_secs(86_400), "a reply of another cycle");
    }
    assert_eq!(ready(&mut events).await.0.peer().to_string(), "honest-0");
    assert_eq!(begin.elapsed(), Duration::from_millis(10));
    assert_eq!(pool.book().await.bans.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn as_many_as_wanted_are_connected_and_a_node_that_leaves_is_replaced() {
    let nodes = Nodes::default();
    let (_pool, mut events) = nodes.start(plan_of(3, named("good", 10)));
    let mut lines = Vec::new();
    for _ in 0..3 {
        lines.push(ready(&mut events).await);
    }
    assert!(timeout(Duration::from_secs(60), events.recv()).await.is_err(), "no more are wanted");
    for _ in 0..7 {
        drop(lines.remove(0));
        lines.push(ready(&mut events).await);
    }
    let tried: BTreeSet<_> = nodes.dialled().into_iter().collect();
    assert_eq!((tried.len(), nodes.dialled().len()), (10, 10), "each candidate has its turn");
    drop(lines.remove(0));
    let begin = Instant::now();
    ready(&mut events).await;
    assert!(begin.elapsed() <= Duration::from_millis(1005), "those that left come back");
}

#[tokio::test(start_paused = true)]
async fn attempts_end_when_enough_nodes_are_connected() {
    let nodes = Nodes::default();
    let mut plan = plan_of(2, named("silent", 4));
    named("good", 2).for_each(|name| plan.add(name.parse().unwrap(), Source::Seed, Instant::now().into_std()));
    let (_pool, mut events) = nodes.start(plan);
    let lines = [ready(&mut events).await, ready(&mut events).await];
    sleep(Duration::from_secs(1)).await;
    // The closure of the connector holds one.
    assert_eq!(nodes.alive(), 1 + 2);
    drop(lines);
    drop(events);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(nodes.alive(), 0, "the task is gone, and all its attempts");
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_a_node_says_so_once_and_goes_on() {
    let begin = Instant::now();
    let (_pool, mut events) = Nodes::default().start(plan_of(8, ["refuses-0", "foreign-0"]));
    let mut failed = BTreeSet::new();
    loop {
        match next(&mut events).await {
            PoolEvent::Failed(peer, error) => failed.insert((peer.to_string(), error.to_string())),
            PoolEvent::Exhausted => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let expected = [
        ("foreign-0".to_owned(), "peer is not on regtest: it speaks for testnet".to_owned()),
        ("refuses-0".to_owned(), "cannot connect".to_owned()),
    ];
    assert_eq!(failed, expected.into());

    let mut again = Vec::new();
    while begin.elapsed() < Duration::from_secs(60) {
        match next(&mut events).await {
            PoolEvent::Failed(peer, _) => again.push(peer.to_string()),
            PoolEvent::Exhausted => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(again.len() >= 5 && again.iter().all(|peer| peer == "refuses-0"), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn every_address_of_a_host_is_a_candidate_and_a_bad_host_is_told() {
    let mut plan = plan(8);
    plan.add_host("127.0.0.1:19899", Source::Named);
    plan.add_host("no port", Source::Named);
    let (_pool, mut events) = Nodes::default().start(plan);
    let (mut ready, mut unresolved) = (None, None);
    while ready.is_none() || unresolved.is_none() {
        match next(&mut events).await {
            PoolEvent::Ready(place, _) => ready = Some(place.peer().to_string()),
            PoolEvent::Unresolved(host, _) => unresolved = Some(host),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((ready.as_deref(), unresolved.as_deref()), (Some("127.0.0.1:19899"), Some("no port")));
}

#[tokio::test(start_paused = true)]
async fn hosts_that_do_not_resolve_leave_nothing_to_wait_for() {
    let mut plan = plan(8);
    plan.add_host("no port", Source::Seed);
    let (_pool, mut events) = Nodes::default().start(plan);
    assert!(matches!(next(&mut events).await, PoolEvent::Unresolved(..)));
    assert!(matches!(next(&mut events).await, PoolEvent::Exhausted));
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_candidates_are_all_banned_says_so() {
    let mut plan = plan_of(8, ["liar-0"]);
    plan.ban("liar-0".parse().unwrap(), Duration::from_secs(60), "a false list", Instant::now().into_std());
    let (_pool, mut events) = Nodes::default().start(plan);
    let begin = Instant::now();
    assert!(matches!(next(&mut events).await, PoolEvent::Exhausted));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    ready(&mut events).await;
    assert_eq!(begin.elapsed(), Duration::from_millis(60_005), "the ban has an end");
}

#[tokio::test(start_paused = true)]
async fn candidates_can_come_later() {
    let (pool, mut events) = Nodes::default().start(plan(8));
    assert!(timeout(Duration::from_secs(60), events.recv()).await.is_err(), "it waits for candidates");
    pool.add(["good-0".parse().unwrap()], Source::Named);
    pool.add_host("127.0.0.1:1", Source::Seed);
    let both = [ready(&mut events).await.0.peer().to_string(), ready(&mut events).await.0.peer().to_string()];
    assert_eq!(BTreeSet::from(both), ["127.0.0.1:1".to_owned(), "good-0".to_owned()].into());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_holds_back_attempts() {
    let nodes = Nodes::default();
    let (_pool, events) = nodes.start(plan_of(4, named("refuses", 1000)));
    sleep(Duration::from_secs(3600)).await;
    assert!(nodes.dialled().len() <= 2 * 4, "{}", nodes.dialled().len());
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn good_peers_are_tried_first_in_the_next_run() {
    let seeds = || (0..20_u8).map(|group| PeerId::from(([8, group, 0, 1], 9999)));
    let mut first = plan(4);
    seeds().for_each(|peer| first.add(peer, Source::Seed, Instant::now().into_std()));
    let (pool, mut events) = Nodes::default().start(first);
    let (place, _line) = ready(&mut events).await;
    pool.good(place.peer());
    let book = pool.book().await;
    assert_eq!(book, AddressBook { good: [(place.peer(), UNIX)].into(), bans: Vec::new() });

    let nodes = Nodes::default();
    let mut second = Plan::new(
        PlanConfig { target: 4, ..PlanConfig::new(Network::Regtest, 1) },
        Instant::now().into_std(),
        UNIX + 60,
    );
    seeds().for_each(|peer| second.add(peer, Source::Seed, Instant::now().into_std()));
    second.add_book(book, Instant::now().into_std());
    let (_pool, mut events) = nodes.start(second);
    ready(&mut events).await;
    assert_eq!(nodes.dialled()[0], place.peer());
}

#[tokio::test(start_paused = true)]
async fn addresses_that_peers_name_become_candidates() {
    let dialled: Arc<Mutex<Vec<Dial>>> = Arc::default();
    let config = PlanConfig { target: 2, ..PlanConfig::new(Network::Mainnet, 42) };
    let mut plan = Plan::new(config, Instant::now().into_std(), UNIX);
    plan.add("good-0".parse().unwrap(), Source::Seed, Instant::now().into_std());
    let log = dialled.clone();
    let (_pool, mut events) = start(plan, move |dial: Dial| {
        log.lock().unwrap().push(dial.clone());
        async move {
            let known = KnownNode { last_seen: 0, services: 1, address: ([8, 8, 8, 8], 9999).into() };
            let payload = Addr(vec![known]).to_wire();
            let message = qrinfo_core::wire::frame::Frame { command: qrinfo_core::wire::frame::Command::ADDR, payload };
            dial.addresses.unwrap().send((dial.peer, message)).await.unwrap();
            Ok(())
        }
    });
    let mut peers = BTreeSet::new();
    let mut places = Vec::new();
    while peers.len() < 2 {
        if let Some(PoolEvent::Ready(place, ())) = events.recv().await {
            peers.insert(place.peer().to_string());
            places.push(place);
        }
    }
    assert_eq!(peers, ["8.8.8.8:9999".to_owned(), "good-0".to_owned()].into());
    assert!(dialled.lock().unwrap()[0].asks_for_addresses, "there is but one candidate");
}

/// A channel whose receiver is dropped keeps what is sent at that very moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_book_of_a_pool_is_told_at_its_very_end() {
    for _ in 0..20_000 {
        let (pool, events) = start(plan(1), |dial| Nodes::default().dial(dial));
        let asked = tokio::spawn({
            let pool = pool.clone();
            async move { pool.book().await }
        });
        drop(events);
        timeout(Duration::from_secs(30), asked).await.expect("no answer").unwrap();
    }
}
