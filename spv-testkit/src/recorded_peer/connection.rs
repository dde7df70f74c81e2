use std::{
    future::pending,
    io,
    net::SocketAddr,
    ops::RangeBounds,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use qrinfo_core::wire::frame::{Command, FrameDecoder, FrameEvent};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time,
};

use super::{
    Counters, RecordedPeerBuilder,
    fault::{Outgoing, Then},
    session::{Session, Step},
};
use crate::{
    link_model::{LinkModel, Transit, share},
    recording::{Answer, Construction, Exchange, Recording},
};

/// How many answers may wait to be written before no more requests are read. It bounds memory; a request that waits in
/// the socket for this does not come to its turn any later, unless the pipeline is deeper than this.
const QUEUE: usize = 256;

/// The most bytes written at once, and the most time on the link that they stand for: what a client sees of a reply's
/// progress is never older.
const CHUNK: usize = 16 * 1024;
const CHUNK_TIME: Duration = Duration::from_millis(5);

/// Something to write, and when.
#[derive(Debug)]
struct Delivery {
    outgoing: Outgoing,
    is_reply: bool,
    transit: Transit,
}

/// Serves one client until it leaves, breaks the protocol, or is thrown out.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite,
    client: SocketAddr,
    settings: &RecordedPeerBuilder,
    counters: &Counters,
) -> io::Result<()> {
    let (input, output) = tokio::io::split(stream);
    let (queue, deliveries) = mpsc::channel(QUEUE);
    let session = Session::new(&settings.recording, settings.protocol, client, settings.header_fault);
    tokio::select! {
        end = read(input, session, settings, counters, queue) => end,
        end = write(output, deliveries, counters) => end,
    }
}

/// Decides what is answered and computes when.
async fn read(
    mut input: impl AsyncRead + Unpin,
    mut session: Session<'_>,
    settings: &RecordedPeerBuilder,
    counters: &Counters,
    queue: mpsc::Sender<Delivery>,
) -> io::Result<()> {
    let profile = settings.profile;
    let mut decoder = FrameDecoder::new(settings.recording.network());
    let mut model = LinkModel::new(profile.round_trip);
    let mut buffer = BytesMut::new();
    loop {
        while let Some(event) = decoder.decode(&mut buffer).map_err(io::Error::other)? {
            let FrameEvent::Frame(frame) = event else { continue };
            let now = time::Instant::now().into_std();
            for step in session.receive(frame) {
                let (compute, outgoing) = prepare(&step, settings, counters);
                let bytes = outgoing.bytes.len() as u64;
                let transfer = match outgoing.drip {
                    Some((step, every)) => share(every, bytes, step as u64),
                    None => profile.transfer(bytes),
                };
                let transit = model.answer(now, compute, transfer, bytes);
                let delivery = Delivery { outgoing, is_reply: matches!(step, Step::Reply(..)), transit };
                if queue.send(delivery).await.is_err() {
                    return Ok(());
                }
            }
        }
        if input.read_buf(&mut buffer).await? == 0 {
            return decoder.finish(&buffer).map_err(io::Error::other);
        }
    }
}

/// What leaves for a step, and how long it takes to make.
fn prepare(step: &Step<'_>, settings: &RecordedPeerBuilder, counters: &Counters) -> (Duration, Outgoing) {
    let network = settings.recording.network();
    match step {
        Step::Send(command, payload) => (Duration::ZERO, Outgoing::frame(*command, payload.clone(), network)),
        Step::Close => (Duration::ZERO, Outgoing::nothing(Then::Close)),
        Step::Refuse => {
            Counters::add(&counters.requests, 1);
            Counters::add(&counters.refusals, 1);
            (settings.profile.compute, Outgoing::nothing(Then::GoOn))
        }
        Step::Reply(exchange, payload) => {
            Counters::add(&counters.requests, 1);
            let number = Counters::add(&counters.begun, 1);
            let mut outgoing = Outgoing::frame(Command::QR_INFO, Bytes::clone(payload), network);
            for (_, fault) in settings.faults.iter().filter(|(replies, _)| replies.contains(&number)) {
                let wrong = reply_of_another_cycle(&settings.recording, exchange).unwrap_or(payload);
                fault.befall(&mut outgoing, network, wrong);
            }
            if outgoing.bytes.is_empty() {
                Counters::add(&counters.refusals, 1);
            }
            (settings.profile.compute, outgoing)
        }
    }
}

/// The next reply of the same construction, counted around the end, that brings another cycle.
fn reply_of_another_cycle<'a>(recording: &'a Recording, exchange: &Exchange) -> Option<&'a Bytes> {
    let cycles = recording.network().cycles();
    let (before, behind) = recording
        .exchanges()
        .split_at_checked(recording.exchanges().iter().position(|other| other.id == exchange.id)?)?;
    behind.iter().chain(before).find_map(|other| match &other.answer {
        Answer::Reply(reply)
            if Construction::of(other.protocol) == Construction::of(exchange.protocol)
                && cycles.start(other.height) != cycles.start(exchange.height) =>
        {
            Some(reply)
        }
        _ => None,
    })
}

/// Writes every byte when the model says that it arrives.
async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut deliveries: mpsc::Receiver<Delivery>,
    counters: &Counters,
) -> io::Result<()> {
    while let Some(Delivery { outgoing, is_reply, transit }) = deliveries.recv().await {
        let length = outgoing.bytes.len();
        let transfer = transit.last_byte - transit.first_byte;
        let step = match outgoing.drip {
            Some((step, _)) => step,
            None => chunk_length(length, transfer),
        };
        let mut sent = 0;
        for chunk in outgoing.bytes.chunks(step) {
            sent += chunk.len();
            sleep_until(transit.first_byte + share(transfer, sent as u64, length as u64)).await;
            output.write_all(chunk).await?;
            Counters::add(&counters.bytes, chunk.len() as u64);
        }
        sleep_until(transit.last_byte).await;
        match outgoing.then {
            Then::GoOn if is_reply && length > 0 => _ = Counters::add(&counters.replies, 1),
            Then::GoOn => {}
            Then::Close => return output.shutdown().await,
            Then::Stall => return pending().await,
        }
    }
    Ok(())
}

/// How much of a message of this length is on the link for [`CHUNK_TIME`], within bounds.
fn chunk_length(length: usize, transfer: Duration) -> usize {
    match (length as u128 * CHUNK_TIME.as_nanos()).checked_div(transfer.as_nanos()) {
        Some(part) => usize::try_from(part).unwrap_or(CHUNK).clamp(1, CHUNK),
        None => CHUNK,
    }
}

/// Does not sleep for what is past: a timer would round it up to its next millisecond.
async fn sleep_until(due: Instant) {
    let due = time::Instant::from_std(due);
    if due > time::Instant::now() {
        time::sleep_until(due).await;
    }
}
