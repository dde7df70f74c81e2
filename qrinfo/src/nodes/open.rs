//! The start of a pool: the nodes of the command line or the configuration, else seeds and known nodes of the network.

use std::{collections::BTreeSet, io};

use qrinfo_core::{Network, PeerId};
use spv_config::ClientConfig;
use spv_peer::{Connection, PeerConfig};
use spv_pool::{AddressBook, Plan, PlanConfig, PoolEvents, Source, dialer, shipped_peers, start};
use spv_store::{Store, StoreError};
use tokio::{net::lookup_host, time::Instant};

use super::{Ledger, NodeLog, unix_time};
use crate::config::peer_config;

/// The most addresses of one host.
const MAX_ADDRESSES: usize = 64;

/// A pool that connects, and its ledger.
#[derive(Debug)]
pub struct OpenNodes {
    /// The places of the nodes.
    pub ledger: Ledger,
    /// The connections, as they are made.
    pub events: PoolEvents<Connection>,
    /// The nodes that were named and are not banned. Empty where nodes are looked for.
    pub named: BTreeSet<PeerId>,
}

/// Error of a pool that cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodesError {
    /// The network has no seeds and no node was named.
    #[error("no nodes of {0} are known; name one with --peer HOST:PORT")]
    NoneKnown(Network),
    /// A name is no `HOST:PORT`.
    #[error("{name} is no HOST:PORT")]
    Name {
        /// The name.
        name: String,
        /// The reason.
        #[source]
        source: qrinfo_core::BadPeerName,
    },
    /// A host name does not resolve.
    #[error("{name} is no HOST:PORT that resolves")]
    Unresolved {
        /// The name.
        name: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// Known nodes and bans cannot be read.
    #[error("cannot read the known nodes")]
    Store(#[from] StoreError),
}

/// The announcements that nodes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcements {
    /// Blocks and ChainLocks.
    Blocks,
    /// Also InstantSend locks, and with them all transactions: about 40 bytes for each from every node.
    Locks,
}

/// Starts to connect to the nodes that are named by `names` or the configuration; where none is named, to those of
/// earlier runs, of the network's seeds, and those that they name.
///
/// # Errors
/// [`NodesError`].
pub async fn open_nodes(
    config: &ClientConfig,
    names: &[String],
    announcements: Announcements,
    store: Option<&Store>,
    log: NodeLog,
) -> Result<OpenNodes, NodesError> {
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
        if plan.candidates() == 0 && seeds.is_empty() {
            return Err(NodesError::NoneKnown(network));
        }
        for host in seeds {
            match (config.proxy, host.parse()) {
                // The system must not be asked for names: the proxy resolves them.
                (Some(_), Ok(peer)) => plan.add(peer, Source::Seed, now),
                (Some(_), Err(source)) => return Err(NodesError::Name { name: host, source }),
                (None, _) => plan.add_host(host, Source::Seed),
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
    let settings = PeerConfig { relay: announcements == Announcements::Locks, ..peer_config(config, 0) };
    let (pool, events) = start(plan, dialer(settings, config.proxy));
    let ledger = Ledger::new(pool, store.cloned(), log);
    bans.iter().for_each(|ban| ledger.left(ban.peer, &format!("is not asked: {}", ban.reason)));
    let named = named.into_iter().filter(|peer| bans.iter().all(|ban| ban.peer != *peer)).collect();
    Ok(OpenNodes { ledger, events, named })
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
async fn named(config: &ClientConfig, names: &[String]) -> Result<BTreeSet<PeerId>, NodesError> {
    let mut named: BTreeSet<PeerId> = config.peers.iter().map(|address| PeerId::from(*address)).collect();
    for name in names {
        match (name.parse::<std::net::SocketAddr>(), config.proxy) {
            (Ok(address), _) => _ = named.insert(address.into()),
            (Err(_), Some(_)) => {
                let peer = name.parse().map_err(|source| NodesError::Name { name: name.clone(), source })?;
                named.insert(peer);
            }
            (Err(_), None) => {
                let unresolved = |source| NodesError::Unresolved { name: name.clone(), source };
                let found = lookup_host(name).await.map_err(unresolved)?;
                named.extend(found.take(MAX_ADDRESSES).map(PeerId::from));
            }
        }
    }
    Ok(named)
}
