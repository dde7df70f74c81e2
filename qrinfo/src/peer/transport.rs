use std::{error::Error, future::Future};

use futures_util::{Sink, Stream};
use qrinfo_core::{
    PeerId,
    wire::frame::{Frame, FrameEvent},
};
use qrinfo_correlate::{Closed, CorrelatorConfig, PeerService};
use tracing::Instrument;

use super::Peer;

/// A peer that is spoken with over a transport, and the future that does it.
pub(crate) fn peer_over<T, E>(
    id: PeerId,
    start_height: u32,
    transport: T,
    correlator: CorrelatorConfig,
) -> (Peer<PeerService>, impl Future<Output = Closed> + Send + use<T, E>)
where
    T: Stream<Item = Result<FrameEvent, E>> + Sink<Frame, Error = E> + Unpin + Send,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    #[cfg(feature = "parallel-qrinfo")]
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    // After the end of the sync there is no listener.
    #[cfg(feature = "parallel-qrinfo")]
    let observer = move |event| drop(sender.send(event));
    #[cfg(not(feature = "parallel-qrinfo"))]
    let observer = |_| {};
    let (service, driver) = PeerService::new(id, transport, correlator, observer);
    let peer = Peer::new(id, service, start_height);
    #[cfg(feature = "parallel-qrinfo")]
    let peer = peer.with_events(events);
    (peer, driver.instrument(tracing::debug_span!("peer", addr = %id)))
}
