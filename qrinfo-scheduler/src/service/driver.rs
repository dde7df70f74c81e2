use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, LeaveReason, PeerEvent, PeerId, PeerTable,
    RequestId, SendId, Timing,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot, watch},
    time::{self, Sleep},
};
use tower::{
    BoxError, Service,
    discover::{Change, Discover},
};

use super::{
    Peer, ScheduleError, SendStats,
    command::{Command, Submission},
    handle::{SchedulerHandle, loss},
    sending::{Ended, Sending},
};
use crate::{Dispatch, Event, Scheduler, Settings, SubmitError, now};

/// Events that wait for a slow listener before it misses the oldest. Their memory is taken at once: a thousand would be
/// more than ten replies. A peer that leaves with a full pipeline makes about a hundred.
const EVENTS: usize = 256;

/// Requests whose sendings are remembered as the first. Beyond it those with the smallest ids are forgotten.
const MOST_SENT: usize = 16_384;

/// A stream of peers that join and leave. Implemented for every fitting [`Discover`].
pub trait Peers: Discover<Key = PeerId, Service = Peer<Self::Asked>> + Unpin {
    /// The service of one peer.
    type Asked: Service<Attempt, Response = Answer, Error: Into<BoxError>>;
}

/// The future that does the work: it owns the scheduler, the peers, and everything in flight. Spawn it.
///
/// It resolves with the error of the [`Discover`] if that fails; callers that wait then get [`ScheduleError::Stopped`].
#[must_use = "nothing is sent unless the driver is polled"]
pub struct Driver<D: Peers> {
    /// `None` after its end.
    discover: Option<D>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// The places in the queue. Closed at the end, for the services that wait for one.
    room: Arc<Semaphore>,
    scheduler: Scheduler,
    peers: BTreeMap<PeerId, Connected<D::Asked>>,
    callers: HashMap<RequestId, Caller>,
    /// One for each sending that a peer's service works on. Kept to the end even when no caller waits: the end frees
    /// the slot.
    sendings: FuturesUnordered<Sending<<D::Asked as Service<Attempt>>::Future>>,
    /// Ends that peers reported before the futures of their sendings ended: one of those may end with a timeout.
    reported: HashMap<SendId, (Result<Timing, AttemptErrorKind>, Instant)>,
    /// The latest requests that were sent, to tell first sendings from later ones.
    sent: BTreeSet<RequestId>,
    sleep: Option<Pin<Box<Sleep>>>,
    table: watch::Sender<PeerTable>,
    events: Arc<broadcast::Sender<Event>>,
    stats: Arc<Mutex<SendStats>>,
}

struct Caller {
    call: u64,
    respond: oneshot::Sender<AttemptResult>,
    /// The place in the queue, until the request is sent.
    permit: Option<OwnedSemaphorePermit>,
    /// Failures of copies while another copy could still be answered.
    failures: Vec<AttemptError>,
}

struct Connected<S> {
    service: S,
    ready: bool,
    events: Option<mpsc::UnboundedReceiver<PeerEvent>>,
}

// === impl Peers ===

impl<D, S> Peers for D
where
    D: Discover<Key = PeerId, Service = Peer<S>> + Unpin,
    S: Service<Attempt, Response = Answer, Error: Into<BoxError>>,
{
    type Asked = S;
}

/// The numbers that each driver has for its sendings. A connection may outlive a driver, with sendings that have not
/// ended, so no two drivers of a process share numbers.
const SENDS: u64 = 1 << 32;

static NEXT_SENDS: AtomicU64 = AtomicU64::new(1);

// === impl Driver ===

impl<D: Peers> Driver<D> {
    pub(super) fn new(discover: D, room: Arc<Semaphore>, settings: Settings) -> (Self, SchedulerHandle) {
        // A submission carries a place in the queue, and every other command a caller's turn: that bounds the channel.
        let (sender, commands) = mpsc::unbounded_channel();
        // The service's permits bound the queue. Requests that go back into it must not be turned away.
        let settings = Settings { capacity: usize::MAX, ..settings };
        let scheduler = Scheduler::numbered_from(NEXT_SENDS.fetch_add(SENDS, Ordering::Relaxed), settings);
        let (table, peers) = watch::channel(scheduler.table());
        let events = Arc::new(broadcast::Sender::new(EVENTS));
        let stats = Arc::<Mutex<SendStats>>::default();
        let handle = SchedulerHandle { commands: sender, peers, events: events.downgrade(), stats: stats.clone() };
        let driver = Self {
            discover: Some(discover),
            commands,
            room,
            scheduler,
            peers: BTreeMap::new(),
            callers: HashMap::new(),
            sendings: FuturesUnordered::new(),
            reported: HashMap::new(),
            sent: BTreeSet::new(),
            sleep: None,
            table,
            events,
            stats,
        };
        (driver, handle)
    }

    /// Takes commands. Returns whether to stop.
    fn poll_commands(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.commands.poll_recv(cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => return self.callers.is_empty(),
                Poll::Ready(Some(Command::Shutdown)) => return true,
                Poll::Ready(Some(command)) => self.handle_command(command),
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Submit(submission) => self.submit(*submission),
            Command::Cancel(id, call) => {
                if self.callers.get(&id).is_some_and(|caller| caller.call == call) {
                    self.callers.remove(&id);
                    self.scheduler.cancel(id);
                }
            }
            Command::SetCap(cap) => self.set(|settings| settings.cap = cap),
            Command::SetRate(rate) => self.set(|settings| settings.rate = rate),
            Command::SetPeerRate(rate) => self.set(|settings| settings.peer_rate = rate),
            Command::SetWindow(window) => self.scheduler.set_window(window),
            Command::Ban(peer, why) => self.scheduler.ban(peer, why, now()),
            Command::Shutdown => {}
        }
    }

    fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.scheduler.settings().clone();
        change(&mut settings);
        self.scheduler.set_settings(settings);
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { call, attempt, respond, permit } = submission;
        let id = attempt.id;
        match self.scheduler.submit(attempt, now()) {
            Ok(()) => {
                self.callers.insert(id, Caller { call, respond, permit: Some(permit), failures: Vec::new() });
            }
            Err(error) => {
                let kind = match error {
                    SubmitError::QueueFull { .. } => AttemptErrorKind::Overloaded,
                    SubmitError::IdInUse { .. } => AttemptErrorKind::Local,
                };
                // A caller that is gone has cancelled.
                let _ = respond.send(Err(AttemptError::new(kind).because(error)));
            }
        }
    }

    fn poll_discover(&mut self, cx: &mut Context<'_>) -> Result<(), D::Error> {
        while let Some(discover) = &mut self.discover {
            match Pin::new(discover).poll_discover(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.discover = None;
                    self.scheduler.no_more_peers();
                    self.publish_table();
                }
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(Some(Ok(Change::Remove(peer)))) => {
                    self.scheduler.peer_left(peer, LeaveReason::Disconnected, now());
                }
                Poll::Ready(Some(Ok(Change::Insert(peer, joined)))) => self.join(peer, joined),
            }
        }
        Ok(())
    }

    fn join(&mut self, peer: PeerId, joined: Peer<D::Asked>) {
        let Peer { service, height, round_trip, events } = joined;
        if !self.scheduler.peer_joined(peer, height, round_trip, now()) {
            return;
        }
        // An earlier connection's end has to be acted on before this one is kept.
        self.act(None);
        self.scheduler.set_ready(&peer, false);
        self.peers.insert(peer, Connected { service, ready: false, events });
    }

    /// Hears the peers' reports, and asks which of them take a request.
    fn poll_peers(&mut self, cx: &mut Context<'_>) {
        let mut gone = Vec::new();
        let (scheduler, reported) = (&mut self.scheduler, &mut self.reported);
        for (&id, peer) in &mut self.peers {
            if hear_all(scheduler, reported, peer, cx) {
                // Its connection has ended, maybe with nothing in flight whose failure would tell.
                peer.ready = false;
                scheduler.set_ready(&id, false);
            }
            if !peer.ready {
                match catch(|| peer.service.poll_ready(cx)) {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(Ok(()))) => {
                        peer.ready = true;
                        scheduler.set_ready(&id, true);
                    }
                    Ok(Poll::Ready(Err(_))) => gone.push((id, LeaveReason::Disconnected)),
                    Err(panicked) => gone.push((id, panicked)),
                }
            }
        }
        for (peer, why) in gone {
            self.lose(peer, why, cx);
        }
    }

    /// Removes a peer whose service has failed.
    fn lose(&mut self, peer: PeerId, why: LeaveReason, cx: &mut Context<'_>) {
        // A ban may have been reported since the last look, by a connection on another thread.
        if let Some(connected) = self.peers.get_mut(&peer) {
            hear_all(&mut self.scheduler, &mut self.reported, connected, cx);
        }
        self.scheduler.peer_left(peer, why, now());
    }

    fn on_end(&mut self, ended: Ended) {
        let send = ended.send;
        let has_reports = self.peers.get(&send.peer).is_some_and(|peer| peer.events.is_some());
        match &ended.result {
            Ok(answer) => self.scheduler.replied(send, &answer.timing),
            Err(error) if has_reports && error.kind() == AttemptErrorKind::Timeout => {
                if self.scheduler.holds(send) {
                    self.stats().timeouts += 1;
                }
                self.scheduler.timed_out(send, now());
                if let Some((outcome, at)) = self.reported.remove(&send) {
                    settle(&mut self.scheduler, send, outcome, at);
                }
            }
            Err(error) => self.scheduler.failed(send, error.kind(), now()),
        }
        self.reported.remove(&send);
        if ended.has_panicked {
            self.scheduler.peer_left(send.peer, LeaveReason::Panicked, now());
        }
        if let Err(error) = &ended.result
            && error.kind() == AttemptErrorKind::Disconnected
            && let Some(peer) = self.peers.get_mut(&send.peer)
        {
            // Its service tells whether it is gone for good.
            peer.ready = false;
            self.scheduler.set_ready(&send.peer, false);
        }
        self.act(Some(ended));
    }

    /// Acts on the scheduler's decisions. `ended` is the sending whose end it was just told.
    ///
    /// The ledger is published before callers are told, so that they decide by what is known then.
    fn act(&mut self, mut ended: Option<Ended>) {
        let events: Vec<Event> = std::iter::from_fn(|| self.scheduler.event()).collect();
        for event in &events {
            self.publish(event);
        }
        self.publish_table();
        for event in events {
            match event {
                Event::Replied(id, send) | Event::Failed(id, send, _) => {
                    let result = match ended.take_if(|ended| ended.send == send) {
                        Some(ended) => ended.result,
                        None => Err(AttemptError::from(ScheduleError::PeerRemoved).at(send.peer)),
                    };
                    self.respond(id, result);
                }
                Event::Expired(id) => self.respond(id, Err(ScheduleError::DeadlinePassed.into())),
                Event::NoPeerLeft(id) => self.respond(id, Err(ScheduleError::NoPeerLeft.into())),
                Event::Peer(_) | Event::SlowedDown { .. } => {}
            }
        }
        // The request goes on: its caller hears of this failure at its end.
        if let Some(Ended { request, result: Err(error), .. }) = ended
            && let Some(caller) = self.callers.get_mut(&request)
        {
            caller.failures.push(error);
        }
    }

    /// Tells listeners of an event, and counts it.
    fn publish(&mut self, event: &Event) {
        let Event::Peer(peer_event) = event else {
            if matches!(event, Event::SlowedDown { .. }) {
                // There may be no listener.
                let _ = self.events.send(event.clone());
            }
            return;
        };
        if let Some((peer, why)) = loss(peer_event) {
            self.peers.remove(&peer);
            self.reported.retain(|send, _| send.peer != peer);
            self.stats().lost(peer, why);
        }
        if let PeerEvent::Ended { outcome, .. } = peer_event {
            self.stats().ended(outcome.err());
        }
        let _ = self.events.send(event.clone());
    }

    /// Publishes the ledger if it has changed.
    fn publish_table(&mut self) {
        if let Some(table) = self.scheduler.changed_table() {
            self.table.send_replace(table);
        }
    }

    fn respond(&mut self, id: RequestId, result: AttemptResult) {
        if let Some(caller) = self.callers.remove(&id) {
            // A caller that is gone meanwhile has sent its cancellation.
            let _ = caller.respond.send(result.map_err(|error| error.after(caller.failures)));
        }
    }

    /// Sends what can be sent. Returns whether anything was.
    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        self.act(None);
        while let Some(Dispatch { send, attempt }) = self.scheduler.next(now()) {
            any = true;
            let Some(peer) = self.peers.get_mut(&send.peer) else {
                self.scheduler.peer_left(send.peer, LeaveReason::Disconnected, now());
                continue;
            };
            let request = attempt.id;
            if let Some(caller) = self.callers.get_mut(&request) {
                caller.permit = None;
            }
            let is_resend = !self.sent.insert(request);
            if self.sent.len() > MOST_SENT {
                self.sent.pop_first();
            }
            let called = catch(|| peer.service.call(attempt));
            // A service that is ready at once need not be set aside and brought back.
            let readiness = catch(|| peer.service.poll_ready(cx));
            peer.ready = matches!(readiness, Ok(Poll::Ready(Ok(()))));
            match readiness {
                Ok(Poll::Ready(Ok(()))) => {}
                Ok(Poll::Ready(Err(_))) => self.lose(send.peer, LeaveReason::Disconnected, cx),
                Ok(Poll::Pending) => self.scheduler.set_ready(&send.peer, false),
                Err(panicked) => self.scheduler.peer_left(send.peer, panicked, now()),
            }
            match called {
                Ok(future) => self.sendings.push(Sending { send, request, future }),
                Err(panicked) => self.scheduler.peer_left(send.peer, panicked, now()),
            }
            self.stats().resends += u64::from(is_resend);
        }
        self.act(None);
        if self.discover.is_none() && self.peers.is_empty() {
            for (id, caller) in self.callers.drain() {
                self.scheduler.cancel(id);
                let error = AttemptError::from(ScheduleError::NoPeers).after(caller.failures);
                let _ = caller.respond.send(Err(error));
            }
        }
        any
    }

    /// Returns whether it is time to look again.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.scheduler.next_wakeup(now()).map(time::Instant::from_std) else {
            self.sleep = None;
            return false;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx).is_ready()
    }

    fn stats(&self) -> MutexGuard<'_, SendStats> {
        // Counts are of use whatever panicked.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&mut self) {
        self.commands.close();
        self.room.close();
        // Callers that wait find the other end of their channel gone.
        self.callers.clear();
    }
}

impl<D: Peers> Future for Driver<D> {
    type Output = Result<(), D::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            // First the peers: a request ends at once if none of them may be asked for it.
            if let Err(error) = this.poll_discover(cx) {
                this.stop();
                return Poll::Ready(Err(error));
            }
            if this.poll_commands(cx) {
                this.stop();
                return Poll::Ready(Ok(()));
            }
            this.poll_peers(cx);
            let mut any = false;
            while let Poll::Ready(Some(ended)) = this.sendings.poll_next_unpin(cx) {
                this.on_end(ended);
                any = true;
            }
            // A service that was just called, or that failed, is polled ready again, its future for the first time.
            if !this.send(cx) && !any && !this.poll_sleep(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl<D: Peers> Unpin for Driver<D> {}

impl<D: Peers> Drop for Driver<D> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<D: Peers> fmt::Debug for Driver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}

/// Calls into a peer's service. A panic there is the end of that peer, not of the scheduler.
fn catch<T>(call: impl FnOnce() -> T) -> Result<T, LeaveReason> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| LeaveReason::Panicked)
}

fn settle(scheduler: &mut Scheduler, send: SendId, outcome: Result<Timing, AttemptErrorKind>, at: Instant) {
    match outcome {
        Ok(timing) => scheduler.replied(send, &timing),
        Err(kind) => scheduler.failed(send, kind, at),
    }
}

/// Hears the reports of a peer that are there. Returns true at their end.
fn hear_all<S>(
    scheduler: &mut Scheduler,
    reported: &mut HashMap<SendId, (Result<Timing, AttemptErrorKind>, Instant)>,
    peer: &mut Connected<S>,
    cx: &mut Context<'_>,
) -> bool {
    while let Some(Poll::Ready(event)) = peer.events.as_mut().map(|events| events.poll_recv(cx)) {
        match event {
            Some(event) => hear(scheduler, reported, event),
            None => {
                peer.events = None;
                return true;
            }
        }
    }
    false
}

/// Takes a peer's report.
fn hear(
    scheduler: &mut Scheduler,
    reported: &mut HashMap<SendId, (Result<Timing, AttemptErrorKind>, Instant)>,
    event: PeerEvent,
) {
    match event {
        PeerEvent::Progress { send, received, length, at } => scheduler.progress(send, received, length, at),
        PeerEvent::Ended { send, outcome, at } if scheduler.is_given_up(send) => settle(scheduler, send, outcome, at),
        // Its future says the same, and has the reply, unless it has timed out just before.
        PeerEvent::Ended { send, outcome, at } if scheduler.holds(send) => {
            reported.insert(send, (outcome, at));
        }
        PeerEvent::Banned { peer, why } => scheduler.ban(peer, why, now()),
        PeerEvent::Left { peer, why } => scheduler.peer_left(peer, why, now()),
        _ => {}
    }
}
