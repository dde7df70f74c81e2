//! A network of peers that fail as they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use qrinfo_core::{
    Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, BlockHash, GivenUp, KnownPeer,
    MnListDiffRequestSpec, PeerId, PeerTable, Reply, Request, Timing, WhyGivenUp, message::MnListDiff,
};
use qrinfo_recovery::{RecoveryEvent, RecoveryLayer, RecoverySettings};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};

/// The answer of a peer: `None` is a reply.
pub(crate) type Behaviour = Option<AttemptErrorKind>;

type ResponseFuture = Pin<Box<dyn Future<Output = AttemptResult> + Send>>;

/// A network of peers, each with answers to give in turn; the last is given for good. An attempt goes to the first peer
/// that is not to be avoided.
///
/// The network is its own ledger of peers: one that sends something false or malformed is banned.
#[derive(Clone, Default)]
pub(crate) struct Network {
    pub(crate) peers: Arc<Mutex<BTreeMap<PeerId, Vec<Behaviour>>>>,
    banned: Arc<Mutex<BTreeSet<PeerId>>>,
    asked: Arc<Mutex<Vec<PeerId>>>,
    events: Arc<Mutex<Vec<RecoveryEvent>>>,
    table: watch::Sender<PeerTable>,
}

pub(crate) fn peer(number: u8) -> PeerId {
    PeerId::Address(([203, 0, 113, number], 9999).into())
}

pub(crate) fn attempt(id: u64) -> Attempt {
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([1; 32]) };
    Attempt::new(id, Request::from(spec))
}

pub(crate) fn settings() -> RecoverySettings {
    RecoverySettings { budget_per_second: 1_000.0, ..RecoverySettings::default() }
}

pub(crate) fn answer(peer: PeerId) -> Answer {
    let now = Instant::now().into_std();
    Answer {
        reply: Reply::MnListDiff(Box::new(MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([1; 32])))),
        timing: Timing { peer, sent: now, head: None, first_byte: None, done: now, bytes: 0 },
    }
}

pub(crate) fn why(error: &AttemptError) -> WhyGivenUp {
    error.source().unwrap().downcast_ref::<GivenUp>().unwrap().why
}

impl Network {
    pub(crate) fn of(peers: &[&[Behaviour]]) -> Self {
        let network = Self::default();
        for (number, answers) in (1..).zip(peers) {
            network.join(number, answers);
        }
        network
    }

    pub(crate) fn join(&self, number: u8, answers: &[Behaviour]) {
        self.peers.lock().unwrap().insert(peer(number), answers.iter().rev().copied().collect());
        self.publish();
    }

    pub(crate) fn leave(&self, peer: PeerId) {
        self.peers.lock().unwrap().remove(&peer);
        self.publish();
    }

    /// The peers have joined at this instant.
    pub(crate) fn joined_now(&self) {
        self.table.send_modify(|table| table.last_joined = Some(tokio::time::Instant::now().into_std()));
    }

    /// No further peer will join.
    pub(crate) fn close(&self) {
        self.table.send_modify(|table| table.is_closed = true);
    }

    pub(crate) fn table(&self) -> watch::Receiver<PeerTable> {
        self.table.subscribe()
    }

    fn publish(&self) {
        let known = KnownPeer { height: 1_000, is_spent: false };
        let peers: Vec<_> = self.peers.lock().unwrap().keys().map(|&peer| (peer, known)).collect();
        let mut table = PeerTable::new(peers);
        self.table.send_modify(|before| {
            table.is_closed = before.is_closed;
            *before = table;
        });
    }

    /// A peer takes a tenth of a second to answer, ten to time out.
    async fn ask(self, attempt: Attempt) -> AttemptResult {
        let (peer, behaviour) = {
            let mut peers = self.peers.lock().unwrap();
            let found = peers.iter_mut().find(|(peer, _)| !attempt.avoid.contains(peer));
            let Some((peer, answers)) = found else { return Err(AttemptError::new(AttemptErrorKind::NoPeer)) };
            let behaviour = *answers.last().unwrap();
            if answers.len() > 1 {
                answers.pop();
            }
            (*peer, behaviour)
        };
        self.asked.lock().unwrap().push(peer);
        let is_silent = behaviour == Some(AttemptErrorKind::Timeout);
        sleep(if is_silent { Duration::from_secs(10) } else { Duration::from_millis(100) }).await;
        let Some(kind) = behaviour else { return Ok(answer(peer)) };
        match kind {
            AttemptErrorKind::Disconnected => self.leave(peer),
            AttemptErrorKind::False | AttemptErrorKind::Malformed => {
                self.banned.lock().unwrap().insert(peer);
                self.leave(peer);
            }
            _ => {}
        }
        Err(AttemptError::new(kind).at(peer))
    }

    /// The network behind a recovery layer, which follows its ledger of peers or not.
    pub(crate) fn service(
        &self,
        settings: RecoverySettings,
        has_ledger: bool,
    ) -> impl Service<Attempt, Response = Answer, Error = AttemptError, Future = ResponseFuture> + Clone + use<> {
        let events = self.events.clone();
        let layer = RecoveryLayer::new(settings)
            .on_event(move |event: &RecoveryEvent| events.lock().unwrap().push(event.clone()));
        let layer = if has_ledger { layer.with_peers(self.table()) } else { layer };
        layer.layer(self.service_alone())
    }

    /// The network without a layer.
    pub(crate) fn service_alone(
        &self,
    ) -> impl Service<Attempt, Response = Answer, Error = AttemptError, Future: Send> + Clone + Send + use<> {
        let network = self.clone();
        service_fn(move |attempt| network.clone().ask(attempt))
    }

    /// Makes one request. Returns the peer that answered, the peers that were asked, and the time it took.
    pub(crate) async fn run(&self, settings: RecoverySettings) -> (Result<PeerId, AttemptError>, Vec<u8>, Duration) {
        let start = Instant::now();
        let answer = self.service(settings, true).oneshot(attempt(1)).await;
        (answer.map(|answer| answer.timing.peer), self.asked(), start.elapsed())
    }

    /// The last octets of the peers that were asked.
    pub(crate) fn asked(&self) -> Vec<u8> {
        let number = |peer: &PeerId| match peer.address().map(|address| address.ip()) {
            Some(std::net::IpAddr::V4(ip)) => ip.octets()[3],
            _ => 0,
        };
        self.asked.lock().unwrap().iter().map(number).collect()
    }

    pub(crate) fn events(&self) -> Vec<RecoveryEvent> {
        self.events.lock().unwrap().clone()
    }
}
