//! Peers from a client's own network stack.
//!
//! A client that has a [`NetworkManager`] makes peers of it here, for [`SequentialSync`](crate::SequentialSync) and
//! `ParallelSync` alike:
//!
//! * [`broadcast`] takes any manager. It sends each request to all its peers and does not name the peer that answers,
//!   so all of them together are *one* peer, by the name of [`PeerId::ALL`]. The first reply that fits is taken and the
//!   copies are dropped.
//! * [`by_name`] takes a [`NamedNetworkManager`] and makes a peer of each of its peers. They share the work instead of
//!   repeating it, a refusal shows after a round trip instead of a timeout, and a false reply has an author.
//! * `by_stream` (feature `parallel-qrinfo`) takes a stream of events and a sink of messages, both with the names of
//!   peers. Peers join and leave while the sync runs.
//!
//! Each returns a driver too. The driver owns or borrows the manager as long as it runs, so that no lock is needed; run
//! it beside the sync. It gives the manager back when the sync is over, and passes all other messages to a closure.
//!
//! A client with a message loop of its own takes the state machine alone:
//! [`QRInfoCorrelationManager`](qrinfo_correlate::QRInfoCorrelationManager).
//!
//! A manager hands out whole messages, so nothing is seen of a reply on its way: the timeout of
//! [`CorrelatorConfig`] has to be longer than the longest reply takes.
//!
//! ```
//! use qrinfo::{OrderedSync, SequentialOptions, SequentialSync, network, plan::Planner};
//! use qrinfo_core::{PeerId, client::NetworkManager};
//! use qrinfo_correlate::CorrelatorConfig;
//! use spv_testkit::{Chain, MockNetworkManager, Recording, SimulatedPeer};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // A client has its own manager, and its headers; here are three made-up nodes.
//! let chain = Chain::from_recording(&Recording::bundled()?, |_| true)?;
//! let mut manager = MockNetworkManager::new();
//! for host in 1..=3 {
//!     manager.add_peer(PeerId::Address(([203, 0, 113, host], 19899).into()), SimulatedPeer::builder(chain.clone()).build());
//! }
//! manager.connect().await?;
//! let planner = Planner::new(chain.network(), chain.tip());
//! let plan = planner.plan(240, 480, |height| chain.block(height).map(|block| block.hash))?;
//!
//! // The manager is lent for as long as the sync takes.
//! let unclaimed = |message| println!("for the rest of the client: {message:?}");
//! let (peer, driver) = network::broadcast(&mut manager, CorrelatorConfig::default(), unclaimed).await?;
//! let sync = async {
//!     let mut sync = SequentialSync::new(plan, vec![peer], SequentialOptions::default());
//!     while let Some(delivered) = sync.next().await {
//!         println!("request {} is answered", delivered.index);
//!     }
//!     sync.into_report()
//! };
//! let (report, _) = tokio::join!(sync, driver.run());
//! assert!(report.outcome.is_complete());
//! assert!(manager.is_connected());
//! # Ok(())
//! # }
//! ```

mod hub;
mod link;
mod named;
#[cfg(feature = "parallel-qrinfo")]
mod stream;

use qrinfo_core::{
    PeerId,
    client::{ClientError, NamedNetworkManager, NetworkManager},
    message::NetworkMessage,
};
pub use qrinfo_correlate::BroadcastDriver;
use qrinfo_correlate::{CorrelatorConfig, PeerService};

pub use self::named::NamedDriver;
#[cfg(feature = "parallel-qrinfo")]
pub use self::stream::{JoiningPeers, NetworkEvent, StreamDriver};
use crate::Peer;

/// Makes one peer of a connected network that does not name its peers.
///
/// Its start height is the greatest that a peer has announced. Of `config` the depth and the head timeout count.
/// `others` is given every message that answers nothing that was asked here; it must not block. A request that some of
/// the peers refuse is answered by the others; only one that none answers costs a timeout.
///
/// [`Run`](BroadcastDriver::run) the driver: the peer does nothing without it. It ends when the peer and its clones are
/// dropped, or with the network, which ends every request at once.
///
/// # Errors
/// What the manager says when it is asked for the height.
pub async fn broadcast<N, F>(
    network: N,
    config: CorrelatorConfig,
    others: F,
) -> Result<(Peer<PeerService>, BroadcastDriver<N, F>), ClientError>
where
    N: NetworkManager,
    F: FnMut(NetworkMessage),
{
    let start_height = network.get_peer_best_height().await?.unwrap_or(0);
    let (service, driver) = PeerService::broadcast(network, config, others);
    Ok((Peer::new(PeerId::ALL, service, start_height), driver))
}

/// Makes a peer of each peer that a network is connected to now.
///
/// A start height that the manager does not know is 0, for which no [`anchor`](crate::plan::anchor) is chosen. Every
/// `qrinfo`, `mnlistdiff` and `pong` of these peers counts as an answer to a request made here, so nothing else may ask
/// for the former two meanwhile. `others` is called with every other message, and must not block.
///
/// [`Run`](NamedDriver::run) the driver: the peers do nothing without it.
///
/// ```
/// # use qrinfo::{Peer, network};
/// # use qrinfo_core::client::NamedNetworkManager;
/// # use qrinfo_correlate::{CorrelatorConfig, PeerService};
/// # async fn sync(peers: Vec<Peer<PeerService>>) {}
/// # async fn example(mut manager: Box<dyn NamedNetworkManager>) {
/// let (peers, driver) = network::by_name(&mut manager, CorrelatorConfig::default(), |peer, message| {
///     println!("for the rest of the client, from {peer}: {message:?}");
/// });
/// let (report, (_, ended)) = tokio::join!(sync(peers), driver.run());
/// println!("{ended}");
/// # }
/// ```
pub fn by_name<N, F>(network: N, config: CorrelatorConfig, others: F) -> (Vec<Peer<PeerService>>, NamedDriver<N, F>)
where
    N: NamedNetworkManager,
    F: FnMut(PeerId, NetworkMessage),
{
    NamedDriver::new(network, config, others)
}

/// Makes a peer of each peer that joins a network: for a client whose network manager runs in tasks of its own, with a
/// stream of [events](NetworkEvent) from it and a sink of messages to it.
///
/// The returned stream is for [`ParallelSync::with_changing_peers`](crate::ParallelSync::with_changing_peers). As with
/// [`by_name`], every `qrinfo`, `mnlistdiff` and `pong` of these peers counts as an answer to a request made here;
/// `others` is called with every other message, and must not block. The sink carries `getqrinfo`, `getmnlistd` and
/// `ping`; an error of it, or a wait longer than the head timeout, ends the driver. A peer that broke the protocol is
/// named by [`SyncReport::lost`](crate::SyncReport::lost) and [`PeerEvent::Banned`](qrinfo_core::PeerEvent::Banned):
/// the client has to disconnect it.
///
/// [`Run`](StreamDriver::run) the driver: the peers do nothing without it. The example `own_streams` has the whole.
///
/// ```
/// use futures_util::{sink, stream};
/// use qrinfo::{OrderedSync, ParallelOptions, ParallelSync, network::{self, NetworkEvent}};
/// use qrinfo_core::{PeerId, QRInfoRequestSpec, message::NetworkMessage};
/// use qrinfo_correlate::CorrelatorConfig;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// # let plan: Vec<QRInfoRequestSpec> = Vec::new();
/// let peer = PeerId::Address(([203, 0, 113, 1], 19899).into());
/// let events = stream::iter([NetworkEvent::Joined { peer, height: 2_240_504 }]);
/// let sink = sink::drain::<(PeerId, NetworkMessage)>();
/// let (peers, driver) = network::by_stream(events, sink, CorrelatorConfig::default(), |_, _| {});
/// let mut sync = ParallelSync::with_changing_peers(plan, peers, ParallelOptions::default());
/// let (next, _) = tokio::join!(sync.next(), driver.run());
/// assert!(next.is_none());
/// # }
/// ```
#[cfg(feature = "parallel-qrinfo")]
pub fn by_stream<E, K, F>(
    events: E,
    sink: K,
    config: CorrelatorConfig,
    others: F,
) -> (JoiningPeers, StreamDriver<E, K, F>)
where
    E: futures_util::Stream<Item = NetworkEvent> + Unpin,
    K: futures_util::Sink<(PeerId, NetworkMessage), Error: Into<ClientError>> + Unpin,
    F: FnMut(PeerId, NetworkMessage),
{
    StreamDriver::new(events, sink, config, others)
}
