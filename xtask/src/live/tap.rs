//! A relay between the client and one node that keeps the node's replies.
//!
//! The replies are compared as they crossed the wire. When the client has closed a connection, the node's side stays
//! open until [`Tap::release`]: a node forgets the score of a peer that is gone.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};

/// Bytes of a frame before its payload: magic, command, length, checksum.
const HEAD: usize = 24;

/// Longest payload that is relayed: Dash Core's own limit is a tenth of it.
const LONGEST: usize = 32 << 20;

/// Bytes of replies that are kept at a time: over a hundred times a recorded chain. The rest is relayed only.
const KEPT: usize = 256 << 20;

/// The relay of one node.
#[derive(Debug)]
pub(super) struct Tap {
    /// The address that stands for the node.
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    replies: Vec<Vec<u8>>,
    bytes: usize,
    /// Connections to the node.
    open: Vec<TcpStream>,
}

// === impl Tap ===

impl Tap {
    /// Listens on a free port of loopback. The relay ends with this process.
    pub(super) fn before(node: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
        let address = listener.local_addr().context("a listener has no address")?;
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A node that cannot be reached closes on the client, as it would without the relay.
                let _ = relay(client, node, &shared);
            }
        });
        Ok(Self { address, state })
    }

    /// Returns the payloads of the `qrinfo` messages since the last call.
    pub(super) fn take_replies(&self) -> Vec<Vec<u8>> {
        let mut state = lock(&self.state);
        state.bytes = 0;
        std::mem::take(&mut state.replies)
    }

    /// Closes the connections to the node.
    pub(super) fn release(&self) {
        for connection in lock(&self.state).open.drain(..) {
            // Fails only where the node has closed it.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn relay(client: TcpStream, node: SocketAddr, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let node = TcpStream::connect(node)?;
    // Without it each small request would wait for the acknowledgement of the one before.
    client.set_nodelay(true).and(node.set_nodelay(true))?;
    let (mut from_client, mut to_node) = (client.try_clone()?, node.try_clone()?);
    lock(state).open.push(node.try_clone()?);
    // It ends with the client, and leaves the node's side open.
    thread::spawn(move || io::copy(&mut from_client, &mut to_node));
    let state = state.clone();
    thread::spawn(move || {
        let end = from_node(node, &client, &state);
        // The client learns that the node has closed.
        let _ = client.shutdown(Shutdown::Both);
        end
    });
    Ok(())
}

fn from_node(mut node: impl Read, mut client: impl Write, state: &Mutex<State>) -> io::Result<()> {
    let mut frame = Vec::new();
    while read_frame(&mut node, &mut frame)? {
        keep(&frame, state);
        // A client that is gone is no reason to stop reading: the connection stays open for its score.
        let _ = client.write_all(&frame);
    }
    Ok(())
}

/// Reads one frame, or tells that the node has closed.
fn read_frame(node: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    frame.clear();
    node.take(HEAD as u64).read_to_end(frame)?;
    let Some(length) = frame.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes) else {
        return Ok(false);
    };
    if length as usize > LONGEST {
        return Err(io::Error::other("a frame is too long"));
    }
    node.take(u64::from(length)).read_to_end(frame)?;
    Ok(frame.len() == HEAD + length as usize)
}

fn keep(frame: &[u8], state: &Mutex<State>) {
    let mut state = lock(state);
    let payload = &frame[HEAD..];
    if frame[4..16] == *b"qrinfo\0\0\0\0\0\0" && state.bytes + payload.len() <= KEPT {
        state.bytes += payload.len();
        state.replies.push(payload.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(command: &[u8; 12], payload: &[u8]) -> Vec<u8> {
        [&[1; 4][..], command, &(payload.len() as u32).to_le_bytes(), &[0; 4], payload].concat()
    }

    #[test]
    fn replies_are_kept_and_everything_is_relayed() {
        let sent = [
            frame(b"version\0\0\0\0\0", b"hello"),
            frame(b"qrinfo\0\0\0\0\0\0", b"one"),
            frame(b"pong\0\0\0\0\0\0\0\0", b""),
            frame(b"qrinfo\0\0\0\0\0\0", b"two"),
        ]
        .concat();
        let (mut relayed, state) = (Vec::new(), Mutex::default());
        from_node(sent.as_slice(), &mut relayed, &state).unwrap();
        assert_eq!(relayed, sent);
        assert_eq!(lock(&state).replies, [b"one", b"two"]);
    }

    #[test]
    fn a_frame_of_any_length_fills_no_memory() {
        let mut sent = frame(b"qrinfo\0\0\0\0\0\0", b"");
        sent[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(from_node(sent.as_slice(), Vec::new(), &Mutex::default()).is_err());
    }

    #[test]
    fn the_nodes_side_stays_open_until_released() {
        let node = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let tap = Tap::before(node.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(tap.address).unwrap();
        let (mut accepted, _) = node.accept().unwrap();
        client.write_all(b"asked").unwrap();
        let mut asked = [0; 5];
        accepted.read_exact(&mut asked).unwrap();
        accepted.write_all(&frame(b"qrinfo\0\0\0\0\0\0", b"reply")).unwrap();
        client.read_exact(&mut [0; HEAD + 5]).unwrap();
        drop(client);

        accepted.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let waited = accepted.read(&mut [0]).unwrap_err().kind();
        assert!(matches!(waited, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{waited}");
        tap.release();
        accepted.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
        assert_eq!(tap.take_replies(), [b"reply"]);
    }
}
