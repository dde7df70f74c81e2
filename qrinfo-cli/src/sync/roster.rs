//! The nodes that are asked, including those that come later.

use std::{
    future::ready,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use qrinfo::{Peer, SyncReport};
use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, AttemptResult, AttemptService, PeerId, Request};
use qrinfo_verify::HeaderMap;
use spv_pool::Place;
use tokio::sync::mpsc;
use tower::{Service, discover::Change};

/// A node's service, with its place in the pool: another node takes the place when all clones are dropped.
///
/// A request with a block that the node does not have is not sent: the node would refuse it, and hold it against us.
#[derive(Debug, Clone)]
pub(super) struct Held<S> {
    service: S,
    peer: PeerId,
    blocks: Arc<HeaderMap>,
    /// The height of the newest of these blocks that the node has.
    newest: u32,
    _place: Option<Arc<Place>>,
}

/// The nodes of a sync.
pub(super) struct Roster<S> {
    peers: Vec<Peer<S>>,
    /// Nodes that come later. One round at a time takes them.
    late: Arc<Mutex<mpsc::Receiver<Peer<S>>>>,
    /// Copies of the nodes that came late in this round, for the next one.
    joined: Arc<Mutex<Vec<Peer<S>>>>,
}

// === impl Roster ===

impl<S: AttemptService + Clone + Send + 'static> Roster<S> {
    pub(super) fn new(peers: Vec<Peer<S>>, late: mpsc::Receiver<Peer<S>>) -> Self {
        Self { peers, late: Arc::new(Mutex::new(late)), joined: Arc::default() }
    }

    /// The number of nodes that are there.
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// The nodes that are there, for one round. Copies for another round are kept only if there is one: they keep
    /// connections open.
    pub(super) fn present(&mut self, is_last: bool) -> Vec<Peer<S>> {
        let kept = if is_last { Vec::new() } else { self.peers.iter().map(copy).collect() };
        mem::replace(&mut self.peers, kept)
    }

    /// The nodes that are there and those that come, for one round.
    pub(super) fn all(&mut self, is_last: bool) -> impl Stream<Item = Change<PeerId, Peer<S>>> + Send + Unpin + use<S> {
        let (late, joined) = (self.late.clone(), self.joined.clone());
        let late = stream::poll_fn(move |cx: &mut Context<'_>| lock(&late).poll_recv(cx));
        let late = late.inspect(move |peer| {
            if !is_last {
                lock(&joined).push(copy(peer));
            }
        });
        stream::iter(self.present(is_last)).chain(late).map(|peer| Change::Insert(peer.id, peer))
    }

    /// Takes note of a round's end.
    pub(super) fn after(&mut self, report: &SyncReport) {
        self.peers.append(&mut lock(&self.joined));
        self.peers.retain(|peer| report.lost.iter().all(|lost| lost.peer != peer.id));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same peer for a later round. Progress is reported to the first alone.
fn copy<S: Clone>(peer: &Peer<S>) -> Peer<S> {
    Peer::new(peer.id, peer.service.clone(), peer.start_height).with_round_trip(peer.round_trip)
}

/// The same peer for a later round, without its place: if it leaves before, another node takes the place.
pub(super) fn without_place<S: Clone>(peer: &Peer<Held<S>>) -> Peer<Held<S>> {
    copy(peer).map(|held| Held { _place: None, ..held })
}

// === impl Held ===

impl<S> Held<S> {
    pub(super) fn new(service: S, blocks: Arc<HeaderMap>, (peer, newest): (PeerId, u32), place: Option<Place>) -> Self {
        Self { service, peer, blocks, newest, _place: place.map(Arc::new) }
    }

    fn lacks(&self, request: &Request) -> bool {
        let (bases, block) = match request {
            Request::QrInfo(spec) => (&spec.base_block_hashes[..], &spec.block_hash),
            Request::MnListDiff(spec) => (std::slice::from_ref(&spec.base_block_hash), &spec.block_hash),
        };
        bases.iter().chain([block]).any(|hash| self.blocks.find(hash).is_some_and(|block| block.height > self.newest))
    }
}

impl<S> Service<Attempt> for Held<S>
where
    S: AttemptService<Future: Send + 'static>,
{
    type Response = Answer;
    type Error = AttemptError;
    type Future = BoxFuture<'static, AttemptResult>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        if self.lacks(&attempt.request) {
            return ready(Err(AttemptError::new(AttemptErrorKind::NotSent).at(self.peer))).boxed();
        }
        self.service.call(attempt).boxed()
    }
}
