use std::{error::Error, time::Duration};

use futures_util::{SinkExt, StreamExt};
use qrinfo_core::{
    BlockHash, Network,
    message::{GetHeaders, Headers, MAX_HEADERS, PROTOCOL_VERSION},
    wire::{
        DecodeError, Wire,
        frame::{Command, Frame, FrameEvent},
    },
};
use spv_peer::{Connection, PeerError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::{
    chain::{Extension, HeaderChain},
    check::{CheckedHeader, HeaderError, check},
};

/// How long a peer may take for 2,000 headers (162 KB): at 8 KB a second they take 20 s.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why headers could not be synced from a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderSyncError {
    /// The connection failed.
    #[error("connection failed during header sync")]
    Peer(#[from] PeerError),
    /// The connection ended.
    #[error("peer closed the connection during header sync")]
    Closed,
    /// No headers came in time.
    #[error("peer sent no headers within {} s", REPLY_TIMEOUT.as_secs())]
    Timeout,
    /// The peer sent something that is no `headers` message.
    #[error("peer sent malformed headers")]
    Malformed(#[from] DecodeError),
    /// The peer sent headers that are not accepted.
    #[error("peer sent headers that are not accepted")]
    Headers(#[from] HeaderError),
    /// The headers could not be kept on our side. Not the peer's fault.
    #[error("cannot keep the headers")]
    Keep(#[source] Box<dyn Error + Send + Sync>),
}

/// Asks one peer for headers, 2,000 at a time, until it has no more that we do not have.
///
/// `keep` is called with each change of the chain, after it was checked; where it fails, the sync ends. On any error the
/// chain holds what was accepted before, and the next peer can go on from there.
///
/// # Errors
/// [`HeaderSyncError`].
pub async fn sync_headers<Io: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<Io>,
    network: Network,
    chain: &mut HeaderChain,
    mut keep: impl FnMut(Extension, &[CheckedHeader]) -> Result<(), Box<dyn Error + Send + Sync>>,
) -> Result<(), HeaderSyncError> {
    loop {
        let Headers(headers) =
            timeout(REPLY_TIMEOUT, ask(connection, chain.locator())).await.map_err(|_| HeaderSyncError::Timeout)??;
        let count = headers.len();
        let checked = tokio::task::spawn_blocking(move || check(network, &headers))
            .await
            .map_err(|error| HeaderSyncError::Keep(error.into()))??;
        let extension = chain.connect(&checked)?;
        if extension.count > 0 {
            let new = checked.get(checked.len() - extension.count..).unwrap_or_default();
            keep(extension, new).map_err(HeaderSyncError::Keep)?;
        }
        if count < MAX_HEADERS || extension.count == 0 {
            return Ok(());
        }
    }
}

async fn ask<Io: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<Io>,
    locator: Vec<BlockHash>,
) -> Result<Headers, HeaderSyncError> {
    let request = GetHeaders { version: PROTOCOL_VERSION as u32, locator, stop: BlockHash::ZERO };
    connection.send(Frame { command: Command::GET_HEADERS, payload: request.to_wire() }).await?;
    while let Some(event) = connection.next().await {
        match event? {
            FrameEvent::Frame(Frame { command: Command::HEADERS, payload }) => {
                return Ok(Headers::from_wire(payload)?);
            }
            FrameEvent::Frame(_) | FrameEvent::Partial(_) => {}
        }
    }
    Err(HeaderSyncError::Closed)
}
