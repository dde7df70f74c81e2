use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::{BufMut, Bytes};

use crate::{
    PeerId,
    wire::{DecodeError, DecodeErrorKind, Reader, Wire, put_var_bytes},
};

/// The protocol version that this library announces: the efficient construction of `qrinfo`.
pub const PROTOCOL_VERSION: i32 = 70237;

/// The oldest peer whose `mnlistdiff` has the layout that is decoded here.
pub const MIN_PROTOCOL_VERSION: i32 = 70230;

/// The longest user agent that is accepted, in bytes (Dash Core's `MAX_SUBVERSION_LENGTH`).
const MAX_USER_AGENT: usize = 256;

/// `version`: the first message of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionMessage {
    /// The newest protocol that the sender speaks; a session uses the lower of both.
    pub protocol_version: i32,
    /// Services of the sender, as bits. A light client offers none.
    pub services: u64,
    /// The sender's clock, in seconds since 1970.
    pub timestamp: i64,
    /// The receiver's address as the sender sees it.
    pub receiver: SocketAddr,
    /// A random number by which a node finds that it has connected to itself.
    pub nonce: u64,
    /// The sender's name and version, at most 256 bytes of UTF-8.
    pub user_agent: String,
    /// The height of the sender's tip.
    pub start_height: i32,
    /// True if the receiver should announce transactions.
    pub relay: bool,
    /// Bytes that Dash adds after the relay flag (a masternode's challenge), kept as received.
    pub trailing: Bytes,
}

impl VersionMessage {
    /// Creates the first message of a light client to a peer. A peer without an IP address is named by the unspecified one.
    pub fn for_client(receiver: PeerId, timestamp: i64, nonce: u64, user_agent: &str) -> Self {
        let receiver = receiver.address().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
        Self {
            protocol_version: PROTOCOL_VERSION,
            services: 0,
            timestamp,
            receiver,
            nonce,
            user_agent: user_agent.to_owned(),
            start_height: 0,
            relay: false,
            trailing: Bytes::new(),
        }
    }
}

// === impl VersionMessage ===

impl Wire for VersionMessage {
    const MIN_SIZE: usize = 4 + 8 + 8 + 26 + 26 + 8 + 1 + 4;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol_version = reader.i32("version")?;
        let services = reader.u64("services")?;
        let timestamp = reader.i64("timestamp")?;
        let receiver = decode_address(reader)?;
        decode_address(reader)?;
        let nonce = reader.u64("nonce")?;
        let offset = reader.offset();
        let user_agent = reader.var_bytes("user agent")?;
        if user_agent.len() > MAX_USER_AGENT {
            let kind = DecodeErrorKind::BadLength(user_agent.len());
            return Err(DecodeError { field: "user agent", offset, kind });
        }
        Ok(Self {
            protocol_version,
            services,
            timestamp,
            receiver,
            nonce,
            user_agent: text(&user_agent),
            start_height: reader.i32("start height")?,
            // Old clients leave the flag out, which means that they want everything.
            relay: if reader.remaining() > 0 { reader.bool("relay")? } else { true },
            trailing: reader.bytes("trailing", reader.remaining())?,
        })
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_i32_le(self.protocol_version);
        out.put_u64_le(self.services);
        out.put_i64_le(self.timestamp);
        encode_address(self.receiver, 0, out);
        encode_address(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), self.services, out);
        out.put_u64_le(self.nonce);
        put_var_bytes(out, self.user_agent.as_bytes());
        out.put_i32_le(self.start_height);
        out.put_u8(u8::from(self.relay));
        out.put_slice(&self.trailing);
    }
}

/// The bytes as text. Where they are no UTF-8, each byte above 127 becomes a question mark, so that the text is no
/// longer than the bytes and stays within its limit.
fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect(),
    }
}

fn decode_address(reader: &mut Reader<'_>) -> Result<SocketAddr, DecodeError> {
    reader.u64("address services")?;
    decode_ip(reader)
}

/// Reads an address and its port as `version` and `addr` write them.
pub(super) fn decode_ip(reader: &mut Reader<'_>) -> Result<SocketAddr, DecodeError> {
    let ip = IpAddr::from(reader.array::<16>("address")?).to_canonical();
    Ok(SocketAddr::from((ip, reader.u16_be("port")?)))
}

fn encode_address(address: SocketAddr, services: u64, out: &mut impl BufMut) {
    out.put_u64_le(services);
    encode_ip(address, out);
}

pub(super) fn encode_ip(address: SocketAddr, out: &mut impl BufMut) {
    out.put_slice(&match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    });
    out.put_u16(address.port());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_version_reads_back() {
        let message = VersionMessage::for_client(([127, 0, 0, 1], 19899).into(), 1_700_000_000, 42, "/qrinfo:0.1.0/");
        let wire = message.to_wire();
        assert_eq!(wire.len(), 4 + 8 + 8 + 26 + 26 + 8 + 15 + 4 + 1);
        assert_eq!(VersionMessage::from_wire(wire), Ok(message));
    }

    #[test]
    fn a_user_agent_that_is_no_text_reads_back_within_its_limit() {
        let message = VersionMessage::for_client(([127, 0, 0, 1], 19899).into(), 0, 42, &"a".repeat(MAX_USER_AGENT));
        let mut wire = message.to_wire().to_vec();
        for byte in &mut wire {
            if *byte == b'a' {
                *byte = 0xff;
            }
        }
        let read = VersionMessage::from_wire(wire).unwrap();
        assert_eq!(read.user_agent, "?".repeat(MAX_USER_AGENT));
        assert_eq!(VersionMessage::from_wire(read.to_wire()), Ok(read));
    }

    #[test]
    fn a_user_agent_over_its_limit_is_refused() {
        let mut message = VersionMessage::for_client(([127, 0, 0, 1], 1).into(), 0, 0, &"x".repeat(257));
        assert!(VersionMessage::from_wire(message.to_wire()).is_err());
        message.user_agent.pop();
        assert!(VersionMessage::from_wire(message.to_wire()).is_ok());
    }
}
