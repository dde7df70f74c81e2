//! Peers as services, and a running `SchedulerService` whose peers are sent by hand. For paused time.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, BlockHash, PeerEvent, PeerId, SendId, Timing,
};
use qrinfo_scheduler::{Peer, SchedulerHandle, SchedulerService, Settings};
use spv_testkit::LinkModel;
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tower::{Service, ServiceExt, discover::Change};

use super::{Cost, HEIGHT, block, peer_id, reply};

pub const REPLY_BYTES: u64 = 100_000;
pub const ROUND_TRIP: Duration = Duration::from_millis(50);

/// The sendings to all peers of a test, and their times.
#[derive(Clone)]
pub struct Asked {
    pub start: Instant,
    log: Arc<Mutex<Vec<(Duration, PeerId, BlockHash)>>>,
}

/// The behaviour of a peer.
#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    Answers,
    Refuses,
    /// It refuses half of all jobs. Of five such peers two or three answer each job.
    RefusesHalf,
    /// It times out at our side after a second; it reports that it has dealt with the request seven seconds later.
    TimesOut,
    /// It announces this number of bytes and sends 16 KiB every two seconds.
    Drips(u64),
    /// Its reply is false.
    Lies,
    PanicsInReady,
    PanicsInCall,
    PanicsInFuture,
}

/// A peer by the link model: 20 ms to compute, 100 ms on the link, round trip 50 ms.
pub struct TestPeer {
    index: usize,
    asked: Asked,
    manner: Manner,
    link: LinkModel,
    pub events: Option<mpsc::UnboundedSender<PeerEvent>>,
}

pub type Changes<S> = mpsc::UnboundedSender<Result<Change<PeerId, Peer<S>>, AttemptError>>;

// === impl Asked ===

impl Asked {
    pub fn new() -> Self {
        Self { start: Instant::now(), log: Arc::default() }
    }

    pub fn times(&self) -> Vec<u64> {
        self.entries().iter().map(|(at, ..)| at.as_millis() as u64).collect()
    }

    pub fn blocks(&self) -> Vec<BlockHash> {
        self.entries().iter().map(|(.., block)| *block).collect()
    }

    /// The number of sendings to a peer.
    pub fn count(&self, peer: usize) -> usize {
        self.entries().iter().filter(|(_, id, _)| *id == peer_id(peer)).count()
    }

    /// The jobs that a peer was asked for.
    pub fn jobs_at(&self, peer: usize) -> impl Iterator<Item = usize> {
        let asked = self.entries().into_iter().filter(move |(_, id, _)| *id == peer_id(peer));
        asked.map(|(.., block)| usize::from(block.as_bytes()[0]))
    }

    fn entries(&self) -> Vec<(Duration, PeerId, BlockHash)> {
        self.log.lock().expect("no test panics with it").clone()
    }

    fn add(&self, peer: PeerId, block: BlockHash) {
        self.log.lock().expect("no test panics with it").push((self.start.elapsed(), peer, block));
    }
}

// === impl TestPeer ===

impl TestPeer {
    pub fn new(index: usize, asked: &Asked, manner: Manner) -> Self {
        let link = LinkModel::new(ROUND_TRIP);
        Self { index, asked: asked.clone(), manner, link, events: None }
    }

    fn refuses(&self, block: &BlockHash) -> bool {
        match self.manner {
            Manner::Refuses => true,
            Manner::RefusesHalf => refuses_half(self.index, usize::from(block.as_bytes()[0])),
            _ => false,
        }
    }
}

impl Service<Attempt> for TestPeer {
    type Response = Answer;
    type Error = AttemptError;
    type Future = BoxFuture<'static, AttemptResult>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        assert!(self.manner != Manner::PanicsInReady || self.asked.count(self.index) == 0, "a panic in poll_ready");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        assert!(self.manner != Manner::PanicsInCall, "a panic in call");
        let block = block(&attempt.request);
        self.asked.add(peer_id(self.index), block);
        let (sent, refused) = (Instant::now(), self.refuses(&block));
        let transfer = Duration::from_millis(100);
        let cost = Cost { compute: Duration::from_millis(20), transfer, bytes: REPLY_BYTES, refused };
        let transit = cost.serve(&mut self.link, sent.into_std());
        let (id, send, events) = (peer_id(self.index), attempt.send, self.events.clone());
        let fails = |kind| Err(AttemptError::new(kind));
        match self.manner {
            Manner::TimesOut => async move {
                time::sleep(Duration::from_secs(1)).await;
                tokio::spawn(ends_late(send.expect("sent by a scheduler"), sent + Duration::from_secs(8), events));
                fails(AttemptErrorKind::Timeout)
            }
            .boxed(),
            Manner::Drips(length) => drip(send.expect("sent by a scheduler"), length, events).boxed(),
            Manner::PanicsInFuture => async move {
                time::sleep(Duration::from_millis(10)).await;
                panic!("a panic in a future")
            }
            .boxed(),
            manner => async move {
                time::sleep_until(Instant::from_std(transit.last_byte)).await;
                if refused {
                    return fails(AttemptErrorKind::Refused);
                }
                if manner == Manner::Lies {
                    return fails(AttemptErrorKind::False);
                }
                let timing = Timing {
                    peer: id,
                    sent: sent.into_std(),
                    head: None,
                    first_byte: Some(transit.first_byte),
                    done: transit.last_byte,
                    bytes: REPLY_BYTES,
                };
                Ok(Answer { reply: reply(block), timing })
            }
            .boxed(),
        }
    }
}

/// Returns true if `peer`, one of five that refuse half of all jobs, refuses this one.
pub fn refuses_half(peer: usize, job: usize) -> bool {
    (job + peer) % 5 >= 2 + job % 2
}

async fn ends_late(send: SendId, at: Instant, events: Option<mpsc::UnboundedSender<PeerEvent>>) {
    time::sleep_until(at).await;
    let outcome = Err(AttemptErrorKind::Refused);
    if let Some(events) = events {
        let _ = events.send(PeerEvent::Ended { send, outcome, at: at.into_std() });
    }
}

async fn drip(send: SendId, length: u64, events: Option<mpsc::UnboundedSender<PeerEvent>>) -> AttemptResult {
    for received in (0..length).step_by(16 << 10) {
        let at = Instant::now().into_std();
        if let Some(events) = &events {
            let _ = events.send(PeerEvent::Progress { send, received, length: Some(length), at });
        }
        time::sleep(Duration::from_secs(2)).await;
    }
    Err(AttemptError::new(AttemptErrorKind::Malformed))
}

/// A scheduler whose peers are sent by hand.
pub fn scheduler<S>(settings: Settings) -> (SchedulerService, SchedulerHandle, Changes<S>)
where
    S: Service<Attempt, Response = Answer, Error: Into<tower::BoxError>> + Send + 'static,
    S::Future: Send,
{
    let (changes, received) = mpsc::unbounded_channel();
    let peers = stream::unfold(received, async |mut received: mpsc::UnboundedReceiver<_>| {
        let change = received.recv().await?;
        Some((change, received))
    });
    let (service, driver) = SchedulerService::new(peers.boxed(), settings);
    let handle = service.handle();
    tokio::spawn(driver);
    (service, handle, changes)
}

pub fn join<S>(changes: &Changes<S>, index: usize, service: S) {
    let peer = Peer::new(service, HEIGHT, ROUND_TRIP);
    assert!(changes.send(Ok(Change::Insert(peer_id(index), peer))).is_ok());
}

pub fn join_test_peer(changes: &Changes<TestPeer>, index: usize, asked: &Asked, manner: Manner) {
    join(changes, index, TestPeer::new(index, asked, manner));
}

/// A peer that reports its progress and its ends.
pub fn join_reporting_peer(changes: &Changes<TestPeer>, index: usize, asked: &Asked, manner: Manner) {
    let (sender, events) = mpsc::unbounded_channel();
    let service = TestPeer { events: Some(sender), ..TestPeer::new(index, asked, manner) };
    let peer = Peer::new(service, HEIGHT, ROUND_TRIP).with_events(events);
    assert!(changes.send(Ok(Change::Insert(peer_id(index), peer))).is_ok());
}

pub fn ask(service: &SchedulerService, attempt: Attempt) -> impl Future<Output = AttemptResult> + use<> {
    service.clone().oneshot(attempt)
}

/// Asks as a retry layer does: again at once at a peer that has not failed the request, until no peer is left.
pub async fn ask_until_answered(service: SchedulerService, mut attempt: Attempt) -> AttemptResult {
    loop {
        match ask(&service, attempt.clone()).await {
            // An error without a peer is the scheduler's own.
            Err(error) if error.peer().is_some() => attempt.avoid.extend(error.peer()),
            end => return end,
        }
    }
}
