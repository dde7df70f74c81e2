//! A transport of its own, here two channels, under the correlator of one peer.
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt, Stream, StreamExt, channel::mpsc};
use qrinfo_core::message::{MnListDiff, NetworkMessage};
use qrinfo_core::wire::frame::{Frame, FrameEvent};
use qrinfo_core::{Attempt, BlockHash, MnListDiffRequestSpec, PeerId};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use tower::ServiceExt;

type Received = Result<FrameEvent, mpsc::SendError>;

struct Transport(mpsc::Receiver<Received>, mpsc::Sender<Frame>);

impl Stream for Transport {
    type Item = Received;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.0.poll_next_unpin(cx)
    }
}

impl Sink<Frame> for Transport {
    type Error = mpsc::SendError;
    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.1.poll_ready_unpin(cx)
    }
    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        self.1.start_send_unpin(frame)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.1.poll_flush_unpin(cx)
    }
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.1.poll_close_unpin(cx)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (to_node, mut requests) = mpsc::channel(16);
    let (mut replies, from_node) = mpsc::channel(16);
    let peer = PeerId::Address(([127, 0, 0, 1], 19899).into());
    let (service, driver) =
        PeerService::new(peer, Transport(from_node, to_node), CorrelatorConfig::default(), |event| {
            println!("{event:?}")
        });
    tokio::spawn(driver);
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
    let asked = service.oneshot(Attempt::new(1, spec.into()));
    // The node at the other end answers the request; the ping behind it is the fence.
    let node = async {
        let request = requests.next().await.expect("a request");
        println!("the node got {}", request.command);
        let diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([3; 32]));
        let reply = NetworkMessage::MnListDiff(Box::new(diff)).to_frame();
        replies.send(Ok(FrameEvent::Frame(reply))).await.expect("a client");
    };
    let (answer, ()) = tokio::join!(asked, node);
    println!("answered with {} bytes", answer.expect("an answer").timing.bytes);
}
