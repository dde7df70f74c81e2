mod answers;

use std::{io, net::SocketAddr, sync::Arc};

pub use self::answers::RecordedAnswers;
use crate::{
    Recording,
    simulated_peer::{PeerStats, SimulatedPeer, SimulatedPeerBuilder},
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

// === impl RecordedPeer ===

impl RecordedPeer {
    /// A peer that answers from `recording`.
    pub fn builder(recording: Arc<Recording>) -> SimulatedPeerBuilder {
        SimulatedPeer::builder(RecordedAnswers::new(recording))
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

// === impl SimulatedPeerBuilder ===

impl SimulatedPeerBuilder {
    /// Builds the peer, which starts to listen on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// What the system says if there is no such port.
    pub async fn spawn(self) -> io::Result<RecordedPeer> {
        let peer = self.build();
        Ok(RecordedPeer { address: peer.listen().await?, peer })
    }
}
