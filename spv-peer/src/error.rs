use std::{io, net::SocketAddr, time::Duration};

use qrinfo_core::{
    Network, PeerId,
    wire::{
        DecodeError,
        frame::{Command, FrameError},
    },
};

/// The errors that end the use of a peer. The connection cannot be used after any of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The peer's address could not be reached.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The peer's address did not answer in time.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The proxy could not be reached, or could not connect to the peer.
    #[error("cannot connect through the proxy {proxy}")]
    Proxy {
        /// The proxy's address.
        proxy: SocketAddr,
        /// The answer of the proxy, or of the transport to it.
        #[source]
        source: io::Error,
    },
    /// The peer's name is no `HOST:PORT` that a proxy could connect to.
    #[error("{0} is no HOST:PORT, which a proxy needs")]
    BadHost(PeerId),
    /// The peer has no IP address, and no proxy is set that could connect to it by name.
    #[error("{0} has no IP address; it can be connected to through a proxy")]
    NeedsProxy(PeerId),
    /// Our user agent is longer than peers accept. Nothing was sent.
    #[error("our user agent of {length} bytes is over the limit of {limit}")]
    UserAgentTooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that peers accept, in bytes.
        limit: usize,
    },
    /// The peer's first bytes are not those of our network: it belongs to another one, or is no Dash node.
    #[error("peer is not on {expected}: it {}", speaks(*.magic))]
    WrongNetwork {
        /// Our network.
        expected: Network,
        /// The bytes that came where our network's magic should be.
        magic: [u8; 4],
    },
    /// The peer speaks a protocol whose messages have layouts that are not decoded here.
    #[error("peer speaks protocol {version}, at least {minimum} is needed")]
    TooOld {
        /// The peer's newest protocol version.
        version: i32,
        /// The oldest that is accepted, [`MIN_PROTOCOL_VERSION`](qrinfo_core::message::MIN_PROTOCOL_VERSION).
        minimum: i32,
    },
    /// The peer's nonce is ours: the connection leads back to ourselves.
    #[error("connected to ourselves")]
    SelfConnection,
    /// The peer did not complete the handshake in time.
    #[error("no {awaited} within {after:?}")]
    HandshakeTimeout {
        /// The message that was missing.
        awaited: Command,
        /// The time that the whole handshake was given.
        after: Duration,
    },
    /// The connection ended during the handshake. A node that does not want us, or that is on another network, may
    /// do this without a word.
    #[error("connection ended before {awaited}{}", hint(*.awaited, *.expected))]
    HandshakeClosed {
        /// Our network.
        expected: Network,
        /// The message that was missing.
        awaited: Command,
        /// The error of the transport, unless the peer closed in good order.
        source: Option<io::Error>,
    },
    /// The peer sent a second `version`, or `verack` before `version`.
    #[error("{0} came out of order in the handshake")]
    HandshakeOrder(Command),
    /// The peer sent many other messages and did not complete the handshake.
    #[error("no {awaited} among the first {limit} messages")]
    HandshakeFlood {
        /// The message that was missing.
        awaited: Command,
        /// The number of messages that are read before giving up.
        limit: usize,
    },
    /// The peer's `version` does not decode.
    #[error("malformed version")]
    MalformedVersion(#[source] DecodeError),
    /// The bytes are no frames of our network, or end inside one.
    #[error("not a stream of frames")]
    Frame(#[from] FrameError),
    /// The peer asks again and again whether we are there and does not read the answers.
    #[error("{0} pings wait for a peer that does not read")]
    PingFlood(usize),
    /// The transport failed.
    #[error("connection failed")]
    Io(#[from] io::Error),
}

// === impl PeerError ===

impl PeerError {
    /// Returns `true` for errors that another attempt would meet again: the peer is not one that can be used, or cannot
    /// be reached with these settings.
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::UserAgentTooLong { .. }
                | Self::BadHost(_)
                | Self::NeedsProxy(_)
                | Self::WrongNetwork { .. }
                | Self::TooOld { .. }
                | Self::SelfConnection
                | Self::MalformedVersion(_)
        )
    }
}

/// A node says nothing to a peer of another network: it closes the connection at the first bytes.
fn hint(awaited: Command, expected: Network) -> String {
    match awaited {
        Command::VERSION => {
            format!("; the node may be on another network than {expected}, or accept no more connections")
        }
        _ => String::new(),
    }
}

fn speaks(magic: [u8; 4]) -> String {
    match Network::from_magic(magic) {
        Some(network) => format!("speaks for {network}"),
        None => format!("starts with {:02x?}, which is no Dash network", magic),
    }
}
