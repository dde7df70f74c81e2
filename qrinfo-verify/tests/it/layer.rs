//! A false reply is a failed attempt that names its peer; a true one passes as it came.

use std::error::Error;

use crate::common::{headers, reply, request};
use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, BlockHash, PeerId, Reply, Request, Timing,
};
use qrinfo_verify::{CheckLayer, Falsehood, Missing};
use spv_testkit::Recording;
use tokio_test::{assert_pending, assert_ready_ok};
use tower::{Layer, ServiceExt, service_fn};
use tower_test::mock;

const PEER: PeerId =
    PeerId::Address(std::net::SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7)));

fn exchange() -> (Recording, Request, Reply) {
    let recording = Recording::bundled().unwrap();
    let exchange = recording.exchanges().iter().find(|exchange| reply(exchange).is_some()).unwrap();
    let (request, reply) = (request(&recording, exchange), reply(exchange).unwrap());
    (recording, request, reply)
}

fn timing() -> Timing {
    let now = tokio::time::Instant::now().into_std();
    Timing { peer: PEER, sent: now, head: None, first_byte: None, done: now, bytes: 1 }
}

async fn ask(
    headers: impl Fn(&BlockHash) -> Option<qrinfo_verify::KnownBlock> + Send + Sync + 'static,
    request: Request,
    reply: Reply,
) -> AttemptResult {
    let timing = timing();
    let peer = service_fn(move |_: Attempt| {
        let reply = reply.clone();
        async move { Ok(Answer { reply, timing }) }
    });
    CheckLayer::new(headers).layer(peer).oneshot(Attempt::new(1, request)).await
}

#[tokio::test(start_paused = true)]
async fn a_true_reply_passes_as_it_came() {
    let (recording, request, reply) = exchange();
    let headers = headers(&recording);
    let answer = ask(move |hash| headers.find(hash), request, reply.clone()).await.unwrap();
    assert_eq!(answer, Answer { reply, timing: timing() });
}

#[tokio::test(start_paused = true)]
async fn a_false_reply_is_blamed_on_its_peer() {
    let (recording, request, mut reply) = exchange();
    let headers = headers(&recording);
    let Reply::QrInfo(qr_info) = &mut reply else { panic!("a qrinfo") };
    qr_info.mn_list_diff_h.total_transactions = 0;
    let error = ask(move |hash| headers.find(hash), request, reply).await.unwrap_err();
    assert_eq!((error.kind(), error.peer()), (AttemptErrorKind::False, Some(PEER)));
    assert_eq!(error.timing(), Some(timing()));
    let falsehood = error.source().unwrap().downcast_ref::<Falsehood>().unwrap();
    assert_eq!(falsehood.label(), "coinbase proof");
}

#[tokio::test(start_paused = true)]
async fn headers_that_lack_a_block_are_our_own_failure() {
    let (_, request, reply) = exchange();
    let error = ask(|_| None, request, reply).await.unwrap_err();
    assert_eq!((error.kind(), error.peer()), (AttemptErrorKind::Local, Some(PEER)));
    assert!(error.source().unwrap().is::<Missing>());
}

#[tokio::test(start_paused = true)]
async fn readiness_and_failures_are_those_of_the_service_below() {
    let (_, request, _) = exchange();
    let (inner, mut peer) = mock::pair::<Attempt, Answer>();
    let inner = inner.map_err(|_| AttemptError::new(AttemptErrorKind::Disconnected));
    let mut service = mock::Spawn::new(CheckLayer::new(|_: &BlockHash| None).layer(inner));
    peer.allow(0);
    assert_pending!(service.poll_ready());
    peer.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    let response = service.call(Attempt::new(1, request));
    drop(peer);
    assert_eq!(response.await.unwrap_err().kind(), AttemptErrorKind::Disconnected);
}
