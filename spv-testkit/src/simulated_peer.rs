mod connection;
mod fault;
mod mishap;
mod profile;
mod session;
mod stats;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeBounds,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use qrinfo_core::{Network, message::QRInfo};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    net::TcpListener,
    task::JoinSet,
    time,
};
use tracing::debug;

pub use self::{
    fault::{Fault, HeaderFault},
    profile::PeerProfile,
    stats::PeerStats,
};
use self::{
    mishap::{Mishap, Replies, Wrong},
    stats::Counters,
};
use crate::{
    answers::Answers,
    link_model::{LinkModel, SEND_BUFFER},
    pace::Pace,
    server::ServerVersion,
};

/// The rest after a connection could not be accepted, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The number of unread bytes that a connection in memory holds each way, about the same as TCP buffers. A client that
/// does not read blocks the peer at this bound, as it would over TCP.
const PIPE: usize = 4 << 20;

/// Bytes are handed on at least as often as this: what a client sees of a reply's progress is never older.
const PROGRESS: Duration = Duration::from_millis(5);

/// A Dash node that answers from given [`Answers`], at a pace that is chosen, with faults where they are wanted.
///
/// It speaks the handshake, sends what a node sends unasked, answers pings and `getheaders`, and deals with one message
/// after another in order, in the time that [`LinkModel`] tells. What cannot be answered is met with silence and a
/// point of misbehaviour; at 100 points it closes the connection. It stops when it is dropped.
///
/// Clients reach it through [`connect`](Self::connect) in memory, where paused time is exact, or over TCP through
/// [`listen`](Self::listen). Each connection has a compute stage and a link of its own: a second connection is served
/// as if the first did not exist, which no node does.
///
/// A connection that stays silent costs nothing, and one that sends more than it reads is read no further, so memory
/// is bounded by the number of connections.
///
/// ```
/// use std::{sync::Arc, time::Duration};
///
/// use qrinfo_core::{Network, PeerId};
/// use spv_peer::{PeerConfig, handshake};
/// use spv_testkit::{PeerProfile, RecordedAnswers, Recording, SimulatedPeer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let answers = RecordedAnswers::new(Arc::new(Recording::bundled()?));
/// let profile = PeerProfile { round_trip: Duration::from_millis(80), ..PeerProfile::default() };
/// let peer = SimulatedPeer::builder(answers).profile(profile).build();
///
/// let name = PeerId::Address(([203, 0, 113, 5], 19899).into());
/// let connection = handshake(peer.connect(), name, &PeerConfig::new(Network::Regtest, 7)).await?;
/// assert_eq!(connection.start_height(), 1772);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SimulatedPeer {
    settings: Arc<SimulatedPeerBuilder>,
    counters: Arc<Counters>,
    /// Connections and listeners. They end with the peer.
    tasks: Mutex<JoinSet<()>>,
}

/// The settings of a [`SimulatedPeer`].
#[derive(Debug, Clone)]
#[must_use = "builds nothing by itself"]
pub struct SimulatedPeerBuilder {
    answers: Arc<dyn Answers>,
    /// The newest, unless set.
    server: Option<ServerVersion>,
    /// Instead of the server version's.
    protocol: Option<i32>,
    /// Instead of that of the answers.
    start_height: Option<u32>,
    profile: PeerProfile,
    send_buffer: u64,
    pace: Pace,
    progress: Duration,
    mishaps: Vec<Mishap>,
    /// The instant from which on replies and headers are as they should be.
    faults_end: Option<Instant>,
    header_fault: Option<HeaderFault>,
    compresses: bool,
}

// === impl SimulatedPeer ===

impl SimulatedPeer {
    /// A peer that answers from `answers`.
    pub fn builder(answers: impl Answers) -> SimulatedPeerBuilder {
        SimulatedPeerBuilder {
            answers: Arc::new(answers),
            server: None,
            protocol: None,
            start_height: None,
            profile: PeerProfile::default(),
            send_buffer: SEND_BUFFER,
            pace: Pace::default(),
            progress: PROGRESS,
            mishaps: Vec::new(),
            faults_end: None,
            header_fault: None,
            compresses: false,
        }
    }

    /// Builds the peers of one network. Those whose version is not set run the versions of Dash Core in turn, the newest
    /// first.
    ///
    /// ```
    /// use spv_testkit::{Chain, Recording, ServerVersion, SimulatedPeer};
    ///
    /// let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
    /// let node = || SimulatedPeer::builder(chain.clone());
    /// let peers = SimulatedPeer::network([node(), node().server(ServerVersion::V22_1), node()]);
    /// let versions: Vec<_> = peers.iter().map(|peer| peer.server()).collect();
    /// assert_eq!(versions, [ServerVersion::V23_1, ServerVersion::V22_1, ServerVersion::V22_1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn network(nodes: impl IntoIterator<Item = SimulatedPeerBuilder>) -> Vec<Self> {
        let mixed = |(node, turn): (SimulatedPeerBuilder, ServerVersion)| match node.server {
            Some(_) => node.build(),
            None => node.server(turn).build(),
        };
        nodes.into_iter().zip(ServerVersion::ALL.into_iter().cycle()).map(mixed).collect()
    }

    /// The version of Dash Core that it runs.
    pub fn server(&self) -> ServerVersion {
        self.settings.software().0
    }

    /// Connects to it in memory, and gives the client's end. It holds up to 4 MiB each way that are not read.
    ///
    /// Must be called within a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(PIPE);
        let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        self.tasks().spawn(serve(theirs, client, Arc::clone(&self.settings), Arc::clone(&self.counters)));
        ours
    }

    /// Starts to listen on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the system says if there is no such port.
    pub async fn listen(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        self.tasks().spawn(accept(listener, Arc::clone(&self.settings), Arc::clone(&self.counters)));
        Ok(address)
    }

    /// Returns the counters of its work so far.
    pub fn stats(&self) -> PeerStats {
        self.counters.stats()
    }

    pub(crate) fn chain_network(&self) -> Network {
        self.settings.answers.node().network
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks
    }
}

/// Serves every connection. Connections end with this future.
async fn accept(listener: TcpListener, settings: Arc<SimulatedPeerBuilder>, counters: Arc<Counters>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, client) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        debug!(%error, "cannot accept a connection");
                        time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream, client, Arc::clone(&settings), Arc::clone(&counters)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite,
    client: SocketAddr,
    settings: Arc<SimulatedPeerBuilder>,
    counters: Arc<Counters>,
) {
    counters.count(|stats| stats.connections += 1);
    let end = connection::serve(stream, client, &settings, &counters).await;
    debug!(%client, ?end, "connection ended");
}

// === impl SimulatedPeerBuilder ===

impl SimulatedPeerBuilder {
    /// The version of Dash Core that the peer runs, the newest unless set.
    pub fn server(mut self, server: ServerVersion) -> Self {
        self.server = Some(server);
        self
    }

    /// The protocol version that the peer announces, that of its server version unless set. A session uses the lower of
    /// both sides'.
    pub fn protocol(mut self, protocol: i32) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// The height that the peer announces, instead of its answers' own.
    pub fn start_height(mut self, height: u32) -> Self {
        self.start_height = Some(height);
        self
    }

    /// Sets its times.
    pub fn profile(mut self, profile: PeerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// Sets the number of unsent bytes of replies at which it stops reading; [`SEND_BUFFER`] by default.
    pub fn send_buffer(mut self, bytes: u64) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Sets the interval of a reply's chunks, and so the greatest age of a client's view of its progress; 5 ms by
    /// default. A shorter interval costs more steps.
    pub fn progress(mut self, every: Duration) -> Self {
        self.progress = every;
        self
    }

    /// From this instant on it takes `factor` times as long to compute and to send, also for what it has begun. A great
    /// factor is a stall; a later call with 1 ends it.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    ///
    /// use spv_testkit::{RecordedAnswers, Recording, SimulatedPeer};
    /// use tokio::time::Instant;
    ///
    /// let now = Instant::now().into_std();
    /// let answers = RecordedAnswers::new(Arc::new(Recording::bundled()?));
    /// let stalls = SimulatedPeer::builder(answers)
    ///     .slow(now + Duration::from_secs(3), 1_000)
    ///     .slow(now + Duration::from_secs(60), 1);
    /// # Ok::<(), spv_testkit::RecordingError>(())
    /// ```
    pub fn slow(mut self, from: Instant, factor: u32) -> Self {
        self.pace.slow(from, factor);
        self
    }

    /// Adds a fault to these of its replies. They count from 0 over all its connections; refused requests do not count.
    /// Several faults and lies of one reply are applied in the order in which they were set.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use spv_testkit::{Fault, RecordedPeer, Recording};
    /// # let recording = Arc::new(Recording::bundled()?);
    /// // The second reply breaks off and the connection with it; from the sixth on all are false.
    /// let peer = RecordedPeer::builder(recording).fault(1..=1, Fault::CloseInFrame { at: 500 }).fault(5.., Fault::WrongReply);
    /// # Ok::<(), spv_testkit::RecordingError>(())
    /// ```
    pub fn fault(self, replies: impl RangeBounds<u64>, fault: Fault) -> Self {
        self.mishap(Replies::range(&replies), Wrong::Fault(fault))
    }

    /// Adds a fault to each reply with this probability. The same seed gives the same choice of replies.
    pub fn random_fault(self, probability: f64, seed: u64, fault: Fault) -> Self {
        self.mishap(Replies::Chance { probability, seed }, Wrong::Fault(fault))
    }

    /// Makes these of its replies false: the closure changes the decoded `qrinfo`, which is then sent with a matching
    /// checksum. Its transfer takes the time of the changed length.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use qrinfo_core::BlockHash;
    /// use spv_testkit::{RecordedAnswers, Recording, SimulatedPeer};
    ///
    /// let answers = RecordedAnswers::new(Arc::new(Recording::bundled()?));
    /// let liar = SimulatedPeer::builder(answers).lie(2.., |reply| reply.mn_list_diff_h.block_hash = BlockHash::ZERO);
    /// # Ok::<(), spv_testkit::RecordingError>(())
    /// ```
    pub fn lie(self, replies: impl RangeBounds<u64>, lie: impl Fn(&mut QRInfo) + Send + Sync + 'static) -> Self {
        self.mishap(Replies::range(&replies), Wrong::Lie(Arc::new(lie)))
    }

    /// Adds a fault to the headers that it sends.
    pub fn header_fault(mut self, fault: HeaderFault) -> Self {
        self.header_fault = Some(fault);
        self
    }

    /// From this instant on replies and headers have no faults and are no lies. What went wrong before stays so: a
    /// connection that fell silent says nothing more.
    pub fn faults_until(mut self, end: Instant) -> Self {
        self.faults_end = Some(end);
        self
    }

    /// It answers `getheaders2`, and says so in its services. Faults of headers but silence do not concern these answers.
    pub fn compresses_headers(mut self) -> Self {
        self.compresses = true;
        self
    }

    /// Builds the peer, without connections.
    pub fn build(self) -> SimulatedPeer {
        SimulatedPeer { settings: Arc::new(self), counters: Arc::default(), tasks: Mutex::default() }
    }

    fn mishap(mut self, replies: Replies, wrong: Wrong) -> Self {
        self.mishaps.push(Mishap { replies, wrong });
        self
    }

    /// The server version, and the protocol version that is announced.
    fn software(&self) -> (ServerVersion, i32) {
        let server = self.server.unwrap_or(ServerVersion::NEWEST);
        (server, self.protocol.unwrap_or(server.protocol()))
    }

    /// Returns `true` until its faults end.
    fn has_faults(&self) -> bool {
        self.faults_end.is_none_or(|end| time::Instant::now().into_std() < end)
    }

    /// The timing of a fresh connection.
    fn link_model(&self) -> LinkModel {
        LinkModel::new(self.profile.round_trip).send_buffer(self.send_buffer).pace(self.pace.clone())
    }
}
