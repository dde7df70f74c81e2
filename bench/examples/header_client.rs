//! A header sync over real sockets: `cargo xtask bench headers --live`.
//!
//! The nodes run here; each client runs in a process of its own, whose heap and writes are counted.
//! - Memory and writes: five nodes; the hash takes no time. One of each 2,000 blocks is known ahead.
//! - Gap: one node of 50 ms round trip and 100,000 headers with real X11 work. The gap is the time from the last byte of
//!   an answer on the node's socket to the next question there, without the round trip: the idle time of the client and
//!   of the sockets.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement")]

#[path = "../../spv-headers/tests/made/mod.rs"]
mod made;

use std::{
    env, fmt, fs, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    process::{self, Command, Stdio},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream;
use made::{Made, Node, stand_in};
use peak_alloc::PeakAlloc;
use qrinfo_core::{BlockHash, HEADER_LEN, Network, PeerId};
use spv_headers::{HeaderBatch, HeaderChain, HeaderRules, HeaderSyncConfig, sync_headers};
use spv_peer::{PeerConfig, handshake};
use spv_store::{HeaderWriter, Store};
use spv_testkit::{PeerProfile, Recording};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::spawn_blocking,
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// The length of an answer behind which a gap counts.
const LONG: usize = 50_000;

type Gaps = Arc<Mutex<Vec<Duration>>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["client", hash, length, directory, ref nodes @ ..] => {
            let nodes = nodes.iter().map(|node| node.parse()).collect::<Result<Vec<_>, _>>()?;
            runtime.block_on(client(hash == "x11", length.parse()?, directory, nodes))
        }
        ref lengths => {
            for length in lengths {
                runtime.block_on(memory(length.parse()?))?;
            }
            runtime.block_on(gap())
        }
    }
}

/// A sync of `length` headers. Prints the peak of the heap and the bytes written, in all and a header.
async fn client(is_x11: bool, length: u32, directory: &str, nodes: Vec<SocketAddr>) -> Result<()> {
    let network = Network::Regtest;
    let store = if directory == "-" { None } else { Some(Store::open(Path::new(directory), network)?) };
    let mut rules = HeaderRules::from(network);
    if !is_x11 {
        let ahead = |height: u32| {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&height.to_le_bytes());
            (height, BlockHash::from_bytes(hash))
        };
        rules = rules.hash(stand_in).waypoints((2_000..length).step_by(2_000).map(ahead));
    }
    let gaps = Arc::new(Mutex::new(Vec::new()));
    let mut connections = Vec::new();
    for (nonce, &node) in (1..).zip(&nodes) {
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        let stream = Stamped { stream, read: 0, last: Instant::now(), gaps: gaps.clone() };
        connections.push(handshake(stream, PeerId::Address(node), &PeerConfig::new(network, nonce)).await?);
    }
    let (keep, mut batches) = mpsc::channel(1);
    HEAP.reset_peak_usage();
    let (before, written) = (HEAP.current_usage(), bytes_written()?);
    let keeping = spawn_blocking(move || -> Result<()> {
        let mut writer = store.as_ref().map(HeaderWriter::new).transpose()?;
        while let Some(HeaderBatch { first, headers }) = batches.blocking_recv() {
            if let Some(writer) = &mut writer {
                writer.write(first, headers.into_iter().map(|checked| (checked.header, checked.hash)).collect())?;
            }
        }
        Ok(writer.map_or(Ok(()), HeaderWriter::finish)?)
    });
    let config = HeaderSyncConfig { wanted_peers: nodes.len(), ..HeaderSyncConfig::default() };
    let from = HeaderChain::new(0, network.genesis_hash());
    let start = Instant::now();
    let sync = sync_headers(stream::iter(connections), rules, from, config, keep).await?;
    keeping.await??;
    ensure!(sync.chain.tip() == length, "the sync ended at {}", sync.chain.tip());
    let (peak, written) = (HEAP.peak_usage() - before, bytes_written()? - written);
    if is_x11 {
        print!("own gap: {}; ", Spread::new(&gaps));
    }
    println!(
        "{:.2} s, heap at most {:.1} MB = {:.1} B a header, at the end {:.1}; written {:.1} MB = {:.2} x",
        start.elapsed().as_secs_f64(),
        peak as f64 / 1e6,
        peak as f64 / f64::from(length),
        (HEAP.current_usage() - before) as f64 / f64::from(length),
        written as f64 / 1e6,
        written as f64 / (f64::from(length) * HEADER_LEN as f64),
    );
    Ok(())
}

async fn memory(length: u32) -> Result<()> {
    let made = Made::stand_in(length);
    for (form, compresses) in [("headers", false), ("headers2", true)] {
        for rate in [None, Some(1_500_000)] {
            let round_trip = if rate.is_some() { Duration::from_millis(150) } else { Duration::from_millis(1) };
            let profile = PeerProfile { round_trip, rate, ..PeerProfile::default() };
            let node = || Node::new(&made).profile(profile).compresses(compresses).start();
            let nodes: Vec<_> = (0..5).map(|_| node()).collect();
            let mut addresses = Vec::new();
            for node in &nodes {
                addresses.push(node.listen().await?);
            }
            for stores in [false, true] {
                let said = run("stand-in", length, stores, &addresses).await?;
                let speed = if rate.is_some() { "1.5 MB/s each" } else { "loopback" };
                println!("{length:7} {form:8} {speed:13} {:8}  {}", kept(stores), said.trim());
            }
        }
    }
    Ok(())
}

async fn gap() -> Result<()> {
    println!("idle gap between questions, 100,000 headers, X11, one node of {} ms", ROUND_TRIP.as_millis());
    let genesis = Made::recorded(&Recording::bundled()?).until(0);
    let made = spawn_blocking(move || genesis.grown(0, 100_000, 1)).await?;
    for (form, compresses) in [("headers", false), ("headers2", true)] {
        for stores in [false, true] {
            let profile = PeerProfile { round_trip: ROUND_TRIP, ..PeerProfile::default() };
            let node = Node::new(&made).profile(profile).compresses(compresses).start();
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?;
            let gaps = Arc::new(Mutex::new(Vec::new()));
            let carried = tokio::spawn(carry(listener, node.connect(), gaps.clone()));
            let said = run("x11", 100_000, stores, &[address]).await?;
            carried.abort();
            println!("{form:8} {:8}  at the node: {}; {}", kept(stores), Spread::new(&gaps), said.trim());
        }
    }
    Ok(())
}

/// A client's socket that measures the time from the last byte of a long answer that was read to the next byte written.
struct Stamped {
    stream: TcpStream,
    read: usize,
    last: Instant,
    gaps: Gaps,
}

impl AsyncRead for Stamped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        if count > 0 {
            self.read += count;
            self.last = Instant::now();
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if polled.is_ready() {
            if self.read > LONG {
                self.gaps.lock().unwrap().push(self.last.elapsed());
            }
            self.read = 0;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Median, ninth tenth and longest of some gaps.
struct Spread([f64; 3]);

impl Spread {
    fn new(gaps: &Gaps) -> Self {
        let mut gaps: Vec<Duration> = std::mem::take(&mut *gaps.lock().unwrap());
        gaps.sort_unstable();
        let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        Self([at(0.5), at(0.9), at(1.0)])
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, most, longest] = self.0;
        write!(f, "median {median:.2} ms, 90 % below {most:.2} ms, longest {longest:.2} ms")
    }
}

/// Carries bytes between a client and a node, and measures the time from the last byte of a long answer to what the
/// client sends next.
async fn carry(listener: TcpListener, node: impl AsyncRead + AsyncWrite, gaps: Gaps) -> Result<()> {
    let (client, _) = listener.accept().await?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = tokio::io::split(node);
    let sent = Mutex::new((0_usize, Instant::now()));
    let down = async {
        let mut bytes = vec![0; 1 << 20];
        loop {
            let count = from_node.read(&mut bytes).await?;
            to_client.write_all(&bytes[..count]).await?;
            let mut sent = sent.lock().unwrap();
            *sent = (sent.0 + count, Instant::now());
            if count == 0 {
                return anyhow::Ok(());
            }
        }
    };
    let up = async {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let count = from_client.read(&mut bytes).await?;
            let (answer, at) = std::mem::replace(&mut *sent.lock().unwrap(), (0, Instant::now()));
            if answer > LONG && count > 0 {
                gaps.lock().unwrap().push(at.elapsed());
            }
            to_node.write_all(&bytes[..count]).await?;
            if count == 0 {
                return anyhow::Ok(());
            }
        }
    };
    tokio::try_join!(down, up)?;
    Ok(())
}

/// The words of one client.
async fn run(hash: &str, length: u32, stores: bool, nodes: &[SocketAddr]) -> Result<String> {
    let directory = env::temp_dir().join(format!("header-client-{}", process::id()));
    let place = if stores { directory.to_str().context("no directory")? } else { "-" };
    let mut client = Command::new(env::current_exe()?);
    client.args(["client", hash, &length.to_string(), place]).args(nodes.iter().map(ToString::to_string));
    client.stderr(Stdio::inherit());
    let output = spawn_blocking(move || client.output()).await??;
    if stores {
        fs::remove_dir_all(directory)?;
    }
    ensure!(output.status.success(), "a client failed");
    Ok(String::from_utf8(output.stdout)?)
}

fn kept(stores: bool) -> &'static str {
    if stores { "stored" } else { "not kept" }
}

fn bytes_written() -> Result<u64> {
    let counts = fs::read_to_string("/proc/self/io")?;
    let written = counts.lines().find_map(|line| line.strip_prefix("wchar: ")).context("no wchar in /proc/self/io")?;
    Ok(written.parse()?)
}
