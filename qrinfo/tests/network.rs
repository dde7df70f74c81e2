//! Syncs over a client's own network stack, in virtual time.
#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{future::Future, time::Duration};

use qrinfo::{OrderedSync, Peer, network, plan::anchor};
use qrinfo_core::{
    Attempt, AttemptErrorKind as Kind, BlockHash, PeerId, QRInfoRequestSpec,
    client::{NamedNetworkManager, NetworkManager},
    message::NetworkMessage,
};
use qrinfo_correlate::{Closed, CorrelatorConfig, PeerService};
use spv_testkit::{Chain, Fault, MockNetworkManager, ServerVersion, SimulatedPeer, SimulatedPeerBuilder};
use support::{assert_true, chain, profile, sequential};
use tokio::time::Instant;
use tower::ServiceExt;

fn node(chain: &Chain) -> SimulatedPeerBuilder {
    SimulatedPeer::builder(chain.clone()).profile(profile(100, 50))
}

fn id(host: usize) -> PeerId {
    PeerId::Address(([203, 0, 113, host as u8], 19899).into())
}

/// A connected network of these nodes, the first one being `id(0)`.
async fn manager(nodes: impl IntoIterator<Item = SimulatedPeerBuilder>) -> MockNetworkManager {
    let mut manager = MockNetworkManager::new();
    for (host, node) in SimulatedPeer::network(nodes).into_iter().enumerate() {
        manager.add_peer(id(host), node);
    }
    manager.connect().await.unwrap();
    manager
}

fn plan(chain: &Chain) -> Vec<QRInfoRequestSpec> {
    support::plan(chain, anchor([chain.tip()]))
}

/// Runs a sync over a lent network that does not name its peers.
async fn broadcast<T, F: Future<Output = T>>(
    manager: &mut MockNetworkManager,
    sync: impl FnOnce(Peer<PeerService>) -> F,
) -> (T, Closed) {
    let network: &mut dyn NetworkManager = manager;
    let (peer, driver) = network::broadcast(network, CorrelatorConfig::default(), |_| {}).await.unwrap();
    let (done, (_, closed)) = tokio::join!(sync(peer), driver.run());
    (done, closed)
}

/// Runs a sync over a lent network that names its peers.
async fn by_name<T, F: Future<Output = T>>(
    manager: &mut MockNetworkManager,
    sync: impl FnOnce(Vec<Peer<PeerService>>) -> F,
) -> (T, Closed) {
    let network: &mut dyn NamedNetworkManager = manager;
    let (peers, driver) = network::by_name(network, CorrelatorConfig::default(), |_, _| {});
    let (done, (_, closed)) = tokio::join!(sync(peers), driver.run());
    (done, closed)
}

fn requests(manager: &MockNetworkManager) -> usize {
    manager.sent().iter().filter(|sent| matches!(sent.message, NetworkMessage::GetQRInfo(_))).count()
}

#[tokio::test(start_paused = true)]
async fn a_nameless_network_is_one_peer() {
    let chain = chain();
    let plan = plan(&chain);
    let mut manager = manager([node(&chain), node(&chain), node(&chain)]).await;
    let ((delivered, report, took), closed) = broadcast(&mut manager, async |peer| {
        assert_eq!((peer.id, peer.start_height), (PeerId::ALL, chain.tip()));
        sequential(&plan, vec![peer]).await
    })
    .await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_eq!(delivered.len(), plan.len());
    assert_true(&chain, &plan, &delivered);
    assert!(matches!(closed, Closed::Unused), "{closed:?}");
    // No pings: they would reach every peer. One request at a time, with no pause between two.
    assert_eq!((requests(&manager), manager.sent().len()), (plan.len(), plan.len()));
    assert!(took < Duration::from_millis(200) * plan.len() as u32, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_honest_node_among_unnamed_ones_is_enough() {
    let chain = chain();
    let plan = plan(&chain);
    let nodes = [
        node(&chain).fault(3.., Fault::Silent),
        node(&chain).fault(5.., Fault::Close),
        node(&chain).fault(.., Fault::Refuse),
        node(&chain).fault(.., Fault::Late { by: Duration::from_secs(1) }),
        node(&chain).fault(.., Fault::Duplicate),
        // The reply of an old version is longer: it would come when the next request, which it answers, is in flight.
        node(&chain).server(ServerVersion::V23_0).fault(.., Fault::WrongReply),
        node(&chain).fault(2.., Fault::Garbage { seed: 7 }),
    ];
    let mut manager = manager(nodes).await;
    // As dash-spv's does.
    manager.set_patience(Duration::from_millis(100));
    let ((delivered, report, took), _) =
        broadcast(&mut manager, async |peer| sequential(&plan, vec![peer]).await).await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&chain, &plan, &delivered);
    assert!(took < Duration::from_millis(200) * plan.len() as u32, "{took:?}");
    assert_eq!(manager.peer_count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_sync_ends_at_once_when_no_unnamed_peer_is_left() {
    let chain = chain();
    let plan = plan(&chain);
    let mut manager = manager([node(&chain).fault(5.., Fault::Close), node(&chain).fault(9.., Fault::Close)]).await;
    let ((delivered, report, took), closed) =
        broadcast(&mut manager, async |peer| sequential(&plan, vec![peer]).await).await;
    assert_true(&chain, &plan, &delivered);
    assert_eq!((delivered.len(), report.outcome.missing().len()), (9, plan.len() - 9));
    assert!(!report.outcome.is_complete() && matches!(closed, Closed::ByPeer));
    assert_eq!(report.lost[0].why, Kind::Disconnected);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// Silence of all is a timeout, and the sync goes on when it is over.
#[tokio::test(start_paused = true)]
async fn a_request_that_every_unnamed_peer_refuses_costs_a_timeout() {
    let chain = chain();
    let mut plan = plan(&chain);
    plan.truncate(4);
    plan[1].block_hash = BlockHash::from_bytes([9; 32]);
    let mut manager = manager([node(&chain), node(&chain)]).await;
    let ((errors, took), _) = broadcast(&mut manager, async |peer| {
        let started = Instant::now();
        let asked = plan.iter().map(|spec| peer.service.clone().oneshot(Attempt::new(0, spec.clone().into())));
        let ended = futures_util::future::join_all(asked).await;
        (ended.into_iter().map(|ended| ended.err().map(|error| error.kind())).collect::<Vec<_>>(), started.elapsed())
    })
    .await;
    assert_eq!(errors, [None, Some(Kind::Timeout), None, None]);
    assert!(took < Duration::from_secs(31), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn named_peers_are_asked_one_by_one() {
    let chain = chain();
    let plan = plan(&chain);
    let nodes = [
        node(&chain).fault(3.., Fault::Silent),
        node(&chain).fault(2.., Fault::Close),
        node(&chain).fault(.., Fault::Refuse),
        node(&chain).lie(2.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::ZERO),
        node(&chain),
    ];
    let mut manager = manager(nodes).await;
    let ((delivered, report, took), closed) = by_name(&mut manager, async |peers| {
        assert_eq!(peers.iter().map(|peer| peer.id).collect::<Vec<_>>(), (0..5).map(id).collect::<Vec<_>>());
        assert!(peers.iter().all(|peer| peer.start_height == chain.tip()));
        sequential(&plan, peers).await
    })
    .await;
    assert!(report.outcome.is_complete(), "{}", report.outcome);
    assert_true(&chain, &plan, &delivered);
    assert!(delivered.iter().any(|delivered| delivered.timing.peer == id(4)));
    let lost: Vec<_> = report.lost.iter().map(|lost| (lost.peer, lost.why)).collect();
    assert_eq!(lost, [(id(1), Kind::Disconnected), (id(3), Kind::False)]);
    // One timeout at the silent one.
    assert!(took < Duration::from_secs(45), "{took:?}");
    // The liar was sent away; the others are still there.
    assert_eq!(manager.peers(), [id(0), id(2), id(4)]);
    assert!(matches!(closed, Closed::Unused), "{closed:?}");
    // A fence behind every request, to the same peer.
    let pings = manager.sent().iter().filter(|sent| matches!(sent.message, NetworkMessage::Ping(_))).count();
    assert_eq!(pings, requests(&manager));
    assert!(manager.sent().iter().all(|sent| sent.to.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_named_peer_that_refuses_says_so_after_a_round_trip() {
    let chain = chain();
    let plan = plan(&chain);
    let mut manager = manager([node(&chain).fault(.., Fault::Refuse)]).await;
    let ((kind, took), _) = by_name(&mut manager, async |mut peers| {
        let started = Instant::now();
        let attempt = Attempt::new(0, plan[0].clone().into());
        let error = peers.remove(0).service.oneshot(attempt).await.unwrap_err();
        (error.kind(), started.elapsed())
    })
    .await;
    assert_eq!(kind, Kind::Refused);
    assert!(took < Duration::from_millis(200), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_named_peer_that_leaves_ends_its_requests_at_once() {
    let chain = chain();
    let plan = plan(&chain);
    let mut manager = manager([node(&chain).fault(1.., Fault::Close), node(&chain)]).await;
    let (took, _) = by_name(&mut manager, async |peers| {
        let started = Instant::now();
        let asked = plan[..6].iter().map(|spec| peers[0].service.clone().oneshot(Attempt::new(0, spec.clone().into())));
        let ended = futures_util::future::join_all(asked).await;
        let kinds: Vec<_> = ended.into_iter().map(|ended| ended.err().map(|error| error.kind())).collect();
        assert_eq!(kinds[0], None);
        assert!(kinds[1..].iter().all(|kind| *kind == Some(Kind::Disconnected)), "{kinds:?}");
        // The other one is not touched by it.
        assert!(peers[1].service.clone().oneshot(Attempt::new(0, plan[0].clone().into())).await.is_ok());
        started.elapsed()
    })
    .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_else_arrives_goes_to_the_rest_of_the_client() {
    let chain = chain();
    let plan = plan(&chain);
    let mut manager = manager([node(&chain), node(&chain)]).await;
    let mut others = Vec::new();
    let (peers, driver) = network::by_name(&mut manager, CorrelatorConfig::default(), |peer, message| match message {
        NetworkMessage::Other(frame) => others.push((peer, frame.command.to_string())),
        other => panic!("{other:?}"),
    });
    let ((_, report, _), _) = tokio::join!(sequential(&plan[..3], peers), driver.run());
    assert!(report.outcome.is_complete());
    // What a node says when the handshake is done.
    for peer in [id(0), id(1)] {
        let said: Vec<_> = others.iter().filter(|other| other.0 == peer).map(|other| other.1.as_str()).collect();
        assert_eq!(said, ["sendheaders2", "sendcmpct", "senddsq"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_ends_every_request() {
    let chain = chain();
    let plan = plan(&chain);
    let manager = manager([node(&chain)]).await;
    let (mut peers, driver) = network::by_name(manager, CorrelatorConfig::default(), |_, _| {});
    let driver = tokio::spawn(driver.run());
    let service = peers.remove(0).service;
    let mut asked = Box::pin(service.clone().oneshot(Attempt::new(0, plan[0].clone().into())));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut asked).await.is_err());
    driver.abort();
    assert_eq!(asked.await.unwrap_err().kind(), Kind::Disconnected);
    assert_eq!(service.oneshot(Attempt::new(0, plan[0].clone().into())).await.unwrap_err().kind(), Kind::Disconnected);
}

#[cfg(feature = "parallel-qrinfo")]
mod parallel {
    use std::collections::BTreeSet;

    use futures_util::{Stream, sink, stream};
    use qrinfo::{ParallelOptions, ParallelSync, network::NetworkEvent};
    use qrinfo_core::{Reply, message::PROTOCOL_VERSION};
    use spv_testkit::builder;
    use tokio::{sync::mpsc, time::sleep};
    use tokio_util::sync::PollSender;

    use super::{support::parallel, *};

    #[tokio::test(start_paused = true)]
    async fn named_peers_share_the_work() {
        let chain = chain();
        let plan = plan(&chain);
        let mut alone = manager([node(&chain)]).await;
        let ((.., one_by_one), _) = broadcast(&mut alone, async |peer| sequential(&plan, vec![peer]).await).await;

        let mut manager = manager([node(&chain), node(&chain), node(&chain)]).await;
        let ((delivered, report, took), _) = by_name(&mut manager, async |peers| parallel(&plan, peers).await).await;
        assert!(report.outcome.is_complete(), "{}", report.outcome);
        assert_true(&chain, &plan, &delivered);
        assert_eq!(requests(&manager), plan.len(), "each is asked once");
        assert!(took * 3 < one_by_one, "{took:?} of {one_by_one:?}");
        for host in 0..3 {
            assert!(manager.peer(id(host)).unwrap().stats().replies > plan.len() as u64 / 5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn named_peers_that_fail_leave_the_rest_to_the_others() {
        let chain = chain();
        let plan = plan(&chain);
        let nodes = [
            node(&chain).fault(5.., Fault::Close),
            node(&chain).fault(7.., Fault::Silent),
            node(&chain).fault(.., Fault::Refuse),
            node(&chain).lie(4.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::ZERO),
            node(&chain),
        ];
        let mut manager = manager(nodes).await;
        let ((delivered, report, took), _) = by_name(&mut manager, async |peers| parallel(&plan, peers).await).await;
        assert!(report.outcome.is_complete(), "{}", report.outcome);
        assert_true(&chain, &plan, &delivered);
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert_eq!(manager.peers(), [id(1), id(2), id(4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_nameless_network_is_pipelined() {
        let chain = chain();
        let plan = plan(&chain);
        let mut alone = manager([node(&chain), node(&chain)]).await;
        let ((.., one_by_one), _) = broadcast(&mut alone, async |peer| sequential(&plan, vec![peer]).await).await;

        let silent = node(&chain).fault(7.., Fault::Silent);
        let mut manager = manager([node(&chain), silent, node(&chain)]).await;
        let ((delivered, report, took), _) =
            broadcast(&mut manager, async |peer| parallel(&plan, vec![peer]).await).await;
        assert!(report.outcome.is_complete(), "{}", report.outcome);
        assert_true(&chain, &plan, &delivered);
        assert_eq!(requests(&manager), plan.len());
        // Every peer answers everything; only the way there and back is saved.
        assert!(took * 3 < one_by_one * 2, "{took:?} of {one_by_one:?}");
    }

    /// Runs a client's network in a loop of its own: events out, messages in. `late` joins after a second.
    async fn pump(
        mut manager: MockNetworkManager,
        events: mpsc::UnboundedSender<NetworkEvent>,
        mut messages: mpsc::Receiver<(PeerId, NetworkMessage)>,
        late: PeerId,
    ) {
        let mut known = BTreeSet::new();
        let joins_late = Instant::now() + Duration::from_secs(1);
        loop {
            let is_there = |peer: &PeerId| *peer != late || Instant::now() >= joins_late;
            let peers: BTreeSet<_> = manager.peers().into_iter().filter(is_there).collect();
            for &peer in peers.difference(&known) {
                let height = manager.peer_height(peer).unwrap();
                events.send(NetworkEvent::Joined { peer, height }).unwrap();
            }
            for &peer in known.difference(&peers) {
                events.send(NetworkEvent::Left { peer }).unwrap();
            }
            known = peers;
            tokio::select! {
                message = messages.recv() => match message {
                    Some((peer, message)) => drop(manager.send_to(peer, message).await),
                    None => return,
                },
                received = manager.receive_from() => match received.unwrap() {
                    Some((peer, message)) => events.send(NetworkEvent::Message { peer, message }).unwrap(),
                    None => sleep(Duration::from_millis(10)).await,
                },
            }
        }
    }

    fn events_of(mut events: mpsc::UnboundedReceiver<NetworkEvent>) -> impl Stream<Item = NetworkEvent> + Unpin {
        stream::poll_fn(move |cx| events.poll_recv(cx))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_and_a_sink_are_a_network() {
        let chain = chain();
        let plan = plan(&chain);
        let nodes = [
            node(&chain).fault(5.., Fault::Close),
            node(&chain).lie(4.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::ZERO),
            node(&chain).profile(profile(100, 400)),
            node(&chain),
        ];
        let (to_us, events) = mpsc::unbounded_channel();
        // A sink of little room: messages wait, and events are taken meanwhile.
        let (to_network, messages) = mpsc::channel(1);
        let network = tokio::spawn(pump(manager(nodes).await, to_us, messages, id(3)));
        let mut others = Vec::new();
        let (peers, driver) = network::by_stream(
            events_of(events),
            PollSender::new(to_network),
            CorrelatorConfig::default(),
            |peer, _| {
                others.push(peer);
            },
        );
        let sync = async {
            let mut sync = ParallelSync::with_changing_peers(plan.clone(), peers, ParallelOptions::default());
            let mut delivered = Vec::new();
            while let Some(next) = sync.next().await {
                delivered.push(next);
            }
            (delivered, sync.into_report())
        };
        let ((delivered, report), (events, sink, closed)) = tokio::join!(sync, driver.run());
        assert!(report.outcome.is_complete(), "{}", report.outcome);
        assert_eq!(delivered.iter().map(|next| next.index).collect::<Vec<_>>(), (0..plan.len()).collect::<Vec<_>>());
        assert_true(&chain, &plan, &delivered);
        assert!(delivered.iter().any(|next| next.timing.peer == id(3)), "the peer that joined late was asked");
        let lost: Vec<_> = report.lost.iter().map(|lost| (lost.peer, lost.why)).collect();
        assert_eq!(lost, [(id(0), Kind::Disconnected), (id(1), Kind::False)]);
        assert!(matches!(closed, Closed::Unused), "{closed:?}");
        assert!(others.contains(&id(3)), "other messages go to the rest of the client");
        drop((events, sink));
        network.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_events_ends_every_request() {
        let chain = chain();
        let (to_us, events) = mpsc::unbounded_channel();
        to_us.send(NetworkEvent::Joined { peer: id(0), height: chain.tip() }).unwrap();
        let (peers, driver) =
            network::by_stream(events_of(events), sink::drain(), CorrelatorConfig::default(), |_, _| {});
        let mut sync = ParallelSync::with_changing_peers(plan(&chain), peers, ParallelOptions::default());
        let started = Instant::now();
        tokio::spawn(async move {
            sleep(Duration::from_secs(3)).await;
            drop(to_us);
        });
        let (next, (_, _, closed)) = tokio::join!(sync.next(), driver.run());
        assert!(next.is_none() && matches!(closed, Closed::ByPeer), "{closed:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(!sync.into_report().outcome.is_complete());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_comes_back_is_a_new_connection() {
        let chain = chain();
        let (to_us, events) = mpsc::unbounded_channel();
        let (to_network, mut messages) = mpsc::channel(64);
        let (peers, driver) =
            network::by_stream(events_of(events), PollSender::new(to_network), CorrelatorConfig::default(), |_, _| {});
        let plan = plan(&chain)[..6].to_vec();
        let mut sync = ParallelSync::with_changing_peers(plan.clone(), peers, ParallelOptions::default());
        let answering = chain.clone();
        tokio::spawn(async move {
            let joined = || NetworkEvent::Joined { peer: id(0), height: answering.tip() };
            // The first connection swallows everything.
            to_us.send(joined()).unwrap();
            sleep(Duration::from_secs(2)).await;
            while messages.try_recv().is_ok() {}
            to_us.send(NetworkEvent::Left { peer: id(0) }).unwrap();
            to_us.send(joined()).unwrap();
            while let Some((peer, message)) = messages.recv().await {
                let message = match message {
                    NetworkMessage::Ping(nonce) => NetworkMessage::Pong(nonce),
                    message => match builder::answer(&answering, &message, PROTOCOL_VERSION).unwrap().unwrap() {
                        Reply::QrInfo(reply) => NetworkMessage::QRInfo(reply),
                        Reply::MnListDiff(diff) => NetworkMessage::MnListDiff(diff),
                    },
                };
                if to_us.send(NetworkEvent::Message { peer, message }).is_err() {
                    return;
                }
            }
        });
        let take = async {
            let mut delivered = Vec::new();
            while let Some(next) = sync.next().await {
                delivered.push(next);
            }
            (delivered, sync.into_report())
        };
        let ((delivered, report), _) = tokio::join!(take, driver.run());
        assert!(report.outcome.is_complete(), "{}", report.outcome);
        assert_true(&chain, &plan, &delivered);
    }
}
