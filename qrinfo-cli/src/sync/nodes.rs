//! Connections to nodes: those of the command line or the configuration, else seeds and known nodes of the network.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use futures_util::{Stream, stream};
use qrinfo::nodes::{Announcements, Ledger, OpenNodes, open_nodes};
use qrinfo_core::PeerId;
use spv_config::ClientConfig;
use spv_peer::Connection;
use spv_pool::{PoolEvent, PoolEvents};
use spv_store::Store;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// The time for nodes to come back when none is connected.
const COMEBACK: Duration = Duration::from_secs(3);

/// The nodes of a sync, in the order in which they connect.
pub(super) struct Nodes {
    pub(super) ledger: Ledger,
    /// `None` says that every node that was named has been tried.
    connections: mpsc::Receiver<Option<Connection>>,
}

/// Starts to connect to nodes.
pub(super) async fn connect(config: &ClientConfig, names: &[String], store: Option<&Store>) -> Result<Nodes> {
    let OpenNodes { ledger, events, named } = open_nodes(config, names, Announcements::Blocks, store, log).await?;
    let (sender, connections) = mpsc::channel(1);
    tokio::spawn(forward(events, sender, ledger.clone(), named));
    Ok(Nodes { ledger, connections })
}

fn log(line: &str) {
    eprintln!("qrinfo: {line}");
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
