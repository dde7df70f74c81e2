//! One Dash peer over TCP, or through a SOCKS5 proxy: frames, handshake, and the session that follows.
//!
//! ```text
//!  connect ──────────► TCP ───┐
//!  connect_through ─► SOCKS5 ─┼─► handshake ──► Connection:  Stream of FrameEvent  (pings answered, progress reported)
//!  any byte stream ───────────┘                             Sink of Frame
//! ```
//!
//! [`connect`] opens a connection and shakes hands, [`connect_through`] does so through a proxy. [`handshake`] does the
//! second half over any byte stream, so that a pipe in a test or another transport works as well. Each gives a
//! [`Connection`]: a [`Stream`](futures_core::Stream) of [`FrameEvent`](qrinfo_core::wire::frame::FrameEvent)s and a
//! [`Sink`](futures_sink::Sink) of [`Frame`](qrinfo_core::wire::frame::Frame)s.
//!
//! The crate keeps no queue of messages, knows no request from a reply, starts no task and sets no timer after the
//! handshake. Timeouts belong to the caller that waits for something.
//!
//! # Example
//!
//! ```no_run
//! use futures_util::{SinkExt, StreamExt};
//! use qrinfo_core::{Network, message::NetworkMessage, wire::frame::FrameEvent};
//! use spv_peer::{PeerConfig, PeerError, connect};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), PeerError> {
//!     let config = PeerConfig::new(Network::Mainnet, 0x5eed);
//!     let mut peer = connect(([203, 0, 113, 5], 9999).into(), &config).await?;
//!     println!("{} speaks {} and is at {}", peer.peer(), peer.protocol_version(), peer.start_height());
//!
//!     peer.send(NetworkMessage::Ping(7).to_frame()).await?;
//!     while let Some(event) = peer.next().await {
//!         if let FrameEvent::Frame(frame) = event? {
//!             println!("{}", frame.command);
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | none | | |
//!
//! # Errors
//!
//! [`PeerError`] ends the use of the connection. Its text names the cause:
//!
//! | variants | what to do |
//! |---|---|
//! | `Connect`, `ConnectTimeout`, `HandshakeTimeout`, `HandshakeClosed`, `Io` | try again later, or another node |
//! | `WrongNetwork`, `TooOld`, `SelfConnection` | do not try this node again |
//! | `Proxy`, `BadHost`, `NeedsProxy`, `UserAgentTooLong` | correct the settings |
//! | `Frame`, `MalformedVersion`, `HandshakeOrder`, `HandshakeFlood`, `PingFlood` | the peer is at fault: avoid it |
//!
//! # Bounds
//!
//! * Connecting and the handshake: 10 s each by default ([`PeerConfig`]), and at most 32 messages in the handshake.
//! * The read buffer grows with what has arrived, to at most twice as much, never with a length that a peer announced.
//!   After a message of 64 KiB or more it is let go.
//! * A message longer than [its kind allows](qrinfo_core::wire::frame::max_payload) ends the connection at its header.
//! * Messages of more than 1 MiB share a budget over all connections of a process, [`LongReads`]: 16 MiB by default.
//! * Pongs that wait for a peer that does not read: 8; then the connection ends.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`qrinfo_core`]: frames and messages.
//! * [`qrinfo-correlate`](https://docs.rs/qrinfo-correlate): requests and replies over a connection.
//!   [`spv-pool`](https://docs.rs/spv-pool): the nodes to connect to.
//! * `docs/glossary.md` in the repository: the terms of this project.

mod codec;
mod config;
mod connect;
mod connection;
mod error;
mod gossip;
mod handshake;
mod long_reads;
mod nudge;
mod ping;

pub use codec::FrameCodec;
pub use config::PeerConfig;
pub use connect::{connect, connect_through};
pub use connection::Connection;
pub use error::PeerError;
pub use gossip::{AddressSender, known_nodes};
pub use handshake::handshake;
pub use long_reads::LongReads;
pub use ping::{fence, round_trip};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
