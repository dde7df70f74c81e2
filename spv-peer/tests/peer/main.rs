//! A peer against a scripted node: what each side sends, byte by byte.

mod codec;
mod gossip;
mod handshake;
mod node;
mod proxy;
mod session;
mod tcp;
