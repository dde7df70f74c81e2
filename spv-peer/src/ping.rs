use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use qrinfo_core::wire::frame::{Command, Frame, FrameEvent};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

use crate::{Connection, PeerError};

/// The nonce of the ping behind all other questions.
const FENCE: u64 = u64::from_le_bytes(*b"spvfence");

/// The time from a ping to its pong: one round trip, and what an idle node's socket loop adds.
///
/// Other frames that arrive meanwhile are dropped, so this is for a connection on which nothing was asked yet. It waits
/// for as long as the peer takes; wrap it in a timeout.
///
/// # Errors
/// [`PeerError`] if the connection fails or ends before the pong.
pub async fn round_trip<Io: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<Io>,
    nonce: u64,
) -> Result<Duration, PeerError> {
    let payload = Bytes::copy_from_slice(&nonce.to_le_bytes());
    let sent = Instant::now();
    connection.send(Frame { command: Command::PING, payload: payload.clone() }).await?;
    while let Some(event) = connection.next().await {
        match event? {
            FrameEvent::Frame(frame) if frame.command == Command::PONG && frame.payload == payload => {
                return Ok(sent.elapsed());
            }
            FrameEvent::Frame(_) | FrameEvent::Partial(_) => {}
        }
    }
    Err(PeerError::Io(io::ErrorKind::UnexpectedEof.into()))
}

/// The connection when the peer has answered, or passed over, all that it was asked before, or `None` if it takes longer
/// than `within`. Frames that arrive meanwhile are dropped, so that a late answer is not taken for one to the next question.
pub async fn fence<Io: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<Io>,
    within: Duration,
) -> Option<Connection<Io>> {
    timeout(within, round_trip(&mut connection, FENCE)).await.ok()?.ok()?;
    Some(connection)
}
