//! Peers that join, leave, come back, lie and fall silent while a sync runs, in virtual time: every sync ends, and asks
//! no peer that it must not ask.
#![cfg(all(feature = "parallel-qrinfo", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    future::Future,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, Stream, StreamExt, stream};
use qrinfo::{
    Delivered, OrderedSync, ParallelOptions, ParallelSync, Peer, SequentialOptions, SequentialSync, SyncEvent,
    SyncOutcome, SyncReport,
};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, BlockHash, PeerEvent, PeerId, QRInfoRequestSpec,
    Reply, Request, Timing, WhyGivenUp,
    message::{NetworkMessage, PROTOCOL_VERSION},
    wire::frame::{Frame, FrameEvent},
};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use spv_testkit::{Chain, builder};
use support::{assert_true, chain, plan};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, advance, sleep, timeout},
};
use tower::{Service, discover::Change};

use AttemptErrorKind::{Cancelled, Disconnected, False, Local, Overloaded, Refused, Timeout};

/// The behaviour of a peer for a request for a block, the n-th on this connection: the delay, and the failure if any.
type Behaviour = Arc<dyn Fn(BlockHash, usize) -> (Duration, Option<AttemptErrorKind>) + Send + Sync>;

/// The requests made: peer, connection and block.
type Log = Arc<Mutex<Vec<(PeerId, u32, BlockHash)>>>;

/// One connection of a peer.
#[derive(Clone)]
struct Scripted {
    id: PeerId,
    connection: u32,
    chain: Chain,
    behaviour: Behaviour,
    /// From then on its `poll_ready` fails.
    breaks: Option<(Instant, AttemptErrorKind)>,
    log: Log,
}

impl Service<Attempt> for Scripted {
    type Response = Answer;
    type Error = AttemptError;
    type Future = Pin<Box<dyn Future<Output = AttemptResult> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(match self.breaks {
            Some((at, kind)) if Instant::now() >= at => Err(AttemptError::new(kind).at(self.id)),
            _ => Ok(()),
        })
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let Request::QrInfo(spec) = &attempt.request else { panic!("{}", attempt.request) };
        let number = {
            let mut log = self.log.lock().unwrap();
            let own = log.iter().filter(|(id, connection, _)| (*id, *connection) == (self.id, self.connection)).count();
            log.push((self.id, self.connection, spec.block_hash));
            own
        };
        let (delay, failure) = (self.behaviour)(spec.block_hash, number);
        let (id, chain, message) = (self.id, self.chain.clone(), attempt.request.to_message());
        Box::pin(async move {
            let sent = Instant::now().into_std();
            sleep(delay).await;
            let done = Instant::now().into_std();
            let timing = Timing { peer: id, sent, head: None, first_byte: None, done, bytes: 5_000 };
            match failure {
                Some(kind) => Err(AttemptError::new(kind).at(id).timed(timing)),
                None => {
                    let reply = builder::answer(&chain, &message, PROTOCOL_VERSION).unwrap().unwrap();
                    Ok(Answer { reply, timing })
                }
            }
        })
    }
}

struct World {
    chain: Chain,
    plan: Vec<QRInfoRequestSpec>,
    log: Log,
}

impl World {
    fn new(requests: usize) -> Self {
        let chain = chain();
        let mut plan = plan(&chain, None);
        plan.truncate(requests);
        Self { chain, plan, log: Log::default() }
    }

    fn peer(
        &self,
        number: u8,
        connection: u32,
        behaviour: impl Fn(BlockHash, usize) -> (Duration, Option<AttemptErrorKind>) + Send + Sync + 'static,
    ) -> Peer<Scripted> {
        let service = Scripted {
            id: id(number),
            connection,
            chain: self.chain.clone(),
            behaviour: Arc::new(behaviour),
            breaks: None,
            log: self.log.clone(),
        };
        Peer::new(id(number), service, self.chain.tip())
    }

    fn asked(&self, number: u8, connection: u32) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(peer, at, _)| (*peer, *at) == (id(number), connection)).count()
    }

    fn asked_for(&self, number: u8, block: BlockHash) -> usize {
        self.log.lock().unwrap().iter().filter(|(peer, _, asked)| (*peer, *asked) == (id(number), block)).count()
    }

    /// A sync, and where its peers come from.
    fn sync(&self) -> (ParallelSync, mpsc::UnboundedSender<Change<PeerId, Peer<Scripted>>>) {
        let (changes, coming) = mpsc::unbounded_channel();
        let coming = stream::unfold(coming, |mut coming: mpsc::UnboundedReceiver<_>| async {
            Some((coming.recv().await?, coming))
        });
        let options = ParallelOptions { window_bytes: 80 << 20, ..ParallelOptions::default() };
        (ParallelSync::with_changing_peers(self.plan.clone(), Box::pin(coming), options), changes)
    }

    fn assert_complete(&self, delivered: &[Delivered], report: &SyncReport) {
        assert!(report.outcome.is_complete(), "{}", report.outcome);
        let order: Vec<_> = delivered.iter().map(|delivered| delivered.index).collect();
        assert_eq!(order, (0..self.plan.len()).collect::<Vec<_>>());
        assert_true(&self.chain, &self.plan, delivered);
    }
}

fn id(number: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, number], 19899).into())
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a sync to its end, which comes within a day.
async fn run(mut sync: ParallelSync) -> (Vec<Delivered>, SyncReport) {
    let mut delivered = Vec::new();
    let all = async {
        while let Some(next) = sync.next().await {
            delivered.push(next);
        }
    };
    timeout(Duration::from_secs(24 * 60 * 60), all).await.expect("the sync hangs");
    (delivered, sync.into_report())
}

/// The scheduler asks it no more, and a new connection changes nothing about that.
#[tokio::test(start_paused = true)]
async fn a_peer_with_too_many_refusals_that_comes_back_does_not_hang_the_sync() {
    let world = World::new(64);
    let (sync, changes) = world.sync();
    let refuses = |connection| world.peer(1, connection, |_, _| (ms(10), Some(Refused)));
    changes.send(Change::Insert(id(1), refuses(0))).unwrap();
    let again = refuses(1);
    tokio::spawn(async move {
        sleep(Duration::from_secs(200)).await;
        changes.send(Change::Remove(id(1))).unwrap();
        changes.send(Change::Insert(id(1), again)).unwrap();
        changes.closed().await;
    });
    let (_, report) = run(sync).await;
    assert_eq!(report.outcome.missing().len(), world.plan.len());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_does_not_hang_the_sync() {
    for kind in [Disconnected, Local, Overloaded, Cancelled] {
        let world = World::new(20);
        let (sync, changes) = world.sync();
        let mut peer = world.peer(1, 0, |_, _| (ms(1_000), None));
        peer.service.breaks = Some((Instant::now() + ms(1_500), kind));
        changes.send(Change::Insert(id(1), peer)).unwrap();
        let keep = tokio::spawn(async move { changes.closed().await });
        let (_, report) = run(sync).await;
        assert!(
            matches!(report.outcome, SyncOutcome::Failed { why: WhyGivenUp::AllPeersGone, .. }),
            "{kind:?}: {}",
            report.outcome
        );
        keep.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_old_connection_is_not_that_of_the_new_one() {
    let world = World::new(64);
    let (sync, changes) = world.sync();
    // A dead link, which is found dead only after a minute.
    let old = |_, number| if number < 5 { (ms(100), None) } else { (ms(60_000), Some(Disconnected)) };
    changes.send(Change::Insert(id(1), world.peer(1, 0, old))).unwrap();
    let new = world.peer(1, 1, |_, _| (ms(20_000), None));
    tokio::spawn(async move {
        sleep(Duration::from_secs(20)).await;
        changes.send(Change::Remove(id(1))).unwrap();
        changes.send(Change::Insert(id(1), new)).unwrap();
        changes.closed().await;
    });
    let (delivered, report) = run(sync).await;
    world.assert_complete(&delivered, &report);
}

#[tokio::test(start_paused = true)]
async fn a_banned_peer_that_comes_back_is_not_asked() {
    let world = World::new(30);
    let (mut sync, changes) = world.sync();
    changes.send(Change::Insert(id(1), world.peer(1, 0, |_, _| (ms(100), None)))).unwrap();
    changes.send(Change::Insert(id(2), world.peer(2, 0, |_, _| (ms(300), None)))).unwrap();
    let mut delivered = Vec::new();
    let mut is_banned = false;
    while let Some(next) = sync.next().await {
        if !is_banned && next.index >= 3 && next.timing.peer == id(1) {
            is_banned = true;
            sync.reject_last("a false list");
            changes.send(Change::Remove(id(1))).unwrap();
            changes.send(Change::Insert(id(1), world.peer(1, 1, |_, _| (ms(100), None)))).unwrap();
            continue;
        }
        delivered.push(next);
    }
    world.assert_complete(&delivered, &sync.into_report());
    assert!(is_banned);
    assert_eq!(world.asked(1, 1), 0);
}

/// The liar's request was asked elsewhere as well, because it took its time; the lie is told all the same.
#[tokio::test(start_paused = true)]
async fn a_false_copy_is_held_against_its_peer_though_another_copy_is_true() {
    let world = World::new(40);
    let liar = |_, number| if number < 5 { (ms(50), None) } else { (ms(4_000), Some(False)) };
    let peers = vec![
        world.peer(1, 0, liar),
        world.peer(2, 0, |_, _| (ms(100), None)),
        world.peer(3, 0, |_, _| (ms(4_500), None)),
    ];
    let options = ParallelOptions { max_concurrent: NonZeroUsize::new(6).unwrap(), ..ParallelOptions::default() };
    let mut sync = ParallelSync::new(world.plan.clone(), peers, options);
    let mut events = sync.events();
    let mut delivered = Vec::new();
    while let Some(next) = sync.next().await {
        delivered.push(next);
        sleep(ms(300)).await;
    }
    world.assert_complete(&delivered, &sync.into_report());
    let mut banned = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let SyncEvent::Peer(PeerEvent::Banned { peer, .. }) = event {
            banned.push(peer);
        }
    }
    assert_eq!(banned, [id(1)]);
}

#[tokio::test(start_paused = true)]
async fn as_many_liars_as_there_are_do_not_end_a_request() {
    let world = World::new(1);
    let mut peers: Vec<_> = (1..=7).map(|number| world.peer(number, 0, |_, _| (ms(10), Some(False)))).collect();
    peers.push(world.peer(9, 0, |_, _| (ms(9_000), None)));
    let one = NonZeroUsize::MIN;
    let options = ParallelOptions { max_concurrent: one, ..ParallelOptions::default() };
    let (delivered, report) = run(ParallelSync::new(world.plan.clone(), peers, options)).await;
    world.assert_complete(&delivered, &report);
}

/// A peer that refused a request is not asked for it again when another peer's reply turns out to be false.
#[tokio::test(start_paused = true)]
async fn a_refusal_outlasts_a_rejection() {
    let world = World::new(4);
    let hard = world.plan[0].block_hash;
    let mut peers = vec![world.peer(1, 0, move |block, _| (ms(10), (block == hard).then_some(Refused)))];
    peers.extend((2..=5).map(|number| world.peer(number, 0, |_, _| (ms(2_000), None))));
    let mut sync = ParallelSync::new(world.plan.clone(), peers, ParallelOptions::default());
    let (mut delivered, mut rejections) = (Vec::new(), 0);
    while let Some(next) = sync.next().await {
        if next.index == 0 && rejections < 3 {
            rejections += 1;
            sync.reject_last("a false list");
            continue;
        }
        delivered.push(next);
    }
    world.assert_complete(&delivered, &sync.into_report());
    assert_eq!((rejections, world.asked_for(1, hard)), (3, 1));
}

/// The requests that it holds are sent to other peers at once.
#[tokio::test(start_paused = true)]
async fn a_liar_that_falls_silent_holds_nothing_up() {
    let world = World::new(20);
    let liar = world.peer(1, 0, |_, number| if number < 1 { (ms(50), None) } else { (ms(30_000), Some(Timeout)) });
    let honest = world.peer(2, 0, |_, _| (ms(200), None));
    let mut sync = ParallelSync::new(world.plan.clone(), vec![liar, honest], ParallelOptions::default());
    let started = Instant::now();
    let mut delivered = Vec::new();
    let mut is_blamed = false;
    while let Some(next) = sync.next().await {
        if !is_blamed && next.timing.peer == id(1) {
            is_blamed = true;
            sync.reject_last("a false list");
            continue;
        }
        delivered.push(next);
    }
    assert!(is_blamed);
    world.assert_complete(&delivered, &sync.into_report());
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

/// One at a time, a peer is not asked again for what it refused while another one fails otherwise.
#[tokio::test(start_paused = true)]
async fn in_sequence_a_refusal_is_final() {
    let world = World::new(3);
    let hard = world.plan[1].block_hash;
    let fails = |kind| move |block, _| (ms(10), (block == hard).then_some(kind));
    let peers = vec![world.peer(1, 0, fails(Refused)), world.peer(2, 0, fails(Overloaded))];
    let mut sync = SequentialSync::new(world.plan.clone(), peers, SequentialOptions::default());
    while sync.next().await.is_some() {}
    // An overload is waited for three times.
    assert_eq!((world.asked_for(1, hard), world.asked_for(2, hard)), (1, 4));
    assert_eq!(sync.into_report().outcome.missing().len(), 1);
}

/// A transport whose other end the test holds.
struct Pipe {
    inbound: mpsc::UnboundedReceiver<FrameEvent>,
    outbound: mpsc::UnboundedSender<Frame>,
}

impl Stream for Pipe {
    type Item = Result<FrameEvent, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inbound.poll_recv(cx).map(|event| event.map(Ok))
    }
}

impl Sink<Frame> for Pipe {
    type Error = std::io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        let _ = self.outbound.send(frame);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

/// After the machine wakes up, a request has timed out and its reply has arrived: both are found at once.
#[tokio::test(start_paused = true)]
async fn a_suspended_machine_does_not_hang_the_sync() {
    let world = World::new(4);
    let (to_us, inbound) = mpsc::unbounded_channel();
    let (outbound, mut sent) = mpsc::unbounded_channel();
    let (reporter, events) = mpsc::unbounded_channel();
    let pipe = Pipe { inbound, outbound };
    let (service, driver) =
        PeerService::new(id(1), pipe, CorrelatorConfig::default(), move |event| drop(reporter.send(event)));
    tokio::spawn(driver);
    let peer = Peer::new(id(1), service, world.chain.tip()).with_events(events);
    let peers = stream::iter([Change::Insert(id(1), peer)]).chain(stream::pending());
    let options = ParallelOptions { max_concurrent: NonZeroUsize::MIN, ..ParallelOptions::default() };
    let sync = ParallelSync::with_changing_peers(world.plan.clone(), peers, options);

    let chain = world.chain.clone();
    let answer = move |frame: Frame| match NetworkMessage::from_frame(frame).unwrap() {
        NetworkMessage::Ping(nonce) => NetworkMessage::Pong(nonce).to_frame(),
        message => match builder::answer(&chain, &message, PROTOCOL_VERSION).unwrap().unwrap() {
            Reply::QrInfo(reply) => NetworkMessage::QRInfo(reply).to_frame(),
            Reply::MnListDiff(diff) => NetworkMessage::MnListDiff(diff).to_frame(),
        },
    };
    let (wake_up, woken) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let first = [sent.recv().await.unwrap(), sent.recv().await.unwrap()];
        woken.await.unwrap();
        // Something of the node's own accord comes before the reply.
        let mut frames = vec![NetworkMessage::Pong(0xdead).to_frame()];
        frames.extend(first.map(&answer));
        for frame in frames {
            to_us.send(FrameEvent::Frame(frame)).unwrap();
        }
        while let Some(frame) = sent.recv().await {
            sleep(ms(20)).await;
            if to_us.send(FrameEvent::Frame(answer(frame))).is_err() {
                break;
            }
        }
    });
    let suspended = async {
        sleep(ms(100)).await;
        wake_up.send(()).unwrap();
        advance(Duration::from_secs(60)).await;
    };
    let ((delivered, report), ()) = tokio::join!(run(sync), suspended);
    world.assert_complete(&delivered, &report);
}
