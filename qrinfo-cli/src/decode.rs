//! `qrinfo decode`: a recorded reply as the node's own RPC would print it.

mod old;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use clap::{Args, ValueEnum};
use qrinfo_core::{
    Network, Reply,
    message::{MnListDiff, QRInfo},
    wire::{
        Wire,
        frame::{Command, Frame, FrameDecoder, FrameEvent, max_payload},
    },
};

use crate::json::Rpc;

/// The longest input, in bytes: the longest message in hexadecimal, with room for white space.
const MAX_INPUT: u64 = 96 << 20;

/// Prints a `qrinfo` or `mnlistdiff` message as JSON.
///
/// The message is a payload or a whole frame of any network, as bytes or as hexadecimal with or without white space.
/// The command detects the form.
///
/// Names, order and values are those of Dash Core 23.1's `quorum rotationinfo` and `protx diff`, but for these:
///
/// `votingAddress` needs the network, which a payload does not name; `keyIDVoting` stands in its place, the 20 bytes
/// that the address encodes.
///
/// BLS keys and signatures are as they came. A node prints those of legacy entries (version 1) and legacy commitments
/// (versions 1 and 2) in its current encoding.
///
/// Exits with 0 if the message was printed, 1 if it cannot be read or decoded, 2 if the command line is wrong.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Decode {
    /// The file to read; standard input if it is "-" or left out.
    file: Option<PathBuf>,
    /// The type of the payload; without it, the type is detected.
    #[arg(long = "as", value_name = "MESSAGE")]
    kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Qrinfo,
    Mnlistdiff,
}

impl Decode {
    pub(crate) fn run(self) -> Result<()> {
        let reply = decode(read(self.file.as_deref())?, self.kind)?;
        print(&reply, io::BufWriter::new(io::stdout().lock())).context("standard output")
    }
}

/// Reads a file; standard input if it is "-" or none.
pub(crate) fn read(file: Option<&Path>) -> Result<Vec<u8>> {
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            File::open(file).map_err(Into::into).and_then(read_all).with_context(|| file.display().to_string())
        }
        None => read_all(io::stdin().lock()).context("standard input"),
    }
}

fn read_all(input: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_INPUT + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= MAX_INPUT, "longer than {MAX_INPUT} bytes; no message is");
    ensure!(!bytes.is_empty(), "empty");
    Ok(bytes)
}

fn print(reply: &Reply, mut out: impl Write) -> io::Result<()> {
    match reply {
        Reply::QrInfo(message) => serde_json::to_writer_pretty(&mut out, &Rpc(&**message))?,
        Reply::MnListDiff(message) => serde_json::to_writer_pretty(&mut out, &Rpc(&**message))?,
    }
    out.write_all(b"\n")?;
    out.flush()
}

/// Decodes a payload or frame, in bytes or hexadecimal.
pub(crate) fn decode(input: Vec<u8>, kind: Option<Kind>) -> Result<Reply> {
    let bytes = match std::str::from_utf8(&input) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c.is_whitespace()) => from_hex(text)?,
        // A message always has zero bytes, which no text has.
        _ => input,
    };
    // No payload starts like a frame: a `qrinfo` starts with a number below 4, a `mnlistdiff` with its version, 1.
    match bytes.first_chunk().and_then(|magic| Network::from_magic(*magic)) {
        Some(network) => {
            let frame = only_frame(network, &bytes)?;
            let kind = match frame.command {
                _ if kind.is_some() => kind,
                Command::QR_INFO => Some(Kind::Qrinfo),
                Command::MN_LIST_DIFF => Some(Kind::Mnlistdiff),
                other => bail!("a frame of {other}; only qrinfo and mnlistdiff can be printed"),
            };
            decode_payload(frame.payload, kind)
        }
        None => decode_payload(bytes.into(), kind),
    }
}

fn decode_payload(payload: Bytes, kind: Option<Kind>) -> Result<Reply> {
    decode_current(payload.clone(), kind).map_err(|error| match old::layout(&payload) {
        Some(layout) => error.context(format!("{layout}, which is not decoded; 70230 or newer is needed")),
        None => error,
    })
}

fn decode_current(payload: Bytes, kind: Option<Kind>) -> Result<Reply> {
    match kind {
        Some(Kind::Qrinfo) => qr_info(payload).context("not a qrinfo"),
        Some(Kind::Mnlistdiff) => mn_list_diff(payload).context("not a mnlistdiff"),
        None => qr_info(payload.clone()).or_else(|as_qr_info| {
            mn_list_diff(payload)
                .map_err(|as_diff| anyhow::anyhow!("neither a qrinfo ({as_qr_info}) nor a mnlistdiff ({as_diff})"))
        }),
    }
}

fn qr_info(payload: Bytes) -> Result<Reply> {
    check_length(&payload, Command::QR_INFO)?;
    Ok(Reply::QrInfo(Box::new(QRInfo::from_wire(payload)?)))
}

fn mn_list_diff(payload: Bytes) -> Result<Reply> {
    check_length(&payload, Command::MN_LIST_DIFF)?;
    Ok(Reply::MnListDiff(Box::new(MnListDiff::from_wire(payload)?)))
}

fn check_length(payload: &Bytes, command: Command) -> Result<()> {
    let (length, limit) = (payload.len(), max_payload(command));
    ensure!(length <= limit, "{length} bytes are over the limit of {limit}");
    Ok(())
}

fn only_frame(network: Network, bytes: &[u8]) -> Result<Frame> {
    let mut decoder = FrameDecoder::new(network);
    let mut buffer = BytesMut::from(bytes);
    while let Some(event) = decoder.decode(&mut buffer).with_context(|| format!("not a {network} frame"))? {
        if let FrameEvent::Frame(frame) = event {
            ensure!(buffer.is_empty(), "{} bytes follow the frame of {}", buffer.len(), frame.command);
            return Ok(frame);
        }
    }
    decoder.finish(&buffer).with_context(|| format!("not a whole {network} frame"))?;
    bail!("not a whole {network} frame")
}

/// The bytes that a text spells.
fn from_hex(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (place, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        let digit = c.to_digit(16).with_context(|| format!("text that is not hexadecimal: {c:?} at byte {place}"))?;
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push((high << 4 | digit) as u8),
        }
    }
    ensure!(high.is_none(), "an odd number of hexadecimal digits");
    Ok(bytes)
}
