//! The service of a network that does not name its peers, in paused time.
use std::{
    error::Error,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use qrinfo_core::{
    Attempt, AttemptError, AttemptErrorKind as Kind, PeerId, Reply,
    client::{ClientError, NetworkManager},
    message::NetworkMessage,
};
use qrinfo_correlate::{BroadcastDriver, Closed, CorrelatorConfig, PeerService, ResponseFuture, TimeoutCause};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Service, ServiceExt};

use crate::support::{attempt, reply, spec};

type BoxDriver<F> = BroadcastDriver<Box<dyn NetworkManager>, F>;
type Incoming = Result<Option<NetworkMessage>, ClientError>;

/// A manager that does as its hand says.
struct Puppet {
    incoming: UnboundedReceiver<Incoming>,
    outgoing: UnboundedSender<NetworkMessage>,
    state: Arc<Mutex<State>>,
}

struct State {
    connected: bool,
    sending: Sending,
    /// True if there is always a message at once, none of them a reply.
    flood: bool,
}

enum Sending {
    Works,
    Fails,
    Hangs,
}

struct Hand {
    incoming: UnboundedSender<Incoming>,
    outgoing: UnboundedReceiver<NetworkMessage>,
    state: Arc<Mutex<State>>,
    others: UnboundedReceiver<NetworkMessage>,
}

#[async_trait]
impl NetworkManager for Puppet {
    async fn connect(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    async fn disconnect(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    async fn send_message(&mut self, message: NetworkMessage) -> Result<(), ClientError> {
        let sending = std::mem::replace(&mut self.state.lock().unwrap().sending, Sending::Works);
        match sending {
            Sending::Works => self.outgoing.send(message).unwrap(),
            Sending::Fails => return Err("no peer took it".into()),
            Sending::Hangs => std::future::pending().await,
        }
        Ok(())
    }

    async fn receive_message(&mut self) -> Result<Option<NetworkMessage>, ClientError> {
        if self.state.lock().unwrap().flood {
            return Ok(Some(NetworkMessage::Pong(1)));
        }
        self.incoming.recv().await.unwrap_or(Ok(None))
    }

    fn is_connected(&self) -> bool {
        self.state.lock().unwrap().connected
    }

    fn peer_count(&self) -> usize {
        3
    }

    async fn get_peer_best_height(&self) -> Result<Option<u32>, ClientError> {
        Ok(None)
    }
}

impl Hand {
    fn answer(&self, cycle: u64, tag: u64) {
        self.say(NetworkMessage::QRInfo(Box::new(reply(cycle, tag))));
    }

    fn say(&self, message: NetworkMessage) {
        self.incoming.send(Ok(Some(message))).unwrap();
    }

    fn set_connected(&self, connected: bool) {
        self.state.lock().unwrap().connected = connected;
    }

    fn set_sending(&self, sending: Sending) {
        self.state.lock().unwrap().sending = sending;
    }

    fn asked(&mut self) -> usize {
        std::iter::from_fn(|| self.outgoing.try_recv().ok()).count()
    }
}

fn puppet(depth: usize) -> (PeerService, BoxDriver<impl FnMut(NetworkMessage)>, Hand) {
    let ((incoming, received), (sent, outgoing)) = (unbounded_channel(), unbounded_channel());
    let state = Arc::new(Mutex::new(State { connected: true, sending: Sending::Works, flood: false }));
    let network: Box<dyn NetworkManager> =
        Box::new(Puppet { incoming: received, outgoing: sent, state: state.clone() });
    let (to_others, others) = unbounded_channel();
    let config = CorrelatorConfig { depth: NonZeroUsize::new(depth).unwrap(), ..CorrelatorConfig::default() };
    let (service, driver) = PeerService::broadcast(network, config, move |message| {
        let _ = to_others.send(message);
    });
    (service, driver, Hand { incoming, outgoing, state, others })
}

fn spawned(depth: usize) -> (PeerService, JoinHandle<Closed>, Hand) {
    let (service, driver, hand) = puppet(depth);
    (service, tokio::spawn(async move { driver.run().await.1 }), hand)
}

async fn ask(service: &mut PeerService, attempt: Attempt) -> ResponseFuture {
    service.ready().await.unwrap().call(attempt)
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn closed_of(error: &AttemptError) -> &Closed {
    error.source().unwrap().downcast_ref().unwrap()
}

#[tokio::test(start_paused = true)]
async fn replies_come_in_any_order_and_their_copies_are_dropped() {
    let (mut service, _driver, mut hand) = spawned(8);
    assert_eq!(service.peer(), PeerId::ALL);
    let mut asked = Vec::new();
    for id in 1..=4 {
        asked.push(ask(&mut service, attempt(id)).await);
    }
    settle().await;
    assert_eq!(hand.asked(), 4, "pipelined");
    for copy in 0..3 {
        for cycle in [3, 1, 4, 2] {
            hand.answer(cycle, cycle * 10 + copy);
        }
    }
    for (id, ended) in (1..).zip(join_all(asked).await) {
        let answer = ended.unwrap();
        assert_eq!((answer.reply, answer.timing.peer), (Reply::QrInfo(Box::new(reply(id, id * 10))), PeerId::ALL));
    }
    settle().await;
    assert!(hand.others.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_answers_nothing_goes_to_the_rest_of_the_client() {
    let (_service, _driver, mut hand) = spawned(8);
    let messages = [NetworkMessage::Pong(3), NetworkMessage::QRInfo(Box::new(reply(9, 9)))];
    messages.iter().cloned().for_each(|message| hand.say(message));
    for message in messages {
        assert_eq!(hand.others.recv().await, Some(message));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_keeps_its_slot_until_peers_have_dealt_with_it() {
    let (mut service, _driver, mut hand) = spawned(1);
    drop(ask(&mut service, attempt(1)).await);
    settle().await;
    assert_eq!(hand.asked(), 0, "dropped before it was sent");

    let future = ask(&mut service, attempt(1)).await;
    settle().await;
    drop(future);
    settle().await;
    let mut ready = task::spawn(service.ready());
    assert_pending!(ready.poll());
    hand.answer(1, 1);
    settle().await;
    assert!(ready.is_woken());
    assert_ready_ok!(ready.poll());
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_and_the_slot_comes_back_after_another() {
    let (mut service, _driver, _hand) = spawned(1);
    let start = Instant::now();
    let error = ask(&mut service, attempt(1)).await.await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (Kind::Timeout, Duration::from_secs(30)));
    service.ready().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn another_request_of_a_cycle_is_held_until_no_copy_is_to_come() {
    let (mut service, _driver, mut hand) = spawned(8);
    let first = ask(&mut service, Attempt::new(1, spec(1, 1).into())).await;
    let within = |seconds| Some((Instant::now() + Duration::from_secs(seconds)).into_std());
    let patient = Attempt { deadline: within(9), ..Attempt::new(2, spec(1, 2).into()) };
    let second = ask(&mut service, patient).await;
    let hasty = Attempt { deadline: within(3), ..Attempt::new(3, spec(1, 3).into()) };
    let hasty = ask(&mut service, hasty).await.await.unwrap_err();
    assert_eq!(hasty.source().unwrap().downcast_ref(), Some(&TimeoutCause::Deadline));
    assert_eq!(hand.asked(), 1);
    for tag in [10, 11, 12] {
        hand.answer(1, tag);
    }
    assert_eq!(first.await.unwrap().reply, Reply::QrInfo(Box::new(reply(1, 10))));
    settle().await;
    assert_eq!(hand.asked(), 1);
    hand.answer(1, 20);
    assert_eq!(second.await.unwrap().reply, Reply::QrInfo(Box::new(reply(1, 20))));
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_ends_every_request_at_once() {
    for noticed_by_itself in [false, true] {
        let (mut service, driver, hand) = spawned(8);
        // The second is held.
        let mut asked = Vec::new();
        for tag in 1..=2 {
            asked.push(ask(&mut service, Attempt::new(tag, spec(1, tag).into())).await);
        }
        settle().await;
        let start = Instant::now();
        hand.set_connected(false);
        if !noticed_by_itself {
            hand.incoming.send(Ok(None)).unwrap();
        }
        for ended in join_all(asked).await {
            let error = ended.unwrap_err();
            assert_eq!((error.kind(), error.peer()), (Kind::Disconnected, Some(PeerId::ALL)));
            assert!(matches!(closed_of(&error), Closed::ByPeer));
        }
        let limit = if noticed_by_itself { Duration::from_secs(1) } else { Duration::from_millis(1) };
        assert!(start.elapsed() <= limit, "{:?}", start.elapsed());
        assert!(matches!(driver.await.unwrap(), Closed::ByPeer));
        let error = service.ready().await.unwrap_err();
        assert!(matches!(closed_of(&error), Closed::ByPeer));
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_came_before_a_disconnect_count() {
    let (mut service, _driver, hand) = spawned(8);
    let asked = ask(&mut service, attempt(1)).await;
    settle().await;
    hand.set_connected(false);
    hand.answer(1, 1);
    hand.incoming.send(Ok(None)).unwrap();
    assert!(asked.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_network_that_fails_says_why() {
    let (mut service, driver, hand) = spawned(8);
    let asked = ask(&mut service, attempt(1)).await;
    settle().await;
    hand.incoming.send(Err("the cable is cut".into())).unwrap();
    let error = asked.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Disconnected);
    assert_eq!(error.source().unwrap().source().unwrap().to_string(), "the cable is cut");
    assert!(matches!(driver.await.unwrap(), Closed::Transport(_)));
}

#[tokio::test(start_paused = true)]
async fn a_network_that_takes_no_message_fails_the_request_or_ends() {
    let (mut service, driver, mut hand) = spawned(1);
    hand.set_sending(Sending::Fails);
    let error = ask(&mut service, attempt(1)).await.await.unwrap_err();
    assert_eq!((error.kind(), error.peer()), (Kind::NoPeer, Some(PeerId::ALL)));
    assert_eq!(closed_of(&error).source().unwrap().to_string(), "no peer took it");

    // It goes on, and the slot is free.
    let asked = ask(&mut service, attempt(1)).await;
    settle().await;
    assert_eq!(hand.asked(), 1);
    hand.answer(1, 1);
    assert!(asked.await.is_ok());

    let start = Instant::now();
    hand.set_sending(Sending::Hangs);
    assert_eq!(ask(&mut service, attempt(2)).await.await.unwrap_err().kind(), Kind::Disconnected);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert!(matches!(driver.await.unwrap(), Closed::Transport(_)));

    let (mut service, driver, hand) = spawned(1);
    hand.set_connected(false);
    hand.set_sending(Sending::Fails);
    assert_eq!(ask(&mut service, attempt(1)).await.await.unwrap_err().kind(), Kind::Disconnected);
    assert!(matches!(driver.await.unwrap(), Closed::Transport(_)));
}

#[tokio::test(start_paused = true)]
async fn without_services_the_driver_delivers_what_is_awaited_and_gives_the_network_back() {
    let (mut service, driver, hand) = puppet(8);
    let driver = tokio::spawn(driver.run());
    let asked = ask(&mut service, attempt(1)).await;
    drop(service);
    settle().await;
    assert!(!driver.is_finished());
    hand.answer(1, 1);
    assert!(asked.await.is_ok());
    let (network, closed) = timeout(Duration::from_secs(1), driver).await.unwrap().unwrap();
    assert!(matches!(closed, Closed::Unused));
    assert!(network.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_ends_everything() {
    let (mut service, driver, _hand) = spawned(1);
    let asked = ask(&mut service, attempt(1)).await;
    settle().await;
    let mut waits = service.clone();
    let mut ready = task::spawn(waits.ready());
    assert_pending!(ready.poll());
    driver.abort();
    let error = asked.await.unwrap_err();
    assert!(matches!(closed_of(&error), Closed::DriverDropped));
    assert_eq!(ready.await.unwrap_err().kind(), Kind::Disconnected);
    assert_eq!(service.ready().await.unwrap_err().kind(), Kind::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_is_noticed_while_nobody_waits() {
    let (_service, driver, hand) = spawned(1);
    settle().await;
    hand.set_connected(false);
    assert!(matches!(timeout(Duration::from_secs(1), driver).await.unwrap().unwrap(), Closed::ByPeer));
}

/// dash-spv's network returns none after 100 ms; others at once.
#[tokio::test(start_paused = true)]
async fn none_while_connected_means_none_for_now() {
    let (mut service, _driver, hand) = spawned(1);
    let asked = ask(&mut service, attempt(1)).await;
    for _ in 0..1_000 {
        hand.incoming.send(Ok(None)).unwrap();
    }
    hand.answer(1, 1);
    let start = Instant::now();
    assert!(asked.await.is_ok());
    assert!(start.elapsed() > Duration::from_secs(9), "it rests in between");
}

#[tokio::test(start_paused = true)]
async fn a_flood_starves_neither_others_nor_the_time() {
    let (mut service, driver, mut hand) = spawned(1);
    let asked = ask(&mut service, attempt(1)).await;
    settle().await;
    hand.state.lock().unwrap().flood = true;
    for _ in 0..10_000 {
        hand.others.recv().await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(asked.await.unwrap_err().kind(), Kind::Timeout);
    drop(service);
    assert!(matches!(driver.await.unwrap(), Closed::Unused));
}
