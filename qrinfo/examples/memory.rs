//! Peak heap of a client and peak resident set of its process, in sequence and in parallel: `cargo xtask bench memory`.
//!
//! Three simulated nodes serve 200 replies of mainnet's size. They run here; the client runs alone in a process of its
//! own, on one thread whose allocations are counted.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    env,
    error::Error,
    net::SocketAddr,
    num::NonZeroUsize,
    process::{Command, Stdio},
    time::Duration,
};

use qrinfo::{
    Delivered, OrderedSync, ParallelOptions, ParallelSync, SequentialOptions, SequentialSync, SyncReport, connect,
    plan::{PlanKind, Planner, anchor},
};
use qrinfo_core::{BlockHeader, QRInfoRequestSpec};
use qrinfo_correlate::CorrelatorConfig;
use qrinfo_verify::{HeaderMap, Level, ListStage};
use spv_peer::PeerConfig;
use spv_testkit::{Chain, PeerProfile, SimulatedPeer, SyntheticChain, SyntheticParams};

const SEED: u64 = 42;
const REPLIES: u32 = 200;
const PEERS: usize = 3;

type Failure = Box<dyn Error + Send + Sync>;

/// Bytes.
struct Peaks {
    heap: u64,
    resident: u64,
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
    match arguments.split_first() {
        None => tokio::runtime::Runtime::new()?.block_on(serve()),
        Some((mode, addresses)) => {
            let addresses = addresses.iter().map(|address| address.parse()).collect::<Result<Vec<_>, _>>()?;
            client(mode, addresses)
        }
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
    println!("peaks of the client over {REPLIES} replies, {PEERS} peers, with the limits of the command; KiB");
    println!("{:<34} {:>24} {:>24}", "", "heap", "resident set");
    let columns = format!("{:>8} {:>8} {:>6}", "seq.", "par.", "ratio");
    println!("{:<34} {columns} {columns}", "consumer");
    for consumer in ["keeps", "verifies", "drops", "slow"] {
        let mut peaks = Vec::new();
        for mode in ["sequential", "parallel"] {
            // One at a time with a pause for each reply would only take longer.
            let mode = format!("{mode}-{consumer}");
            peaks.push(run(&mode, &addresses).await?);
        }
        let [sequential, parallel] = &peaks[..] else { return Err("a client is missing".into()) };
        let name = match consumer {
            "keeps" => "keeps every reply",
            "verifies" => "verifies each reply",
            "drops" => "drops each reply",
            _ => "drops each after 50 ms",
        };
        let ratio = |sequential: u64, parallel: u64| {
            format!("{:>8} {:>8} {:>6.2}", sequential >> 10, parallel >> 10, parallel as f64 / sequential as f64)
        };
        println!(
            "{name:<34} {} {}",
            ratio(sequential.heap, parallel.heap),
            ratio(sequential.resident, parallel.resident)
        );
    }
    Ok(())
}

/// The peaks of one client.
async fn run(mode: &str, addresses: &[SocketAddr]) -> Result<Peaks, Failure> {
    let mut client = Command::new(env::current_exe()?);
    client.arg(mode).args(addresses.iter().map(ToString::to_string)).stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || client.output()).await??;
    if !output.status.success() {
        return Err(format!("the client {mode} failed").into());
    }
    let output = String::from_utf8(output.stdout)?;
    let (heap, resident) = output.trim().split_once(' ').ok_or("the client printed no peaks")?;
    Ok(Peaks { heap: heap.parse()?, resident: resident.parse()? })
}

fn client(mode: &str, addresses: Vec<SocketAddr>) -> Result<(), Failure> {
    let chain = chain();
    let kind = PlanKind::FiveStep;
    let planner = Planner { kind, anchor: anchor([chain.tip()]), ..Planner::new(chain.network(), chain.tip()) };
    let cycles = chain.network().cycles();
    let last = chain.tip() - chain.tip() % cycles.length();
    let first = last - cycles.length() * (REPLIES - 1);
    let plan = planner.plan(first, last, |height| chain.block(height).map(|block| block.hash))?;
    let headers = headers(&chain);
    let network = chain.network();
    drop(chain);
    // What the chain took does not count: "5" forgets the peak.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = None;
    let heap = allocation_counter::measure(|| {
        let mut consumer = match mode.split_once('-').map(|(_, consumer)| consumer) {
            Some("keeps") => Consumer::Keeps(Vec::new()),
            Some("verifies") => Consumer::Verifies(Box::new(ListStage::new(network, Level::Roots)), headers),
            Some("drops") => Consumer::Drops,
            _ => Consumer::TakesItsTime,
        };
        report = Some(runtime.block_on(async {
            let (requests, peers) = (plan.clone(), peers(&addresses).await?);
            match mode.starts_with("parallel") {
                true => take_all(ParallelSync::new(requests, peers, parallel_options()), &plan, &mut consumer).await,
                false => {
                    let sync = SequentialSync::new(requests, peers, SequentialOptions::default());
                    take_all(sync, &plan, &mut consumer).await
                }
            }
        }));
    });
    let report = report.ok_or("the client did not run")??;
    if !report.outcome.is_complete() || report.stats.delivered != u64::from(REPLIES) {
        return Err(format!("{}", report.outcome).into());
    }
    eprintln!("{mode}: {} KiB of replies", report.stats.bytes >> 10);
    println!("{} {}", heap.bytes_max, peak_resident()?);
    Ok(())
}

/// The greatest resident set of this process so far, in bytes: Linux alone tells.
fn peak_resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

fn parallel_options() -> ParallelOptions {
    ParallelOptions { max_concurrent: NonZeroUsize::MAX, ..ParallelOptions::default() }
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

fn headers(chain: &Chain) -> HeaderMap {
    let mut headers = HeaderMap::default();
    for (height, header) in (0..).zip(chain.headers()) {
        if let Some(block) = chain.block(height) {
            headers.insert(height, block.hash, &BlockHeader::from_bytes(*header));
        }
    }
    headers
}

async fn peers(addresses: &[SocketAddr]) -> Result<Vec<qrinfo::Peer<qrinfo_correlate::PeerService>>, Failure> {
    let mut peers = Vec::new();
    for (nonce, &address) in (1..).zip(addresses) {
        let config = PeerConfig::new(qrinfo_core::Network::Mainnet, nonce);
        peers.push(connect(address, &config, CorrelatorConfig::default()).await?);
    }
    Ok(peers)
}

fn chain() -> Chain {
    SyntheticChain::generate(SEED, &SyntheticParams::mainnet_like(REPLIES + 5)).chain
}
