use std::time::Duration;

use qrinfo_core::PeerId;
use tokio::sync::{mpsc, oneshot};

use crate::{AddressBook, Source};

/// A report or a question to the pool.
#[derive(Debug)]
pub(crate) enum Command {
    Add(Vec<PeerId>, Source),
    AddHost(String, Source),
    Good(PeerId),
    Ban(PeerId, Duration, String),
    Left(PeerId, u64),
    Book(oneshot::Sender<AddressBook>),
}

/// The way to tell a pool about its peers. Clones are cheap, and no call waits. After the pool's end calls do nothing.
#[derive(Debug, Clone)]
pub struct PoolHandle {
    commands: mpsc::UnboundedSender<Command>,
}

/// A connected peer's place in the pool. Dropping it reports that the connection ended, and another node takes the
/// place: keep it with the connection.
#[derive(Debug)]
pub struct Place {
    peer: PeerId,
    session: u64,
    commands: mpsc::UnboundedSender<Command>,
}

// === impl PoolHandle ===

impl PoolHandle {
    pub(crate) fn new(commands: mpsc::UnboundedSender<Command>) -> Self {
        Self { commands }
    }

    /// Adds candidates to those that the plan had at the start.
    pub fn add(&self, peers: impl IntoIterator<Item = PeerId>, source: Source) {
        self.tell(Command::Add(peers.into_iter().collect(), source));
    }

    /// Adds `HOST:PORT`, see [`Plan::add_host`](crate::Plan::add_host). A failure to resolve it is told as
    /// [`PoolEvent::Unresolved`](crate::PoolEvent::Unresolved).
    pub fn add_host(&self, host: impl Into<String>, source: Source) {
        self.tell(Command::AddHost(host.into(), source));
    }

    /// Reports that a peer was useful, such as by a reply that was proven. It is remembered for the next run.
    pub fn good(&self, peer: PeerId) {
        self.tell(Command::Good(peer));
    }

    /// Bans a peer, which counts as left. The caller closes the connection.
    pub fn ban(&self, peer: PeerId, time: Duration, reason: impl Into<String>) {
        self.tell(Command::Ban(peer, time, reason.into()));
    }

    /// The peers to remember for the next run; empty after the pool's end.
    pub async fn book(&self) -> AddressBook {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::Book(sender));
        receiver.await.unwrap_or_default()
    }

    fn tell(&self, command: Command) {
        // A pool that has ended needs to know nothing.
        let _ = self.commands.send(command);
    }
}

// === impl Place ===

impl Place {
    pub(crate) fn new(peer: PeerId, session: u64, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self { peer, session, commands }
    }

    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Left(self.peer, self.session));
    }
}
