//! One service over three services that know nothing of this project's connections.
use std::time::{Duration, Instant};

use qrinfo_core::message::MnListDiff;
use qrinfo_core::{Answer, Attempt, AttemptError, BlockHash, MnListDiffRequestSpec, PeerId, Reply, Timing};
use qrinfo_scheduler::{Peer, SchedulerService, Settings};
use tower::{ServiceExt, discover::Change, service_fn};

/// A peer with this round trip; it answers everything.
async fn answer(peer: PeerId, round_trip: Duration) -> Result<Answer, AttemptError> {
    let sent = Instant::now();
    tokio::time::sleep(round_trip).await;
    let diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([3; 32]));
    let timing = Timing { peer, sent, head: None, first_byte: None, done: Instant::now(), bytes: 500 };
    Ok(Answer { reply: Reply::MnListDiff(Box::new(diff)), timing })
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let peers = [20, 60, 100].map(|milliseconds| {
        let peer = PeerId::Address(([203, 0, 113, milliseconds], 9999).into());
        let round_trip = Duration::from_millis(milliseconds.into());
        let service = service_fn(move |_: Attempt| answer(peer, round_trip));
        Ok::<_, AttemptError>(Change::Insert(peer, Peer::new(service, 2_240_504, round_trip)))
    });
    let (service, driver) = SchedulerService::new(futures_util::stream::iter(peers), Settings::default());
    let handle = service.handle();
    tokio::spawn(driver);
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
    let requests = (0..30_u64).map(|id| service.clone().oneshot(Attempt::new(id, spec.clone().into())));
    let answers = futures_util::future::join_all(requests).await;
    println!("{} of 30 answered", answers.iter().flatten().count());
    println!("{:?}", handle.stats());
}
