//! A follower over real sockets for as long as it takes to see it grow: `cargo xtask soak`, see docs/soak.md.
//!
//! Twenty nodes run in a process of their own, so that what is measured is the client alone.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement")]

mod nodes;
mod samples;
#[path = "../../../qrinfo/tests/follow/world.rs"]
mod world;

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use qrinfo::{
    follow::{FollowConfig, FollowState, Follower, follow},
    nodes::{Ledger, unix_time},
};
use qrinfo_core::{Network, PeerId};
use qrinfo_verify::Level;
use samples::{Sample, Samples};
use spv_peer::PeerConfig;
use spv_pool::{Plan, PlanConfig, PoolHandle, Source, dialer, start};
use spv_store::Store;
use tokio::time::{Instant, interval, timeout};

const NETWORK: Network = Network::Regtest;

/// Connections that the client keeps: more than there are honest nodes, so that some of the others are always in use.
const TARGET: usize = 14;

/// The time between two samples.
const EVERY: Duration = Duration::from_secs(5);

/// The time in which the client reaches the newest block at the end.
const BOUND: Duration = Duration::from_secs(60);

/// A message of the process of the nodes.
#[derive(Debug, Default)]
struct Told {
    honest: BTreeSet<PeerId>,
    tip: u32,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["nodes", minutes] => runtime.block_on(nodes::run(minutes.parse()?)),
        [minutes] => runtime.block_on(soak(minutes.parse()?)),
        _ => anyhow::bail!("give the number of minutes"),
    }
}

async fn soak(minutes: u64) -> Result<()> {
    let mut nodes = Nodes::start(minutes)?;
    let output = nodes.0.stdout.take().context("no output of the nodes")?;
    let directory = env::temp_dir().join(format!("qrinfo-soak-{}", std::process::id()));
    let store = Store::open(&directory, NETWORK)?;
    let settings = PlanConfig { target: TARGET, uses_gossip: false, ..PlanConfig::new(NETWORK, fastrand::u64(..)) };
    let plan = Plan::new(settings, Instant::now().into_std(), unix_time());
    let (pool, events) = start(plan, dialer(PeerConfig::new(NETWORK, 0), None));
    let told = Arc::new(Mutex::new(Told::default()));
    listen(output, pool.clone(), told.clone());
    let ledger = Ledger::new(pool, Some(store.clone()), |line| eprintln!("{line}"));
    let mut config = FollowConfig::new(NETWORK);
    config.start = (0, NETWORK.genesis_hash());
    // The signatures of made-up chains are random.
    config.level = Level::Roots;
    let follower = follow(events, ledger.clone(), Some(store), config)?;

    let mut samples = Samples::default();
    let mut ticks = interval(EVERY);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    println!("{}", samples::HEAD);
    while Instant::now() < end {
        ticks.tick().await;
        samples.add(Sample::take(&directory, told.lock().unwrap().tip)?);
    }
    let checked = check(follower, &ledger, &told).await;
    drop(nodes);
    std::fs::remove_dir_all(directory)?;
    samples.print_chart();
    checked.and(samples.check())
}

/// Checks that the follower is at the newest block, has left no honest node for a fault, and can be stopped.
async fn check(mut follower: Follower, ledger: &Ledger, told: &Mutex<Told>) -> Result<()> {
    let is_newest = |state: &FollowState| {
        let tip = told.lock().unwrap().tip;
        matches!(state, FollowState::Synced { height } if *height >= tip)
    };
    let has_reached = timeout(BOUND, follower.state.wait_for(is_newest)).await.is_ok();
    ensure!(has_reached, "the follower did not reach the newest block: {}", *follower.state.borrow());
    let banned: Vec<_> = told.lock().unwrap().honest.iter().copied().filter(|peer| ledger.is_banned(*peer)).collect();
    ensure!(banned.is_empty(), "honest nodes were banned: {banned:?}");
    Ok(follower.stop().await?)
}

/// Takes in what the nodes tell.
fn listen(output: ChildStdout, pool: PoolHandle, told: Arc<Mutex<Told>>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let Some((what, value)) = line.split_once(' ') else { continue };
            if what == "tip" {
                told.lock().unwrap().tip = value.parse().unwrap();
                continue;
            }
            let peer: PeerId = value.parse().unwrap();
            if what == "honest" {
                told.lock().unwrap().honest.insert(peer);
            }
            pool.add([peer], Source::Named);
        }
    });
}

/// The process of the nodes. It ends when this is dropped.
struct Nodes(Child);

// === impl Nodes ===

impl Nodes {
    fn start(minutes: u64) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        Ok(Self(command.args(["nodes", &minutes.to_string()]).stdout(Stdio::piped()).spawn()?))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
