//! Which nodes to ask.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use qrinfo::storage::Store;
use qrinfo_core::{Network, PeerId, client::Ban};
use spv_peer::{Connection, PeerConfig, round_trip};
use tokio::{net::lookup_host, time::timeout};

/// Nodes from DNS seeds that are tried, at most.
const MAX_CANDIDATES: usize = 24;

/// Nodes that are asked, at most: more add little and cost each of them a connection slot.
const MAX_PEERS: usize = 8;

/// How long a node may take to answer its first ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node that sent something false is not asked again.
const BAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Connects to the nodes named, or to those that the network's DNS seeds name, all at once. Gives the best by round
/// trip, the nearest first; says of each other why it is not used.
pub(super) async fn connect(network: Network, names: &[String], store: Option<&Store>) -> Result<Vec<Connection>> {
    let addresses = resolve(network, names).await?;
    let banned = match store {
        Some(store) => store.bans(now())?,
        None => Vec::new(),
    };
    let mut connecting = Vec::new();
    for address in &addresses {
        match banned.iter().find(|ban| ban.peer == PeerId(*address)) {
            Some(ban) => eprintln!("qrinfo: {address} is not asked: {}", ban.reason),
            None => connecting.push(try_connect(network, *address)),
        }
    }
    let mut usable = Vec::new();
    for attempt in join_all(connecting).await {
        match attempt {
            Ok(candidate) => usable.push(candidate),
            Err(error) => eprintln!("qrinfo: {error:#}"),
        }
    }
    usable.sort_by_key(|(_, round_trip)| *round_trip);
    usable.truncate(MAX_PEERS);
    if usable.is_empty() {
        bail!("none of {} nodes can be used", addresses.len());
    }
    Ok(usable.into_iter().map(|(connection, _)| connection).collect())
}

/// Notes that a node is not to be asked for a day.
pub(super) fn ban(store: &Store, peer: PeerId, reason: &str) -> Result<()> {
    Ok(store.ban(&Ban { peer, until: now().saturating_add(BAN.as_secs()), reason: reason.to_owned() })?)
}

async fn try_connect(network: Network, address: SocketAddr) -> Result<(Connection, Duration)> {
    let what = || format!("cannot use {address}");
    let config = PeerConfig::new(network, fastrand::u64(..));
    let mut connection = spv_peer::connect(address, &config).await.with_context(what)?;
    let round_trip = timeout(PING_TIMEOUT, round_trip(&mut connection, fastrand::u64(..)))
        .await
        .with_context(|| format!("{address} did not answer a ping"))?
        .with_context(what)?;
    Ok((connection, round_trip))
}

async fn resolve(network: Network, names: &[String]) -> Result<Vec<SocketAddr>> {
    let mut addresses = BTreeSet::new();
    for name in names {
        let mut found = lookup_host(name).await.with_context(|| format!("{name} is no HOST:PORT that resolves"))?;
        addresses.extend(found.next());
    }
    if names.is_empty() {
        for seed in network.dns_seeds() {
            match lookup_host((*seed, network.default_port())).await {
                Ok(found) => addresses.extend(found.take(MAX_CANDIDATES)),
                Err(error) => eprintln!("qrinfo: the seed {seed} does not resolve: {error}"),
            }
        }
        if addresses.is_empty() {
            bail!("no nodes of {network} are known; name one with --peer HOST:PORT");
        }
    }
    Ok(addresses.into_iter().collect())
}

/// The time in seconds since 1970.
fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a ban outlives the process, so it ends by the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
