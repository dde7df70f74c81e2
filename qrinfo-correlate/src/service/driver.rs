use std::{
    collections::HashMap,
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use qrinfo_core::{
    AttemptResult, PeerEvent, SendId,
    wire::frame::{Frame, FrameEvent},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, Sleep, sleep_until},
};

use super::inbox::{Command, Gate, Inbox, Submission};
use crate::{
    correlator::{Action, Correlator, Event},
    error::Closed,
    reply::ReplySender,
};

/// Events of the transport that are handled before other tasks run. Well below the 128 operations that tokio
/// grants a task between two yields, so that under a flood there is some left for commands, writes and the timer.
const EVENTS_PER_POLL: usize = 32;

/// The future that speaks with one peer; see [`PeerService::new`](crate::PeerService::new). Its output is the reason of
/// the connection's end.
///
/// It ends with the connection, after a [`Violation`](crate::Violation) of the peer, or when all services are dropped
/// and no caller waits for a reply; replies that callers wait for are delivered first. When it ends, or is dropped, it
/// ends every request and drops the transport, which has to close the connection.
///
/// It reads while a write is blocked, so a server that stops reading until its replies are taken causes no deadlock.
///
/// Must be polled within a tokio runtime that has time enabled.
#[derive(derive_more::Debug)]
#[debug("Driver {{ correlator: {:?} }}", core.correlator)]
#[must_use = "the service does nothing unless its driver is polled"]
pub struct Driver<T, O: FnMut(PeerEvent)> {
    transport: Option<T>,
    unflushed: bool,
    core: Core<O>,
    commands: mpsc::UnboundedReceiver<Command>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Driver state without I/O: the correlator, its waiting callers and the observer.
struct Core<O: FnMut(PeerEvent)> {
    correlator: Correlator,
    waiting: HashMap<SendId, Slot>,
    observer: O,
    gate: Gate,
}

/// The driver's side of a correlator's entry.
struct Slot {
    respond: Option<ReplySender>,
    /// Given back when the entry goes.
    _permit: OwnedSemaphorePermit,
}

// === impl Driver ===

impl<T, O: FnMut(PeerEvent)> Driver<T, O> {
    pub(crate) fn new(transport: T, observer: O, correlator: Correlator, inbox: Inbox) -> Self {
        let Inbox { commands, gate } = inbox;
        let core = Core { correlator, waiting: HashMap::new(), observer, gate };
        Self { transport: Some(transport), unflushed: false, core, commands, timer: None }
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            match ready!(self.commands.poll_recv(cx)) {
                Some(Command::Submit(submission)) => self.core.submit(*submission),
                Some(Command::Cancel(send)) => self.core.cancel(send),
                // Every service and every future that could ask, wait or cancel holds a sender.
                None => return Poll::Ready(Closed::Unused),
            }
        }
    }

    /// Reads. Ready when the connection ended.
    fn poll_inbound<E>(&mut self, cx: &mut Context<'_>) -> Poll<Closed>
    where
        T: Stream<Item = Result<FrameEvent, E>> + Unpin,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(transport) = &mut self.transport else { return Poll::Pending };
        for _ in 0..EVENTS_PER_POLL {
            match ready!(Pin::new(&mut *transport).poll_next(cx)) {
                Some(Ok(event)) => self.core.handle(event.into()),
                Some(Err(error)) => return Poll::Ready(Closed::transport(error)),
                None => return Poll::Ready(Closed::ByPeer),
            }
            if let Some(closed) = self.core.correlator.closed() {
                return Poll::Ready(closed.clone());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes as much as the transport takes. Ready when the connection ended.
    fn poll_outbound<E>(&mut self, cx: &mut Context<'_>) -> Poll<Closed>
    where
        T: Sink<Frame, Error = E> + Unpin,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(transport) = &mut self.transport else { return Poll::Pending };
        let mut transport = Pin::new(transport);
        while self.core.correlator.has_frame() {
            let sent = match transport.as_mut().poll_ready(cx) {
                Poll::Ready(Ok(())) => match self.core.next_frame() {
                    Some(frame) => transport.as_mut().start_send(frame),
                    None => Ok(()),
                },
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => break,
            };
            if let Err(error) = sent {
                return Poll::Ready(Closed::transport(error));
            }
            self.unflushed = true;
        }
        if self.unflushed {
            match ready!(transport.poll_flush(cx)) {
                Ok(()) => self.unflushed = false,
                Err(error) => return Poll::Ready(Closed::transport(error)),
            }
        }
        Poll::Pending
    }

    /// Ticks as often as time has run out, and wakes the task when it will. Ready when that ended the connection.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        while let Some((deadline, cause)) = self.core.correlator.next_deadline() {
            let deadline = Instant::from_std(deadline);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            tracing::trace!(%cause, "deadline");
            self.core.handle(Event::Tick);
            if let Some(closed) = self.core.correlator.closed() {
                return Poll::Ready(closed.clone());
            }
        }
        Poll::Pending
    }

    /// Ends every request and closes the connection. The first reason stands.
    fn end(&mut self, closed: Closed) {
        self.core.handle(Event::Disconnected(closed));
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.transport = None;
    }
}

impl<T, E, O> Future for Driver<T, O>
where
    T: Stream<Item = Result<FrameEvent, E>> + Sink<Frame, Error = E> + Unpin + Send,
    E: Into<Box<dyn Error + Send + Sync>>,
    O: FnMut(PeerEvent) + Send,
{
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        // Commands first: the slots bound them, while what arrives can be endless. What has arrived counts before the
        // time that has passed.
        let steps: [fn(&mut Self, &mut Context<'_>) -> Poll<Closed>; 4] =
            [Self::poll_commands, Self::poll_inbound, Self::poll_outbound, Self::poll_time];
        let this = &mut *self;
        let ended = steps.into_iter().map(|step| step(this, cx)).find(Poll::is_ready);
        let closed = ready!(ended.unwrap_or(Poll::Pending));
        this.end(closed.clone());
        Poll::Ready(closed)
    }
}

// Nothing in it is pinned in place: the transport is `Unpin` where it is used, the timer is boxed.
impl<T, O: FnMut(PeerEvent)> Unpin for Driver<T, O> {}

impl<T, O: FnMut(PeerEvent)> Drop for Driver<T, O> {
    fn drop(&mut self) {
        // The observer may be what panicked; a second panic would end the process.
        if !std::thread::panicking() {
            self.end(Closed::DriverDropped);
        }
    }
}

// === impl Core ===

impl<O: FnMut(PeerEvent)> Core<O> {
    fn submit(&mut self, Submission { send, attempt, respond, permit }: Submission) {
        match self.correlator.submit(send, attempt, now()) {
            Ok(()) => {
                self.waiting.insert(send, Slot { respond: Some(respond), _permit: permit });
            }
            Err(error) => answer(respond, Err(error)),
        }
        self.run_actions();
    }

    /// Cancels a sending, if its own caller is gone: the caller of a duplicate that was refused has the same id.
    fn cancel(&mut self, send: SendId) {
        let slot = self.waiting.get(&send).and_then(|slot| slot.respond.as_ref());
        if slot.is_some_and(ReplySender::is_closed) {
            self.handle(Event::Cancelled(send));
        }
    }

    fn handle(&mut self, event: Event) {
        self.correlator.handle(event, now());
        self.run_actions();
    }

    fn next_frame(&mut self) -> Option<Frame> {
        let frame = self.correlator.next_frame(now());
        self.run_actions();
        frame
    }

    fn run_actions(&mut self) {
        while let Some(action) = self.correlator.next_action() {
            match action {
                Action::Answer { send, result } => {
                    if let Some(respond) = self.waiting.get_mut(&send).and_then(|slot| slot.respond.take()) {
                        answer(respond, result);
                    }
                }
                Action::Release { send } => {
                    self.waiting.remove(&send);
                }
                Action::Report(report) => (self.observer)(report),
                // Callers of this function check `Correlator::closed` afterwards.
                Action::Close(_) => {}
            }
        }
        // Last, so that the reason of the end is reported before the service shows the end: on another thread a
        // scheduler would take a peer that sent something false for one that merely left.
        if let Some(closed) = self.correlator.closed() {
            self.gate.close(closed.clone());
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn answer(respond: ReplySender, result: AttemptResult) {
    // A caller that is gone has cancelled or will.
    let _ = respond.send(result);
}
