use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use qrinfo_core::{Attempt, AttemptError, AttemptErrorKind, PeerId, Reply, Timing};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{self, Sleep},
};
use tower::{
    BoxError, Service,
    discover::{Change, Discover},
};

use super::{
    Peer, ScheduleError,
    handle::Command,
    peer::{Report, Reports},
};
use crate::{Dispatch, DispatchId, Event, Scheduler, Settings, Ticket};

/// A stream of peers that join and leave. Implemented for every fitting [`Discover`].
pub trait Peers: Discover<Key = PeerId, Service = Peer<Self::Asked>> + Unpin {
    /// The service of one peer.
    type Asked: Service<Attempt, Response = (Reply, Timing), Error: Into<BoxError>>;
}

/// The future that does the work: it owns the scheduler, the peers, and what is under way. Spawn it.
///
/// It resolves with the error of the [`Discover`] if that fails; whoever waits then gets
/// [`ScheduleError::Stopped`].
#[must_use = "nothing is sent unless the driver is polled"]
pub struct Driver<D: Peers> {
    /// `None` after its end.
    discover: Option<D>,
    commands: mpsc::UnboundedReceiver<Command>,
    scheduler: Scheduler,
    peers: BTreeMap<PeerId, Connected<D::Asked>>,
    callers: HashMap<Ticket, Caller>,
    tickets: HashMap<u64, Ticket>,
    /// One for each copy that a peer's service works on. Kept to the end even when nobody waits: the end frees the
    /// slot.
    under_way: FuturesUnordered<UnderWay<<D::Asked as Service<Attempt>>::Future>>,
    /// By the number under which a peer's service knows a copy.
    numbers: HashMap<u64, DispatchId>,
    /// What peers said of copies whose futures had not ended yet: one of them may end with a timeout all the same.
    settled: HashMap<u64, Settled>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// A request on its way to the driver.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) call: u64,
    pub(super) attempt: Attempt,
    pub(super) respond: oneshot::Sender<Result<(Reply, Timing), AttemptError>>,
    pub(super) permit: OwnedSemaphorePermit,
}

struct Caller {
    call: u64,
    respond: oneshot::Sender<Result<(Reply, Timing), AttemptError>>,
    /// The place in the queue, until it is sent.
    permit: Option<OwnedSemaphorePermit>,
    /// How its copies failed while another one still could be answered.
    failures: Vec<AttemptError>,
}

struct Connected<S> {
    service: S,
    ready: bool,
    reports: Option<Reports>,
}

pin_project_lite::pin_project! {
    struct UnderWay<F> {
        id: DispatchId,
        ticket: Ticket,
        #[pin]
        future: F,
    }
}

/// How one copy ended, while the scheduler decides what that means.
type Ended = (DispatchId, Ticket, Result<(Reply, Timing), AttemptError>);

// === impl Peers ===

impl<D, S> Peers for D
where
    D: Discover<Key = PeerId, Service = Peer<S>> + Unpin,
    S: Service<Attempt, Response = (Reply, Timing), Error: Into<BoxError>>,
{
    type Asked = S;
}

// === impl Driver ===

impl<D: Peers> Driver<D> {
    pub(super) fn new(discover: D, settings: Settings, commands: mpsc::UnboundedReceiver<Command>) -> Self {
        // The service's permits bound the queue. What goes back into it from a stalled peer must not be turned away.
        let scheduler = Scheduler::new(Settings { capacity: usize::MAX, ..settings });
        Self {
            discover: Some(discover),
            commands,
            scheduler,
            peers: BTreeMap::new(),
            callers: HashMap::new(),
            tickets: HashMap::new(),
            under_way: FuturesUnordered::new(),
            numbers: HashMap::new(),
            settled: HashMap::new(),
            sleep: None,
        }
    }

    /// Whether it is to stop.
    fn poll_commands(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.commands.poll_recv(cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => return self.callers.is_empty(),
                Poll::Ready(Some(Command::Shutdown)) => return true,
                Poll::Ready(Some(command)) => self.obey(command),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let settings = self.scheduler.settings().clone();
        match command {
            Command::Submit(submission) => self.submit(*submission),
            Command::Cancel(call) => {
                if let Some(ticket) = self.tickets.remove(&call) {
                    self.callers.remove(&ticket);
                    self.scheduler.cancel(ticket);
                }
            }
            Command::SetCap(cap) => self.scheduler.set_settings(Settings { cap, ..settings }),
            Command::SetRate(rate) => self.scheduler.set_settings(Settings { rate, ..settings }),
            Command::SetPeerRate(peer_rate) => self.scheduler.set_settings(Settings { peer_rate, ..settings }),
            Command::SetWindow(window) => self.scheduler.set_window(window),
            Command::Blame(peer) => self.remove(&peer),
            Command::Shutdown => {}
        }
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { call, attempt, respond, permit } = submission;
        match self.scheduler.submit(attempt, now()) {
            Ok(ticket) => {
                self.tickets.insert(call, ticket);
                self.callers.insert(ticket, Caller { call, respond, permit: Some(permit), failures: Vec::new() });
            }
            Err(overloaded) => {
                let error = AttemptError::new(AttemptErrorKind::Overloaded).because(overloaded);
                let _ = respond.send(Err(error));
            }
        }
    }

    fn poll_discover(&mut self, cx: &mut Context<'_>) -> Result<(), D::Error> {
        while let Some(discover) = &mut self.discover {
            match Pin::new(discover).poll_discover(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.discover = None,
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(Some(Ok(Change::Remove(peer)))) => self.remove(&peer),
                Poll::Ready(Some(Ok(Change::Insert(peer, Peer { service, round_trip, reports })))) => {
                    self.peers.insert(peer, Connected { service, ready: false, reports });
                    self.scheduler.peer_joined(peer, round_trip);
                    self.scheduler.set_ready(&peer, false);
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, peer: &PeerId) {
        self.scheduler.peer_left(*peer);
        self.forget(peer);
    }

    fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        self.numbers.retain(|_, id| id.peer() != *peer);
        self.settled.retain(|number, _| self.numbers.contains_key(number));
    }

    /// What peers report, and which of them take a request.
    fn poll_peers(&mut self, cx: &mut Context<'_>) {
        let mut gone = Vec::new();
        for (&id, peer) in &mut self.peers {
            while let Some(Poll::Ready(report)) = peer.reports.as_mut().map(|reports| reports.poll_next(cx)) {
                match report {
                    Some(report) => hear(&mut self.scheduler, &mut self.numbers, &mut self.settled, report),
                    None => {
                        // Its connection has ended, maybe with nothing under way whose failure would tell.
                        peer.reports = None;
                        peer.ready = false;
                    }
                }
            }
            if !peer.ready {
                match peer.service.poll_ready(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => {
                        peer.ready = true;
                        self.scheduler.set_ready(&id, true);
                    }
                    Poll::Ready(Err(_)) => gone.push(id),
                }
            }
        }
        for peer in gone {
            self.remove(&peer);
        }
    }

    fn on_end(&mut self, (id, ticket, result): Ended) {
        let reports = self.peers.get(&id.peer()).is_some_and(|peer| peer.reports.is_some());
        match &result {
            Ok((_, timing)) => self.scheduler.replied(id, timing),
            Err(error) if reports && error.kind() == AttemptErrorKind::Timeout => {
                // Its number stays known: the peer will report what becomes of it.
                self.scheduler.timed_out(id, now());
                if let Some(settled) = self.settled.remove(&id.number()) {
                    self.numbers.remove(&id.number());
                    settle(&mut self.scheduler, id, settled);
                }
                return self.tell_callers(Some((id, ticket, result)));
            }
            Err(error) => self.scheduler.failed(id, error.kind(), now()),
        }
        self.numbers.remove(&id.number());
        self.settled.remove(&id.number());
        self.tell_callers(Some((id, ticket, result)));
    }

    /// What the scheduler has decided. `ended` is the copy whose end it was just told.
    fn tell_callers(&mut self, mut ended: Option<Ended>) {
        while let Some(event) = self.scheduler.event() {
            match event {
                Event::Replied(ticket, id) | Event::Failed(ticket, id, _) => {
                    let result = match ended.take_if(|(ended, ..)| *ended == id) {
                        Some((.., result)) => result,
                        None => Err(AttemptError::from(ScheduleError::PeerRemoved).at(id.peer())),
                    };
                    self.respond(ticket, result);
                }
                Event::Expired(ticket) => self.respond(ticket, Err(ScheduleError::DeadlinePassed.into())),
                Event::NobodyLeft(ticket) => self.respond(ticket, Err(ScheduleError::NobodyLeft.into())),
                Event::Dismissed(peer) => self.forget(&peer),
            }
        }
        // Nobody was told of it, for the request goes on.
        if let Some((_, ticket, Err(error))) = ended
            && let Some(caller) = self.callers.get_mut(&ticket)
        {
            caller.failures.push(error);
        }
    }

    fn respond(&mut self, ticket: Ticket, result: Result<(Reply, Timing), AttemptError>) {
        if let Some(caller) = self.callers.remove(&ticket) {
            self.tickets.remove(&caller.call);
            // Gone meanwhile: its cancellation is on the way.
            let _ = caller.respond.send(result.map_err(|error| error.after(caller.failures)));
        }
    }

    /// Sends what can be sent. Whether anything was.
    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        self.tell_callers(None);
        while let Some(Dispatch { id, ticket, attempt }) = self.scheduler.next(now()) {
            let Some(peer) = self.peers.get_mut(&id.peer()) else {
                self.scheduler.peer_left(id.peer());
                continue;
            };
            if let Some(caller) = self.callers.get_mut(&ticket) {
                caller.permit = None;
            }
            self.numbers.insert(id.number(), id);
            let future = peer.service.call(Attempt { id: id.number(), ..attempt });
            self.under_way.push(UnderWay { id, ticket, future });
            // One that is ready at once need not be taken out and put back.
            let readiness = peer.service.poll_ready(cx);
            peer.ready = readiness.is_ready();
            match readiness {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.remove(&id.peer()),
                Poll::Pending => self.scheduler.set_ready(&id.peer(), false),
            }
            any = true;
        }
        self.tell_callers(None);
        if self.discover.is_none() && self.peers.is_empty() {
            for (ticket, caller) in self.callers.drain() {
                self.scheduler.cancel(ticket);
                self.tickets.remove(&caller.call);
                let error = AttemptError::from(ScheduleError::NoPeers).after(caller.failures);
                let _ = caller.respond.send(Err(error));
            }
        }
        any
    }

    /// Whether it is time to look again.
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
}

impl<D: Peers> Future for Driver<D> {
    type Output = Result<(), D::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if this.poll_commands(cx) {
                this.commands.close();
                // Whoever waits finds the other end of its channel gone.
                this.callers.clear();
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = this.poll_discover(cx) {
                this.commands.close();
                this.callers.clear();
                return Poll::Ready(Err(error));
            }
            this.poll_peers(cx);
            while let Poll::Ready(Some(ended)) = this.under_way.poll_next_unpin(cx) {
                this.on_end(ended);
            }
            // A service that was just called is polled ready again, its future for the first time.
            if !this.send(cx) && !this.poll_sleep(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl<D: Peers> Unpin for Driver<D> {}

impl<D: Peers> fmt::Debug for Driver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}

/// How a copy ended at its peer, and when.
type Settled = (Result<Timing, AttemptErrorKind>, Instant);

fn settle(scheduler: &mut Scheduler, id: DispatchId, (outcome, at): Settled) {
    match outcome {
        Ok(timing) => scheduler.replied(id, &timing),
        Err(kind) => scheduler.failed(id, kind, at),
    }
}

fn hear(
    scheduler: &mut Scheduler,
    numbers: &mut HashMap<u64, DispatchId>,
    settled: &mut HashMap<u64, Settled>,
    report: Report,
) {
    match report {
        Report::Progress { attempt, bytes, length, at } => {
            if let Some(&id) = numbers.get(&attempt) {
                scheduler.progress(id, bytes, length, at);
            }
        }
        Report::Settled { attempt, outcome, at } => {
            let Some(&id) = numbers.get(&attempt) else { return };
            if scheduler.is_given_up(id) {
                numbers.remove(&attempt);
                settle(scheduler, id, (outcome, at));
            } else {
                // Its future tells the same, and has the reply, unless it has timed out just before.
                settled.insert(attempt, (outcome, at));
            }
        }
    }
}

fn now() -> Instant {
    time::Instant::now().into_std()
}

// === impl UnderWay ===

impl<F, E> Future for UnderWay<F>
where
    F: Future<Output = Result<(Reply, Timing), E>>,
    E: Into<BoxError>,
{
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.project();
        let (id, ticket) = (*this.id, *this.ticket);
        this.future.poll(cx).map(|result| (id, ticket, result.map_err(|error| attempt_error(error.into(), id.peer()))))
    }
}

/// The error of a peer's stack as an attempt's: unchanged if it is one, else as the source of one.
fn attempt_error(error: BoxError, peer: PeerId) -> AttemptError {
    let error = match error.downcast::<AttemptError>() {
        Ok(error) => *error,
        Err(other) if other.is::<tower::timeout::error::Elapsed>() => {
            AttemptError::new(AttemptErrorKind::Timeout).because(other)
        }
        Err(other) => AttemptError::new(AttemptErrorKind::Local).because(other),
    };
    if error.peer().is_none() { error.at(peer) } else { error }
}
