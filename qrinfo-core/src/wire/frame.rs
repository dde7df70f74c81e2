//! Message frames: 4 bytes of network magic, 12 of command, a length, a checksum, and the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    chain::{Network, sha256d},
    message::inventory::{InventoryItem, MAX_INVENTORY},
    wire::Wire,
};

/// The length of a frame's header in bytes.
pub const HEADER_LEN: usize = 24;

/// The number of bytes of a payload between one [`FrameEvent::Partial`] and the next.
pub const PROGRESS_STEP: usize = 16 * 1024;

/// The name of a message: up to twelve printable ASCII characters, filled up with zero bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display, derive_more::Debug)]
#[display("{}", self.0.split(|&byte| byte == 0).next().unwrap_or_default().escape_ascii())]
#[debug("Command({self})")]
pub struct Command([u8; 12]);

impl Command {
    /// `getqrinfo`
    pub const GET_QR_INFO: Self = Self::new(b"getqrinfo");
    /// `qrinfo`
    pub const QR_INFO: Self = Self::new(b"qrinfo");
    /// `getmnlistd`
    pub const GET_MN_LIST_DIFF: Self = Self::new(b"getmnlistd");
    /// `mnlistdiff`
    pub const MN_LIST_DIFF: Self = Self::new(b"mnlistdiff");
    /// `version`
    pub const VERSION: Self = Self::new(b"version");
    /// `verack`
    pub const VERACK: Self = Self::new(b"verack");
    /// `getheaders`
    pub const GET_HEADERS: Self = Self::new(b"getheaders");
    /// `headers`
    pub const HEADERS: Self = Self::new(b"headers");
    /// `getheaders2`: the fields of [`GetHeaders`](crate::message::GetHeaders), answered by `headers2`.
    pub const GET_HEADERS2: Self = Self::new(b"getheaders2");
    /// `headers2`
    pub const HEADERS2: Self = Self::new(b"headers2");
    /// `sendheaders`: new blocks are to be announced by their headers.
    pub const SEND_HEADERS: Self = Self::new(b"sendheaders");
    /// `ping`
    pub const PING: Self = Self::new(b"ping");
    /// `pong`
    pub const PONG: Self = Self::new(b"pong");
    /// `getaddr`
    pub const GET_ADDR: Self = Self::new(b"getaddr");
    /// `addr`
    pub const ADDR: Self = Self::new(b"addr");
    /// `addrv2`
    pub const ADDR_V2: Self = Self::new(b"addrv2");
    /// `sendaddrv2`
    pub const SEND_ADDR_V2: Self = Self::new(b"sendaddrv2");
    /// `isdlock`
    pub const INSTANT_LOCK: Self = Self::new(b"isdlock");
    /// `clsig`
    pub const CHAIN_LOCK: Self = Self::new(b"clsig");
    /// `inv`: announces what the sender has.
    pub const INV: Self = Self::new(b"inv");
    /// `getdata`: asks for what was announced.
    pub const GET_DATA: Self = Self::new(b"getdata");
    /// `notfound`: names what was asked for and is not there.
    pub const NOT_FOUND: Self = Self::new(b"notfound");

    /// A command from its name; characters after the twelfth are dropped.
    pub const fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 12];
        let mut index = 0;
        while index < name.len() && index < bytes.len() {
            bytes[index] = name[index];
            index += 1;
        }
        Self(bytes)
    }

    /// A command as it stands in a frame, or `None` unless it is printable ASCII filled up with zero bytes.
    pub fn from_wire(bytes: [u8; 12]) -> Option<Self> {
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let (name, padding) = bytes.split_at(len);
        let well_formed = name.iter().all(|byte| (0x20..0x7f).contains(byte)) && padding.iter().all(|&byte| byte == 0);
        well_formed.then_some(Self(bytes))
    }

    /// The twelve bytes of the wire.
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

/// One message: its name and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The name of the message.
    pub command: Command,
    /// The message itself.
    pub payload: Bytes,
}

impl Frame {
    /// Appends the frame as `network` writes it.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use qrinfo_core::{Network, wire::frame::{Command, Frame, FrameDecoder, FrameEvent}};
    ///
    /// let ping = Frame { command: Command::PING, payload: vec![7; 8].into() };
    /// let mut stream = BytesMut::new();
    /// ping.encode(Network::Regtest, &mut stream);
    /// assert_eq!(stream.len(), 24 + 8);
    ///
    /// let mut decoder = FrameDecoder::new(Network::Regtest);
    /// assert_eq!(decoder.decode(&mut stream)?, Some(FrameEvent::Frame(ping)));
    /// # Ok::<(), qrinfo_core::wire::frame::FrameError>(())
    /// ```
    pub fn encode(&self, network: Network, out: &mut BytesMut) {
        out.reserve(HEADER_LEN + self.payload.len());
        out.put_slice(&network.magic());
        out.put_slice(self.command.as_bytes());
        // A payload of more than 4 GiB cannot be built from anything that this crate decodes or encodes.
        out.put_u32_le(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
        out.put_slice(&checksum(&self.payload));
        out.put_slice(&self.payload);
    }
}

/// The first four bytes of the payload's double SHA-256.
pub fn checksum(payload: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256d(payload);
    [a, b, c, d]
}

/// The longest payload that is accepted for a command, in bytes. A longer announcement ends the connection at its header.
///
/// Dash Core refuses to *receive* more than 3 MiB, but it *sends* longer `qrinfo` messages: in the legacy construction
/// each of six diffs, and of a few trailing ones, may be a full list of 0.6 MB. 16 MiB has room for more than twenty of
/// them, 4 MiB for a `mnlistdiff` of six times mainnet's list.
pub fn max_payload(command: Command) -> usize {
    match command {
        Command::QR_INFO => 16 << 20,
        Command::MN_LIST_DIFF => 4 << 20,
        Command::PING | Command::PONG => 64,
        Command::VERSION => 4 << 10,
        // 1,000 addresses of 534 bytes are longer than any real message: most have 26 to 50.
        Command::ADDR | Command::ADDR_V2 => 528 << 10,
        Command::INV | Command::GET_DATA | Command::NOT_FOUND => 3 + MAX_INVENTORY * InventoryItem::MIN_SIZE,
        _ => 3 << 20,
    }
}

/// An event of a [`FrameDecoder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameEvent {
    /// A whole message.
    Frame(Frame),
    /// Part of a message: reported once when its header is complete, then after every [`PROGRESS_STEP`].
    Partial(Partial),
}

// === impl FrameEvent ===

impl FrameEvent {
    /// The name of the message, whole or in part.
    pub const fn command(&self) -> Command {
        match self {
            Self::Frame(frame) => frame.command,
            Self::Partial(partial) => partial.command,
        }
    }
}

/// The progress of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// The name of the message.
    pub command: Command,
    /// Bytes of its payload received so far.
    pub received: usize,
    /// Bytes of its payload in all.
    pub length: usize,
}

/// A stream of bytes that is not a stream of frames of our network. Such a connection cannot be used any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer is on another network, or does not speak the Dash protocol.
    #[error("frame starts with {}; this peer is not on our network", hex(.0))]
    WrongMagic([u8; 4]),
    /// The command is not printable ASCII.
    #[error("frame has a malformed command {}", hex(.0))]
    BadCommand([u8; 12]),
    /// The header announces more than is accepted for its command.
    #[error("{command} of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The message's name.
        command: Command,
        /// The length it announces.
        length: usize,
        /// The longest accepted, see [`max_payload`].
        limit: usize,
    },
    /// The payload does not match the checksum in the header.
    #[error("{0} arrived with a wrong checksum")]
    BadChecksum(Command),
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame, {0} bytes after its start")]
    Truncated(usize),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Cuts a stream of bytes into frames.
///
/// A plain state machine: feed it the same growing buffer until it returns `None`, then read more. It never reserves
/// by a length field; the buffer grows only with what arrived.
#[derive(Debug)]
pub struct FrameDecoder {
    network: Network,
    header: Option<Header>,
    reported: usize,
}

#[derive(Debug, Clone, Copy)]
struct Header {
    command: Command,
    length: usize,
    checksum: [u8; 4],
}

impl FrameDecoder {
    /// A decoder for one connection to a peer of `network`.
    pub fn new(network: Network) -> Self {
        Self { network, header: None, reported: 0 }
    }

    /// Takes the next frame, or the progress of a frame, off the front of `buffer`.
    ///
    /// # Errors
    /// [`FrameError`]; the connection has to be closed, there is no way to find the next frame.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<FrameEvent>, FrameError> {
        let Header { command, length, checksum: expected } = match self.header {
            Some(header) => header,
            None => match self.decode_header(buffer)? {
                Some(header) => header,
                None => return Ok(None),
            },
        };
        if buffer.len() < length {
            let received = buffer.len();
            let first = self.header.is_none();
            self.header = Some(Header { command, length, checksum: expected });
            if first || received >= self.reported + PROGRESS_STEP {
                self.reported = received;
                return Ok(Some(FrameEvent::Partial(Partial { command, received, length })));
            }
            return Ok(None);
        }
        self.header = None;
        self.reported = 0;
        // Copied out: a slice of the buffer would keep all of it alive, which is up to twice as long.
        let payload = Bytes::copy_from_slice(&buffer[..length]);
        buffer.advance(length);
        if checksum(&payload) != expected {
            return Err(FrameError::BadChecksum(command));
        }
        Ok(Some(FrameEvent::Frame(Frame { command, payload })))
    }

    /// Checks that a stream that ends here, with `buffer` left, ends between two frames.
    ///
    /// # Errors
    /// [`FrameError::Truncated`].
    pub fn finish(&self, buffer: &BytesMut) -> Result<(), FrameError> {
        let header = if self.header.is_some() { HEADER_LEN } else { 0 };
        match header + buffer.len() {
            0 => Ok(()),
            received => Err(FrameError::Truncated(received)),
        }
    }

    fn decode_header(&self, buffer: &mut BytesMut) -> Result<Option<Header>, FrameError> {
        // The magic is judged as soon as it is there: a peer of another network need not send more.
        if let Some(magic) = buffer.first_chunk::<4>()
            && *magic != self.network.magic()
        {
            return Err(FrameError::WrongMagic(*magic));
        }
        if buffer.len() < HEADER_LEN {
            return Ok(None);
        }
        buffer.advance(4);
        let mut name = [0; 12];
        buffer.copy_to_slice(&mut name);
        let length = buffer.get_u32_le() as usize;
        let mut checksum = [0; 4];
        buffer.copy_to_slice(&mut checksum);
        let command = Command::from_wire(name).ok_or(FrameError::BadCommand(name))?;
        let limit = max_payload(command);
        if length > limit {
            return Err(FrameError::TooLong { command, length, limit });
        }
        Ok(Some(Header { command, length, checksum }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(command: Command, payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        Frame { command, payload: Bytes::copy_from_slice(payload) }.encode(Network::Regtest, &mut out);
        out
    }

    #[test]
    fn a_frame_fed_byte_by_byte_reports_its_progress_and_then_itself() {
        let payload: Vec<u8> = (0..40_000_u32).map(|i| i as u8).collect();
        let bytes = framed(Command::QR_INFO, &payload);
        let mut decoder = FrameDecoder::new(Network::Regtest);
        let mut buffer = BytesMut::new();
        let mut events = Vec::new();
        for byte in bytes {
            buffer.put_u8(byte);
            while let Some(event) = decoder.decode(&mut buffer).unwrap() {
                events.push(event);
            }
        }
        let received: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                FrameEvent::Partial(partial) => Some(partial.received),
                FrameEvent::Frame(_) => None,
            })
            .collect();
        assert_eq!(received, [0, 16_384, 32_768]);
        assert_eq!(
            events.last(),
            Some(&FrameEvent::Frame(Frame { command: Command::QR_INFO, payload: payload.into() }))
        );
        assert_eq!(decoder.finish(&buffer), Ok(()));
    }

    #[test]
    fn each_command_has_its_longest_payload() {
        for (command, most) in [
            (Command::QR_INFO, 16_777_216),
            (Command::MN_LIST_DIFF, 4_194_304),
            (Command::HEADERS, 3_145_728),
            (Command::INV, 1_800_003),
            (Command::ADDR, 540_672),
            (Command::ADDR_V2, 540_672),
            (Command::VERSION, 4_096),
            (Command::PING, 64),
            (Command::PONG, 64),
        ] {
            assert_eq!(max_payload(command), most, "{command}");
        }
    }

    #[test]
    fn each_way_to_spoil_a_frame_has_its_error() {
        let good = framed(Command::PONG, &[1; 8]);
        let decode = |bytes: &[u8]| FrameDecoder::new(Network::Regtest).decode(&mut BytesMut::from(bytes));
        let spoiled = |at: usize, value: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = value;
            decode(&bytes)
        };
        assert!(decode(&good).is_ok());
        assert!(decode(&framed(Command::PONG, &[1; 64])).is_ok(), "the longest");
        let magic = decode(&[1, 2, 3, 0xff]).unwrap_err();
        assert_eq!(magic, FrameError::WrongMagic([1, 2, 3, 0xff]));
        assert_eq!(magic.to_string(), "frame starts with 010203ff; this peer is not on our network");
        assert!(matches!(spoiled(4, 0xff), Err(FrameError::BadCommand(_))));
        assert!(matches!(spoiled(15, b'x'), Err(FrameError::BadCommand(_))));
        assert_eq!(spoiled(18, 1), Err(FrameError::TooLong { command: Command::PONG, length: 65_544, limit: 64 }));
        assert_eq!(spoiled(20, 0), Err(FrameError::BadChecksum(Command::PONG)));
        assert_eq!(spoiled(30, 0), Err(FrameError::BadChecksum(Command::PONG)));
    }

    #[test]
    fn a_length_field_alone_reserves_nothing() {
        let mut buffer = framed(Command::QR_INFO, &[0; 100]);
        buffer[16..20].copy_from_slice(&(15_u32 << 20).to_le_bytes());
        let capacity = buffer.capacity();
        let mut decoder = FrameDecoder::new(Network::Regtest);
        assert!(matches!(decoder.decode(&mut buffer), Ok(Some(FrameEvent::Partial(_)))));
        assert!(buffer.capacity() <= capacity);
        assert_eq!(decoder.finish(&buffer), Err(FrameError::Truncated(124)));
    }
}
