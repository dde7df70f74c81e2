use std::time::{Duration, Instant};

use qrinfo_core::PeerId;
use tokio::sync::{mpsc, oneshot};

use crate::{AddressBook, Plan, Source};

/// A report or a question to the pool.
pub(crate) type Command = Box<dyn FnOnce(&mut Plan, Instant) + Send>;

/// The way to tell a pool about its peers. Clones are cheap, and no call waits. After the pool's end calls do nothing.
#[derive(Debug, Clone)]
pub struct PoolHandle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
}

/// A connected peer's place in the pool. Dropping it reports that the connection ended, and another node takes the
/// place: keep it with the connection.
#[derive(Debug)]
pub struct Place {
    pub(crate) peer: PeerId,
    pub(crate) session: u64,
    pub(crate) pool: PoolHandle,
}

// === impl PoolHandle ===

impl PoolHandle {
    /// Adds candidates to those that the plan had at the start.
    pub fn add(&self, peers: impl IntoIterator<Item = PeerId>, source: Source) {
        let peers: Vec<_> = peers.into_iter().collect();
        self.tell(move |plan, now| peers.into_iter().for_each(|peer| plan.add(peer, source, now)));
    }

    /// Adds `HOST:PORT`, see [`Plan::add_host`](crate::Plan::add_host). A failure to resolve it is told as
    /// [`PoolEvent::Unresolved`](crate::PoolEvent::Unresolved).
    pub fn add_host(&self, host: impl Into<String>, source: Source) {
        let host = host.into();
        self.tell(move |plan, _| plan.add_host(host, source));
    }

    /// Reports that a peer was useful, such as by a reply that was proven. It is remembered for the next run.
    pub fn good(&self, peer: PeerId) {
        self.tell(move |plan, now| plan.good(peer, now));
    }

    /// Bans a peer, which counts as left. The caller closes the connection.
    pub fn ban(&self, peer: PeerId, time: Duration, reason: impl Into<String>) {
        let reason = reason.into();
        self.tell(move |plan, now| plan.ban(peer, time, &reason, now));
    }

    /// The peers to remember for the next run; empty after the pool's end.
    pub async fn book(&self) -> AddressBook {
        let (sender, mut receiver) = oneshot::channel();
        self.tell(move |plan, now| drop(sender.send(plan.book(now))));
        // A pool that ends just now may leave the question in the channel, where it would wait for ever.
        if self.commands.is_closed() {
            receiver.close();
        }
        receiver.await.unwrap_or_default()
    }

    fn tell(&self, command: impl FnOnce(&mut Plan, Instant) + Send + 'static) {
        // A pool that has ended needs to know nothing.
        let _ = self.commands.send(Box::new(command));
    }
}

// === impl Place ===

impl Place {
    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (peer, session) = (self.peer, self.session);
        self.pool.tell(move |plan, now| plan.left(peer, session, now));
    }
}
