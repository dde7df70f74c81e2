use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use qrinfo_core::{
    BlockHash, Mismatch, PeerEvent, QRInfoRequestSpec, Reply, Request, SyncPhase,
    client::{ClientError, NamedNetworkManager, NetworkManager, StorageManager},
    message::NetworkMessage,
};
use qrinfo_correlate::PeerService;
use spv_config::ClientConfig;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::{SyncProgress, config, network};
use crate::{
    peer::Peer,
    plan::{PlanError, Planner},
    run::{self, Delivered, OrderedSync, PlannedRequest, SequentialOptions, SequentialSync, SyncEvent, SyncReport},
};

/// The number of events that are kept for a slow listener. Beyond it the listener misses the oldest.
const EVENTS: usize = 1024;

/// Syncs rotated quorums for a client that keeps its own network: dash-spv's manager of that name.
///
/// There are two ways to use it, and the sequential one is the default of both:
///
/// * **The manager runs the sync.** [`sync`](Self::sync) asks for one request after the other,
///   [`request_qrinfo_parallel`](Self::request_qrinfo_parallel) (feature `parallel-qrinfo`) for several at a time. Both
///   are lent the network for as long as they run, take any [`NetworkManager`], deliver in the order of the plan, and
///   end in the same typed report. A network that names its peers does better with
///   [`sync_by_name`](Self::sync_by_name) and `request_qrinfo_parallel_by_name`.
/// * **The client runs its own message loop.** [`request_qrinfo`](Self::request_qrinfo) sends one request,
///   [`handle_qrinfo_message`](Self::handle_qrinfo_message) takes the reply from the loop, and
///   [`check_timeout`](Self::check_timeout) gives a request back that no peer answered. A
///   [`MessageHandler`](crate::MessageHandler) does the routing.
///
/// [`progress`](Self::progress) reports the events of a sync, [`cancellation`](Self::cancellation) stops it.
///
/// ```
/// use qrinfo::{MasternodeSyncManager, plan::Planner};
/// use qrinfo_core::{PeerId, client::NetworkManager};
/// use spv_config::ClientConfig;
/// use spv_testkit::{Chain, MockNetworkManager, Recording, SimulatedPeer};
/// use tokio::sync::mpsc;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
/// # let mut network = MockNetworkManager::new();
/// # network.add_peer(PeerId::Address(([203, 0, 113, 1], 19899).into()), SimulatedPeer::builder(chain.clone()).build());
/// # network.connect().await?;
/// # let plan = Planner::new(chain.network(), chain.tip()).plan(240, 480, |h| chain.block(h).map(|block| block.hash))?;
/// let mut manager = MasternodeSyncManager::new(&ClientConfig::regtest());
/// let (deliver, mut replies) = mpsc::channel(1);
/// let sync = manager.sync(&mut network, plan, deliver, |message| println!("for the rest of the client: {message:?}"));
/// let apply = async {
///     while let Some(delivered) = replies.recv().await {
///         println!("request {} was answered", delivered.index);
///     }
/// };
/// let (report, ()) = tokio::join!(sync, apply);
/// assert!(report?.outcome.is_complete());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MasternodeSyncManager {
    config: ClientConfig,
    phase: Option<SyncPhase>,
    progress: broadcast::Sender<SyncProgress>,
    cancellation: CancellationToken,
    pending: Option<Pending>,
    #[cfg(feature = "verify")]
    verifier: Option<crate::verify::Verifier>,
}

/// The request that the client's own loop waits for.
#[derive(Debug)]
struct Pending {
    request: Request,
    sent: Instant,
}

/// The result of a `qrinfo` that the client's own loop received.
#[derive(Debug)]
pub enum HandledQRInfo {
    /// It answers the request, which is settled.
    Answered(Box<Request>, Reply),
    /// Nothing was asked for.
    Unexpected(Reply),
    /// It does not answer the request, which still waits: another peer may answer it, and if not it times out.
    Mismatched(Mismatch),
}

/// A request cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasternodeSyncError {
    /// The request before was not answered yet.
    #[error("{request} is still being asked for: wait for its reply, or for check_timeout to give it back")]
    Busy {
        /// The request that is in flight.
        request: Box<Request>,
    },
    /// The client's network failed.
    #[error("the network failed")]
    Network(#[source] ClientError),
    /// The client's storage failed.
    #[error("the storage failed")]
    Storage(#[source] ClientError),
    /// The stored headers allow no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

// === impl MasternodeSyncManager ===

impl MasternodeSyncManager {
    /// A manager by a configuration, which should be [valid](ClientConfig::validate).
    pub fn new(config: &ClientConfig) -> Self {
        Self {
            config: config.clone(),
            phase: None,
            progress: broadcast::Sender::new(EVENTS),
            cancellation: CancellationToken::new(),
            pending: None,
            #[cfg(feature = "verify")]
            verifier: None,
        }
    }

    /// Verifies each reply before it is delivered. A false reply is not delivered: its peer is banned, and the request
    /// is sent to another peer. If our side lacks data to judge a reply, the sync stops with
    /// [`Unverifiable`](SyncProgress::Unverifiable).
    ///
    /// Over a network that does not name its peers a false reply cannot be attributed: the request is sent to all peers
    /// again, as often as a request may fail, and another reply is accepted.
    #[cfg(feature = "verify")]
    #[must_use]
    pub fn with_verifier(self, verifier: crate::verify::Verifier) -> Self {
        Self { verifier: Some(verifier), ..self }
    }

    /// Returns the verifier of the replies, with the lists so far.
    #[cfg(feature = "verify")]
    pub fn verifier(&self) -> Option<&crate::verify::Verifier> {
        self.verifier.as_ref()
    }

    /// Returns the phase in progress: [`SyncPhase::MasternodeLists`], or `None` if no sync runs.
    pub fn phase(&self) -> Option<SyncPhase> {
        self.phase
    }

    /// Tells what happens from now on. A listener that is slow misses the oldest of more than a thousand events.
    pub fn progress(&self) -> broadcast::Receiver<SyncProgress> {
        self.progress.subscribe()
    }

    /// Returns the token that stops the current sync, or the next one: requests without a reply are then reported as
    /// [stopped](qrinfo_core::WhyGivenUp::Stopped). Clones work too. After a sync that was cancelled there is a new
    /// token.
    pub fn cancellation(&self) -> CancellationToken {
        self.cancellation.clone()
    }

    /// Makes a plan from the client's stored headers: one request for each cycle from that of height `first` to the
    /// newest, oldest first. [`Planner`] has more choices.
    ///
    /// # Errors
    /// [`Storage`](MasternodeSyncError::Storage) if the storage fails, [`Plan`](MasternodeSyncError::Plan) if it lacks
    /// headers or the range has no plan.
    pub async fn plan(
        &self,
        storage: &dyn StorageManager,
        first: u32,
    ) -> Result<Vec<QRInfoRequestSpec>, MasternodeSyncError> {
        let tip = storage.get_tip_height().await.map_err(MasternodeSyncError::Storage)?;
        let tip = tip.ok_or(PlanError::MissingHeader(0))?;
        let planner = Planner::new(self.config.network, tip);
        let mut hashes = BTreeMap::new();
        for height in heights(&planner, first, tip)? {
            if let Some(hash) = storage.get_header_hash(height).await.map_err(MasternodeSyncError::Storage)? {
                hashes.insert(height, hash);
            }
        }
        Ok(planner.plan(first, tip, |height| hashes.get(&height).copied())?)
    }

    /// Makes the requests of a plan one at a time, over a network that does not name its peers, and sends the replies
    /// to `deliver` in the order of the plan. While that channel has no room no further request is made; when its
    /// receiver is dropped the sync stops. `others` is called with every other message, and must not block.
    ///
    /// # Errors
    /// [`Network`](MasternodeSyncError::Network) if the network cannot tell its height. Later failures are in the
    /// report.
    pub async fn sync(
        &mut self,
        network: &mut dyn NetworkManager,
        plan: impl IntoIterator<Item: Into<PlannedRequest>>,
        deliver: mpsc::Sender<Delivered>,
        others: impl FnMut(NetworkMessage) + Send,
    ) -> Result<SyncReport, MasternodeSyncError> {
        let correlator = config::correlator_config(&self.config);
        let (peer, driver) =
            network::broadcast(network, correlator, others).await.map_err(MasternodeSyncError::Network)?;
        Ok(tokio::join!(self.one_at_a_time(plan, vec![peer], deliver), driver.run()).0)
    }

    /// Does the same as [`sync`](Self::sync) over a network that names its peers: one peer is asked at a time, and the
    /// next one if it fails.
    pub async fn sync_by_name(
        &mut self,
        network: &mut dyn NamedNetworkManager,
        plan: impl IntoIterator<Item: Into<PlannedRequest>>,
        deliver: mpsc::Sender<Delivered>,
        mut others: impl FnMut(NetworkMessage) + Send,
    ) -> SyncReport {
        let correlator = config::correlator_config(&self.config);
        let (peers, driver) = network::by_name(network, correlator, |_, message| others(message));
        tokio::join!(self.one_at_a_time(plan, peers, deliver), driver.run()).0
    }

    /// Sends one request, whose reply [`handle_qrinfo_message`](Self::handle_qrinfo_message) takes.
    ///
    /// # Errors
    /// [`Busy`](MasternodeSyncError::Busy) while another request waits; [`Network`](MasternodeSyncError::Network) if
    /// sending fails. The request counts as made only when it was sent.
    pub async fn request_qrinfo(
        &mut self,
        network: &mut dyn NetworkManager,
        spec: QRInfoRequestSpec,
    ) -> Result<(), MasternodeSyncError> {
        if let Some(pending) = &self.pending {
            return Err(MasternodeSyncError::Busy { request: Box::new(pending.request.clone()) });
        }
        let (bases, block, extra_share) = (spec.base_block_hashes.clone(), spec.block_hash, spec.extra_share);
        network.request_qr_info(bases, block, extra_share).await.map_err(MasternodeSyncError::Network)?;
        self.phase = Some(SyncPhase::MasternodeLists);
        self.pending = Some(Pending { request: spec.into(), sent: run::now() });
        Ok(())
    }

    /// Takes a reply from the client's own message loop. Only a reply that answers the request ends it; after a
    /// rejected one the request still waits.
    pub fn handle_qrinfo_message(&mut self, reply: impl Into<Reply>) -> HandledQRInfo {
        let reply = reply.into();
        let Some(pending) = self.pending.take() else { return HandledQRInfo::Unexpected(reply) };
        if let Err(mismatch) = pending.request.check_reply(&reply) {
            tracing::debug!(request = %pending.request, %mismatch, "reply rejected");
            self.pending = Some(pending);
            return HandledQRInfo::Mismatched(mismatch);
        }
        self.phase = None;
        HandledQRInfo::Answered(Box::new(pending.request), reply)
    }

    /// Returns the request of [`request_qrinfo`](Self::request_qrinfo) if no peer has answered it within the
    /// configuration's `message_timeout`, so that it can be made again. A later reply to it is unexpected, or a copy.
    pub fn check_timeout(&mut self, now: Instant) -> Option<Request> {
        let timeout = self.config.message_timeout;
        let over = |pending: &mut Pending| now.saturating_duration_since(pending.sent) >= timeout;
        let pending = self.pending.take_if(over)?;
        self.phase = None;
        Some(pending.request)
    }

    async fn one_at_a_time(
        &mut self,
        plan: impl IntoIterator<Item: Into<PlannedRequest>>,
        peers: Vec<Peer<PeerService>>,
        deliver: mpsc::Sender<Delivered>,
    ) -> SyncReport {
        let plan: Vec<PlannedRequest> = plan.into_iter().map(Into::into).collect();
        let sync = SequentialSync::new(plan.clone(), peers, SequentialOptions::from(&self.config));
        self.drive(&plan, sync, deliver).await
    }

    async fn drive(
        &mut self,
        plan: &[PlannedRequest],
        mut sync: impl OrderedSync,
        deliver: mpsc::Sender<Delivered>,
    ) -> SyncReport {
        self.phase = Some(SyncPhase::MasternodeLists);
        self.tell(SyncProgress::Started { phase: SyncPhase::MasternodeLists, requests: plan.len() });
        let mut events = sync.events();
        while let Some(delivered) = self.next(&mut sync, &mut events).await {
            #[cfg(feature = "verify")]
            match self.verify(plan, &delivered).await {
                Some(Ok(())) => {}
                Some(Err(falsehood)) => {
                    sync.reject_last(falsehood);
                    continue;
                }
                None => {
                    sync.return_last();
                    break;
                }
            }
            if !self.deliver(&deliver, delivered).await {
                sync.return_last();
                break;
            }
        }
        self.pass_on(&mut events);
        self.finished(sync.into_report())
    }

    /// The next reply, unless the sync is cancelled. Events are reported during the wait.
    async fn next(
        &self,
        sync: &mut impl OrderedSync,
        events: &mut broadcast::Receiver<SyncEvent>,
    ) -> Option<Delivered> {
        let next = async {
            loop {
                tokio::select! {
                    biased;
                    Ok(event) = events.recv() => self.tell_event(event),
                    delivered = sync.next() => return delivered,
                }
            }
        };
        self.cancellation.run_until_cancelled(next).await.flatten()
    }

    /// Tells the events that have come.
    fn pass_on(&self, events: &mut broadcast::Receiver<SyncEvent>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.tell_event(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return,
            }
        }
    }

    fn tell_event(&self, event: SyncEvent) {
        if !matches!(event, SyncEvent::Peer(PeerEvent::Progress { .. })) {
            self.tell(SyncProgress::Event(event));
        }
    }

    /// Verifies a reply. Returns `None` if our side lacks the data for it, or if the sync was cancelled.
    #[cfg(feature = "verify")]
    async fn verify(
        &mut self,
        plan: &[PlannedRequest],
        delivered: &Delivered,
    ) -> Option<Result<(), qrinfo_verify::Falsehood>> {
        use qrinfo_verify::VerifyError;

        let Some(verifier) = &mut self.verifier else { return Some(Ok(())) };
        let (index, peer) = (delivered.index, delivered.timing.peer);
        let verifying = verifier.take(plan.get(index)?.request.clone(), &delivered.reply);
        match self.cancellation.run_until_cancelled(verifying).await? {
            Ok(_) => Some(Ok(())),
            Err(VerifyError::False(falsehood)) => {
                self.tell(SyncProgress::Rejected { index, peer, why: crate::peer::chain(&falsehood) });
                Some(Err(falsehood))
            }
            Err(missing) => {
                self.tell(SyncProgress::Unverifiable { index, why: crate::peer::chain(&missing) });
                None
            }
        }
    }

    /// Hands out a reply. Returns true if the receiver took it.
    async fn deliver(&self, deliver: &mpsc::Sender<Delivered>, delivered: Delivered) -> bool {
        let (index, timing) = (delivered.index, delivered.timing);
        let taken =
            self.cancellation.run_until_cancelled(deliver.send(delivered)).await.is_some_and(|sent| sent.is_ok());
        if taken {
            self.tell(SyncProgress::Delivered { index, peer: timing.peer, bytes: timing.bytes });
        }
        taken
    }

    fn finished(&mut self, report: SyncReport) -> SyncReport {
        for missing in report.outcome.missing() {
            self.tell(SyncProgress::Missing { index: missing.index, why: missing.why });
        }
        self.tell(SyncProgress::Finished { complete: report.outcome.is_complete() });
        self.phase = None;
        if self.cancellation.is_cancelled() {
            self.cancellation = CancellationToken::new();
        }
        report
    }

    fn tell(&self, progress: SyncProgress) {
        // Without listeners there is nothing to do.
        let _ = self.progress.send(progress);
    }
}

#[cfg(feature = "parallel-qrinfo")]
impl MasternodeSyncManager {
    /// Makes the requests of a plan at most `max_concurrent` at a time, otherwise like [`sync`](Self::sync).
    ///
    /// Each request goes to all peers, because the network does not name them. The gain is that round trips overlap.
    ///
    /// # Errors
    /// [`Network`](MasternodeSyncError::Network) if the network cannot tell its height. Later failures are in the
    /// report.
    pub async fn request_qrinfo_parallel(
        &mut self,
        network: &mut dyn NetworkManager,
        requests: impl IntoIterator<Item: Into<PlannedRequest>>,
        max_concurrent: std::num::NonZeroUsize,
        deliver: mpsc::Sender<Delivered>,
        others: impl FnMut(NetworkMessage) + Send,
    ) -> Result<SyncReport, MasternodeSyncError> {
        let correlator = config::parallel_correlator_config(&self.config);
        let (peer, driver) =
            network::broadcast(network, correlator, others).await.map_err(MasternodeSyncError::Network)?;
        Ok(tokio::join!(self.in_parallel(requests, vec![peer], max_concurrent, deliver), driver.run()).0)
    }

    /// Asks several peers at once, at most `max_concurrent` requests at a time, over a network that names them.
    pub async fn request_qrinfo_parallel_by_name(
        &mut self,
        network: &mut dyn NamedNetworkManager,
        requests: impl IntoIterator<Item: Into<PlannedRequest>>,
        max_concurrent: std::num::NonZeroUsize,
        deliver: mpsc::Sender<Delivered>,
        mut others: impl FnMut(NetworkMessage) + Send,
    ) -> SyncReport {
        let correlator = config::parallel_correlator_config(&self.config);
        let (peers, driver) = network::by_name(network, correlator, |_, message| others(message));
        tokio::join!(self.in_parallel(requests, peers, max_concurrent, deliver), driver.run()).0
    }

    async fn in_parallel(
        &mut self,
        plan: impl IntoIterator<Item: Into<PlannedRequest>>,
        peers: Vec<Peer<PeerService>>,
        max_concurrent: std::num::NonZeroUsize,
        deliver: mpsc::Sender<Delivered>,
    ) -> SyncReport {
        let options = crate::ParallelOptions { max_concurrent, ..crate::ParallelOptions::from(&self.config) };
        let plan: Vec<PlannedRequest> = plan.into_iter().map(Into::into).collect();
        let sync = crate::ParallelSync::new(plan.clone(), peers, options);
        self.drive(&plan, sync, deliver).await
    }
}

/// The heights whose hashes a plan needs. They do not depend on the hashes.
fn heights(planner: &Planner, first: u32, last: u32) -> Result<BTreeSet<u32>, PlanError> {
    let heights = RefCell::new(BTreeSet::new());
    planner.plan(first, last, |height| {
        heights.borrow_mut().insert(height);
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&height.to_le_bytes());
        Some(BlockHash::from_bytes(hash))
    })?;
    Ok(heights.into_inner())
}
