use qrinfo_core::{
    PeerId,
    message::{Addr, AddrV2, KnownNode, NetAddress},
    wire::{
        DecodeError, Wire,
        frame::{Command, Frame},
    },
};
use tokio::sync::mpsc;

/// Messages with addresses that are taken from one connection: the answer to a `getaddr`, and the few with which a node
/// names itself and others. What comes beyond is dropped.
const MAX_MESSAGES: usize = 8;

/// A channel for the messages in which peers name addresses, each with the peer that sent it.
///
/// [`known_nodes`] reads the messages. A message that finds the channel full is dropped.
pub type AddressSender = mpsc::Sender<(PeerId, Frame)>;

/// The nodes of an `addr` or `addrv2`, in one form. Another message names none.
///
/// ```
/// use qrinfo_core::{message::{Addr, KnownNode, NetAddress}, wire::{Wire, frame::{Command, Frame}}};
///
/// let address = ([203, 0, 113, 5], 9999).into();
/// let message = Addr(vec![KnownNode { last_seen: 0, services: 1, address }]);
/// let nodes = spv_peer::known_nodes(Frame { command: Command::ADDR, payload: message.to_wire() })?;
/// assert_eq!(nodes[0].address, NetAddress::Ip(address));
/// # Ok::<(), qrinfo_core::wire::DecodeError>(())
/// ```
///
/// # Errors
/// [`DecodeError`] if the payload is not a message of the frame's command.
pub fn known_nodes(frame: Frame) -> Result<Vec<KnownNode<NetAddress>>, DecodeError> {
    match frame.command {
        Command::ADDR => {
            let widen = |KnownNode { last_seen, services, address }| {
                let address = NetAddress::Ip(address);
                KnownNode { last_seen, services, address }
            };
            Ok(Addr::from_wire(frame.payload)?.0.into_iter().map(widen).collect())
        }
        Command::ADDR_V2 => Ok(AddrV2::from_wire(frame.payload)?.0),
        _ => Ok(Vec::new()),
    }
}

/// The part of one connection in the exchange of addresses.
#[derive(Debug)]
pub(crate) struct Gossip {
    to: AddressSender,
    left: usize,
}

// === impl Gossip ===

impl Gossip {
    pub(crate) fn new(to: AddressSender) -> Self {
        Self { to, left: MAX_MESSAGES }
    }

    /// Returns `true` for messages that are taken from the stream.
    pub(crate) fn takes(command: Command) -> bool {
        [Command::ADDR, Command::ADDR_V2].contains(&command)
    }

    pub(crate) fn take(&mut self, peer: PeerId, frame: Frame) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            // A full or closed channel wants no addresses now.
            let _ = self.to.try_send((peer, frame));
        }
    }
}
