//! Twelve honest nodes and eight others on loopback. Each tells its address on standard output, and each new block is told
//! there.

use std::{collections::VecDeque, net::Ipv4Addr, time::Duration};

use anyhow::Result;
use spv_testkit::{Fault, HeaderFault, LiveChain, PeerProfile, SimulatedPeer, SimulatedPeerBuilder, SyntheticParams};
use tokio::{
    io::copy_bidirectional,
    net::TcpListener,
    task::JoinSet,
    time::{Instant, interval, interval_at, sleep},
};

use crate::{NETWORK, world::History};

const HONEST: u16 = 12;
const FAULTY: u16 = 8;

/// The height at which it starts: a client keeps more of the newest 2,304 blocks than of older ones, and what it keeps is
/// to be complete when its growth is judged.
const FIRST: u32 = 100 * 24 + 21;

/// The time between two blocks, on average.
const SPACING: Duration = Duration::from_secs(4);

/// Blocks that come faster at first, because a client keeps the quorums of eight cycles.
const QUICK: u32 = 10 * 24;

/// The time between these, on average.
const QUICK_SPACING: Duration = Duration::from_secs(1);

/// The time after which one faulty node makes way for another one.
const TURN: Duration = Duration::from_secs(60);

/// The time after which a node ends all its connections, as one that restarts does.
const RESTART: Duration = Duration::from_secs(90);

/// The number of blocks between two reorganizations.
const FORKS: usize = 150;

/// Serves, and mines until the process is ended.
pub(crate) async fn run(minutes: u64) -> Result<()> {
    let blocks = QUICK + (60 * minutes / SPACING.as_secs()) as u32;
    let params = SyntheticParams {
        tip: FIRST + blocks,
        masternodes: 1_000,
        changes_per_cycle: 20.0,
        ..SyntheticParams::regtest()
    };
    assert_eq!(params.network, NETWORK);
    let forks: Vec<_> = (FIRST + 10..FIRST + blocks - 10).step_by(FORKS).map(|height| (height, 2)).collect();
    let history = History::new(1, &params, FIRST, &forks);
    let live = LiveChain::new(history.first.clone());
    let mut numbers = 0..;
    let mut honest = JoinSet::new();
    for number in numbers.by_ref().take(usize::from(HONEST)) {
        listen(&mut honest, "honest", number, builder(&live)).await?;
    }
    let mut faulty = VecDeque::new();
    let (mut turns, mut changes) = (interval(TURN), history.changes.into_iter());
    loop {
        let spacing = if live.now().tip() < FIRST + QUICK { QUICK_SPACING } else { SPACING };
        tokio::select! {
            _ = turns.tick() => {
                faulty.pop_front();
                while faulty.len() < usize::from(FAULTY) {
                    let number = numbers.next().unwrap();
                    let mut tasks = JoinSet::new();
                    listen(&mut tasks, "faulty", number, spoilt(number, &live)).await?;
                    faulty.push_back(tasks);
                }
            }
            () = sleep(spacing.mul_f64(0.5 + fastrand::f64())) => {
                if let Some(change) = changes.next() {
                    println!("tip {}", change.chain.tip());
                    live.set(change.chain);
                }
            }
        }
    }
}

fn builder(live: &LiveChain) -> SimulatedPeerBuilder {
    let profile = PeerProfile { round_trip: Duration::from_millis(fastrand::u64(5..80)), ..PeerProfile::default() };
    SimulatedPeer::builder(live.clone()).profile(profile)
}

/// A node with a fault, which follows from its number.
fn spoilt(number: u16, live: &LiveChain) -> SimulatedPeerBuilder {
    let (node, seed) = (builder(live), u64::from(number));
    match number % 8 {
        0 => node.random_fault(0.5, seed, Fault::Refuse),
        1 => node.random_fault(0.3, seed, Fault::Silent),
        2 => node.random_fault(0.3, seed, Fault::Tamper { bit: 9_000 + usize::from(number) }),
        3 => node.random_fault(0.5, seed, Fault::Drip { bytes: 20, every: Duration::from_millis(500) }),
        4 => node.random_fault(0.5, seed, Fault::CloseInFrame { at: 100 }),
        5 => node.header_fault(HeaderFault::BrokenLink),
        6 => SimulatedPeer::builder(live.now().until(live.now().tip() - 30)),
        _ => node.random_fault(0.5, seed, Fault::Late { by: Duration::from_secs(40) }),
    }
}

/// Starts a node on an address of its own, and tells it.
async fn listen(tasks: &mut JoinSet<()>, kind: &str, number: u16, node: SimulatedPeerBuilder) -> Result<()> {
    let [high, low] = number.to_be_bytes();
    let listener = TcpListener::bind((Ipv4Addr::new(127, 1 + high, 1 + low, 1), 0)).await?;
    println!("{kind} {}", listener.local_addr()?);
    tasks.spawn(serve(listener, node.build()));
    Ok(())
}

/// Serves connections, and ends them all from time to time.
async fn serve(listener: TcpListener, node: SimulatedPeer) {
    let mut connections = JoinSet::new();
    let every = RESTART.mul_f64(0.5 + fastrand::f64());
    let mut restarts = interval_at(Instant::now() + every, every);
    loop {
        tokio::select! {
            Ok((mut stream, _)) = listener.accept() => {
                let mut end = node.connect();
                connections.spawn(async move { copy_bidirectional(&mut stream, &mut end).await });
            }
            Some(_) = connections.join_next() => {}
            _ = restarts.tick() => connections.abort_all(),
        }
    }
}
