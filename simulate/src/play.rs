//! One day, from its first minute to the end of all faults and some minutes more.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, advance, sleep, sleep_until, timeout},
};

use crate::{
    client::Client,
    day::Day,
    disk::Disk,
    kind::Kind,
    log::{Log, Records},
    network::Network,
    one_shot::{self, When},
};

/// The time in which the follower reaches the newest block once nothing is wrong any more: a few round trips and two
/// timeouts, of a question for headers and of a request.
const BOUND: Duration = Duration::from_secs(75);

/// The additional time where all nodes could not be reached: the longest wait of the pool before another attempt.
const BACKOFF: Duration = Duration::from_secs(10 * 60);

/// Requests of a sync beside the follower to one node: twice those of its plan.
const PLAN: u32 = 298;

/// A day as it is played.
struct Play {
    day: Day,
    log: Log,
    network: Network,
    rng: fastrand::Rng,
    client: Option<Client>,
    /// The disk, while no follower runs.
    disk: Disk,
    syncs: Vec<JoinHandle<()>>,
    starts: u32,
    /// Syncs beside the follower.
    count: u32,
    /// The height that the follower was synced to when it was killed.
    reported: u32,
}

/// Plays a day. Returns its events and the rules that were broken.
pub(crate) async fn play(day: Day) -> Records {
    fastrand::seed(day.seed);
    let log = Log::start();
    let network = Network::new(&day, &log);
    let rng = day.rng("play");
    let mut play = Play {
        day,
        log: log.clone(),
        network,
        rng,
        client: None,
        disk: Disk::default(),
        syncs: Vec::new(),
        starts: 0,
        count: 0,
        reported: 0,
    };
    play.run().await;
    log.end()
}

// === impl Play ===

impl Play {
    async fn run(&mut self) {
        let calm = Instant::now() + self.day.calm;
        self.start();
        self.sync(When::Later);
        while Instant::now() < calm {
            let wait = self.day.spacing.mul_f64(self.rng.f64() * 2.0);
            sleep_until((Instant::now() + wait).min(calm)).await;
            self.step().await;
        }
        self.calm().await;
    }

    /// Something happens.
    async fn step(&mut self) {
        match self.rng.u8(0..18) {
            0 if self.day.has(Kind::Jump) => {
                let time = Duration::from_secs(self.rng.u64(60..20_000));
                self.log.event(format!("the clock jumps by {time:?}"));
                advance(time).await;
            }
            1..=3 if self.day.has(Kind::Restart) => {
                self.mine_and_wait().await;
                let index = self.rng.usize(0..self.network.nodes().len());
                self.network.restart(&self.network.nodes()[index]);
            }
            4 if self.day.has(Kind::Outage) => self.outage().await,
            loss @ 5..=6 if self.day.has(Kind::Kill) || self.day.has(Kind::PowerLoss) => {
                self.mine_and_wait().await;
                self.kill(self.day.has(Kind::PowerLoss) && (loss == 5 || !self.day.has(Kind::Kill))).await;
            }
            9 if self.day.has(Kind::DiskError) => {
                let left = self.rng.u64(0..30);
                self.log.event(format!("the disk fails after {left} changes"));
                self.disk().fail_after(left);
            }
            10 if self.day.has(Kind::DiskFull) => {
                self.log.event("the disk is full");
                self.disk().fill();
            }
            11 => self.sync(When::Later),
            _ => self.mine(),
        }
        self.look().await;
    }

    /// Mines a block. When it replaces others, a sync may be under way that does not know.
    fn mine(&mut self) {
        let before = self.network.now();
        self.network.mine(self.day.has(Kind::Reorg));
        let is_replaced = before.block(before.tip()).is_some_and(|tip| self.network.find(&tip.hash).is_none());
        if is_replaced {
            self.sync(When::Reorganized(before));
        }
    }

    /// Mines a block, and waits for some moment while it is taken in.
    async fn mine_and_wait(&mut self) {
        self.mine();
        sleep(Duration::from_millis(self.rng.u64(0..3_000))).await;
    }

    async fn outage(&mut self) {
        self.network.set_out(true);
        sleep(Duration::from_secs(self.rng.u64(1..300))).await;
        self.network.set_out(false);
    }

    async fn kill(&mut self, loses_power: bool) {
        let Some(client) = self.client.take() else { return };
        self.log.event(if loses_power { "power loss" } else { "kill" });
        self.reported = client.reported();
        let lost = client.disk.after_power_loss(&mut self.rng);
        let disk = client.kill().await;
        self.disk = if loses_power { lost } else { disk };
        sleep(Duration::from_millis(self.rng.u64(0..30_000))).await;
        self.start();
    }

    /// Starts the follower again if its disk has failed.
    async fn look(&mut self) {
        let Some(client) = self.client.take_if(|client| client.has_ended()) else { return };
        self.reported = 0;
        let (disk, error) = client.end().await;
        self.log.event(format!("ended: {error}"));
        let may_fail = self.day.has(Kind::DiskError) || self.day.has(Kind::DiskFull);
        self.log.check(may_fail && error.contains("the store failed"), || format!("the follower ended: {error}"));
        self.disk = disk;
        sleep(Duration::from_secs(1)).await;
        self.start();
    }

    fn start(&mut self) {
        self.starts += 1;
        self.disk.clear();
        match Client::start(&self.network, self.disk.clone(), self.reported, &self.log) {
            Ok(client) => self.client = Some(client),
            Err(error) => self.log.violation(format!("the store cannot be opened: {error:?}")),
        }
    }

    fn sync(&mut self, when: When) {
        if !matches!(when, When::Later) || self.syncs.len() < 2 {
            let seed = self.day.seed.wrapping_add(self.syncs.len() as u64);
            let sync = one_shot::sync(self.network.clone(), seed, when, self.log.clone());
            self.syncs.push(tokio::spawn(sync));
            self.count += 1;
        }
    }

    fn disk(&self) -> &Disk {
        self.client.as_ref().map_or(&self.disk, |client| &client.disk)
    }

    /// All faults end, and a block is mined.
    async fn calm(&mut self) {
        self.log.event("calm");
        self.disk().clear();
        self.network.set_calm(self.rng.bool());
        self.network.end_branch();
        self.network.catch_up();
        self.network.mine(false);
        sleep(Duration::from_secs(3)).await;
        // A disk that fails at last.
        self.look().await;
        if self.disk_has_failed() {
            self.kill(false).await;
        }
        let start = Instant::now();
        self.sync(When::Calm);
        let bound = if self.could_not_connect() { BOUND + BACKOFF } else { BOUND };
        if let Some(client) = &mut self.client {
            let is_synced = client.synced(bound).await;
            let state = client.state();
            self.log.check(is_synced, || format!("the follower did not reach the newest block in {bound:?}: {state}"));
            if is_synced {
                client.check_book();
            }
            client.check_blame();
        }
        self.log.event(format!("calm for {:?}", start.elapsed()));
        for sync in std::mem::take(&mut self.syncs) {
            match timeout(Duration::from_secs(4 * 3_600), sync).await {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => self.log.violation(format!("a sync panicked: {panic}")),
                Err(_) => self.log.violation("a sync does not end"),
            }
        }
        self.check_counts();
        self.network.log_counts();
        if let Some(client) = self.client.take() {
            let reported = client.reported();
            let disk = client.kill().await;
            drop(Client::start(&self.network, disk, reported, &self.log).map(|client| client.check_blame()));
        }
    }

    fn disk_has_failed(&self) -> bool {
        self.disk().fails()
    }

    fn could_not_connect(&self) -> bool {
        [Kind::Outage, Kind::Restart, Kind::Jump].into_iter().any(|kind| self.day.has(kind))
    }

    /// Checks that no node was asked too often.
    fn check_counts(&self) {
        let blocks = self.network.changes();
        for node in self.network.nodes() {
            let counts = node.counts();
            let most = 20 + 10 * self.starts + 3 * blocks;
            let of_syncs = PLAN * self.count;
            self.log.check(counts.requests <= most + of_syncs && counts.headers <= 3 * most, || {
                format!("{} was asked {counts:?} in {blocks} blocks", node.name())
            });
            if node.is_honest() {
                self.log.check(counts.refused < 60 * (self.starts + 2), || {
                    format!("{} refused {} requests", node.name(), counts.refused)
                });
            }
        }
    }
}
