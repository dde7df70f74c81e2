//! No honest peer is ever blamed: whatever version of Dash Core it runs, whichever branch it is on, however far it is
//! behind or ahead, and whatever the client's headers lack, its replies are true or cannot be judged, never false.
//!
//! `SPV_TEST_SEEDS=10000` tries as many seeds as it says, `SPV_TEST_SEEDS=77..78` those of a range.
#![cfg(feature = "verify")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod honest;

use std::{
    env,
    num::NonZeroUsize,
    ops::{AddAssign, Range},
    panic, thread,
};

use honest::{CYCLE, Client, Peer, SEEDS_PER_WORLD, World};
use qrinfo_core::{BlockHash, MnListDiffRequestSpec, Reply, Request, message::MnListDiff};
use qrinfo_verify::{Level, ListStage, VerifyError};

/// Seeds that are tried when nothing else is said.
const SEEDS: u64 = 200;

/// The results of the requests of some seeds.
#[derive(Debug, Clone, Default)]
struct Tally {
    /// Replies that were found true.
    truths: u32,
    /// Replies that the client could not judge.
    missing: u32,
    /// Requests that no peer could answer.
    refused: u32,
    /// True replies with trailing lists, and how many cycles the oldest of those lies back.
    trailing: u32,
    oldest_trailing: i32,
    /// True replies with a diff from the all-zero hash.
    from_zero: u32,
    /// Peers that were blamed, and how to see it again.
    blamed: Vec<String>,
}

fn seeds() -> Range<u64> {
    let Ok(text) = env::var("SPV_TEST_SEEDS") else { return 0..SEEDS };
    match text.split_once("..") {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None => 0..text.parse().unwrap(),
    }
}

/// A node whose tip is the work block; a list from before v19 whose snapshot skips masternodes that had left it.
#[test]
fn who_was_blamed_once_is_not_blamed_again() {
    for seed in [331, 352] {
        let tally = try_all(seed..seed + 1, |_| true);
        assert!(tally.blamed.is_empty(), "{:?}", tally.blamed);
    }
}

#[test]
fn honest_replies_are_never_false() {
    let seeds = seeds();
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64;
    let tally = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let seeds = seeds.clone();
                scope.spawn(move || try_all(seeds, |world| world % threads == worker))
            })
            .collect();
        let mut tally = Tally::default();
        workers.into_iter().for_each(|worker| tally += worker.join().unwrap());
        tally
    });
    let blamed = tally.blamed.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(tally.blamed.is_empty(), "honest peers were blamed in {} seeds\n{blamed}", tally.blamed.len());
    eprintln!("{} seeds: {tally:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= SEEDS {
        assert!(tally.truths > 10 * tally.missing, "most replies can be judged");
        assert!(tally.trailing > 100 && tally.oldest_trailing > 10 && tally.from_zero > 10, "{tally:?}");
    }
}

/// Tries the seeds of the worlds that are chosen.
fn try_all(seeds: Range<u64>, is_chosen: impl Fn(u64) -> bool) -> Tally {
    let mut tally = Tally::default();
    let mut made: Option<(u64, World)> = None;
    for seed in seeds.filter(|seed| is_chosen(seed / SEEDS_PER_WORLD)) {
        let number = seed / SEEDS_PER_WORLD;
        let world = match made.take() {
            Some((made, world)) if made == number => world,
            _ => World::generate(number),
        };
        match panic::catch_unwind(|| try_seed(seed, &world)) {
            Ok(Ok(of_seed)) => tally += of_seed,
            Ok(Err(blame)) => tally.blamed.push(format!("{blame}\nreplay with SPV_TEST_SEEDS={seed}..{}", seed + 1)),
            Err(_) => panic!("a panic at seed {seed}; replay with SPV_TEST_SEEDS={seed}..{}", seed + 1),
        }
        made = Some((number, world));
    }
    tally
}

/// One client asks honest peers for a whole plan. The error tells who was blamed for what.
fn try_seed(seed: u64, world: &World) -> Result<Tally, String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let peers: Vec<_> = (0..3).map(|_| Peer::random(world, &mut rng)).collect();
    let mut client = Client::random(world, &mut rng);
    let level = if rng.u32(0..5) == 0 { Level::Structure } else { Level::Roots };
    let mut stage = ListStage::new(world.network(), level);
    let mut tally = Tally::default();
    let mut known_lists = Vec::new();
    if let Some(start) = client.start_list(&mut rng) {
        let request = client.mn_list_diff(0, start);
        if judge(&client, &peers, &mut stage, &request.into(), &mut tally, &mut rng)? && level == Level::Roots {
            known_lists.push(start);
        }
    }
    let plan = client.plan(&peers, known_lists, &mut rng);
    let reorganises_at = if rng.u32(0..4) == 0 { rng.usize(0..=plan.len()) } else { usize::MAX };
    // A planner always sends a base below every list; other clients need not.
    let mut chooser = fastrand::Rng::with_seed(!seed);
    let drops_bases = chooser.u32(0..4) == 0;
    for (place, mut spec) in plan.into_iter().enumerate() {
        spec.base_block_hashes.retain(|_| !drops_bases || chooser.bool());
        if place == reorganises_at {
            client.reorganise(world);
        }
        judge(&client, &peers, &mut stage, &spec.into(), &mut tally, &mut rng)?;
    }
    for _ in 0..3 {
        let bases: Vec<_> = stage.kept().map(|lists| (lists.height(), lists.block_hash())).collect();
        let (height, hash) = rng.choice(bases).unwrap();
        let base_block_hash = if height == 0 && rng.bool() { BlockHash::ZERO } else { hash };
        let target = client.mn_list_diff(0, rng.u32(height..=client.tip().max(height)));
        let request = MnListDiffRequestSpec { base_block_hash, ..target };
        judge(&client, &peers, &mut stage, &request.into(), &mut tally, &mut rng)?;
    }
    Ok(tally)
}

/// Puts a request to the peers until one answers, and judges the reply. `true` if it counts.
fn judge(
    client: &Client,
    peers: &[Peer],
    stage: &mut ListStage,
    request: &Request,
    tally: &mut Tally,
    rng: &mut fastrand::Rng,
) -> Result<bool, String> {
    let mut order: Vec<_> = peers.iter().collect();
    rng.shuffle(&mut order);
    let Some((peer, reply)) = order.into_iter().find_map(|peer| Some((peer, peer.answer(request)?))) else {
        tally.refused += 1;
        return Ok(false);
    };
    match stage.apply(request, &reply, |hash| client.find(hash)) {
        Ok(_) => tally.count(&reply),
        Err(VerifyError::Missing(_)) => tally.missing += 1,
        Err(VerifyError::False(falsehood)) => {
            let why = std::error::Error::source(&falsehood).map(ToString::to_string);
            return Err(format!("{peer:?} was blamed for {request}: {falsehood}: {why:?}\n{client:?}"));
        }
        Err(error) => return Err(format!("an error of another kind: {error}")),
    }
    Ok(true)
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, reply: &Reply) {
        self.truths += 1;
        let Reply::QrInfo(reply) = reply else { return };
        let height = |diff: &MnListDiff| diff.coinbase.payload().unwrap().height;
        if let Some(oldest) = reply.mn_list_diff_list.first() {
            self.trailing += 1;
            self.oldest_trailing =
                self.oldest_trailing.max((height(&reply.mn_list_diff_h) - height(oldest)) / CYCLE as i32);
        }
        self.from_zero += u32::from(reply.diffs().any(|diff| diff.base_block_hash == BlockHash::ZERO));
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.truths += other.truths;
        self.missing += other.missing;
        self.refused += other.refused;
        self.trailing += other.trailing;
        self.oldest_trailing = self.oldest_trailing.max(other.oldest_trailing);
        self.from_zero += other.from_zero;
        self.blamed.extend(other.blamed);
    }
}
