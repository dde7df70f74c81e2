//! The tower service and its driver over transports in memory, in paused time.
use std::{
    error::Error,
    io,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{Sink, SinkExt, Stream, StreamExt, future::join_all};
use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind as Kind, LeaveReason, Network, PeerEvent, PeerId, Reply, SendId,
    message::NetworkMessage,
    wire::frame::{Command, Frame, FrameDecoder, FrameEvent},
};
use qrinfo_correlate::{Closed, CorrelatorConfig, Driver, PeerService, ResponseFuture, SendIdInUse, Violation};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{advance, timeout},
};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tokio_util::codec::{Decoder, Encoder, Framed};
use tower::{Service, ServiceExt};

use crate::support::{self, attempt, reply_frame};

type Inbound = Result<FrameEvent, io::Error>;
type Reports = Arc<Mutex<Vec<PeerEvent>>>;

/// Two channels; the one to the peer can be blocked.
struct Channels {
    inbound: UnboundedReceiver<Inbound>,
    outbound: UnboundedSender<Frame>,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Default)]
struct Gate {
    blocked: bool,
    waker: Option<Waker>,
}

impl Stream for Channels {
    type Item = Inbound;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Inbound>> {
        self.inbound.poll_recv(cx)
    }
}

impl Sink<Frame> for Channels {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gate = self.gate.lock().unwrap();
        gate.waker = Some(cx.waker().clone());
        match gate.blocked {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn start_send(self: Pin<&mut Self>, frame: Frame) -> io::Result<()> {
        assert!(!self.gate.lock().unwrap().blocked, "sent without readiness");
        self.outbound.send(frame).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads as the script says and writes to the channels.
struct Scripted<F> {
    channels: Channels,
    read: F,
}

impl<F: FnMut() -> Poll<Option<Inbound>> + Unpin> Stream for Scripted<F> {
    type Item = Inbound;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Inbound>> {
        (self.read)()
    }
}

impl<F: Unpin> Sink<Frame> for Scripted<F> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channels.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> io::Result<()> {
        self.channels.start_send_unpin(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channels.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channels.poll_close_unpin(cx)
    }
}

/// The other end of the channels: the peer, by hand.
struct Hand {
    to_client: UnboundedSender<Inbound>,
    from_client: UnboundedReceiver<Frame>,
    gate: Arc<Mutex<Gate>>,
    reports: Reports,
}

impl Hand {
    fn send(&self, frame: Frame) {
        self.to_client.send(Ok(FrameEvent::Frame(frame))).unwrap();
    }

    fn answer(&self, id: u64) {
        self.send(reply_frame(id, id));
    }

    /// Takes the frames that the client sent. Returns their commands and the numbers of the pings.
    fn take(&mut self) -> (Vec<String>, Vec<u64>) {
        let (mut commands, mut nonces) = (Vec::new(), Vec::new());
        while let Ok(frame) = self.from_client.try_recv() {
            commands.push(frame.command.to_string());
            if let NetworkMessage::Ping(nonce) = NetworkMessage::from_frame(frame).unwrap() {
                nonces.push(nonce);
            }
        }
        (commands, nonces)
    }

    fn pong_all(&mut self) {
        for nonce in self.take().1 {
            self.send(NetworkMessage::Pong(nonce).to_frame());
        }
    }

    fn block(&self, blocked: bool) {
        let mut gate = self.gate.lock().unwrap();
        gate.blocked = blocked;
        if let Some(waker) = gate.waker.take() {
            waker.wake();
        }
    }

    fn is_gone(&self) -> bool {
        self.to_client.is_closed()
    }

    fn done(&self) -> Vec<(u64, Result<(), Kind>)> {
        let reports = self.reports.lock().unwrap();
        let done = reports.iter().filter_map(|report| match report {
            PeerEvent::Ended { send, outcome, .. } => Some((send.seq, outcome.map(|_| ()))),
            _ => None,
        });
        done.collect()
    }
}

fn peer() -> PeerId {
    PeerId::Address(([127, 0, 0, 1], 19899).into())
}

fn config(depth: usize) -> CorrelatorConfig {
    CorrelatorConfig { depth: NonZeroUsize::new(depth).unwrap(), ..CorrelatorConfig::default() }
}

fn pair(depth: usize) -> (PeerService, Driver<Channels, impl FnMut(PeerEvent) + Send + 'static>, Hand) {
    let (to_client, inbound) = unbounded_channel();
    let (outbound, from_client) = unbounded_channel();
    let (gate, reports) = (Arc::<Mutex<Gate>>::default(), Reports::default());
    let transport = Channels { inbound, outbound, gate: gate.clone() };
    let observed = reports.clone();
    let observer = move |report| observed.lock().unwrap().push(report);
    let (service, driver) = PeerService::new(peer(), transport, config(depth), observer);
    (service, driver, Hand { to_client, from_client, gate, reports })
}

fn spawned(depth: usize) -> (PeerService, JoinHandle<Closed>, Hand) {
    let (service, driver, hand) = pair(depth);
    (service, tokio::spawn(driver), hand)
}

/// Lets every task that can do something do it.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// An attempt that a scheduler has bound to the peer.
fn sent(id: u64) -> Attempt {
    Attempt { send: Some(SendId { peer: peer(), seq: id }), ..attempt(id) }
}

async fn ask(service: &mut PeerService, id: u64) -> ResponseFuture {
    service.ready().await.unwrap().call(sent(id))
}

fn closed_of(error: &AttemptError) -> Closed {
    assert_eq!(error.kind(), Kind::Disconnected);
    assert_eq!(error.peer(), Some(peer()));
    error.source().and_then(|source| source.downcast_ref::<Closed>()).cloned().unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_are_pipelined_and_their_replies_come_in_order() {
    let (mut service, _driver, mut hand) = spawned(3);
    let futures = [ask(&mut service, 1).await, ask(&mut service, 2).await, ask(&mut service, 3).await];
    settle().await;
    assert_eq!(hand.take().0, ["getqrinfo", "ping", "getqrinfo", "ping", "getqrinfo", "ping"]);
    (1..=3).for_each(|id| hand.answer(id));
    for (id, result) in (1..).zip(join_all(futures).await) {
        assert_eq!(result.unwrap().reply, Reply::QrInfo(Box::new(support::reply(id, id))));
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_a_slot_and_is_woken_when_one_is_free() {
    let (mut service, driver, hand) = pair(1);
    let mut driver = task::spawn(driver);
    let mut response = task::spawn(ask(&mut service, 1).await);
    assert_pending!(response.poll());
    assert_pending!(driver.poll());
    let mut service = task::spawn(service);
    assert_pending!(service.enter(|cx, mut service| service.poll_ready(cx)));
    hand.answer(1);
    assert!(driver.is_woken());
    assert_pending!(driver.poll());
    assert!(service.is_woken() && response.is_woken());
    assert_ready_ok!(response.poll());
    assert_ready_ok!(service.enter(|cx, mut service| service.poll_ready(cx)));
}

#[tokio::test(start_paused = true)]
async fn a_clone_does_not_take_over_readiness() {
    let (mut service, _driver, _hand) = spawned(1);
    service.ready().await.unwrap();
    let mut clone = service.clone();
    let error = clone.call(attempt(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Overloaded);
    let mut clone = task::spawn(clone);
    assert_pending!(clone.enter(|cx, mut clone| clone.poll_ready(cx)));
    drop(service);
    assert!(clone.is_woken(), "a slot that is reserved and not used comes back");
    assert_ready_ok!(clone.enter(|cx, mut clone| clone.poll_ready(cx)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_keeps_its_slot_until_the_peer_has_dealt_with_it() {
    let (mut service, _driver, mut hand) = spawned(1);
    let response = ask(&mut service, 1).await;
    settle().await;
    drop(response);
    settle().await;
    let mut service = task::spawn(service);
    assert_pending!(service.enter(|cx, mut service| service.poll_ready(cx)));
    hand.pong_all();
    settle().await;
    assert!(service.is_woken());
    assert_ready_ok!(service.enter(|cx, mut service| service.poll_ready(cx)));
    assert_eq!(hand.done(), [(1, Err(Kind::Refused))]);
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_request_keeps_its_slot_until_its_late_reply() {
    let (mut service, _driver, hand) = spawned(1);
    let error = ask(&mut service, 1).await.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert_eq!(hand.done(), []);
    let mut service = task::spawn(service);
    assert_pending!(service.enter(|cx, mut service| service.poll_ready(cx)));
    hand.answer(1);
    settle().await;
    assert_ready_ok!(service.enter(|cx, mut service| service.poll_ready(cx)));
    assert_eq!(hand.done(), [(1, Ok(()))]);
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_before_the_driver_saw_it_sends_nothing() {
    let (mut service, driver, mut hand) = pair(1);
    let response = ask(&mut service, 1).await;
    drop(response);
    let mut driver = task::spawn(driver);
    assert_pending!(driver.poll());
    assert_eq!(hand.take().0, [""; 0]);
    assert_ready_ok!(task::spawn(service).enter(|cx, mut service| service.poll_ready(cx)));
}

#[tokio::test(start_paused = true)]
async fn a_sending_without_a_number_gets_one_from_2_to_the_63_on() {
    let (mut service, _driver, hand) = spawned(3);
    let own = service.ready().await.unwrap().call(attempt(1));
    let numbered = ask(&mut service, 2).await;
    settle().await;
    (1..=2).for_each(|id| hand.answer(id));
    assert!(own.await.is_ok() && numbered.await.is_ok());
    assert_eq!(hand.done(), [(1 << 63, Ok(())), (2, Ok(()))]);
}

/// The refused duplicate has the id of a sending that goes on.
#[tokio::test(start_paused = true)]
async fn a_duplicate_that_is_refused_does_not_cancel_the_sending_of_its_id() {
    let (mut service, _driver, hand) = spawned(3);
    let first = ask(&mut service, 1).await;
    let error = ask(&mut service, 1).await.await.unwrap_err();
    assert!(error.source().is_some_and(|source| source.is::<SendIdInUse>()), "{error:?}");
    let dropped = ask(&mut service, 1).await;
    settle().await;
    drop(dropped);
    settle().await;
    hand.answer(1);
    assert_eq!(first.await.unwrap().reply, Reply::QrInfo(Box::new(support::reply(1, 1))));
    assert_eq!(hand.done(), [(1, Ok(()))]);
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_before_the_transport_took_its_request_sends_nothing() {
    let (mut service, _driver, mut hand) = spawned(1);
    hand.block(true);
    let response = ask(&mut service, 1).await;
    settle().await;
    drop(response);
    settle().await;
    hand.block(false);
    settle().await;
    assert_eq!(hand.take().0, [""; 0]);
    assert_eq!(hand.done(), [(1, Err(Kind::Cancelled))]);
    service.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_never_takes_anything_does_not_stop_timeouts() {
    let (mut service, _driver, hand) = spawned(1);
    hand.block(true);
    let start = tokio::time::Instant::now();
    let error = ask(&mut service, 1).await.await.unwrap_err();
    assert_eq!((error.kind(), error.timing()), (Kind::Timeout, None));
    assert_eq!(start.elapsed().as_secs(), 30);
    service.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn sent_is_when_the_transport_took_the_request() {
    let (mut service, _driver, hand) = spawned(1);
    hand.block(true);
    let start = tokio::time::Instant::now().into_std();
    let response = ask(&mut service, 1).await;
    advance(Duration::from_secs(7)).await;
    hand.block(false);
    settle().await;
    hand.answer(1);
    assert_eq!((response.await.unwrap().timing.sent - start).as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_timer_follows_the_head_of_the_queue() {
    let (mut service, _driver, hand) = spawned(2);
    let start = tokio::time::Instant::now();
    let (first, second) = (ask(&mut service, 1).await, ask(&mut service, 2).await);
    tokio::time::sleep(Duration::from_secs(20)).await;
    hand.answer(1);
    first.await.unwrap();
    assert_eq!(second.await.unwrap_err().kind(), Kind::Timeout);
    assert_eq!(start.elapsed().as_secs(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_read_to_its_end() {
    let (mut service, _driver, hand) = spawned(1);
    let response = ask(&mut service, 1).await;
    settle().await;
    (0..1_000).for_each(|_| hand.send(NetworkMessage::Ping(1).to_frame()));
    hand.answer(1);
    response.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempts_own_deadline_ends_it() {
    let (mut service, _driver, _hand) = spawned(1);
    let start = tokio::time::Instant::now();
    let attempt = Attempt { deadline: Some((start + Duration::from_secs(3)).into_std()), ..attempt(1) };
    let error = service.ready().await.unwrap().call(attempt).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (Kind::Timeout, 3));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_ends_everything_with_its_reason() {
    let (mut service, driver, hand) = spawned(1);
    let response = ask(&mut service, 1).await;
    let mut waiting = task::spawn(service.clone());
    assert_pending!(waiting.enter(|cx, mut service| service.poll_ready(cx)));
    settle().await;
    hand.to_client.send(Err(io::ErrorKind::ConnectionReset.into())).unwrap();
    let closed = closed_of(&response.await.unwrap_err());
    assert!(closed.source().is_some_and(|source| source.is::<io::Error>()));
    assert!(waiting.is_woken());
    let error = assert_ready_err!(waiting.enter(|cx, mut service| service.poll_ready(cx)));
    assert!(matches!(closed_of(&error), Closed::Transport(_)));
    let error = service.ready().await.unwrap_err();
    assert!(matches!(closed_of(&error), Closed::Transport(_)));
    assert!(matches!(driver.await.unwrap(), Closed::Transport(_)));
    assert!(hand.is_gone());
    assert!(matches!(
        hand.reports.lock().unwrap().last(),
        Some(PeerEvent::Left { why: LeaveReason::Disconnected, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn readiness_that_was_granted_before_the_end_gives_the_reason() {
    let (mut service, driver, hand) = spawned(1);
    service.ready().await.unwrap();
    let mut other = task::spawn(service.clone());
    assert_pending!(other.enter(|cx, mut other| other.poll_ready(cx)));
    drop(hand);
    driver.await.unwrap();
    assert!(matches!(closed_of(service.ready().await.as_ref().err().unwrap()), Closed::ByPeer));
    assert!(other.is_woken(), "the slot stays reserved");
    assert_ready_err!(other.enter(|cx, mut other| other.poll_ready(cx)));
    assert!(matches!(closed_of(&service.call(attempt(1)).await.unwrap_err()), Closed::ByPeer));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_ended_but_still_exists_leaves_no_caller_waiting() {
    let (to_client, inbound) = unbounded_channel();
    let (outbound, _from_client) = unbounded_channel();
    let channels = Channels { inbound, outbound, gate: Arc::default() };
    // When it is read, another request is made, and then it ends.
    let last = Arc::new(Mutex::new((None::<PeerService>, None)));
    let shared = last.clone();
    let read = move || {
        let (service, response) = &mut *shared.lock().unwrap();
        *response = service.as_mut().map(|service| service.call(attempt(2)));
        Poll::Ready(None)
    };
    let transport = Scripted { channels, read };
    let (mut service, driver) = PeerService::new(peer(), transport, config(2), |_| {});
    let mut driver = task::spawn(driver);
    let first = ask(&mut service, 1).await;
    service.ready().await.unwrap();
    last.lock().unwrap().0 = Some(service);
    assert_ready!(driver.poll());
    let last = last.lock().unwrap().1.take().unwrap();
    let last = timeout(Duration::from_secs(1), last).await.expect("no peer will answer");
    assert!(matches!(closed_of(&first.await.unwrap_err()), Closed::ByPeer));
    assert!(matches!(closed_of(&last.unwrap_err()), Closed::ByPeer));
    assert!(to_client.is_closed(), "the connection is closed before the driver is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_ends_everything() {
    let (mut service, driver, hand) = spawned(2);
    let response = ask(&mut service, 1).await;
    settle().await;
    let unseen = ask(&mut service, 2).await;
    driver.abort();
    assert!(matches!(closed_of(&response.await.unwrap_err()), Closed::DriverDropped));
    assert!(matches!(closed_of(&unseen.await.unwrap_err()), Closed::DriverDropped));
    assert!(matches!(closed_of(service.ready().await.as_ref().err().unwrap()), Closed::DriverDropped));
    assert!(hand.is_gone());
    // The ledger of peers hears of it too.
    assert_eq!(hand.done(), [(1, Err(Kind::Disconnected))]);
    let left = PeerEvent::Left { peer: peer(), why: LeaveReason::Disconnected };
    assert_eq!(hand.reports.lock().unwrap().last(), Some(&left));
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_must_not_send_ends_the_driver() {
    let (mut service, driver, hand) = spawned(2);
    let (first, second) = (ask(&mut service, 1).await, ask(&mut service, 2).await);
    settle().await;
    hand.answer(9);
    assert_eq!(first.await.unwrap_err().kind(), Kind::False);
    assert!(matches!(closed_of(&second.await.unwrap_err()), Closed::Violation(Violation::False(_))));
    assert!(matches!(driver.await.unwrap(), Closed::Violation(Violation::False(_))));
    assert!(hand.is_gone());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_nothing_loses_its_connection_though_others_wait() {
    let (mut service, driver, _hand) = spawned(8);
    let mut asked = Vec::new();
    for id in 0..6 {
        asked.push(ask(&mut service, id).await);
    }
    let closed = timeout(Duration::from_secs(151), driver).await.unwrap().unwrap();
    assert!(matches!(closed, Closed::Violation(Violation::Unanswered(_))), "{closed:?}");
    let kinds: Vec<_> = join_all(asked).await.into_iter().map(|ended| ended.unwrap_err().kind()).collect();
    assert_eq!(kinds, [Kind::Timeout, Kind::Timeout, Kind::Timeout, Kind::Timeout, Kind::Timeout, Kind::Disconnected]);
}

#[tokio::test(start_paused = true)]
async fn without_services_the_driver_delivers_what_is_awaited_and_ends() {
    let (mut service, driver, hand) = spawned(2);
    let response = ask(&mut service, 1).await;
    let given_up = ask(&mut service, 2).await;
    drop(service);
    settle().await;
    drop(given_up);
    settle().await;
    assert!(!driver.is_finished());
    hand.answer(1);
    response.await.unwrap();
    assert!(matches!(driver.await.unwrap(), Closed::Unused));
    assert!(hand.is_gone());
    assert_eq!(hand.done(), [(1, Ok(())), (2, Err(Kind::Disconnected))]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_starves_neither_others_nor_the_time() {
    let (_to_client, inbound) = unbounded_channel();
    let (outbound, mut from_client) = unbounded_channel();
    let channels = Channels { inbound, outbound, gate: Arc::default() };
    let read = || Poll::Ready(Some(Ok(FrameEvent::Frame(NetworkMessage::Ping(1).to_frame()))));
    let transport = Scripted { channels, read };
    let (mut service, driver) = PeerService::new(peer(), transport, config(1), |_| {});
    tokio::spawn(driver);
    let response = ask(&mut service, 1).await;
    assert_eq!(from_client.recv().await.unwrap().command, Command::GET_QR_INFO);
    // The clock does not move by itself while a task is always busy.
    advance(Duration::from_secs(31)).await;
    assert_eq!(response.await.unwrap_err().kind(), Kind::Timeout);
}

/// The bytes of the wire.
struct Wire(FrameDecoder);

impl Decoder for Wire {
    type Item = FrameEvent;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<FrameEvent>> {
        self.0.decode(buffer).map_err(io::Error::other)
    }
}

impl Encoder<Frame> for Wire {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> io::Result<()> {
        frame.encode(Network::Regtest, out);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_until_we_do_is_no_deadlock() {
    // A pipe that holds less than a request, each way.
    let (client, server) = tokio::io::duplex(64);
    let framed = |io| Framed::new(io, Wire(FrameDecoder::new(Network::Regtest)));
    let (service, driver) = PeerService::new(peer(), framed(client), config(8), |_| {});
    tokio::spawn(driver);
    tokio::spawn(async move {
        let mut server = framed(server);
        let mut asked = 0;
        while let Some(Ok(event)) = server.next().await {
            let FrameEvent::Frame(frame) = event else { continue };
            let answer = match NetworkMessage::from_frame(frame).unwrap() {
                NetworkMessage::GetQRInfo(_) if asked % 5 == 4 => None,
                NetworkMessage::GetQRInfo(_) => Some(reply_frame(asked, asked)),
                NetworkMessage::Ping(nonce) => {
                    asked += 1;
                    Some(NetworkMessage::Pong(nonce).to_frame())
                }
                other => panic!("{other:?}"),
            };
            if let Some(frame) = answer {
                server.send(frame).await.unwrap();
            }
        }
    });
    let asking = (0..40).map(|id| service.clone().oneshot(attempt(id)));
    let results = timeout(Duration::from_secs(10), join_all(asking)).await.unwrap();
    for (id, result) in (0..).zip(results) {
        match result {
            Ok(answer) => assert_eq!(answer.reply, Reply::QrInfo(Box::new(support::reply(id, id)))),
            Err(error) => assert_eq!((id % 5, error.kind()), (4, Kind::Refused)),
        }
    }
}
