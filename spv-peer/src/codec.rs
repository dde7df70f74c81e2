use bytes::BytesMut;
use qrinfo_core::{
    Network,
    wire::frame::{Frame, FrameDecoder, FrameEvent},
};
use tokio_util::codec::{Decoder, Encoder};

use crate::PeerError;

/// After a message of this length, in bytes, the connection goes on with a fresh buffer.
const LONG_MESSAGE: usize = 64 * 1024;

/// Room for the bytes behind a long message; as much as tokio-util starts a connection with.
const FRESH_BUFFER: usize = 8 * 1024;

/// Frames of one network as a codec for [`Framed`](tokio_util::codec::Framed): [`FrameDecoder`] one way,
/// [`Frame::encode`] the other.
///
/// It decodes to [`FrameEvent`]s, so the progress of a long message is seen while it arrives. The buffer grows only
/// with what has arrived, to at most twice as much; never by a length field. A payload has an allocation of its own, of
/// its length. After a message of 64 KiB or more the buffer is let go, so nothing of that size stays with an idle peer.
///
/// ```
/// use bytes::BytesMut;
/// use qrinfo_core::{Network, message::NetworkMessage, wire::frame::FrameEvent};
/// use spv_peer::FrameCodec;
/// use tokio_util::codec::{Decoder, Encoder};
///
/// let mut codec = FrameCodec::new(Network::Regtest);
/// let ping = NetworkMessage::Ping(7).to_frame();
/// let mut buffer = BytesMut::new();
/// codec.encode(ping.clone(), &mut buffer)?;
/// assert_eq!(codec.decode(&mut buffer)?, Some(FrameEvent::Frame(ping)));
/// # Ok::<(), spv_peer::PeerError>(())
/// ```
#[derive(Debug)]
pub struct FrameCodec {
    network: Network,
    decoder: FrameDecoder,
}

// === impl FrameCodec ===

impl FrameCodec {
    /// A codec for one connection to a peer of `network`.
    pub fn new(network: Network) -> Self {
        Self { network, decoder: FrameDecoder::new(network) }
    }
}

impl Decoder for FrameCodec {
    type Item = FrameEvent;
    type Error = PeerError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<FrameEvent>, PeerError> {
        let event = self.decoder.decode(buffer)?;
        if let Some(FrameEvent::Frame(frame)) = &event
            && frame.payload.len() >= LONG_MESSAGE
            // More than that is left to the frames behind: copying stays below the bytes received.
            && buffer.len() <= frame.payload.len()
        {
            let mut rest = BytesMut::with_capacity(FRESH_BUFFER.max(buffer.len()));
            rest.extend_from_slice(buffer);
            *buffer = rest;
        }
        Ok(event)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<FrameEvent>, PeerError> {
        let event = self.decode(buffer)?;
        if event.is_none() {
            self.decoder.finish(buffer)?;
        }
        Ok(event)
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = PeerError;

    fn encode(&mut self, frame: Frame, buffer: &mut BytesMut) -> Result<(), PeerError> {
        frame.encode(self.network, buffer);
        Ok(())
    }
}
