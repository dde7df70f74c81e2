//! A peer against a scripted node: what each side sends, byte by byte.

mod codec;
mod handshake;
mod node;
mod session;
mod tcp;
