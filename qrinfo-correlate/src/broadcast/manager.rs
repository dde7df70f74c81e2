use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Request, SendId, message::NetworkMessage};
use tokio::sync::oneshot;

use super::{
    entry::{Caller, Correlated, Entry},
    error::{MAX_WAITING, RegisterError, Unmatched},
};
use crate::{
    error::Closed,
    reply::{ReplyReceiver, ReplySender},
};

/// Requests that have ended and are remembered for the copies of their replies. Beyond that the oldest is forgotten.
pub const MAX_REMEMBERED: usize = 1024;

/// The longest timeout, so that no instant overflows.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A request that waits for its reply.
#[derive(Debug)]
pub struct Registered {
    /// The id of the sending, given by the manager; its peer is [`PeerId::ALL`].
    pub id: SendId,
    /// The receiver of its end.
    pub receiver: ReplyReceiver,
    /// The message to send now; `None` if the same request is in flight already, which answers this one too.
    pub message: Option<NetworkMessage>,
}

/// A correlator of replies and requests for a client that sends each request to *all* its peers and cannot see which
/// one answers: P peers send up to P copies of a reply.
///
/// It is made for networks like dash-spv's, whose `NetworkManager` returns messages without their peer. A client that
/// knows its peers uses a [`PeerService`](crate::PeerService) for each instead: P peers then share the work instead of
/// repeating it, a refusal is seen after a round trip, and a false reply has a known sender. Here a refusal is silence
/// until the timeout, and the first reply that fits is accepted from any peer.
///
/// A reply goes to the oldest request that it answers by work block, bases and extra share, as
/// [`Request::check_reply`] judges; the tip diff, which is the server's own tip, plays no part. So:
///
/// * Different requests of one cycle are never outstanding together, because nothing distinguishes their replies: the
///   second is refused as [`RegisterError::CycleBusy`] until no further copy of the first one's reply can come.
/// * Identical requests are one: the second caller waits for the reply to the first.
/// * A request that has ended is remembered until all P copies have come, or until the timeout has passed since its
///   end. Copies that come meanwhile are dropped, unless the same request was made again: any copy answers it.
/// * The timeout counts while a request is the oldest one with a waiting caller, not from its sending.
///
/// A plain state machine: pass the time with every call, and call
/// [`cleanup_expired_requests`](Self::cleanup_expired_requests) at [`next_deadline`](Self::next_deadline) or every
/// second or so. Instants must not run backwards. It holds at most [`MAX_WAITING`] callers and [`MAX_REMEMBERED`]
/// requests that have ended, and no part of a reply.
///
/// ```
/// use std::time::Duration;
/// use qrinfo_core::{AttemptErrorKind, Network, QRInfoRequestSpec, BlockHash};
/// use qrinfo_correlate::QRInfoCorrelationManager;
///
/// # let spec = QRInfoRequestSpec {
/// #     network: Network::Regtest,
/// #     cycle: Network::Regtest.cycles().start_of(600),
/// #     base_block_hashes: Vec::new(),
/// #     block_hash: BlockHash::from_bytes([1; 32]),
/// #     extra_share: false,
/// #     work_block_hashes: [BlockHash::from_bytes([2; 32]); 5],
/// # };
/// let mut correlator = QRInfoCorrelationManager::new(Duration::from_secs(30));
/// let now = tokio::time::Instant::now().into_std();
///
/// // Sent to three peers.
/// let mut registered = correlator.register_request(spec.clone(), 3, now)?;
/// assert!(registered.message.is_some());
/// // The same request while it is in flight: nothing is sent.
/// assert!(correlator.register_request(spec, 3, now)?.message.is_none());
///
/// // Pass each message to `handle_message`; here no peer answers.
/// assert_eq!(correlator.cleanup_expired_requests(now + Duration::from_secs(30)), 1);
/// let error = registered.receiver.try_recv()?.unwrap_err();
/// assert_eq!(error.kind(), AttemptErrorKind::Timeout);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct QRInfoCorrelationManager {
    timeout: Duration,
    registered: u64,
    /// Requests in the order of sending.
    entries: VecDeque<Entry>,
    /// The oldest request with a waiting caller, and the instant from which it is the oldest.
    head: Option<(SendId, Instant)>,
}

// === impl QRInfoCorrelationManager ===

impl QRInfoCorrelationManager {
    /// A correlator of a network on which no request is in flight. `timeout` is the longest wait of the oldest request,
    /// a day at most. It has to be longer than the longest reply takes, because the progress of a message is not seen.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout: timeout.min(MAX_TIMEOUT), registered: 0, entries: VecDeque::new(), head: None }
    }

    /// Registers a request that the caller sends now to `peers` peers. The reply to a `getmnlistd` names both blocks, so
    /// any number of those may be outstanding.
    ///
    /// # Errors
    /// [`RegisterError`]; then it must not be sent.
    pub fn register_request(
        &mut self,
        request: impl Into<Request>,
        peers: usize,
        now: Instant,
    ) -> Result<Registered, RegisterError> {
        let (respond, receiver) = oneshot::channel();
        let (id, message) = self.register_attempt(Attempt::new(0, request.into()), respond, peers, now)?;
        Ok(Registered { id, receiver, message })
    }

    /// Takes a reply: a `qrinfo`, or a `mnlistdiff`.
    ///
    /// # Errors
    /// [`Unmatched`], with the reply, if it answers no request: another part of the client may have requested it, or a
    /// peer sent it without a request.
    pub fn handle_qr_info_response(&mut self, reply: impl Into<Reply>, now: Instant) -> Result<Correlated, Unmatched> {
        let reply = reply.into();
        let mut mismatch = None;
        let answered = self.entries.iter().position(|entry| match entry.request.check_reply(&reply) {
            Ok(()) => true,
            Err(why) => {
                if entry.is_waiting() {
                    mismatch.get_or_insert(why);
                }
                false
            }
        });
        let Some(entry) = answered.and_then(|index| self.entries.get_mut(index)) else {
            self.cleanup_expired_requests(now);
            tracing::debug!(?mismatch, "a reply answers no request");
            return Err(Unmatched { reply, mismatch });
        };
        let correlated = entry.answer(reply, self.timeout, now);
        if entry.copies == 0 {
            answered.and_then(|index| self.entries.remove(index));
        }
        self.cleanup_expired_requests(now);
        Ok(correlated)
    }

    /// Takes a message of any kind, and returns it if it answers no request.
    pub fn handle_message(&mut self, message: NetworkMessage, now: Instant) -> Option<NetworkMessage> {
        match Reply::try_from(message) {
            Ok(reply) => self.handle_qr_info_response(reply, now).err().map(|unmatched| unmatched.reply.into()),
            Err(other) => Some(other),
        }
    }

    /// Ends every request whose time is over with [`Timeout`](AttemptErrorKind::Timeout), and forgets requests that
    /// have ended long enough ago. Returns the number of requests that timed out.
    pub fn cleanup_expired_requests(&mut self, now: Instant) -> usize {
        let mut expired = 0;
        for entry in &mut self.entries {
            expired += usize::from(entry.drop_callers(self.timeout, now));
        }
        loop {
            let oldest = self.entries.iter_mut().find(|entry| entry.is_waiting());
            self.head = match (&oldest, self.head) {
                (None, _) => None,
                (Some(oldest), Some(head)) if head.0 == oldest.id => Some(head),
                (Some(oldest), _) => Some((oldest.id, now)),
            };
            let (Some(oldest), Some((_, since))) = (oldest, self.head) else { break };
            oldest.head = Some(since);
            if since.checked_add(self.timeout).is_none_or(|deadline| deadline > now) {
                break;
            }
            oldest.time_out(self.timeout, now);
            expired += 1;
        }
        self.forget(now);
        expired
    }

    /// The instant of the next call of [`cleanup_expired_requests`](Self::cleanup_expired_requests), unless another
    /// call comes before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let head = self.head.and_then(|(_, since)| since.checked_add(self.timeout));
        self.entries.iter().filter_map(Entry::deadline).chain(head).min()
    }

    /// Checks that a request could be registered now.
    ///
    /// # Errors
    /// [`RegisterError`] if it could not.
    pub fn admits(&self, request: &Request) -> Result<(), RegisterError> {
        if self.waiting() >= MAX_WAITING {
            return Err(RegisterError::Full);
        }
        match request {
            Request::QrInfo(spec) if self.entries.iter().any(|entry| entry.collides_with(spec)) => {
                Err(RegisterError::CycleBusy { cycle_height: spec.cycle.height() })
            }
            _ => Ok(()),
        }
    }

    /// Registers an attempt of any kind whose end is sent to `respond`: for services. Of the attempt, the request and
    /// the deadline count.
    ///
    /// Returns the message that has to be sent now, if any.
    ///
    /// # Errors
    /// [`RegisterError`]; `respond` gets it as the source of an [`Overloaded`](AttemptErrorKind::Overloaded). Call
    /// [`admits`](Self::admits) before.
    pub fn register_attempt(
        &mut self,
        attempt: Attempt,
        respond: ReplySender,
        peers: usize,
        now: Instant,
    ) -> Result<(SendId, Option<NetworkMessage>), RegisterError> {
        self.cleanup_expired_requests(now);
        let Attempt { request, deadline, .. } = attempt;
        if let Err(error) = self.admits(&request) {
            let overloaded = AttemptError::new(AttemptErrorKind::Overloaded).at(PeerId::ALL).because(error);
            // The caller may be gone.
            let _ = respond.send(Err(overloaded));
            return Err(error);
        }
        let caller = Caller { respond, deadline };
        let same = self.entries.iter().position(|entry| entry.request == request);
        if let Some(entry) = same.and_then(|index| self.entries.get_mut(index)).filter(|entry| entry.is_waiting()) {
            entry.callers.push(caller);
            return Ok((entry.id, None));
        }
        // If it has ended, copies of its reply that are still to come answer this one as well.
        let ended = same.and_then(|index| self.entries.remove(index));
        let copies = peers.max(1).saturating_add(ended.map_or(0, |entry| entry.copies));
        let id = SendId { peer: PeerId::ALL, seq: self.registered };
        self.registered += 1;
        let message = request.to_message();
        self.entries.push_back(Entry::new(id, request, copies, caller, now));
        self.cleanup_expired_requests(now);
        Ok((id, Some(message)))
    }

    /// Removes a request that could not be sent. Its callers get [`NoPeer`](AttemptErrorKind::NoPeer) with this reason.
    pub fn withdraw(&mut self, id: SendId, why: &Closed, now: Instant) {
        let index = self.entries.iter().position(|entry| entry.id == id);
        if let Some(mut entry) = index.and_then(|index| self.entries.remove(index)) {
            entry.respond(|| Err(failed(AttemptErrorKind::NoPeer, why)));
        }
        self.cleanup_expired_requests(now);
    }

    /// Ends every request with [`Disconnected`](AttemptErrorKind::Disconnected) and forgets all requests: the network
    /// is gone, and no reply to an old request will come on a new one.
    pub fn disconnected(&mut self, why: &Closed) {
        self.head = None;
        for mut entry in self.entries.drain(..) {
            entry.respond(|| Err(failed(AttemptErrorKind::Disconnected, why)));
        }
    }

    /// The number of callers that wait for a reply.
    pub fn waiting(&self) -> usize {
        self.entries.iter().map(|entry| entry.callers.len()).sum()
    }

    /// The number of requests that have ended and are remembered for the copies of their replies.
    pub fn remembered(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.is_waiting()).count()
    }

    /// Returns true if peers may still be working on this request: no reply has come, and it is not forgotten.
    pub fn is_outstanding(&self, id: SendId) -> bool {
        self.entries.iter().any(|entry| entry.id == id && !entry.is_answered())
    }

    fn forget(&mut self, now: Instant) {
        self.entries.retain(|entry| !entry.is_forgotten(now));
        let mut surplus = self.remembered().saturating_sub(MAX_REMEMBERED);
        self.entries.retain(|entry| {
            let stays = entry.is_waiting() || surplus == 0;
            surplus -= usize::from(!stays);
            stays
        });
    }
}

fn failed(kind: AttemptErrorKind, why: &Closed) -> AttemptError {
    AttemptError::new(kind).at(PeerId::ALL).because(why.clone())
}

impl Default for QRInfoCorrelationManager {
    /// A manager with a timeout of 30 s.
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}
