//! Peers that refuse, drip, lie and panic, beside honest ones. In paused time.

use std::time::Duration;

use futures_util::future::join_all;
use qrinfo_core::{AttemptErrorKind, AttemptResult, PeerId};
use qrinfo_scheduler::{MAX_POINTS, SchedulerHandle, SchedulerService, SendStats, Settings};
use tokio::time::Instant;

use crate::support::{
    attempt, peer_id,
    peers::{Asked, Manner, TestPeer, ask_until_answered, join_reporting_peer, scheduler},
};

/// A scheduler, and peers of these manners that report their progress.
struct Network {
    asked: Asked,
    service: SchedulerService,
    handle: SchedulerHandle,
}

impl Network {
    fn new(settings: Settings, peers: &[Manner]) -> Self {
        let asked = Asked::new();
        let (service, handle, changes) = scheduler::<TestPeer>(settings);
        for (index, manner) in peers.iter().enumerate() {
            join_reporting_peer(&changes, index, &asked, *manner);
        }
        Self { asked, service, handle }
    }

    /// Asks for jobs as a retry layer does. Returns their ends and the time that they took.
    async fn ask_all(&self, jobs: u64) -> (Vec<AttemptResult>, Duration) {
        let start = Instant::now();
        let ends = join_all((0..jobs).map(|job| ask_until_answered(self.service.clone(), attempt(job)))).await;
        (ends, start.elapsed())
    }

    /// Every job has its reply. Returns the time that they took.
    async fn all_succeed(&self, jobs: u64) -> Duration {
        let (ends, took) = self.ask_all(jobs).await;
        let failed = ends.iter().filter_map(|end| end.as_ref().err()).next();
        assert!(failed.is_none(), "{failed:?}");
        took
    }

    /// Requests that a peer that answers half of them has refused.
    fn refusals(&self, peer: usize) -> usize {
        self.asked.jobs_at(peer).filter(|job| crate::support::peers::refuses_half(peer, *job)).count()
    }

    fn lost(&self) -> Vec<(PeerId, AttemptErrorKind)> {
        self.handle.stats().lost
    }
}

fn capped(cap: usize) -> Settings {
    Settings { cap, ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_peers_service_ends_that_peer_alone() {
    for manner in [Manner::PanicsInCall, Manner::PanicsInReady, Manner::PanicsInFuture] {
        let network = Network::new(Settings::default(), &[manner, Manner::Answers]);
        let took = network.all_succeed(20).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(network.lost(), [(peer_id(0), AttemptErrorKind::Local)]);
        assert!(network.handle.peers().borrow().iter().all(|(peer, _)| peer == peer_id(1)));
    }
}

/// Each job has two or three peers that answer it.
#[tokio::test(start_paused = true)]
async fn peers_that_refuse_half_of_everything_answer_the_other_half() {
    const JOBS: u64 = 200;
    for cap in [1, 3, 64] {
        let network = Network::new(capped(cap), &[Manner::RefusesHalf; 5]);
        let took = network.all_succeed(JOBS).await;
        assert!(took < Duration::from_secs(60), "{took:?} with a cap of {cap}");
        let SendStats { replies, refusals, .. } = network.handle.stats();
        // Two at a time at most, so that a random order of peers has about one refusal for each reply.
        assert!((JOBS..JOBS + JOBS / 20).contains(&replies) && refusals < JOBS * 3 / 2, "{replies}, {refusals}");
        for peer in 0..5 {
            let points = network.refusals(peer);
            assert!(points <= MAX_POINTS as usize, "{points} refusals of peer {peer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn peers_that_refuse_everything_end_it_soon() {
    let network = Network::new(capped(64), &[Manner::Refuses; 8]);
    let (ends, took) = network.ask_all(200).await;
    assert!(ends.iter().all(|end| end.as_ref().is_err_and(|error| error.kind() == AttemptErrorKind::NoPeer)));
    assert!(took < Duration::from_secs(10), "{took:?}");
    for peer in 0..8 {
        let points = network.asked.count(peer);
        assert!(points <= MAX_POINTS as usize, "{points} refusals of peer {peer}");
    }
    assert_eq!(network.lost(), [], "a peer that refuses is not dropped");
}

/// At this pace 32 MiB take more than an hour, and 600 kB more than a minute.
#[tokio::test(start_paused = true)]
async fn peers_that_drip_do_not_hold_requests() {
    for (length, drippers, cap) in [32 << 20, 600_000]
        .into_iter()
        .flat_map(|length| [1, 7].into_iter().flat_map(move |drippers| [1, 3, 64].map(|cap| (length, drippers, cap))))
    {
        let mut manners = vec![Manner::Drips(length); drippers];
        manners.push(Manner::Answers);
        let network = Network::new(capped(cap), &manners);
        let took = network.all_succeed(20).await;
        // Each that looks like a true reply has a few seconds; with a cap of one they go one after the other.
        let most = if length > 1_000_000 { 5 } else { 5 + 3 * drippers as u64 };
        assert!(took < Duration::from_secs(most), "{took:?} beside {drippers} of {length} with a cap of {cap}");
    }
}
