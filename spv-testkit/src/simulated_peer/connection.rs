use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use qrinfo_core::{
    Network,
    wire::frame::{Command, Frame, FrameDecoder, FrameEvent, HEADER_LEN},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time,
};

use super::{
    SimulatedPeerBuilder,
    fault::{Outgoing, Then},
    session::{Session, Step},
    stats::Counters,
};
use crate::{
    answers::Cost,
    link_model::{Transit, share},
};

/// The number of answers that may wait to be written before no more requests are read. It bounds memory. A request that
/// therefore waits in the socket is not answered later, unless the pipeline is deeper than this.
const QUEUE: usize = 1024;

/// The most bytes written at once.
const CHUNK: usize = 16 * 1024;

/// The least time that a part of a flood takes, so that paused time goes on.
const FLOOD_STEP: Duration = Duration::from_millis(1);

/// Something to write, and when.
#[derive(Debug)]
struct Delivery {
    outgoing: Outgoing,
    is_reply: bool,
    transfer: Duration,
    transit: Transit,
}

/// Serves one client until it leaves, breaks the protocol, or is thrown out.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite,
    client: SocketAddr,
    settings: &SimulatedPeerBuilder,
    counters: &Counters,
) -> io::Result<()> {
    let (input, output) = tokio::io::split(stream);
    let (queue, deliveries) = mpsc::channel(QUEUE);
    let mut node = settings.answers.node();
    node.start_height = settings.start_height.unwrap_or(node.start_height);
    let network = node.network;
    let session =
        Session::new(&*settings.answers, node, settings.software(), client, settings.header_fault, settings.compresses);
    tokio::select! {
        end = read(input, session, network, settings, counters, queue) => end,
        end = write(output, network, settings, counters, deliveries) => end,
    }
}

/// Decides what is answered and computes when.
async fn read(
    mut input: impl AsyncRead + Unpin,
    mut session: Session<'_>,
    network: Network,
    settings: &SimulatedPeerBuilder,
    counters: &Counters,
    queue: mpsc::Sender<Delivery>,
) -> io::Result<()> {
    let mut decoder = FrameDecoder::new(network);
    let mut model = settings.link_model();
    let mut buffer = BytesMut::new();
    let mut live = settings.answers.live();
    let mut known = live.as_mut().map(|live| live.borrow_and_update().clone());
    loop {
        while let Some(event) = decoder.decode(&mut buffer).map_err(io::Error::other)? {
            let FrameEvent::Frame(frame) = event else { continue };
            let now = time::Instant::now().into_std();
            if !settings.has_faults() {
                session.heal();
            }
            for step in session.receive(frame) {
                let is_reply = matches!(step, Step::Reply { .. });
                let (outgoing, cost, counted) = prepare(step, network, settings, counters);
                let transit = model.answer(now, cost.compute, cost.transfer, counted);
                let delivery = Delivery { outgoing, is_reply, transfer: cost.transfer, transit };
                if queue.send(delivery).await.is_err() {
                    return Ok(());
                }
            }
        }
        let changed = async {
            match &mut live {
                Some(live) => live.changed().await.map(|()| live.borrow_and_update().clone()),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            read = input.read_buf(&mut buffer) => if read? == 0 {
                return decoder.finish(&buffer).map_err(io::Error::other);
            },
            Ok(chain) = changed => {
                let now = time::Instant::now().into_std();
                let steps = known.as_ref().map(|known| session.announce(known, &chain)).unwrap_or_default();
                known = Some(chain);
                for step in steps {
                    let (outgoing, cost, counted) = prepare(step, network, settings, counters);
                    let transit = model.answer(now, cost.compute, cost.transfer, counted);
                    let delivery = Delivery { outgoing, is_reply: false, transfer: cost.transfer, transit };
                    if queue.send(delivery).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Returns the bytes that a step sends, the time that it takes, and the number of its bytes that count as unsent.
///
/// Payloads count, but not pongs or frame headers: a few bytes beside the thousands of a reply, which the model leaves
/// out.
fn prepare(
    step: Step,
    network: Network,
    settings: &SimulatedPeerBuilder,
    counters: &Counters,
) -> (Outgoing, Cost, u64) {
    match step {
        Step::Send(frame) => {
            let counted = if frame.command == Command::PONG { 0 } else { frame.payload.len() as u64 };
            let outgoing = Outgoing::frame(&frame, network);
            let transfer = settings.profile.transfer(outgoing.bytes.len() as u64);
            (outgoing, Cost { compute: Duration::ZERO, transfer }, counted)
        }
        Step::Close => (Outgoing::nothing(Then::Close), Cost::default(), 0),
        Step::Refuse(request) => {
            counters.count(|stats| {
                stats.requests += 1;
                stats.refusals += 1;
            });
            let cost = settings.answers.cost(&request);
            let compute = cost.map_or(settings.profile.compute, |cost| cost.compute);
            (Outgoing::nothing(Then::GoOn), Cost { compute, transfer: Duration::ZERO }, 0)
        }
        Step::Reply { request, reply, session } => {
            counters.count(|stats| stats.requests += 1);
            let number = counters.begun.fetch_add(1, Ordering::Relaxed);
            let mut outgoing = Outgoing::frame(&reply, network);
            let has_faults = settings.has_faults();
            let mishaps = settings.mishaps.iter().filter(|mishap| has_faults && mishap.replies.contains(number));
            for mishap in mishaps {
                mishap.befall(&mut outgoing, network, settings.answers.other(&request, session).as_ref());
            }
            if outgoing.bytes.is_empty() {
                counters.count(|stats| stats.refusals += 1);
            }
            let cost = cost(&request, &outgoing, settings);
            let counted = outgoing.bytes.len().saturating_sub(HEADER_LEN) as u64;
            (outgoing, cost, counted)
        }
    }
}

/// Returns the time that a reply takes.
fn cost(request: &Frame, outgoing: &Outgoing, settings: &SimulatedPeerBuilder) -> Cost {
    let bytes = outgoing.bytes.len() as u64;
    let Cost { compute, transfer } = settings
        .answers
        .cost(request)
        .unwrap_or_else(|| Cost { compute: settings.profile.compute, transfer: settings.profile.transfer(bytes) });
    let transfer = match outgoing.drip {
        _ if bytes == 0 => Duration::ZERO,
        Some((step, every)) => share(every, bytes, step as u64),
        None => transfer,
    };
    Cost { compute: compute.saturating_add(outgoing.late), transfer }
}

/// Writes every byte when the model says that it arrives.
async fn write(
    mut output: impl AsyncWrite + Unpin,
    network: Network,
    settings: &SimulatedPeerBuilder,
    counters: &Counters,
    mut deliveries: mpsc::Receiver<Delivery>,
) -> io::Result<()> {
    let model = settings.link_model();
    while let Some(Delivery { outgoing, is_reply, transfer, transit }) = deliveries.recv().await {
        let length = outgoing.bytes.len();
        // The header alone comes first: a client that waits for a reply's first bytes sees them when the link starts.
        let (header, step) = match outgoing.drip {
            Some((step, _)) => (0, step),
            None if transfer.is_zero() => (0, CHUNK),
            None => (HEADER_LEN.min(length), chunk_length(length, transfer, settings.progress)),
        };
        let (header, rest) = outgoing.bytes.split_at(header);
        let mut sent = 0;
        for chunk in [header].into_iter().chain(rest.chunks(step)).filter(|chunk| !chunk.is_empty()) {
            sent += chunk.len();
            sleep_until(model.arrival(transit, transfer, sent as u64, length as u64)).await;
            output.write_all(chunk).await?;
            counters.count(|stats| stats.bytes += chunk.len() as u64);
        }
        sleep_until(transit.last_byte).await;
        match outgoing.then {
            Then::GoOn if is_reply && length > 0 => counters.count(|stats| stats.replies += 1),
            Then::GoOn => {}
            Then::Close => return output.shutdown().await,
            Then::Stall => return pending().await,
            Then::Flood => return flood(output, network, settings, counters).await,
        }
    }
    Ok(())
}

/// Sends unrequested messages until the other side closes.
async fn flood(
    mut output: impl AsyncWrite + Unpin,
    network: Network,
    settings: &SimulatedPeerBuilder,
    counters: &Counters,
) -> io::Result<()> {
    // One entry, of the kind that announces a block.
    let payload = [&[1, 2, 0, 0, 0][..], &[0; 32]].concat();
    let inv = Frame { command: Command::new(b"inv"), payload: Bytes::from(payload) };
    let mut part = BytesMut::new();
    while part.len() < CHUNK {
        inv.encode(network, &mut part);
    }
    let step = settings.profile.transfer(part.len() as u64).max(FLOOD_STEP);
    loop {
        time::sleep(step).await;
        output.write_all(&part).await?;
        counters.count(|stats| stats.bytes += part.len() as u64);
    }
}

/// Returns the number of bytes of a message of this length that the link sends in this time, within bounds.
fn chunk_length(length: usize, transfer: Duration, time: Duration) -> usize {
    match (length as u128 * time.as_nanos()).checked_div(transfer.as_nanos()) {
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
