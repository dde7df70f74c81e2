use bytes::{BufMut, BytesMut};
use qrinfo_core::{
    Network,
    message::NetworkMessage,
    wire::frame::{Command, FrameDecoder, FrameEvent, checksum, max_payload},
};

use crate::input::Input;

/// Commands that a client knows.
const COMMANDS: [&str; 18] = [
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
    "addr",
    "getheaders",
    "getdata",
    "notfound",
    "clsig",
    "isdlock",
];

/// A stream of frames whose magic, length and checksum are right, followed by raw bytes; cut at any places.
pub fn frames(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (count, cut) = (input.below(4), 1 + input.below(64));
    let mut stream = BytesMut::new();
    for _ in 0..count {
        let command = COMMANDS[input.below(COMMANDS.len())];
        let most = Command::from_wire(name(command)).map_or(0, max_payload);
        let length = usize::from(input.short()).min(most);
        let payload = input.take(length);
        stream.put_slice(&Network::Regtest.magic());
        stream.put_slice(&name(command));
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

/// The name of a message as a frame has it.
fn name(command: &str) -> [u8; 12] {
    let mut name = [0; 12];
    name[..command.len()].copy_from_slice(command.as_bytes());
    name
}
