//! A stack of tower's own layers around retries of this project.
use std::time::{Duration, Instant};

use qrinfo_core::{Answer, Attempt, AttemptError, AttemptErrorKind, BlockHash, MnListDiffRequestSpec, PeerId, Reply};
use qrinfo_core::{Timing, message::MnListDiff};
use qrinfo_recovery::{RecoveryLayer, RecoverySettings};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn, timeout::error::Elapsed};

/// The client's own call to a peer.
async fn ask(attempt: Attempt) -> Result<Answer, AttemptError> {
    let (peer, sent) = (PeerId::Address(([203, 0, 113, 1], 9999).into()), Instant::now());
    // The first request is slow at its first attempt.
    let is_slow = attempt.id.0 == 0 && sent.elapsed() < Duration::from_secs(1) && attempt.avoid.is_empty();
    tokio::time::sleep(Duration::from_millis(if is_slow { 20 } else { 5 })).await;
    let diff = MnListDiff::empty(BlockHash::ZERO, BlockHash::from_bytes([3; 32]));
    let timing = Timing { peer, sent, head: None, first_byte: None, done: Instant::now(), bytes: 500 };
    Ok(Answer { reply: Reply::MnListDiff(Box::new(diff)), timing })
}

/// The kinds that retries understand, from the boxed errors of tower's layers.
fn typed(error: BoxError) -> AttemptError {
    match error.downcast::<AttemptError>() {
        Ok(error) => *error,
        Err(error) if error.is::<Elapsed>() => AttemptError::new(AttemptErrorKind::Timeout).because(error),
        Err(error) => AttemptError::new(AttemptErrorKind::Local).because(error),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut service = ServiceBuilder::new()
        .layer(RecoveryLayer::new(RecoverySettings::default()))
        .map_err(typed)
        .load_shed()
        .buffer(64)
        .concurrency_limit(4)
        .rate_limit(100, Duration::from_secs(1))
        .timeout(Duration::from_secs(5))
        .service(service_fn(ask));
    let spec = MnListDiffRequestSpec { base_block_hash: BlockHash::ZERO, block_hash: BlockHash::from_bytes([3; 32]) };
    for id in 0..8_u64 {
        let ready = service.ready().await.expect("retries are always ready");
        match ready.call(Attempt::new(id, spec.clone().into())).await {
            Ok(answer) => println!("request {id}: {} bytes from {}", answer.timing.bytes, answer.timing.peer),
            Err(error) => println!("request {id}: {error}"),
        }
    }
}
