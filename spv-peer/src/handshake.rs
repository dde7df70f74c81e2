use std::{
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use qrinfo_core::{
    Network, PeerId,
    message::{MIN_PROTOCOL_VERSION, VersionMessage},
    wire::{
        Wire,
        frame::{Command, Frame, FrameError, FrameEvent},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};
use tokio_util::codec::Framed;
use tracing::debug;

use crate::{Connection, FrameCodec, PeerConfig, PeerError};

/// The number of messages that are read before giving up. Dash Core sends fewer than ten before its `verack`.
const MAX_MESSAGES: usize = 32;

/// Shakes hands over a byte stream that leads to the node `peer`, and hands out the session.
///
/// We send `version`; the node answers with its own, which we acknowledge behind a `sendaddrv2` (BIP-155), and with
/// `verack`. Other messages may come
/// between: pings are answered, the rest is dropped, and their number and the whole time are limited. The connection
/// is handed out when both sides have acknowledged, for a node ignores `getqrinfo` before that.
///
/// The `version` announces protocol [`PROTOCOL_VERSION`](qrinfo_core::message::PROTOCOL_VERSION), no services and no
/// wish for transactions. Its time is the system's clock in seconds; nothing here depends on it.
///
/// Dropping the future drops `io`.
///
/// # Errors
/// Any [`PeerError`] but those of connecting.
///
/// ```
/// use qrinfo_core::{Network, PeerId};
/// use spv_peer::{PeerConfig, PeerError, handshake};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let (ours, theirs) = tokio::io::duplex(1024);
/// let peer = PeerId::Address(([203, 0, 113, 5], 19899).into());
/// let result = handshake(ours, peer, &PeerConfig::new(Network::Regtest, 42)).await;
/// assert!(matches!(result, Err(PeerError::HandshakeTimeout { .. })));
/// # drop(theirs);
/// # }
/// ```
pub async fn handshake<Io>(io: Io, peer: PeerId, config: &PeerConfig) -> Result<Connection<Io>, PeerError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    config.check()?;
    let mut framed = Framed::new(io, FrameCodec::new(config.network));
    let mut handshake = Handshake::new(config.network, config.nonce);
    let ours = VersionMessage {
        relay: config.relay,
        ..VersionMessage::for_client(peer, unix_time(), config.nonce, &config.announced_user_agent())
    };
    let result = timeout(config.handshake_timeout, drive(&mut framed, &mut handshake, &ours)).await;
    let awaited = handshake.awaited();
    let (theirs, round_trip) = match result {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(PeerError::Frame(FrameError::WrongMagic(magic)))) if awaited == Command::VERSION => {
            return Err(PeerError::WrongNetwork { expected: config.network, magic });
        }
        Ok(Err(PeerError::Io(error))) => {
            return Err(handshake.closed(Some(error)));
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(PeerError::HandshakeTimeout { awaited, after: config.handshake_timeout }),
    };
    debug!(
        %peer,
        protocol_version = theirs.protocol_version,
        user_agent = ?theirs.user_agent,
        start_height = theirs.start_height,
        "shook hands"
    );
    Ok(Connection::new(framed, peer, theirs, round_trip, &config.long_reads))
}

/// Carries frames between the wire and the decisions of `handshake`.
async fn drive<Io>(
    framed: &mut Framed<Io, FrameCodec>,
    handshake: &mut Handshake,
    ours: &VersionMessage,
) -> Result<(VersionMessage, Duration), PeerError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let sent = Instant::now();
    let mut round_trip = None;
    framed.send(Frame { command: Command::VERSION, payload: ours.to_wire() }).await?;
    loop {
        let frame = match framed.next().await {
            Some(Ok(FrameEvent::Frame(frame))) => frame,
            Some(Ok(FrameEvent::Partial(_))) => continue,
            Some(Err(error)) => return Err(error),
            None => return Err(handshake.closed(None)),
        };
        let round_trip = *round_trip.get_or_insert_with(|| sent.elapsed());
        match handshake.on_frame(frame)? {
            Step::Wait => {}
            Step::Send(frames) => framed.send_all(&mut stream::iter(frames.into_iter().map(Ok))).await?,
            Step::Done(theirs) => return Ok((theirs, round_trip)),
        }
    }
}

fn unix_time() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the wire wants the clock, and nothing here depends on it")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The decisions: what each frame of the peer means, given those before.
#[derive(Debug)]
struct Handshake {
    network: Network,
    nonce: u64,
    theirs: Option<VersionMessage>,
    messages: usize,
}

/// The next step after a frame.
#[derive(Debug)]
enum Step {
    /// Read the next one.
    Wait,
    /// Send these, then read the next one.
    Send(Vec<Frame>),
    /// The peer has acknowledged our `version`, and we its own.
    Done(VersionMessage),
}

// === impl Handshake ===

impl Handshake {
    fn new(network: Network, nonce: u64) -> Self {
        Self { network, nonce, theirs: None, messages: 0 }
    }

    /// The message without which the handshake cannot go on.
    fn awaited(&self) -> Command {
        if self.theirs.is_none() { Command::VERSION } else { Command::VERACK }
    }

    /// The error of a connection that ended here.
    fn closed(&self, source: Option<io::Error>) -> PeerError {
        PeerError::HandshakeClosed { expected: self.network, awaited: self.awaited(), source }
    }

    fn on_frame(&mut self, frame: Frame) -> Result<Step, PeerError> {
        self.messages += 1;
        match frame.command {
            Command::VERSION if self.theirs.is_none() => {
                self.theirs = Some(self.accept(frame)?);
                // A node takes note of `sendaddrv2` before `verack` alone.
                let answers = [Command::SEND_ADDR_V2, Command::VERACK];
                Ok(Step::Send(answers.map(|command| Frame { command, payload: Bytes::new() }).into()))
            }
            Command::VERSION => Err(PeerError::HandshakeOrder(frame.command)),
            Command::VERACK => self.theirs.take().map(Step::Done).ok_or(PeerError::HandshakeOrder(frame.command)),
            _ if self.messages >= MAX_MESSAGES => {
                Err(PeerError::HandshakeFlood { awaited: self.awaited(), limit: MAX_MESSAGES })
            }
            Command::PING => Ok(Step::Send(vec![pong(&frame)])),
            _ => Ok(Step::Wait),
        }
    }

    fn accept(&self, frame: Frame) -> Result<VersionMessage, PeerError> {
        let mut theirs = VersionMessage::from_wire(frame.payload).map_err(PeerError::MalformedVersion)?;
        if theirs.protocol_version < MIN_PROTOCOL_VERSION {
            return Err(PeerError::TooOld { version: theirs.protocol_version, minimum: MIN_PROTOCOL_VERSION });
        }
        if theirs.nonce == self.nonce {
            return Err(PeerError::SelfConnection);
        }
        // It is kept as long as the connection; as a slice it would keep the read buffer too.
        theirs.trailing = Bytes::copy_from_slice(&theirs.trailing);
        Ok(theirs)
    }
}

/// The answer to a ping: its own payload, which frames limit to 64 bytes. Copied, not to keep the read buffer.
pub(crate) fn pong(ping: &Frame) -> Frame {
    Frame { command: Command::PONG, payload: Bytes::copy_from_slice(&ping.payload) }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn frame(command: Command) -> Frame {
        let version = VersionMessage::for_client(([127, 0, 0, 1], 1).into(), 0, 7, "/node/");
        Frame { command, payload: if command == Command::VERSION { version.to_wire() } else { Bytes::new() } }
    }

    proptest! {
        /// The outcome depends on the first `version` and `verack` and on what precedes them, and on nothing else.
        #[test]
        fn any_sequence_of_messages_ends_as_its_first_version_and_verack_say(
            commands in vec(
                select(vec![
                    Command::VERSION,
                    Command::VERACK,
                    Command::PING,
                    Command::PING,
                    Command::new(b"inv"),
                    Command::new(b"sendcmpct"),
                ]),
                0..3 * MAX_MESSAGES,
            ),
            quiet in any::<bool>(),
        ) {
            // Half of the runs have hardly any version or verack, so that floods occur.
            let commands: Vec<_> = commands
                .into_iter()
                .enumerate()
                .filter(|(i, command)| !quiet || i % 16 == 5 || ![Command::VERSION, Command::VERACK].contains(command))
                .map(|(_, command)| command)
                .collect();
            let mut handshake = Handshake::new(Network::Regtest, 1);
            let mut sent = Vec::new();
            let mut outcome = "waits";
            for &command in &commands {
                match handshake.on_frame(frame(command)) {
                    Ok(Step::Wait) => {}
                    Ok(Step::Send(frames)) => sent.extend(frames.iter().map(|frame| frame.command)),
                    Ok(Step::Done(_)) => outcome = "done",
                    Err(PeerError::HandshakeOrder(_)) => outcome = "handshake_order",
                    Err(PeerError::HandshakeFlood { .. }) => outcome = "handshake_flood",
                    Err(error) => panic!("{error}"),
                }
                if outcome != "waits" {
                    break;
                }
            }

            let session: Vec<_> = commands
                .iter()
                .enumerate()
                .filter(|(_, command)| [Command::VERSION, Command::VERACK].contains(command))
                .map(|(i, &command)| (i, command))
                .collect();
            let flood = (MAX_MESSAGES - 1..commands.len()).find(|i| session.iter().all(|(at, _)| at != i));
            let (end, expected) = match session[..] {
                [(i, Command::VERACK), ..] => (Some(i), "handshake_order"),
                [_, (i, Command::VERSION), ..] => (Some(i), "handshake_order"),
                [_, (i, _), ..] => (Some(i), "done"),
                _ => (None, "waits"),
            };
            let expected = match (flood, end) {
                (Some(flood), Some(end)) if flood < end => "handshake_flood",
                (Some(_), None) => "handshake_flood",
                _ => expected,
            };
            prop_assert_eq!(outcome, expected);

            let until = [flood, end].into_iter().flatten().min().unwrap_or(commands.len());
            let answers: Vec<_> = commands[..until]
                .iter()
                .flat_map(|&command| match command {
                    Command::VERSION => vec![Command::SEND_ADDR_V2, Command::VERACK],
                    Command::PING => vec![Command::PONG],
                    _ => vec![],
                })
                .collect();
            prop_assert_eq!(sent, answers);
        }
    }
}
