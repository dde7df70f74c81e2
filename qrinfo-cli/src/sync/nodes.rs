//! Connections to nodes: those of the command line or the configuration, else seeds and known nodes of the network.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::{Stream, stream};
use qrinfo::config::peer_config;
use qrinfo_core::{Network, PeerId};
use spv_config::ClientConfig;
use spv_peer::Connection;
use spv_pool::{AddressBook, Plan, PlanConfig, PoolEvent, PoolEvents, Source, dialer, shipped_peers, start};
use spv_store::Store;
use tokio::{
    net::lookup_host,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::ledger::{Ledger, unix_time};

/// The time for nodes to come back when none is connected.
const COMEBACK: Duration = Duration::from_secs(3);

/// The most addresses of one host.
const MAX_ADDRESSES: usize = 64;

/// The nodes of a sync, in the order in which they connect.
pub(super) struct Nodes {
    pub(super) ledger: Ledger,
    /// `None` says that every node that was named has been tried.
    connections: mpsc::Receiver<Option<Connection>>,
}

/// Starts to connect to nodes.
pub(super) async fn connect(config: &ClientConfig, names: &[String], store: Option<&Store>) -> Result<Nodes> {
    let network = config.network;
    let named = named(config, names).await?;
    let (now, unix) = (Instant::now().into_std(), unix_time());
    let target = config.max_peers.try_into().unwrap_or(usize::MAX);
    let settings = PlanConfig { target, uses_gossip: named.is_empty(), ..PlanConfig::new(network, fastrand::u64(..)) };
    let mut plan = Plan::new(settings, now, unix);
    named.iter().for_each(|peer| plan.add(*peer, Source::Named, now));
    if named.is_empty() {
        shipped_peers(network).for_each(|peer| plan.add(peer, Source::Seed, now));
        let seeds = seeds(config);
        let is_known = plan.candidates() > 0 || !seeds.is_empty();
        ensure!(is_known, "no nodes of {network} are known; name one with --peer HOST:PORT");
        for host in seeds {
            match config.proxy {
                // The system must not be asked for names: the proxy resolves them.
                Some(_) => plan.add(host.parse()?, Source::Seed, now),
                None => plan.add_host(host, Source::Seed),
            }
        }
    }
    let book = match store {
        Some(store) if named.is_empty() => AddressBook { good: store.good_peers()?, bans: store.bans(unix)? },
        Some(store) => AddressBook { bans: store.bans(unix)?, ..AddressBook::default() },
        None => AddressBook::default(),
    };
    let bans: Vec<_> = book.bans.iter().filter(|ban| named.contains(&ban.peer)).cloned().collect();
    plan.add_book(book, now);
    let (pool, events) = start(plan, dialer(peer_config(config, 0), config.proxy));
    let ledger = Ledger::new(pool, store.cloned());
    bans.iter().for_each(|ban| ledger.left(ban.peer, &format!("is not asked: {}", ban.reason)));
    let (sender, connections) = mpsc::channel(1);
    let untried = named.into_iter().filter(|peer| bans.iter().all(|ban| ban.peer != *peer)).collect();
    tokio::spawn(forward(events, sender, ledger.clone(), untried));
    Ok(Nodes { ledger, connections })
}

/// Hosts at which nodes are found, with ports. A devnet has those of its configuration.
fn seeds(config: &ClientConfig) -> Vec<String> {
    let network = config.network;
    let (hosts, port): (Vec<_>, _) = match network {
        Network::Devnet(_) => (config.devnet.seeds.iter().map(String::as_str).collect(), config.devnet.port),
        _ => (network.dns_seeds().to_vec(), None),
    };
    let port = port.unwrap_or(network.default_port());
    let has_port = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    hosts.into_iter().map(|host| if has_port(host) { host.to_owned() } else { format!("{host}:{port}") }).collect()
}

/// The named nodes, with all their addresses.
async fn named(config: &ClientConfig, names: &[String]) -> Result<BTreeSet<PeerId>> {
    let mut named: BTreeSet<PeerId> = config.peers.iter().map(|address| PeerId::from(*address)).collect();
    for name in names {
        match (name.parse::<std::net::SocketAddr>(), config.proxy) {
            (Ok(address), _) => _ = named.insert(address.into()),
            (Err(_), Some(_)) => _ = named.insert(name.parse().with_context(|| format!("{name} is no HOST:PORT"))?),
            (Err(_), None) => {
                let found = lookup_host(name).await;
                let found = found.with_context(|| format!("{name} is no HOST:PORT that resolves"))?;
                named.extend(found.take(MAX_ADDRESSES).map(PeerId::from));
            }
        }
    }
    Ok(named)
}

/// Passes connections on until no node can be connected to any more.
async fn forward(
    mut events: PoolEvents<Connection>,
    connections: mpsc::Sender<Option<Connection>>,
    ledger: Ledger,
    named: BTreeSet<PeerId>,
) {
    let (mut untried, mut was_ready, mut end) = (named.clone(), false, None);
    loop {
        let is_any_left = named.is_empty() || named.iter().any(|peer| !ledger.is_banned(*peer));
        if end.is_some() && !is_any_left {
            return;
        }
        let event = tokio::select! {
            event = events.recv() => event,
            () = ledger.next_ban() => continue,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => None,
            () = connections.closed() => None,
        };
        let Some(event) = event else { return };
        let (tried, connection) = match event {
            PoolEvent::Ready(place, connection) => {
                (was_ready, end) = (true, None);
                let peer = place.peer();
                ledger.connected(place);
                (Some(peer), Some(connection))
            }
            PoolEvent::Failed(peer, error) => {
                ledger.left(peer, &format!("cannot be used: {:#}", anyhow::Error::new(error)));
                (Some(peer), None)
            }
            PoolEvent::Unresolved(host, error) => {
                eprintln!("qrinfo: {host} does not resolve: {error}");
                (None, None)
            }
            PoolEvent::Exhausted => {
                if !was_ready {
                    return;
                }
                end = end.or(Some(Instant::now() + COMEBACK));
                (None, None)
            }
        };
        if let Some(connection) = connection
            && connections.send(Some(connection)).await.is_err()
        {
            return;
        }
        let was_last = tried.is_some_and(|peer| untried.remove(&peer)) && untried.is_empty();
        if was_last && connections.send(None).await.is_err() {
            return;
        }
    }
}

// === impl Nodes ===

impl Nodes {
    /// The first connections: until every node that was named has been tried, or none can be connected to.
    pub(super) fn first(&mut self) -> impl Stream<Item = Connection> {
        stream::unfold(&mut self.connections, |connections| async {
            let connection = connections.recv().await.flatten()?;
            Some((connection, connections))
        })
    }

    /// The next connection, or `None` if no node can be connected to any more.
    pub(super) async fn next(&mut self) -> Option<Connection> {
        loop {
            if let Some(connection) = self.connections.recv().await? {
                return Some(connection);
            }
        }
    }
}
