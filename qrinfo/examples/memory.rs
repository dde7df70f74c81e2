//! Peak heap of a client and peak resident set of its process, in sequence and in parallel: `cargo xtask bench memory`.
//!
//! Three simulated nodes serve 200 replies of mainnet's size. They run here; the client runs alone in a process of its
//! own, on one thread whose allocations are counted. It reads the chain's headers from its standard input, because
//! making the chain takes more memory than a client ever does.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    env,
    error::Error,
    io::{self, BufReader, ErrorKind, Read, Write},
    net::SocketAddr,
    num::NonZeroUsize,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use qrinfo::{
    Delivered, OrderedSync, ParallelOptions, ParallelSync, SequentialOptions, SequentialSync, SyncReport, connect,
    plan::{PlanKind, Planner, anchor},
};
use qrinfo_core::{BlockHash, BlockHeader, DEFAULT_WINDOW_BYTES, Network, QRInfoRequestSpec};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_verify::{HeaderMap, Level, ListStage};
use spv_peer::PeerConfig;
use spv_testkit::{Chain, PeerProfile, SimulatedPeer, SyntheticChain, SyntheticParams};

const SEED: u64 = 42;
const REPLIES: u32 = 200;
const PEERS: usize = 3;
const NETWORK: Network = Network::Mainnet;

/// Windows in bytes, the default first.
const WINDOWS: [u64; 5] = [DEFAULT_WINDOW_BYTES, 8 << 20, 2 << 20, 1 << 20, 400_000];

/// The length of a block on the client's input: its hash and its header.
const BLOCK: usize = 32 + 80;

type Failure = Box<dyn Error + Send + Sync>;

/// Bytes, and the time of the whole sync.
struct Peaks {
    heap: u64,
    resident: u64,
    millis: u64,
}

/// The use that is made of a reply.
enum Consumer {
    Keeps(Vec<Delivered>),
    /// In this thread, or it would not be counted.
    Verifies(Box<ListStage>, HeaderMap),
    Drops,
    TakesItsTime,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => tokio::runtime::Runtime::new()?.block_on(serve()),
        [consumer, window, addresses @ ..] => {
            let addresses = addresses.iter().map(|address| address.parse()).collect::<Result<Vec<_>, _>>()?;
            client(consumer, window.parse()?, addresses)
        }
        _ => Err("a client needs a consumer, a window and addresses".into()),
    }
}

/// Starts the nodes, and one client after the other.
async fn serve() -> Result<(), Failure> {
    let chain = tokio::task::spawn_blocking(chain).await?;
    let profile = PeerProfile {
        round_trip: Duration::from_millis(40),
        compute: Duration::from_millis(5),
        rate: Some(20_000_000),
    };
    let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..PEERS {
        let node = SimulatedPeer::builder(chain.clone()).profile(profile).build();
        addresses.push(node.listen().await?);
        nodes.push(node);
    }
    let blocks: Arc<[u8]> = blocks(&chain).into();
    println!("peaks of the client over {REPLIES} replies, {PEERS} peers, with the limits of the command; KiB");
    println!(
        "{:<24} {:>9} {:>8} {:>6} {:>8} {:>6} {:>7}",
        "consumer", "window", "heap", "ratio", "RSS", "ratio", "time"
    );
    for (consumer, name) in [
        ("keeps", "keeps every reply"),
        ("verifies", "verifies each reply"),
        ("drops", "drops each reply"),
        ("slow", "drops each after 50 ms"),
    ] {
        // One at a time with a pause for each reply would only take longer.
        let sequential = run(consumer, 0, &addresses, &blocks).await?;
        show(name, "in turn", &sequential, &sequential);
        for window in WINDOWS {
            let parallel = run(consumer, window, &addresses, &blocks).await?;
            show(name, &window.to_string(), &parallel, &sequential);
        }
    }
    Ok(())
}

fn show(name: &str, window: &str, peaks: &Peaks, sequential: &Peaks) {
    let ratio = |peak: u64, sequential: u64| format!("{:>8} {:>6.2}", peak >> 10, peak as f64 / sequential as f64);
    let (heap, resident) = (ratio(peaks.heap, sequential.heap), ratio(peaks.resident, sequential.resident));
    println!("{name:<24} {window:>9} {heap} {resident} {:>5.1} s", peaks.millis as f64 / 1_000.0);
}

/// The peaks of one client; window 0 stands for a sequential one.
async fn run(consumer: &str, window: u64, addresses: &[SocketAddr], blocks: &Arc<[u8]>) -> Result<Peaks, Failure> {
    let mut client = Command::new(env::current_exe()?);
    client.args([consumer, &window.to_string()]).args(addresses.iter().map(ToString::to_string));
    client.stdin(Stdio::piped()).stdout(Stdio::piped());
    let blocks = blocks.clone();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = client.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(&blocks)?;
        }
        child.wait_with_output()
    });
    let output = output.await??;
    if !output.status.success() {
        return Err(format!("the client that {consumer}, window {window}, failed").into());
    }
    let output = String::from_utf8(output.stdout)?;
    let figures = output.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [heap, resident, millis] = figures[..] else { return Err("the client printed no peaks".into()) };
    Ok(Peaks { heap, resident, millis })
}

fn client(consumer: &str, window: u64, addresses: Vec<SocketAddr>) -> Result<(), Failure> {
    let (hashes, headers) = read_blocks(consumer == "verifies")?;
    let tip = u32::try_from(hashes.len())?.checked_sub(1).ok_or("no blocks")?;
    let planner = Planner { kind: PlanKind::FiveStep, anchor: anchor([tip]), ..Planner::new(NETWORK, tip) };
    let cycles = NETWORK.cycles();
    let last = tip - tip % cycles.length();
    let first = last - cycles.length() * (REPLIES - 1);
    let plan = planner.plan(first, last, |height| hashes.get(height as usize).copied())?;
    drop(hashes);
    // What the plan took does not count: "5" forgets the peak.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = None;
    #[expect(clippy::disallowed_methods, reason = "the time that this machine takes")]
    let start = Instant::now();
    let heap = allocation_counter::measure(|| {
        let mut consumer = match consumer {
            "keeps" => Consumer::Keeps(Vec::new()),
            "verifies" => Consumer::Verifies(Box::new(ListStage::new(NETWORK, Level::Roots)), headers),
            "drops" => Consumer::Drops,
            _ => Consumer::TakesItsTime,
        };
        report = Some(runtime.block_on(async {
            let (requests, peers) = (plan.clone(), peers(&addresses).await?);
            if window > 0 {
                let sync = ParallelSync::new(requests, peers, parallel_options(window));
                take_all(sync, &plan, &mut consumer).await
            } else {
                let sync = SequentialSync::new(requests, peers, SequentialOptions::default());
                take_all(sync, &plan, &mut consumer).await
            }
        }));
    });
    let report = report.ok_or("the client did not run")??;
    if !report.outcome.is_complete() || report.stats.delivered != u64::from(REPLIES) {
        return Err(format!("{}", report.outcome).into());
    }
    println!("{} {} {}", heap.bytes_max, peak_resident()?, start.elapsed().as_millis());
    Ok(())
}

/// The greatest resident set of this process so far, in bytes: Linux alone tells.
fn peak_resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

fn parallel_options(window_bytes: u64) -> ParallelOptions {
    ParallelOptions { max_concurrent: NonZeroUsize::MAX, window_bytes, ..ParallelOptions::default() }
}

async fn take_all(
    mut sync: impl OrderedSync,
    plan: &[QRInfoRequestSpec],
    consumer: &mut Consumer,
) -> Result<SyncReport, Failure> {
    while let Some(delivered) = sync.next().await {
        consumer.take(plan, delivered).await?;
    }
    Ok(sync.into_report())
}

impl Consumer {
    async fn take(&mut self, plan: &[QRInfoRequestSpec], delivered: Delivered) -> Result<(), Failure> {
        match self {
            Self::Keeps(kept) => kept.push(delivered),
            Self::Verifies(stage, headers) => {
                let spec = plan.get(delivered.index).ok_or("a reply to nothing")?;
                stage.apply(&spec.clone().into(), &delivered.reply, |hash| headers.find(hash))?;
            }
            Self::Drops => {}
            Self::TakesItsTime => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        Ok(())
    }
}

/// All blocks for a client's input.
fn blocks(chain: &Chain) -> Vec<u8> {
    let mut blocks = Vec::new();
    for (height, header) in (0..).zip(chain.headers()) {
        if let Some(block) = chain.block(height) {
            blocks.extend(block.hash.as_bytes());
            blocks.extend(header);
        }
    }
    blocks
}

/// The hashes of all blocks on the input, and their headers if they are needed.
fn read_blocks(with_headers: bool) -> Result<(Vec<BlockHash>, HeaderMap), Failure> {
    let mut input = BufReader::new(io::stdin().lock());
    let (mut hashes, mut headers) = (Vec::new(), HeaderMap::default());
    loop {
        let mut block = [0; BLOCK];
        match input.read_exact(&mut block) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok((hashes, headers)),
            Err(error) => return Err(error.into()),
        }
        let (hash, header) = block.split_at(32);
        let hash = BlockHash::from_bytes(hash.try_into()?);
        if with_headers {
            headers.insert(u32::try_from(hashes.len())?, hash, &BlockHeader::from_bytes(header.try_into()?));
        }
        hashes.push(hash);
    }
}

async fn peers(addresses: &[SocketAddr]) -> Result<Vec<qrinfo::Peer<qrinfo_correlate::PeerService>>, Failure> {
    let mut peers = Vec::new();
    for (nonce, &address) in (1..).zip(addresses) {
        let config = PeerConfig::new(NETWORK, nonce);
        peers.push(connect(address, &config, CorrelatorConfig::default()).await?);
    }
    Ok(peers)
}

fn chain() -> Chain {
    SyntheticChain::generate(SEED, &SyntheticParams::mainnet_like(REPLIES + 5)).chain
}
