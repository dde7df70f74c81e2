use futures_util::{SinkExt, StreamExt};
use qrinfo_core::{
    PeerId,
    client::ClientError,
    message::NetworkMessage,
    wire::frame::{Frame, FrameEvent},
};
use spv_peer::{PeerConfig, handshake};
use tokio::{sync::mpsc, task::JoinSet};

use super::Arrival;
use crate::SimulatedPeer;

/// The number in our `version`; no node draws the same.
const VERSION_NONCE: u64 = 0x006d_6f63_6b21_0001;

/// A connection to one peer. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Link {
    start_height: u32,
    outgoing: mpsc::UnboundedSender<Frame>,
    _task: JoinSet<()>,
}

// === impl Link ===

impl Link {
    /// The height that the peer announced.
    pub(super) fn start_height(&self) -> u32 {
        self.start_height
    }

    /// One that has ended says so itself.
    pub(super) fn send(&self, message: &NetworkMessage) {
        let _ = self.outgoing.send(message.to_frame());
    }
}

/// Connects and shakes hands. What comes then goes to `arrivals`, and at the end of the connection its end.
pub(super) async fn connect(
    id: PeerId,
    node: &SimulatedPeer,
    arrivals: mpsc::UnboundedSender<Arrival>,
) -> Result<Link, ClientError> {
    let connection = handshake(node.connect(), id, &PeerConfig::new(node.chain_network(), VERSION_NONCE)).await?;
    let start_height = connection.start_height();
    let (mut output, mut input) = connection.split();
    let (outgoing, mut queue) = mpsc::unbounded_channel();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let read = async {
            while let Some(Ok(event)) = input.next().await {
                let FrameEvent::Frame(frame) = event else { continue };
                let Ok(message) = NetworkMessage::from_frame(frame) else { break };
                let _ = arrivals.send((id, Some(message)));
            }
        };
        let send = async {
            while let Some(frame) = queue.recv().await {
                // That a peer has left shows when all that it sent is read.
                let _ = output.send(frame).await;
            }
        };
        tokio::select! {
            () = read => {}
            () = send => {}
        }
        let _ = arrivals.send((id, None));
    });
    Ok(Link { start_height, outgoing, _task: task })
}
