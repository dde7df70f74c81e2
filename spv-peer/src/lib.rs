//! One Dash peer over TCP: frames, handshake, and the session that follows.
//!
//! [`connect`] opens a connection and shakes hands, [`connect_through`] does so through a SOCKS5 proxy; [`handshake`] does the second half over any byte stream, so that
//! a proxy, a pipe in a test or another transport works as well. Either gives a [`Connection`]: a
//! [`Stream`](futures_core::Stream) of [`FrameEvent`](qrinfo_core::wire::frame::FrameEvent)s and a
//! [`Sink`](futures_sink::Sink) of [`Frame`](qrinfo_core::wire::frame::Frame)s.
//!
//! Limits of this crate: it keeps no queue of messages, knows no request from a reply, starts no task and sets no timer
//! after the handshake. Timeouts belong to the caller that waits for something. [`LongReads`] bounds the memory of long
//! messages over all connections of a process.
//!
//! ```no_run
//! use futures_util::{SinkExt, StreamExt};
//! use qrinfo_core::{Network, message::NetworkMessage, wire::frame::FrameEvent};
//! use spv_peer::{PeerConfig, PeerError, connect};
//!
//! # async fn example() -> Result<(), PeerError> {
//! let config = PeerConfig::new(Network::Mainnet, 0x5eed);
//! let mut peer = connect(([203, 0, 113, 5], 9999).into(), &config).await?;
//! println!("{} speaks {} and is at {}", peer.peer(), peer.protocol_version(), peer.start_height());
//!
//! peer.send(NetworkMessage::Ping(7).to_frame()).await?;
//! while let Some(event) = peer.next().await {
//!     if let FrameEvent::Frame(frame) = event? {
//!         println!("{}", frame.command);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod codec;
mod config;
mod connect;
mod connection;
mod error;
mod gossip;
mod handshake;
mod long_reads;
mod ping;

pub use codec::FrameCodec;
pub use config::PeerConfig;
pub use connect::{connect, connect_through};
pub use connection::Connection;
pub use error::PeerError;
pub use gossip::{AddressSender, known_nodes};
pub use handshake::handshake;
pub use long_reads::LongReads;
pub use ping::round_trip;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
