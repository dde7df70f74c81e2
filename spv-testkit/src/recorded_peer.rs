mod connection;
mod fault;
mod session;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::{Bound, RangeBounds},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use qrinfo_core::message::PROTOCOL_VERSION;
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
    time,
};
use tracing::debug;

pub use self::fault::{Fault, HeaderFault};
use crate::{Recording, link_model::share};

/// The rest after a connection could not be accepted, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A Dash node on this machine that answers `getqrinfo` as it was recorded.
///
/// It speaks the handshake, sends what a node sends unasked, answers pings, and answers strictly in order. What was
/// refused, or never asked, when it was recorded is met with silence and a point of misbehaviour; at 100 points it
/// closes the connection. `getmnlistd` is met with silence. It stops when it is dropped.
///
/// A connection that stays silent costs nothing, and one that sends more than it reads is read no further, so memory
/// is bounded by the number of connections.
///
/// ```
/// use std::sync::Arc;
///
/// use spv_testkit::{RecordedPeer, Recording};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let peer = RecordedPeer::builder(Arc::new(Recording::bundled()?)).protocol(70230).spawn().await?;
/// assert!(peer.address().ip().is_loopback());
/// assert_eq!(peer.stats().connections, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RecordedPeer {
    address: SocketAddr,
    counters: Arc<Counters>,
    task: AbortHandle,
}

/// The settings of a [`RecordedPeer`].
#[derive(Debug, Clone)]
pub struct RecordedPeerBuilder {
    recording: Arc<Recording>,
    protocol: i32,
    profile: PeerProfile,
    faults: Faults,
    header_fault: Option<HeaderFault>,
}

/// How long a peer takes. All zero by default: it answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerProfile {
    /// From us to the peer and back, with nothing to do there.
    pub round_trip: Duration,
    /// To make an answer, a refusal included.
    pub compute: Duration,
    /// Bytes a second from the peer to us, at least one; `None` for no limit.
    pub rate: Option<u64>,
}

/// What a [`RecordedPeer`] has done so far, over all its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerStats {
    /// Connections accepted.
    pub connections: u64,
    /// `getqrinfo` received after the handshake.
    pub requests: u64,
    /// Requests met with silence, for a fault or because they are recorded as refused or not at all.
    pub refusals: u64,
    /// Replies sent to their last byte; one sent twice counts once.
    pub replies: u64,
    /// Bytes sent, with frame headers and everything that is no reply.
    pub bytes: u64,
}

/// Faults and the replies they befall, counted from 0 over all connections of a peer.
type Faults = Vec<((Bound<u64>, Bound<u64>), Fault)>;

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    refusals: AtomicU64,
    replies: AtomicU64,
    bytes: AtomicU64,
    /// Replies begun: the number of the next one.
    begun: AtomicU64,
}

// === impl RecordedPeer ===

impl RecordedPeer {
    /// A peer that answers from `recording`.
    pub fn builder(recording: Arc<Recording>) -> RecordedPeerBuilder {
        RecordedPeerBuilder {
            recording,
            protocol: PROTOCOL_VERSION,
            profile: PeerProfile::default(),
            faults: Faults::new(),
            header_fault: None,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    pub fn stats(&self) -> PeerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeerStats {
            connections: read(&self.counters.connections),
            requests: read(&self.counters.requests),
            refusals: read(&self.counters.refusals),
            replies: read(&self.counters.replies),
            bytes: read(&self.counters.bytes),
        }
    }
}

impl Drop for RecordedPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl RecordedPeerBuilder ===

impl RecordedPeerBuilder {
    /// The protocol version that the peer announces, 70237 unless set. A session uses the lower of both sides'.
    #[must_use]
    pub fn protocol(mut self, protocol: i32) -> Self {
        self.protocol = protocol;
        self
    }

    /// How long it takes.
    #[must_use]
    pub fn profile(mut self, profile: PeerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// What goes wrong with these of its replies. They count from 0 over all its connections; what is refused does not
    /// count. A reply that several faults befall suffers them in the order in which they were set.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use spv_testkit::{Fault, RecordedPeer, Recording};
    /// # let recording = Arc::new(Recording::bundled()?);
    /// // The second reply breaks off and the connection with it; from the sixth on all are false.
    /// let peer = RecordedPeer::builder(recording).fault(1..=1, Fault::CloseInFrame { at: 500 }).fault(5.., Fault::WrongReply);
    /// # Ok::<(), spv_testkit::RecordingError>(())
    /// ```
    #[must_use]
    pub fn fault(mut self, replies: impl RangeBounds<u64>, fault: Fault) -> Self {
        self.faults.push(((replies.start_bound().cloned(), replies.end_bound().cloned()), fault));
        self
    }

    /// What is wrong with the headers that it sends.
    #[must_use]
    pub fn header_fault(mut self, fault: HeaderFault) -> Self {
        self.header_fault = Some(fault);
        self
    }

    /// Starts to listen on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the system says if there is no such port.
    pub async fn spawn(self) -> io::Result<RecordedPeer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let task = tokio::spawn(accept(listener, Arc::new(self), Arc::clone(&counters))).abort_handle();
        Ok(RecordedPeer { address, counters, task })
    }
}

/// Serves whoever connects. Connections end with this future.
async fn accept(listener: TcpListener, settings: Arc<RecordedPeerBuilder>, counters: Arc<Counters>) {
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
                Counters::add(&counters.connections, 1);
                let (settings, counters) = (Arc::clone(&settings), Arc::clone(&counters));
                connections.spawn(async move {
                    let end = connection::serve(stream, client, &settings, &counters).await;
                    debug!(%client, ?end, "connection ended");
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

// === impl PeerProfile ===

impl PeerProfile {
    /// How long `bytes` take on the link.
    ///
    /// ```
    /// use std::time::Duration;
    /// use spv_testkit::PeerProfile;
    ///
    /// let profile = PeerProfile { rate: Some(500_000), ..PeerProfile::default() };
    /// assert_eq!(profile.transfer(5_000), Duration::from_millis(10));
    /// assert_eq!(PeerProfile::default().transfer(5_000), Duration::ZERO);
    /// ```
    pub fn transfer(&self, bytes: u64) -> Duration {
        self.rate.map_or(Duration::ZERO, |rate| share(Duration::from_secs(1), bytes, rate.max(1)))
    }
}

// === impl Counters ===

impl Counters {
    /// Adds, and gives back what was counted before.
    fn add(counter: &AtomicU64, more: u64) -> u64 {
        counter.fetch_add(more, Ordering::Relaxed)
    }
}
