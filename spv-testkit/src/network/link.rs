use bytes::BytesMut;
use qrinfo_core::{
    Network, PeerId,
    client::ClientError,
    message::{NetworkMessage, VersionMessage},
    wire::{
        Wire,
        frame::{Command, Frame, FrameDecoder, FrameEvent},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    sync::mpsc,
    task::JoinSet,
};

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
    let network = node.chain_network();
    let (input, mut output) = split(node.connect());
    let mut input = Frames { input, decoder: FrameDecoder::new(network), buffer: BytesMut::new() };
    let version = VersionMessage::for_client(id, 0, VERSION_NONCE, "/mock/").to_wire();
    write(&mut output, &Frame { command: Command::VERSION, payload: version }, network).await?;
    let mut start_height = None;
    loop {
        let frame = input.next().await?.ok_or("the peer ended the handshake")?;
        match frame.command {
            Command::VERSION => {
                start_height = Some(u32::try_from(VersionMessage::from_wire(frame.payload)?.start_height)?);
            }
            Command::VERACK => break,
            _ => {}
        }
    }
    write(&mut output, &Frame { command: Command::VERACK, payload: Default::default() }, network).await?;

    let (outgoing, mut queue) = mpsc::unbounded_channel();
    let pongs = outgoing.clone();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let read = async {
            while let Ok(Some(frame)) = input.next().await {
                match NetworkMessage::from_frame(frame) {
                    Ok(NetworkMessage::Ping(nonce)) => drop(pongs.send(NetworkMessage::Pong(nonce).to_frame())),
                    Ok(message) => drop(arrivals.send((id, Some(message)))),
                    Err(_) => break,
                }
            }
        };
        let send = async {
            while let Some(frame) = queue.recv().await {
                // That a peer has left shows when all that it sent is read.
                let _ = write(&mut output, &frame, network).await;
            }
        };
        tokio::select! {
            () = read => {}
            () = send => {}
        }
        let _ = arrivals.send((id, None));
    });
    let start_height = start_height.ok_or("the peer sent no version")?;
    Ok(Link { start_height, outgoing, _task: task })
}

async fn write(output: &mut (impl AsyncWrite + Unpin), frame: &Frame, network: Network) -> Result<(), ClientError> {
    let mut bytes = BytesMut::new();
    frame.encode(network, &mut bytes);
    Ok(output.write_all(&bytes).await?)
}

struct Frames<R> {
    input: R,
    decoder: FrameDecoder,
    buffer: BytesMut,
}

// === impl Frames ===

impl<R: AsyncRead + Unpin> Frames<R> {
    /// The next frame, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Frame>, ClientError> {
        loop {
            while let Some(event) = self.decoder.decode(&mut self.buffer)? {
                if let FrameEvent::Frame(frame) = event {
                    return Ok(Some(frame));
                }
            }
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}
