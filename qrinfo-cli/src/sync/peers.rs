//! Which nodes to ask.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use qrinfo::config::peer_config;
use qrinfo_core::{PeerId, client::Ban};
use spv_config::ClientConfig;
use spv_peer::{Connection, round_trip};
use spv_store::Store;
use tokio::{net::lookup_host, time::timeout};

/// Nodes from a DNS seed that are tried for each peer wanted, because many of them do not answer.
const CANDIDATES: usize = 3;

/// How long a node may take to answer its first ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node that sent something false is not asked again.
const BAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Connects to the nodes named, to those of the configuration, or else to those that the network's DNS seeds name, all
/// at once. Gives the best by round trip, the nearest first; says of each other why it is not used.
pub(super) async fn connect(config: &ClientConfig, names: &[String], store: Option<&Store>) -> Result<Vec<Connection>> {
    let addresses = resolve(config, names).await?;
    let banned = match store {
        Some(store) => store.bans(now())?,
        None => Vec::new(),
    };
    let mut connecting = Vec::new();
    for address in &addresses {
        match banned.iter().find(|ban| ban.peer == PeerId::Address(*address)) {
            Some(ban) => eprintln!("qrinfo: {address} is not asked: {}", ban.reason),
            None => connecting.push(try_connect(config, *address)),
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
    usable.truncate(max_peers(config));
    if usable.is_empty() {
        bail!("none of {} nodes can be used", addresses.len());
    }
    Ok(usable.into_iter().map(|(connection, _)| connection).collect())
}

/// Notes that a node is not to be asked for a day.
pub(super) fn ban(store: &Store, peer: PeerId, reason: &str) -> Result<()> {
    Ok(store.ban(&Ban { peer, until: now().saturating_add(BAN.as_secs()), reason: reason.to_owned() })?)
}

async fn try_connect(config: &ClientConfig, address: SocketAddr) -> Result<(Connection, Duration)> {
    let what = || format!("cannot use {address}");
    let config = peer_config(config, fastrand::u64(..));
    let mut connection = spv_peer::connect(address, &config).await.with_context(what)?;
    let round_trip = timeout(PING_TIMEOUT, round_trip(&mut connection, fastrand::u64(..)))
        .await
        .with_context(|| format!("{address} did not answer a ping"))?
        .with_context(what)?;
    Ok((connection, round_trip))
}

async fn resolve(config: &ClientConfig, names: &[String]) -> Result<Vec<SocketAddr>> {
    let network = config.network;
    let mut addresses: BTreeSet<_> = config.peers.iter().copied().collect();
    for name in names {
        let mut found = lookup_host(name).await.with_context(|| format!("{name} is no HOST:PORT that resolves"))?;
        addresses.extend(found.next());
    }
    if addresses.is_empty() && names.is_empty() {
        for seed in network.dns_seeds() {
            match lookup_host((*seed, network.default_port())).await {
                Ok(found) => addresses.extend(found.take(CANDIDATES * max_peers(config))),
                Err(error) => eprintln!("qrinfo: the seed {seed} does not resolve: {error}"),
            }
        }
        if addresses.is_empty() {
            bail!("no nodes of {network} are known; name one with --peer HOST:PORT");
        }
    }
    Ok(addresses.into_iter().collect())
}

fn max_peers(config: &ClientConfig) -> usize {
    config.max_peers.try_into().unwrap_or(usize::MAX)
}

/// The time in seconds since 1970.
fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a ban outlives the process, so it ends by the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
