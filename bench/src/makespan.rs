//! The makespan of the real stack for the scenario files, compared with the best possible.
//!
//! Simulated nodes follow each file's numbers; `spv-peer`, `qrinfo-correlate`, `qrinfo-scheduler` and `qrinfo-recovery` run unchanged on
//! tokio's paused clock, so a run is exact and repeatable. Events arrive on whole milliseconds, the clock's grain.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryFutureExt, stream, stream::FuturesUnordered};
use qrinfo_core::{Attempt, AttemptError, PeerId, RecoveryEvent, RequestId};
use qrinfo_correlate::{CorrelatorConfig, PeerService};
use qrinfo_recovery::{RecoveryLayer, RecoverySettings};
use qrinfo_report::{Report, RunId};
use qrinfo_scheduler::{Event, Peer, SchedulerService, Settings, Window};
use spv_peer::{PeerConfig, handshake, round_trip};
use spv_testkit::scenario::{self, Scenario, Timeline};
use tokio::{
    sync::{
        broadcast::{self, error::TryRecvError},
        mpsc,
    },
    time::{Instant, sleep_until},
};
use tower::{Layer, ServiceExt, discover::Change};

/// Requests in flight at all peers together, at most, without `--default-limits`.
const CAP: usize = 64;

/// The same for the command by default: as many as the peers take.
const COMMAND_CAP: usize = usize::MAX;

/// Median and worst to reach, makespan over floor.
const TARGETS: [(&str, f64, f64); 19] = [
    ("all-small", 1.15, 1.40),
    ("bimodal", 1.60, 2.10),
    ("fast-p16", 1.22, 1.35),
    ("lat600-small", 1.50, 1.90),
    ("mn200-wan", 1.10, 1.30),
    ("mn64-p8", 1.45, 1.80),
    ("mn64-wan", 1.30, 1.50),
    ("p5-n20", 1.30, 1.60),
    ("p8-tiny-plan", 1.90, 2.60),
    ("refuse50", 1.30, 1.60),
    ("window16", 1.38, 1.60),
    ("clean", 1.08, 1.30),
    ("clean-window64", 1.13, 1.40),
    ("eight-peers", 1.11, 1.40),
    ("refusals", 1.09, 1.30),
    ("stall", 1.09, 1.30),
    ("stall-window64", 1.10, 1.45),
    ("three-peers", 1.05, 1.20),
    ("uniform", 1.03, 1.06),
];

/// The figures of one run.
struct Outcome {
    makespan: Duration,
    jobs: usize,
    /// Replies beyond one for each job.
    duplicates: u64,
}

/// Runs every file of a directory and prints one table. A report shows the first run of each.
pub(super) fn run(directory: &Path, default_limits: bool, report: Option<&Path>) -> Result<()> {
    let page = Arc::new(Mutex::new(Report::default()));
    let cap = if default_limits { COMMAND_CAP } else { CAP };
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("no scenarios in {}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    ensure!(!files.is_empty(), "no scenarios in {}", directory.display());
    eprintln!(
        "{:<16} {:>6} {:>6} {:>12} {:>5} {:>11} {:>17}",
        "makespan / floor", "median", "worst", "target", "cap", "duplicates", "one at a time"
    );
    for file in files {
        let scenario = Scenario::load(&file)?;
        let mut scores = Vec::new();
        let mut alone = Vec::new();
        let (mut duplicates, mut jobs) = (0, 0);
        for index in 0..scenario.runs.len() {
            let page = (report.is_some() && index == 0).then(|| page.clone());
            let outcome =
                measure(&scenario, index, cap, page).with_context(|| format!("{}, run {index}", scenario.name))?;
            let floor = Duration::from_micros(scenario.runs[index].floor_us).as_secs_f64();
            scores.push(outcome.makespan.as_secs_f64() / floor);
            alone.push(one_at_a_time(&scenario, index).as_secs_f64() / floor);
            duplicates += outcome.duplicates;
            jobs += outcome.jobs;
        }
        with(&page, |page| page.fact(&scenario.name, format!("{:.3} x the floor", scores[0])));
        let target = TARGETS.iter().find(|(name, ..)| *name == scenario.name);
        let (median, worst) = spread(scores);
        let (alone_median, alone_worst) = spread(alone);
        eprintln!(
            "{:<16} {:>6.3} {:>6.3} {:>12} {:>5} {:>9.1} % {:>17} {}",
            scenario.name,
            median,
            worst,
            target.map_or(String::new(), |(_, median, worst)| format!("{median:.2} ({worst:.2})")),
            if default_limits { "none".to_owned() } else { cap.to_string() },
            100.0 * duplicates as f64 / jobs as f64,
            format!("{alone_median:.2} ({alone_worst:.2})"),
            match target {
                Some((_, m, w)) if median > *m || worst > *w => "over its target",
                _ => "",
            }
        );
    }
    if let Some(path) = report {
        let html = with(&page, |page| page.page());
        fs::write(path, html).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn with<T>(page: &Mutex<Report>, act: impl FnOnce(&mut Report) -> T) -> T {
    act(&mut page.lock().unwrap_or_else(PoisonError::into_inner))
}

fn measure(scenario: &Scenario, index: usize, cap: usize, page: Option<Arc<Mutex<Report>>>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(play(scenario, index, cap, page))
}

async fn play(scenario: &Scenario, index: usize, cap: usize, page: Option<Arc<Mutex<Report>>>) -> Result<Outcome> {
    let run = &scenario.runs[index];
    // Late enough for the handshakes.
    let start = Instant::now() + Duration::from_secs(60);
    let timeline = Timeline::real(start);
    let (mut nodes, mut peers) = (Vec::new(), Vec::new());
    for number in 0..run.peers.len() {
        let node = scenario.peer(index, number, timeline).context("a peer without numbers")?.build();
        let id = PeerId::Address(([203, 0, 113, u8::try_from(number)? + 1], 9999).into());
        let patient = Duration::from_secs(30);
        let config = PeerConfig { handshake_timeout: patient, ..PeerConfig::new(scenario::NETWORK, 7) };
        let mut connection = handshake(node.connect(), id, &config).await?;
        let round_trip = round_trip(&mut connection, 99).await?;
        let (sender, events) = mpsc::unbounded_channel();
        let observer = move |event| drop(sender.send(event));
        let (service, driver) = PeerService::new(id, connection, correlator(), observer);
        tokio::spawn(driver);
        let peer = Peer::new(service, u32::MAX, round_trip).with_events(events);
        peers.push(Ok::<_, AttemptError>(Change::Insert(id, peer)));
        nodes.push(node);
    }
    sleep_until(start).await;

    let scheduling = Settings { cap, ..Settings::default() };
    let (service, driver) = SchedulerService::new(stream::iter(peers).chain(stream::pending()), scheduling);
    let handle = service.handle();
    let mut watch = page.map(|page| Watch::new(page, &scenario.name, handle.events()));
    tokio::spawn(driver);
    let window =
        |first: usize| run.window.map(|length| Window { first: RequestId(first as u64), length: length as u64 });
    handle.set_window(window(0));
    let jobs = run.reply_bytes.len();
    let decisions = watch.as_ref().map(Watch::decisions);
    let decided = move |event: &RecoveryEvent| decisions.iter().for_each(|decided| decided(event));
    let recovery = RecoveryLayer::new(RecoverySettings::default()).with_peers(handle.peers()).on_event(decided);
    let service = recovery.layer(service);
    let ask = |job| service.clone().oneshot(Attempt::new(job as u64, scenario::request(job).into()));
    let mut asked: FuturesUnordered<_> = (0..jobs).map(|job| ask(job).map_ok(move |_| job)).collect();
    let mut done = vec![false; jobs];
    let mut next = 0;
    while let Some(job) = asked.next().await {
        done[job?] = true;
        while done.get(next) == Some(&true) {
            next += 1;
        }
        handle.set_window(window(next));
        watch.iter_mut().for_each(Watch::drain);
    }
    let makespan = start.elapsed();
    let replies: u64 = nodes.iter().map(|node| node.stats().replies).sum();
    Ok(Outcome { makespan, jobs, duplicates: replies.saturating_sub(jobs as u64) })
}

/// Shows a run on the page.
struct Watch {
    page: Arc<Mutex<Report>>,
    run: RunId,
    events: broadcast::Receiver<Event>,
}

impl Watch {
    fn new(page: Arc<Mutex<Report>>, title: &str, events: broadcast::Receiver<Event>) -> Self {
        let run = with(&page, |page| page.begin(title, Instant::now().into_std()));
        Self { page, run, events }
    }

    fn decisions(&self) -> impl Fn(&RecoveryEvent) + use<> {
        let (page, run) = (self.page.clone(), self.run);
        move |event| with(&page, |page| page.recovery_event(run, event, Instant::now().into_std()))
    }

    /// Takes the events that have come since the last call.
    fn drain(&mut self) {
        loop {
            match self.events.try_recv() {
                Ok(Event::Peer(event)) => {
                    with(&self.page, |page| page.peer_event(self.run, &event, Instant::now().into_std()));
                }
                Ok(_) => {}
                Err(TryRecvError::Lagged(count)) => with(&self.page, |page| page.missed(count)),
                Err(_) => return,
            }
        }
    }
}

/// Nothing is lost in these runs, so only the scheduler's own patience matters.
fn correlator() -> CorrelatorConfig {
    CorrelatorConfig { head_timeout: Duration::from_secs(3600), ..CorrelatorConfig::default() }
}

/// The time that the best peer takes alone, one request at a time; what it refuses is asked of the others.
fn one_at_a_time(scenario: &Scenario, index: usize) -> Duration {
    let run = &scenario.runs[index];
    let refuses = |peer: usize, job| run.refused.get(peer).is_some_and(|jobs: &Vec<usize>| jobs.contains(&job));
    let cost = |peer: usize, job: usize, at: u64| {
        let numbers = &run.peers[peer];
        let transfer = if refuses(peer, job) { 0 } else { numbers.transfer_us[job] };
        let factor = match &run.stall {
            Some(stall) if stall.peer == peer && at >= stall.at_us => stall.factor,
            _ => 1,
        };
        numbers.rtt_us + (numbers.compute_us[job] + transfer) * u64::from(factor)
    };
    let alone = |first: usize| {
        (0..run.reply_bytes.len()).fold(0, |at, job| {
            let mut at = at;
            let order = std::iter::once(first).chain((0..run.peers.len()).filter(|&peer| peer != first));
            for peer in order {
                at += cost(peer, job, at);
                if !refuses(peer, job) {
                    break;
                }
            }
            at
        })
    };
    Duration::from_micros((0..run.peers.len()).map(alone).min().unwrap_or(0))
}

/// Median and greatest.
fn spread(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    };
    (median, values.last().copied().unwrap_or(f64::NAN))
}
