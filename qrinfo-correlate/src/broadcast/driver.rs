use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use qrinfo_core::{AttemptError, AttemptErrorKind, PeerId, SendId, client::NetworkManager, message::NetworkMessage};
use tokio::{
    select,
    sync::OwnedSemaphorePermit,
    task::coop::consume_budget,
    time::{self, sleep, sleep_until},
};

use super::manager::QRInfoCorrelationManager;
use crate::{
    error::{Closed, TimeoutCause},
    service::inbox::{Command, Inbox, Submission},
};

/// The wait when the network has no message for now and has not waited itself.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The time between two checks of the connection while no message comes.
const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The future that speaks with a network that does not name its peers; see
/// [`PeerService::broadcast`](crate::PeerService::broadcast).
#[derive(derive_more::Debug)]
#[debug("BroadcastDriver {{ correlator: {correlator:?} }}")]
#[must_use = "the service does nothing unless its driver is run"]
pub struct BroadcastDriver<N, F> {
    network: N,
    others: F,
    timeout: Duration,
    correlator: QRInfoCorrelationManager,
    /// Requests that cannot be sent yet: a reply to another request of the same cycle may still come.
    held: VecDeque<Submission>,
    /// The slots of requests that peers may still be working on.
    slots: Vec<(SendId, OwnedSemaphorePermit)>,
    inbox: Inbox,
}

// === impl BroadcastDriver ===

impl<N: NetworkManager, F: FnMut(NetworkMessage)> BroadcastDriver<N, F> {
    pub(crate) fn new(network: N, others: F, timeout: Duration, inbox: Inbox) -> Self {
        Self {
            network,
            others,
            timeout,
            correlator: QRInfoCorrelationManager::new(timeout),
            held: VecDeque::new(),
            slots: Vec::new(),
            inbox,
        }
    }

    /// Speaks with the network until it is disconnected or fails, or until all services are dropped and no caller waits
    /// for a reply. Returns the network and the reason of the end; every request has ended by then.
    ///
    /// Dropping this future ends every request as well.
    ///
    /// Must be polled within a tokio runtime that has time enabled.
    pub async fn run(mut self) -> (N, Closed) {
        let closed = self.run_inner().await;
        // Dropping `self` drops the response senders, which fails the remaining callers with this reason.
        self.inbox.gate.close(closed.clone());
        (self.network, closed)
    }

    async fn run_inner(&mut self) -> Closed {
        loop {
            // A network that always has a message must not keep other tasks waiting.
            consume_budget().await;
            self.expire();
            if let Err(closed) = self.send_held().await {
                return closed;
            }
            self.slots.retain(|(id, _)| self.correlator.is_outstanding(*id));
            let wakeup = self.next_wakeup();
            select! {
                // What arrived counts before the time that has passed. The slots bound the commands.
                biased;
                command = self.inbox.commands.recv() => match command {
                    Some(Command::Submit(submission)) => self.held.push_back(*submission),
                    // Its channel is closed, which the correlator sees.
                    Some(Command::Cancel(_)) => {}
                    None => return Closed::Unused,
                },
                received = receive(&mut self.network) => match received {
                    Ok(message) => if let Some(other) = self.correlator.handle_message(message, now()) {
                        (self.others)(other);
                    },
                    Err(closed) => return closed,
                },
                () = sleep_until(wakeup.into()) => if !self.network.is_connected() {
                    return Closed::ByPeer;
                },
            }
        }
    }

    /// Ends requests whose time is over.
    fn expire(&mut self) {
        let now = now();
        self.correlator.cleanup_expired_requests(now);
        self.held.retain(|submission| !submission.respond.is_closed());
        let late = |submission: &mut Submission| submission.attempt.deadline.is_some_and(|deadline| deadline <= now);
        while let Some(index) = self.held.iter_mut().position(late)
            && let Some(Submission { respond, .. }) = self.held.remove(index)
        {
            let error = AttemptError::new(AttemptErrorKind::Timeout).at(PeerId::ALL).because(TimeoutCause::Deadline);
            // The caller may be gone.
            let _ = respond.send(Err(error));
        }
    }

    /// Sends what can be sent.
    async fn send_held(&mut self) -> Result<(), Closed> {
        for _ in 0..self.held.len() {
            let Some(submission) = self.held.pop_front() else { break };
            match self.correlator.admits(&submission.attempt.request) {
                Ok(()) => self.send(submission).await?,
                Err(_) => self.held.push_back(submission),
            }
        }
        Ok(())
    }

    async fn send(&mut self, submission: Submission) -> Result<(), Closed> {
        let Submission { attempt, respond, permit, .. } = submission;
        let peers = self.network.peer_count();
        let Ok((id, message)) = self.correlator.register_attempt(attempt, respond, peers, now()) else { return Ok(()) };
        self.slots.push((id, permit));
        let Some(message) = message else { return Ok(()) };
        // A network that accepts no message for this long is treated as failed.
        match time::timeout(self.timeout, self.network.send_message(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if self.network.is_connected() => {
                self.correlator.withdraw(id, &Closed::transport(error), now());
                Ok(())
            }
            Ok(Err(error)) => Err(Closed::transport(error)),
            Err(elapsed) => Err(Closed::transport(elapsed)),
        }
    }

    fn next_wakeup(&self) -> Instant {
        let deadlines = self.held.iter().filter_map(|submission| submission.attempt.deadline);
        let check = now() + CONNECTION_CHECK_INTERVAL;
        deadlines.chain(self.correlator.next_deadline()).fold(check, Instant::min)
    }
}

/// The next message. Safe to cancel, as the network's own call is.
async fn receive(network: &mut impl NetworkManager) -> Result<NetworkMessage, Closed> {
    loop {
        match network.receive_message().await {
            Ok(Some(message)) => return Ok(message),
            Ok(None) if network.is_connected() => sleep(IDLE_POLL_INTERVAL).await,
            Ok(None) => return Err(Closed::ByPeer),
            Err(error) => return Err(Closed::transport(error)),
        }
    }
}

fn now() -> Instant {
    time::Instant::now().into_std()
}
