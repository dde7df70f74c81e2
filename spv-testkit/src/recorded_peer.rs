mod answers;

use std::{io, net::SocketAddr, ops::RangeBounds, sync::Arc};

pub use self::answers::RecordedAnswers;
use qrinfo_core::message::QRInfo;

use crate::{
    Recording,
    simulated_peer::{Fault, HeaderFault, PeerProfile, PeerStats, SimulatedPeer, SimulatedPeerBuilder},
};

/// A Dash node on this machine that answers `getqrinfo` as it was recorded: a [`SimulatedPeer`] with
/// [`RecordedAnswers`] that listens.
///
/// What was refused, or never asked, when it was recorded is met with silence and a point of misbehaviour. `getmnlistd`
/// is met with silence. It stops when it is dropped.
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
    peer: SimulatedPeer,
}

/// The settings of a [`RecordedPeer`].
#[derive(Debug, Clone)]
pub struct RecordedPeerBuilder(SimulatedPeerBuilder);

// === impl RecordedPeer ===

impl RecordedPeer {
    /// A peer that answers from `recording`.
    pub fn builder(recording: Arc<Recording>) -> RecordedPeerBuilder {
        RecordedPeerBuilder(SimulatedPeer::builder(RecordedAnswers::new(recording)))
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the counters of its work so far.
    pub fn stats(&self) -> PeerStats {
        self.peer.stats()
    }
}

// === impl RecordedPeerBuilder ===

impl RecordedPeerBuilder {
    /// Same as [`SimulatedPeerBuilder::protocol`].
    #[must_use]
    pub fn protocol(self, protocol: i32) -> Self {
        Self(self.0.protocol(protocol))
    }

    /// Same as [`SimulatedPeerBuilder::profile`].
    #[must_use]
    pub fn profile(self, profile: PeerProfile) -> Self {
        Self(self.0.profile(profile))
    }

    /// Same as [`SimulatedPeerBuilder::fault`].
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
    pub fn fault(self, replies: impl RangeBounds<u64>, fault: Fault) -> Self {
        Self(self.0.fault(replies, fault))
    }

    /// Same as [`SimulatedPeerBuilder::lie`].
    #[must_use]
    pub fn lie(self, replies: impl RangeBounds<u64>, lie: impl Fn(&mut QRInfo) + Send + Sync + 'static) -> Self {
        Self(self.0.lie(replies, lie))
    }

    /// Same as [`SimulatedPeerBuilder::header_fault`].
    #[must_use]
    pub fn header_fault(self, fault: HeaderFault) -> Self {
        Self(self.0.header_fault(fault))
    }

    /// Starts to listen on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the system says if there is no such port.
    pub async fn spawn(self) -> io::Result<RecordedPeer> {
        let peer = self.0.build();
        Ok(RecordedPeer { address: peer.listen().await?, peer })
    }
}
