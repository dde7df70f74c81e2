//! A follower of a made-up network for a month of virtual time: blocks and lists of mainnet's size, stragglers,
//! reorganizations, nodes that are replaced, and a week without any; then kills at random moments.
#![allow(clippy::unwrap_used, reason = "a measurement")]

#[path = "../../qrinfo/tests/follow/world.rs"]
mod world;

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use qrinfo::{follow::FollowState, plan::Planner};
use qrinfo_core::Request;
use qrinfo_core::wire::frame::HEADER_LEN;
use spv_pool::Source;
use spv_store::{Store, StoreError};
use spv_testkit::{Chain, SyntheticParams};
use tokio::time::{Instant, sleep};
use world::{Change, History, World, reply, smallest, step};

/// Blocks of a day.
const DAY: u32 = 576;

/// The first blocks, from which the follower starts.
const FIRST: u32 = 8 * 288 + 151;

/// Simulates this many days, the week without nodes included, and then this many kills.
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn run(days: u32, kills: u32) -> Result<()> {
    month(days).await?;
    killed(kills).await
}

fn params(blocks: u32) -> SyntheticParams {
    let params = SyntheticParams::mainnet_like(10);
    SyntheticParams { tip: FIRST + blocks, extended_addresses_height: u32::MAX, ..params }
}

async fn month(days: u32) -> Result<()> {
    let blocks = days * DAY;
    let day = |day: u32| FIRST + day * DAY;
    let forks = [(day(days / 8), 1), (day(days / 3) + 100, 2), (day(days * 4 / 5) + 7, 8)];
    let history = History::new(1, &params(blocks), FIRST, &forks);
    println!("{blocks} blocks, {} cycles, {} nodes in use of 6, week from day {}", blocks / 288, 4, days / 2);
    let mut world = World::new(history.first.clone(), 6);
    let mut watched = world.follow(None);
    watched.until_synced(FIRST).await;
    let first_bytes = world.bytes();
    let started = Instant::now();

    let mut played = Played { changes: &history.changes, tip: FIRST };
    let mut best = 0;
    played.play(&world, day(days / 4), &mut best, &history.last).await;
    replace(&mut world, &watched.pool).await;
    played.play(&world, day(days / 2), &mut best, &history.last).await;
    let memory_before = resident();
    // A week without any node.
    let from = played.tip;
    world.replace_nodes(0);
    played.play(&world, from + (7 * DAY).min(blocks / 4), &mut 0, &history.last).await;
    let to = played.tip;
    best += smallest_pause(&history.last, from, to);
    replace(&mut world, &watched.pool).await;
    watched.until_synced(to).await;
    played.play(&world, day(days * 9 / 10), &mut best, &history.last).await;
    replace(&mut world, &watched.pool).await;
    played.play(&world, FIRST + blocks, &mut best, &history.last).await;
    watched.until_synced(history.last.tip()).await;
    sleep(Duration::from_secs(60)).await;

    let (bytes, traffic) = (world.bytes() - first_bytes, world.traffic());
    let ratio = bytes as f64 / best as f64;
    let unseen = watched.unseen(&history.last, FIRST..=history.last.tip());
    let quorums = watched.seen.lock().unwrap().quorums.len();
    let most = |of: fn(&(u32, u32)) -> u32| traffic.cycles.values().map(of).max().unwrap_or(0);
    let pause = traffic.cycles.iter().max_by_key(|(_, (qr_infos, _))| *qr_infos);
    let lies = watched.lies();
    let (blamed, reorganizations) = (blamed(&watched), watched.seen.lock().unwrap().reorganizations);
    println!("virtual time           {:?}", started.elapsed());
    println!("tip                    {:?}, {reorganizations} reorganizations", watched.state());
    println!("quorums proven         {quorums}, not seen {}", unseen.len());
    println!("false states           {}", lies.len());
    println!("honest nodes blamed    {}", blamed.len());
    println!("refused requests       {}", traffic.refused);
    println!("first sync             {first_bytes} bytes");
    println!("followed               {bytes} bytes, {best} at least, factor {ratio:.3}");
    println!("qrinfo of a cycle      {} at most (after the pause {pause:?})", most_usual(&traffic.cycles));
    println!("diffs of a cycle       {} at most", most(|(_, diffs)| *diffs));
    println!("memory of the process  {memory_before} MiB before the pause, {} MiB at the end", resident());
    ensure!(unseen.is_empty(), "quorums were not seen: {unseen:?}");
    ensure!(lies.is_empty(), "the state was not true: {lies:?}");
    ensure!(blamed.is_empty(), "honest nodes were blamed: {blamed:?}");
    ensure!(watched.state() == FollowState::Synced { height: history.last.tip() }, "it is not at the tip");
    ensure!(most_usual(&traffic.cycles) <= 1, "more than one qrinfo in a cycle");
    ensure!(most(|(_, diffs)| *diffs) <= 300, "more than 300 diffs in a cycle");
    ensure!(ratio <= 1.3, "more than 1.3 times the bytes that are needed");
    Ok(())
}

/// The most `qrinfo` of a cycle, but for the one in which past cycles were made up for.
fn most_usual(cycles: &std::collections::BTreeMap<u32, (u32, u32)>) -> u32 {
    let mut counts: Vec<_> = cycles.values().map(|(qr_infos, _)| *qr_infos).collect();
    counts.sort_unstable();
    counts.pop();
    counts.pop().unwrap_or(0)
}

struct Played<'a> {
    changes: &'a [Change],
    tip: u32,
}

impl Played<'_> {
    /// Plays up to a block of the chain, and adds the bytes that following it takes at least.
    async fn play(&mut self, world: &World, tip: u32, best: &mut u64, last: &Chain) {
        let is_there = |change: &Change| change.chain.tip() >= tip && is_on(&change.chain, last);
        let Some(end) = self.changes.iter().position(is_there).filter(|_| tip > self.tip) else { return };
        let (now, later) = self.changes.split_at(end + 1);
        let reached = now.last().map_or(tip, |change| change.chain.tip());
        world.play(now).await;
        *best += smallest(last, self.tip..reached);
        (self.changes, self.tip) = (later, reached);
    }
}

fn is_on(chain: &Chain, last: &Chain) -> bool {
    let hash = |chain: &Chain, height| chain.block(height).map(|block| block.hash);
    hash(chain, chain.tip()) == hash(last, chain.tip())
}

async fn replace(world: &mut World, pool: &spv_pool::PoolHandle) {
    world.replace_nodes(0);
    sleep(Duration::from_secs(1)).await;
    pool.add(world.replace_nodes(6), Source::Named);
}

/// The bytes of the smallest way over a pause: headers, each cycle that began and ended in it, and the step to the tip.
fn smallest_pause(chain: &Chain, from: u32, to: u32) -> u64 {
    let (chain, network) = (chain.until(to), chain.network());
    let cycles = network.cycles();
    let (first, last) = (cycles.start_of(from).height() + cycles.length(), cycles.start_of(to).height());
    let works = (0..8).filter_map(|back| cycles.work_height_back(cycles.start_of(from), back));
    let planner =
        Planner { known_lists: works.chain([from]).collect(), anchor: Some(to - 8), ..Planner::new(network, to) };
    let plan = planner.plan(first, last - 1, |height| chain.block(height).map(|block| block.hash)).unwrap();
    let past: u64 = plan.into_iter().map(|spec| reply(&chain, &Request::from(spec).to_message())).sum();
    let headers = u64::from(to - from) * 81 + HEADER_LEN as u64;
    headers + past + step(&chain, last - 288 - 8, to)
}

fn blamed(watched: &world::Watched) -> Vec<String> {
    let left = watched.ledger.all_left();
    left.into_iter()
        .filter(|(peer, _)| watched.ledger.is_banned(*peer))
        .map(|(peer, why)| format!("{peer}: {why}"))
        .collect()
}

/// The memory of this process in MiB, the chain and the nodes included.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4 / 1024
}

/// Kills a follower with a store at random moments, and starts it again.
async fn killed(kills: u32) -> Result<()> {
    let history = History::new(2, &params(kills * 2), FIRST, &[(FIRST + kills / 2, 2)]);
    let directory = std::env::temp_dir().join(format!("qrinfo-bench-follow-{}", std::process::id()));
    let world = World::new(history.first.clone(), 4);
    let mut random = fastrand::Rng::with_seed(1);
    let (mut changes, mut slowest, mut stored, mut most_bytes) = (history.changes.as_slice(), Duration::ZERO, 0, 0);
    for kill in 0..=kills {
        let store = open(&directory, history.network).await?;
        let tip = world.live.now().tip();
        ensure!(store.tip_height()?.unwrap_or(0) + 1 >= stored, "kill {kill}: headers were lost");
        let (before, from) = (world.bytes(), Instant::now());
        let mut watched = world.follow(Some(store));
        watched.until_synced(tip).await;
        if kill > 0 {
            slowest = slowest.max(from.elapsed());
            most_bytes = most_bytes.max(world.bytes() - before);
        }
        let (now, later) = changes.split_at(random.usize(0..3).min(changes.len()));
        world.play(now).await;
        changes = later;
        sleep(Duration::from_millis(random.u64(0..700))).await;
        ensure!(watched.lies().is_empty(), "the state was not true: {:?}", watched.lies());
        if let FollowState::Synced { height } = watched.state() {
            stored = height;
        }
        watched.kill();
    }
    let round_trips = slowest.as_secs_f64() / world.round_trip.as_secs_f64();
    println!(
        "{kills} kills              slowest start {slowest:?} = {round_trips:.2} round trips, {most_bytes} bytes at most"
    );
    fs::remove_dir_all(&directory)?;
    ensure!(round_trips < 4.0, "a start took more than three round trips");
    Ok(())
}

/// Opens the store, once the killed follower's last write has ended.
async fn open(directory: &std::path::Path, network: qrinfo_core::Network) -> Result<Store> {
    loop {
        match Store::open(directory, network) {
            Err(StoreError::InUse(_)) => sleep(Duration::from_millis(1)).await,
            opened => return Ok(opened?),
        }
    }
}
