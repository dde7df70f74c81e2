use bytes::{BufMut, BytesMut};
use qrinfo_core::{
    Network,
    message::NetworkMessage,
    wire::frame::{FrameDecoder, FrameEvent, checksum},
};

use crate::input::Input;

/// Commands that a client reads.
const COMMANDS: [&str; 12] = [
    "qrinfo",
    "mnlistdiff",
    "getqrinfo",
    "getmnlistd",
    "ping",
    "pong",
    "headers",
    "headers2",
    "version",
    "verack",
    "addrv2",
    "inv",
];

/// A stream of frames whose magic, length and checksum are right, followed by raw bytes; cut at any places.
pub fn frames(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (count, cut) = (input.below(4), 1 + input.below(64));
    let mut stream = BytesMut::new();
    for _ in 0..count {
        let (command, length) = (COMMANDS[input.below(COMMANDS.len())], usize::from(input.short()));
        let payload = input.take(length);
        stream.put_slice(&Network::Regtest.magic());
        stream.put_slice(command.as_bytes());
        stream.put_bytes(0, 12 - command.len());
        stream.put_u32_le(payload.len() as u32);
        stream.put_slice(&checksum(payload));
        stream.put_slice(payload);
    }
    stream.put_slice(input.rest());

    let mut decoder = FrameDecoder::new(Network::Regtest);
    let mut arrived = BytesMut::new();
    let mut whole = 0;
    for part in stream.chunks(cut) {
        arrived.put_slice(part);
        loop {
            match decoder.decode(&mut arrived) {
                Ok(Some(FrameEvent::Frame(frame))) => {
                    whole += 1;
                    if let Ok(message) = NetworkMessage::from_frame(frame.clone()) {
                        assert_eq!(message.to_frame(), frame, "other bytes");
                    }
                }
                Ok(Some(FrameEvent::Partial(partial))) => assert!(partial.received <= partial.length),
                Ok(None) => break,
                Err(_) => return assert!(whole >= count, "a repaired frame was refused"),
            }
        }
    }
    assert!(whole >= count || decoder.finish(&arrived).is_err(), "a repaired frame was lost");
}
